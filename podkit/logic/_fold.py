"""The laws of authority, applied to facts one by one. `fold` is total: a fact that breaks a law changes nothing and is counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from podkit.logic._allocations import Allocation, State
from podkit.logic._conflicts import find_conflict
from podkit.logic._facts import Adopted, Fact, Freed, Reserved, Restart, UnknownFact
from podkit.logic._heirs import claimed, heirs, root_of_session
from podkit.logic._table import Table


def fold(table: Table, fact: Fact) -> Table:
    """The table after one more fact.

    Laws: a root's row is written by itself and a child's by its parent, while that parent lives; a row never widens its
    parent's grant, and its write never meets what another pod may write; a row is adopted once, by itself; a row that ends
    leaves its children to its own parent. A session has one root; a root inherits only pods that outlived an earlier root of its
    session, and that its grant covers. What is said of a row that is not there changes nothing.
    """
    if isinstance(fact, Restart):
        return Table(sequence=fact.sequence, foreign=table.foreign) if fact.sequence > table.sequence else table.with_refusal()
    if isinstance(fact, UnknownFact):
        why = f"it holds facts of a newer podkit ({fact.kind!r}, format {fact.format})"
        return attrs.evolve(table, sequence=table.sequence + 1, foreign=table.foreign or why)
    after = _apply(table, fact)
    return table.with_refusal() if after is None else after


def fold_all(table: Table, facts: Iterable[Fact]) -> Table:
    """The table after all of these, in order."""
    for fact in facts:
        table = fold(table, fact)
    return table


def _apply(table: Table, fact: Reserved | Adopted | Freed) -> Table | None:
    if isinstance(fact, Reserved):
        return _reserve(table, fact)
    row = table.get(fact.incarnation)
    if row is None:
        return None
    if isinstance(fact, Freed):
        return table.without(row.incarnation)
    if row.state is not State.RESERVED or fact.author != row.incarnation:
        return None
    address = row.address if fact.address is None else fact.address
    return table.with_change(attrs.evolve(row, state=State.LIVE, pid=fact.pid, started=fact.started, address=address))


def _reserve(table: Table, fact: Reserved) -> Table | None:
    above = table.get(fact.parent)
    lawful = _lawful_root(table, fact) if fact.parent is None else above is not None and _lawful_child(above, fact)
    if not lawful or fact.incarnation in table or table.by_name(fact.tree, fact.name) is not None:
        return None
    inherited = [row for incarnation in fact.inherits if (row := table.get(incarnation)) is not None]
    scope, where = claimed(table, fact.scope, fact.where, inherited)
    if find_conflict(table, scope, where=where, exempt=fact.parent) is not None:
        return None
    row = Allocation(
        name=fact.name,
        tree=fact.tree,
        incarnation=fact.incarnation,
        scope=fact.scope,
        grant=fact.grant,
        address=fact.address,
        parent=fact.parent,
        parent_name=None if above is None else above.name,
        run_dir=fact.run_dir,
        since=fact.since,
        secret_sha256=fact.secret_sha256,
        born_of=fact.born_of,
        where=fact.where,
        pins=fact.pins,
        outlived=fact.outlived,
    )
    return table.with_row(row, inherits=fact.inherits)


def _lawful_root(table: Table, fact: Reserved) -> bool:
    if fact.author != fact.incarnation or len(set(fact.inherits)) < len(fact.inherits):
        return False
    if fact.outlived is not None:
        return not fact.inherits
    if root_of_session(table, fact.born_of) is not None:
        return False
    could = {row.incarnation for row in heirs(table, name=fact.name, tree=fact.tree, born_of=fact.born_of, grant=fact.grant)}
    return could.issuperset(fact.inherits)


def _lawful_child(above: Allocation, fact: Reserved) -> bool:
    if above.state is not State.LIVE or above.tree != fact.tree or fact.author != fact.parent:
        return False
    if fact.inherits or fact.outlived is not None:
        return False
    return fact.grant <= above.grant and (fact.scope is fact.grant or fact.scope <= above.grant)


def snapshot(table: Table, *, author: str) -> tuple[Fact, ...]:
    """The shortest facts from which the same rows follow: what a log keeps when it drops its past. Empty for a foreign table.

    The first is a `Restart` that takes the number after the last fact folded.
    """
    if table.foreign is not None:
        return ()
    facts: list[Fact] = [Restart(author=author, sequence=table.sequence + 1)]
    for row in table.roots():
        facts.extend(_family(table, row))
    return tuple(facts)


def _family(table: Table, top: Allocation) -> Iterator[Fact]:
    """A row without parent and everything below it. A root that is only reserved has children because it inherits them; one that
    lives, and that somebody below is beyond, could not be said otherwise."""
    heirs: tuple[Allocation, ...] = ()
    if top.state is State.RESERVED:
        heirs = table.children(top.incarnation)
    elif table.beyond(top.incarnation):
        heirs = table.older_children(top.incarnation)
    for heir in heirs:
        yield from _family(table, attrs.evolve(heir, parent=None, outlived=top.incarnation))
    yield from _said(top, inherits=tuple(heir.incarnation for heir in heirs))
    said = {heir.incarnation for heir in heirs}
    waiting = [child for child in reversed(table.children(top.incarnation)) if child.incarnation not in said]
    while waiting:
        row = waiting.pop()
        yield from _said(row)
        waiting.extend(reversed(table.children(row.incarnation)))


def _said(row: Allocation, *, inherits: tuple[str, ...] = ()) -> Iterator[Fact]:
    yield Reserved(
        author=row.parent or row.incarnation,
        name=row.name,
        tree=row.tree,
        incarnation=row.incarnation,
        scope=row.scope,
        grant=row.grant,
        address=row.address,
        parent=row.parent,
        run_dir=row.run_dir,
        since=row.since,
        secret_sha256=row.secret_sha256,
        born_of=row.born_of,
        where=row.where,
        pins=row.pins,
        inherits=inherits,
        outlived=row.outlived,
    )
    if row.state is State.LIVE:
        yield Adopted(author=row.incarnation, incarnation=row.incarnation, pid=row.pid, started=row.started)


def changes(before: Table, after: Table, *, author: str) -> tuple[Fact, ...]:
    """Facts that say how `after` differs from `before`: what ended, then what is new, parents first."""
    order = [row for root in before.roots() for row in (*before.descendants(root.incarnation), root)]
    ended = [Freed(author=author, incarnation=row.incarnation) for row in order if row.incarnation not in after]
    new: list[Fact] = []
    for fact in snapshot(after, author=author):
        if isinstance(fact, Reserved) and fact.incarnation not in before:
            below = () if fact.inherits else after.children(fact.incarnation)
            known = tuple(row.incarnation for row in below if row.incarnation in before)
            new.append(attrs.evolve(fact, inherits=known or fact.inherits))
        elif isinstance(fact, Adopted):
            row = before.get(fact.incarnation)
            if row is None or row.state is State.RESERVED:
                new.append(fact)
    return (*ended, *new)
