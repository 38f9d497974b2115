"""Does somebody write there already? One test for births, roots and the laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from podkit.logic._allocations import Allocation
from podkit.logic._scope import Scope
from podkit.logic._table import Table
from podkit.protocol import Permission


@attrs.frozen
class Conflict:
    """`path` would have two writers: the asker, who calls it so, and the pod of `row`."""

    path: str
    row: Allocation


def find_conflict(table: Table, scope: Scope, *, where: Scope | None = None, exempt: str | None = None) -> Conflict | None:
    """The first row whose pod may write, right now, where `scope` asks for write; None when there is none.

    Each row counts with what it has left after what it lent, so the row found is the holder itself and not a pod above it.
    `exempt` is the incarnation that hands over. Reads never conflict. Paths are compared as they are written down, and once more
    in the coordinates of the file systems when `where` says the same scope in them: there two names of one directory are one. A
    row that has no `where` is met only as it is written down.
    """
    found = _first(table, table.near(scope), scope, _shown, exempt)
    if found is None and where is not None:
        found = _first(table, table.near_where(where), where, _where, exempt)
        if found is not None:
            return Conflict(_as_spelled(found.path, scope, where), found.row)
    return found


def _shown(row: Allocation) -> Scope:
    return row.scope


def _where(row: Allocation) -> Scope:
    return row.where or Scope.none()


def _first(
    table: Table, rows: Sequence[Allocation], asked: Scope, of: Callable[[Allocation], Scope], exempt: str | None
) -> Conflict | None:
    # Of what a row lent, only what is near matters here: a wide parent costs what is near, however many children it has.
    lent: dict[str, list[Scope]] = {}
    for row in rows:
        for lender in table.lenders(row):
            lent.setdefault(lender, []).append(of(row))
    for row in rows:
        if row.incarnation == exempt:
            continue
        held = of(row)
        for loan in lent.get(row.incarnation, ()):
            held = held.lend(loan)
        path = asked.common_write(held)
        if path is not None:
            return Conflict(path, row)
    return None


def _as_spelled(path: str, scope: Scope, where: Scope) -> str:
    """The name that `scope` has for the path called `path` in `where`; the first target asked for when there is no telling.

    Rule by rule both say the same, unless there are mounts further down: they are rules of `where` alone.
    """
    asked, said = scope.base.allow, where.base.allow
    for rule, place in zip(asked, said, strict=True) if len(asked) == len(said) else ():
        tail = path.removeprefix(place.target.rstrip("/"))
        name = rule.target.rstrip("/") + tail or "/"
        if tail[:1] in ("", "/") and len(tail) < len(path) and scope.at(name) is Permission.WRITE:
            return name
    return next(iter(scope.write_targets()), path)
