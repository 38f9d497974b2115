"""Who may be inherited: pods that outlived their root, and come back under a root that is restored from the same session."""

from __future__ import annotations

from collections.abc import Iterable

from podkit.logic._allocations import Allocation
from podkit.logic._scope import Scope
from podkit.logic._table import Table


def root_of_session(table: Table, session: str | None) -> Allocation | None:
    """The root that serves this session, if there is one. Pods that outlived an earlier root of it do not count."""
    if session is None:
        return None
    return next((row for row in table.roots_of(session) if row.outlived is None), None)


def heirs(table: Table, *, name: str, tree: str, born_of: str | None, grant: Scope) -> tuple[Allocation, ...]:
    """The pods that a root of this name, tree, session and grant may inherit, in the order they were made.

    They outlived an earlier root of that session, the grant covers what they use and what they may hand out, and no name of theirs
    or of a pod below them is taken in the new tree. Who does not qualify stays where it is, and what it writes stays its own.
    """
    if born_of is None:
        return ()
    found: list[Allocation] = []
    names = {name}
    for row in table.roots_of(born_of):
        if row.outlived is None or not (row.scope <= grant and row.grant <= grant):
            continue
        family = (row, *table.descendants(row.incarnation))
        free = all(below.tree == tree or table.by_name(tree, below.name) is None for below in family)
        if free and names.isdisjoint(below.name for below in family):
            names.update(below.name for below in family)
            found.append(row)
    return tuple(found)


def claimed(table: Table, scope: Scope, where: Scope | None, inherited: Iterable[Allocation]) -> tuple[Scope, Scope | None]:
    """What a new row asks to write itself, in both spellings: its scope less what those it inherits, and all below them, go on
    writing. While nobody was above them, they may have handed out more than they write themselves."""
    for heir in inherited:
        for row in (heir, *table.descendants(heir.incarnation)):
            scope = scope.lend(row.scope)
            if where is not None and row.where is not None:
                where = where.lend(row.where)
    return scope, where
