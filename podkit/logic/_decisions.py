"""What may be asked of the table: each answers the facts to append, or raises the refusal. Pure, so it may run again."""

from __future__ import annotations

import hashlib
import hmac

from podkit.errors import (
    AdoptionRefusedError,
    CorruptRegistryError,
    DuplicatePodError,
    LimitExceededError,
    RegistryError,
    ScopeError,
    StaleIncarnationError,
    UnknownPodError,
    WriteConflictError,
)
from podkit.logic._allocations import Allocation, Pin, State, check_id, lease_key
from podkit.logic._conflicts import find_conflict
from podkit.logic._facts import Adopted, Fact, Freed, Reserved
from podkit.logic._heirs import claimed, heirs, root_of_session
from podkit.logic._scope import Scope, check_subset
from podkit.logic._table import Table

MAX_DEPTH = 8
MAX_ROWS = 512
LIMIT_ROWS = "pods"  # the `limit` of a `LimitExceededError` that freeing dead rows may help against


def secret_digest(secret: str) -> str:
    """What is kept of a birth's secret: its SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


def decide_root(
    table: Table,
    *,
    name: str,
    tree: str,
    incarnation: str,
    scope: Scope,
    address: str,
    since: float,
    grant: Scope | None = None,
    run_dir: str | None = None,
    live: bool = True,
    pid: int | None = None,
    started: int | None = None,
    born_of: str | None = None,
    where: Scope | None = None,
    pins: tuple[Pin, ...] = (),
    takes_back: bool = False,
    max_rows: int = MAX_ROWS,
) -> tuple[Fact, ...]:
    """Open a tree. `live=False` only reserves the row; the root adopts it later, when its address is known.

    `where` and `pins` say what the targets of `scope` are, as in `Allocation`. With `takes_back` the root is the parent of the pods
    that outlived an earlier root of the session `born_of`, as far as its grant covers them: what they write stays theirs, and
    `scope` is the root's less that.

    Raises `InvalidNameError`, `DuplicatePodError` (the tree has such a pod, or the session a root), `LimitExceededError`,
    `WriteConflictError` (any pod of any tree may write there), `CorruptRegistryError` (a newer podkit wrote here).
    """
    grant = scope if grant is None else grant
    _check_open(table, name, tree, incarnation, (scope, grant, where), max_rows)
    before = root_of_session(table, born_of)
    if before is not None:
        raise DuplicatePodError(before.name, table.label(before, seen_from=tree), before.incarnation)
    inherited = heirs(table, name=name, tree=tree, born_of=born_of, grant=grant) if takes_back else ()
    own, own_where = claimed(table, scope, where, inherited)
    _check_exclusive(table, own, own_where, tree=tree, giver=None)
    reserved = Reserved(
        author=incarnation,
        name=name,
        tree=tree,
        incarnation=incarnation,
        scope=scope,
        grant=grant,
        address=address,
        run_dir=run_dir,
        since=since,
        born_of=born_of,
        where=where,
        pins=pins,
        inherits=tuple(row.incarnation for row in inherited),
    )
    return (reserved, Adopted(author=incarnation, incarnation=incarnation, pid=pid, started=started)) if live else (reserved,)


def decide_birth(
    table: Table,
    *,
    parent: str,
    name: str,
    incarnation: str,
    scope: Scope,
    address: str,
    since: float,
    grant: Scope | None = None,
    run_dir: str | None = None,
    secret_sha256: str | None = None,
    parent_name: str | None = None,
    born_of: str | None = None,
    where: Scope | None = None,
    pins: tuple[Pin, ...] = (),
    max_depth: int = MAX_DEPTH,
    max_rows: int = MAX_ROWS,
) -> tuple[Fact, ...]:
    """Reserve a row for a child of the incarnation `parent`, which hands over what the child may write.

    What the child uses and what it may hand out itself are at most the parent's grant. What it writes must be written by
    nobody, or by the parent alone; `where` and `pins` say what its targets are, as in `Allocation`. Raises `UnknownPodError` or,
    when `parent_name` is given, `StaleIncarnationError` for a parent that is not there; `InvalidNameError`, `DuplicatePodError`,
    `LimitExceededError`, `NotSubsetError`, `WriteConflictError` naming who really holds the path, `CorruptRegistryError` (a newer
    podkit wrote here).
    """
    above = _living(table, parent, parent_name)
    grant = scope if grant is None else grant
    _check_open(table, name, above.tree, incarnation, (scope, grant, where), max_rows)
    if table.depth(parent) >= max_depth:
        raise LimitExceededError(name, limit="generations of pods", allowed=max_depth)
    check_subset(scope, above.grant)
    if grant is not scope:
        check_subset(grant, above.grant)
    _check_exclusive(table, scope, where, tree=above.tree, giver=parent)
    return (
        Reserved(
            author=parent,
            name=name,
            tree=above.tree,
            incarnation=incarnation,
            scope=scope,
            grant=grant,
            address=address,
            parent=parent,
            run_dir=run_dir,
            since=since,
            secret_sha256=secret_sha256,
            born_of=born_of,
            where=where,
            pins=pins,
        ),
    )


def decide_adopt(
    table: Table,
    *,
    name: str,
    incarnation: str,
    secret: str | None = None,
    pid: int | None = None,
    started: int | None = None,
    address: str | None = None,
) -> tuple[Fact, ...]:
    """Take the row that was reserved for this incarnation, once. `address` replaces the reserved one.

    Raises `AdoptionRefusedError` (no such reservation, not its secret, adopted before) and `CorruptRegistryError` (a newer
    podkit wrote here).
    """
    _check_known(table)
    row = table.get(incarnation)
    if row is None or row.name != name:
        raise AdoptionRefusedError(name, "there is no such reservation")
    given = "" if secret is None else secret_digest(secret)
    if not hmac.compare_digest(given.encode(), (row.secret_sha256 or "").encode()):
        raise AdoptionRefusedError(name, "that is not the secret of its birth")
    if row.state is not State.RESERVED:
        raise AdoptionRefusedError(name, "it was adopted before")
    return (Adopted(author=incarnation, incarnation=incarnation, pid=pid, started=started, address=address),)


def decide_free(table: Table, *, incarnation: str, author: str) -> tuple[Fact, ...]:
    """End a row. No facts when it is gone already, so that ending it again is harmless. `author` is the pod itself, or
    somebody who saw that nobody holds its lease."""
    return (Freed(author=check_id(author), incarnation=incarnation),) if incarnation in table else ()


def _living(table: Table, incarnation: str, name: str | None) -> Allocation:
    row = table.get(incarnation)
    if row is None or (name is not None and row.name != name):
        raise UnknownPodError(incarnation) if name is None else StaleIncarnationError(name, incarnation)
    if row.state is not State.LIVE:
        raise RegistryError(f"pod `{row.name}` is reserved and not adopted yet, so it has no children")
    return row


def _check_known(table: Table) -> None:
    if table.foreign is not None:
        raise CorruptRegistryError("the registry", table.foreign)


def _check_open(
    table: Table, name: str, tree: str, incarnation: str, scopes: tuple[Scope, Scope, Scope | None], max_rows: int
) -> None:
    _check_known(table)
    lease_key(name, incarnation)
    check_id(tree)
    if not all(scope is None or scope.declared for scope in scopes):
        raise ScopeError("only a scope of rules can be held; a derived scope has none of its own")
    taken = table.by_name(tree, name) or table.get(incarnation)
    if taken is not None:
        raise DuplicatePodError(name, table.label(taken, seen_from=tree), taken.incarnation)
    if len(table) >= max_rows:
        raise LimitExceededError(name, limit=LIMIT_ROWS, allowed=max_rows)


def _check_exclusive(table: Table, scope: Scope, where: Scope | None, *, tree: str, giver: str | None) -> None:
    conflict = find_conflict(table, scope, where=where, exempt=giver)
    if conflict is not None:
        row = conflict.row
        raise WriteConflictError(conflict.path, table.label(row, seen_from=tree), row.incarnation)
