"""The laws of authority, applied to facts one by one. `fold` is total: a fact that breaks a law changes nothing and is counted."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from podkit.logic._allocations import Allocation, State
from podkit.logic._conflicts import find_conflict
from podkit.logic._facts import Adopted, Fact, Freed, Reserved, Restart, UnknownFact
from podkit.logic._table import Table


def fold(table: Table, fact: Fact) -> Table:
    """The table after one more fact.

    Laws: a root's row is written by itself and a child's by its parent, while that parent lives; a row never widens its
    parent's grant, and its write never meets what another pod may write; a row is adopted once, by itself; a row that ends
    leaves its children to its own parent. What is said of a row that is not there changes nothing.
    """
    if isinstance(fact, Restart):
        return Table(sequence=fact.sequence, foreign=table.foreign) if fact.sequence > table.sequence else _refused(table)
    if isinstance(fact, UnknownFact):
        why = f"it holds facts of a newer podkit ({fact.kind!r}, format {fact.format})"
        return attrs.evolve(table, sequence=table.sequence + 1, foreign=table.foreign or why)
    after = _apply(table, fact)
    return _refused(table) if after is None else attrs.evolve(after, sequence=table.sequence + 1)


def fold_all(table: Table, facts: Iterable[Fact]) -> Table:
    """The table after all of these, in order."""
    for fact in facts:
        table = fold(table, fact)
    return table


def _refused(table: Table) -> Table:
    return attrs.evolve(table, sequence=table.sequence + 1, refused=table.refused + 1)


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
    if fact.parent is None:
        lawful = fact.author == fact.incarnation
    else:
        lawful = above is not None and above.state is State.LIVE and above.tree == fact.tree and fact.author == fact.parent
        lawful = lawful and above is not None and fact.grant <= above.grant
    if not lawful or fact.incarnation in table or table.by_name(fact.tree, fact.name) is not None:
        return None
    if above is not None and not fact.scope <= above.grant:
        return None
    if find_conflict(table, fact.scope, exempt=fact.parent) is not None:
        return None
    return table.with_row(
        Allocation(
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
        )
    )


def snapshot(table: Table, *, author: str) -> tuple[Fact, ...]:
    """The shortest facts from which the same rows follow: what a log keeps when it drops its past. Empty for a foreign table.

    The first is a `Restart` that takes the number after the last fact folded.
    """
    if table.foreign is not None:
        return ()
    facts: list[Fact] = [Restart(author=author, sequence=table.sequence + 1)]
    waiting = list(reversed(table.roots()))
    while waiting:
        row = waiting.pop()
        facts.append(
            Reserved(
                author=row.incarnation if row.parent is None else row.parent,
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
            )
        )
        if row.state is State.LIVE:
            facts.append(Adopted(author=row.incarnation, incarnation=row.incarnation, pid=row.pid, started=row.started))
        waiting.extend(reversed(table.children(row.incarnation)))
    return tuple(facts)


def changes(before: Table, after: Table, *, author: str) -> tuple[Fact, ...]:
    """Facts that say how `after` differs from `before`: what ended, then what is new, parents first."""
    order = [row for root in before.roots() for row in (*before.descendants(root.incarnation), root)]
    ended = [Freed(author=author, incarnation=row.incarnation) for row in order if row.incarnation not in after]
    new: list[Fact] = []
    for fact in snapshot(after, author=author):
        if isinstance(fact, Reserved) and fact.incarnation not in before:
            new.append(fact)
        elif isinstance(fact, Adopted):
            row = before.get(fact.incarnation)
            if row is None or row.state is State.RESERVED:
                new.append(fact)
    return (*ended, *new)
