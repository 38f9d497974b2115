"""Who holds what, as it follows from the facts. Values only: `fold` answers a new table and leaves the old one as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import attrs
from rpds import HashTrieMap, HashTrieSet

from podkit.logic._allocations import Allocation, State
from podkit.logic._named_rows import NamedRows
from podkit.logic._regions import Regions
from podkit.logic._scope import Scope, lend_all

_NOBODY: HashTrieSet[str] = HashTrieSet()
_Tops: TypeAlias = "HashTrieMap[str | None, HashTrieSet[str]]"


@attrs.define(eq=False)
class _Entry:
    """A row with its children's incarnations. What the pod may use right now is worked out once, on demand."""

    row: Allocation
    order: int  # the number of the fact that made the row
    children: HashTrieSet[str] = _NOBODY
    effective: Scope | None = attrs.field(default=None, repr=False)


@attrs.frozen(eq=False)
class Table:
    """The rows of all pods of one registry, by incarnation, in the order they were made.

    `sequence` counts the facts folded so far, `refused` those among them that were not lawful and changed nothing.
    `foreign` says why nothing may be granted on this table, when a fact of a newer podkit is in it. Tables share what is equal, so
    that what a change costs does not depend on how many rows there are.
    """

    _entries: HashTrieMap[str, _Entry] = attrs.field(factory=HashTrieMap, repr=lambda entries: f"<{len(entries)} rows>")
    _names: HashTrieMap[tuple[str, str], str] = attrs.field(factory=HashTrieMap, repr=False)
    _tops: _Tops = attrs.field(factory=HashTrieMap, repr=False)  # rows without parent, by session
    _regions: Regions = attrs.field(factory=Regions, repr=False)
    _wheres: Regions = attrs.field(factory=Regions, repr=False)
    _outdone: HashTrieSet[str] = attrs.field(default=_NOBODY, repr=False)  # the rows that somebody is `beyond`
    sequence: int = attrs.field(default=0, kw_only=True)
    refused: int = attrs.field(default=0, kw_only=True)
    foreign: str | None = attrs.field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Allocation]:
        return iter(self._listed(self._entries))

    def __contains__(self, incarnation: object) -> bool:
        return incarnation in self._entries

    def __getitem__(self, incarnation: str) -> Allocation:
        return self._entries[incarnation].row

    def get(self, incarnation: str | None) -> Allocation | None:
        """The row of this incarnation, or None."""
        entry = self._entries.get(incarnation) if incarnation is not None else None
        return None if entry is None else entry.row

    def by_name(self, tree: str, name: str) -> Allocation | None:
        """The row of the pod of this name in this tree, or None. A name is there once in a tree."""
        return self.get(self._names.get((tree, name)))

    def near(self, scope: Scope) -> list[Allocation]:
        """The rows whose declared write may meet the declared write of `scope`, in the order they were made."""
        return self._listed(self._regions.near(scope.write_targets()))

    def near_where(self, where: Scope) -> list[Allocation]:
        """The same in the coordinates of the file systems: the rows that have a `where`, and may meet this one."""
        return self._listed(self._wheres.near(where.write_targets()))

    def roots(self) -> tuple[Allocation, ...]:
        """The rows without a parent: roots, and pods that outlived theirs."""
        return tuple(self._listed(incarnation for tops in self._tops.values() for incarnation in tops))

    def roots_of(self, session: str) -> tuple[Allocation, ...]:
        """Those of them that are `born_of` this session."""
        return tuple(self._listed(self._tops.get(session, _NOBODY)))

    def children(self, incarnation: str) -> tuple[Allocation, ...]:
        """The rows directly below; none for an unknown incarnation."""
        entry = self._entries.get(incarnation)
        return () if entry is None else tuple(self._listed(entry.children))

    def older_children(self, incarnation: str) -> tuple[Allocation, ...]:
        """Those of its children that were made before it, and that it can only have inherited."""
        order = self._entries[incarnation].order
        return tuple(child for child in self.children(incarnation) if self._entries[child.incarnation].order < order)

    def descendants(self, incarnation: str) -> tuple[Allocation, ...]:
        """Every row below, leaves first: no row comes before its own children. It is the order to stop pods in."""
        found: list[Allocation] = []
        waiting = list(self.children(incarnation))
        while waiting:
            row = waiting.pop()
            found.append(row)
            waiting.extend(self.children(row.incarnation))
        return tuple(reversed(found))

    def ancestors(self, incarnation: str) -> tuple[Allocation, ...]:
        """The rows above, nearest first."""
        found: list[Allocation] = []
        row = self.get(incarnation)
        while row is not None and row.parent is not None:
            row = self[row.parent]
            found.append(row)
        return tuple(found)

    def depth(self, incarnation: str) -> int:
        """How many rows there are from the top of the tree to this one; a root is 1."""
        return len(self.ancestors(incarnation)) + 1

    def effective(self, incarnation: str) -> Scope:
        """What the pod may use right now: its declared scope less what its children were lent, and what those `beyond` them hold.
        `KeyError` when unknown."""
        entry = self._entries[incarnation]
        if entry.effective is None:
            lent = (*self._listed(entry.children), *self.beyond(incarnation))
            entry.effective = lend_all(entry.row.scope, ((below.scope, below.name) for below in lent))
        return entry.effective

    def effective_where(self, incarnation: str) -> Scope | None:
        """The same in the coordinates of the file systems; None for a row that does not say. `KeyError` when unknown."""
        entry = self._entries[incarnation]
        if entry.row.where is None:
            return None
        lent = (*self._listed(entry.children), *self.beyond(incarnation))
        return lend_all(entry.row.where, ((below.where, below.name) for below in lent if below.where is not None))

    def beyond(self, incarnation: str) -> tuple[Allocation, ...]:
        """The rows further below that write what this row's scope has and its children's have not.

        A restored root has such rows when those it inherited handed out more than they write themselves while nobody was above
        them. Nobody else has: at a birth whoever is above holds the path.
        """
        if incarnation not in self._outdone:
            return ()
        row, children = self[incarnation], self.children(incarnation)
        scope = lend_all(row.scope, ((child.scope, child.name) for child in children))
        where = lend_all(row.where or Scope.none(), ((c.where, c.name) for c in children if c.where is not None))
        found = []
        for below in reversed(self.descendants(incarnation)):  # parents first: of a family the uppermost counts
            if below.parent == incarnation:
                continue
            if scope.overlaps(below.scope) or (below.where is not None and where.overlaps(below.where)):
                found.append(below)
                scope, where = scope.lend(below.scope), where.lend(below.where or Scope.none())
        return tuple(found)

    def lenders(self, row: Allocation) -> Iterator[str]:
        """The incarnations from whose scope that of `row` is taken: its parent's, and the restored root's it is `beyond`."""
        if row.parent is None:
            return
        yield row.parent
        if self._outdone:
            top = self.ancestors(row.incarnation)[-1].incarnation
            if top != row.parent and top in self._outdone:
                yield top

    def label(self, row: Allocation, *, seen_from: str | None = None) -> str:
        """How to call the pod when speaking to a pod of the tree `seen_from`: `name` within it, `tree/name` otherwise."""
        return row.name if row.tree == seen_from else f"{row.tree}/{row.name}"

    def named(self) -> Mapping[str, Allocation]:
        """The rows by name; see `NamedRows`."""
        return NamedRows(self)

    # What `fold` builds new tables from. Each counts the fact it follows from.

    def with_row(self, row: Allocation, *, inherits: Iterable[str] = ()) -> Table:
        """This table and a new row below its parent. Those it `inherits` are its children from here, and of its tree."""
        mine = HashTrieSet(inherits)
        outdone = self._outdone.insert(row.incarnation) if mine else self._outdone
        entries = self._entries.insert(row.incarnation, _Entry(row, self.sequence, mine))
        names, tops = self._names.insert((row.tree, row.name), row.incarnation), self._tops
        if row.parent is None:
            tops = _with_top(tops, row)
        else:
            above = entries[row.parent]
            entries = entries.insert(row.parent, _Entry(above.row, above.order, above.children.insert(row.incarnation)))
        for orphan in mine:
            old = entries[orphan]
            tops = _without_top(tops, old.row)
            entries = _replaced(entries, old, parent=row.incarnation, parent_name=row.name, outlived=None)
            for moved in (*self.descendants(orphan), old.row):
                entries = _replaced(entries, entries[moved.incarnation], tree=row.tree)
                names = names.remove((moved.tree, moved.name)).insert((row.tree, moved.name), moved.incarnation)
        regions = self._regions.with_targets(row.incarnation, row.scope.write_targets())
        wheres = self._wheres.with_targets(row.incarnation, _where_targets(row))
        after = self._next(entries, names, tops, regions, wheres, outdone)
        return after._settled(row.incarnation) if mine else after

    def with_change(self, row: Allocation) -> Table:
        """This table with a row changed in what no other row depends on."""
        old = self._entries[row.incarnation]
        entries = self._entries.insert(row.incarnation, _Entry(row, old.order, old.children, old.effective))
        return self._next(entries, self._names, self._tops, self._regions, self._wheres, self._outdone)

    def without(self, incarnation: str) -> Table:
        """This table less one row; its children take its place below its parent, or stay without one and may be inherited."""
        gone = self._entries[incarnation]
        row, entries, tops = gone.row, self._entries.remove(incarnation), self._tops
        above = None if row.parent is None else entries[row.parent]
        to_be_inherited = above is None or above.row.state is State.RESERVED or above.row.incarnation in self._outdone
        for child in gone.children:
            old = entries[child]
            session = row.born_of or old.row.born_of if to_be_inherited else old.row.born_of
            parent_name = None if above is None else above.row.name
            outlived = incarnation if above is None else None
            entries = _replaced(entries, old, parent=row.parent, parent_name=parent_name, born_of=session, outlived=outlived)
            tops = _with_top(tops, entries[child].row) if above is None else tops
        if above is None:
            tops = _without_top(tops, row)
        else:
            left = above.children.remove(incarnation).update(gone.children)
            entries = entries.insert(above.row.incarnation, _Entry(above.row, above.order, left))
        names = self._names.remove((row.tree, row.name))
        regions = self._regions.without_targets(incarnation, row.scope.write_targets())
        wheres = self._wheres.without_targets(incarnation, _where_targets(row))
        after = self._next(entries, names, tops, regions, wheres, self._outdone.discard(incarnation))
        return after if above is None or not self._outdone else after._settled(self.ancestors(incarnation)[-1].incarnation)

    def with_refusal(self) -> Table:
        """This table after a fact that changed nothing."""
        return attrs.evolve(self, sequence=self.sequence + 1, refused=self.refused + 1)

    def _settled(self, top: str) -> Table:
        """This table, when it was found out anew whether anybody is `beyond` the root `top`."""
        if top not in self._outdone:
            return self
        old = self._entries[top]
        entries = self._entries.insert(top, _Entry(old.row, old.order, old.children))
        outdone = self._outdone if self.beyond(top) else self._outdone.remove(top)
        return attrs.evolve(self, entries=entries, outdone=outdone)

    def _next(
        self,
        entries: HashTrieMap[str, _Entry],
        names: HashTrieMap[tuple[str, str], str],
        tops: _Tops,
        regions: Regions,
        wheres: Regions,
        outdone: HashTrieSet[str],
    ) -> Table:
        sequence = self.sequence + 1
        return Table(entries, names, tops, regions, wheres, outdone, sequence=sequence, refused=self.refused, foreign=self.foreign)

    def _listed(self, incarnations: Iterable[str]) -> list[Allocation]:
        entries = sorted([self._entries[incarnation] for incarnation in incarnations], key=_by_order)
        return [entry.row for entry in entries]


def _by_order(entry: _Entry) -> int:
    return entry.order


def _replaced(entries: HashTrieMap[str, _Entry], old: _Entry, **changes: Any) -> HashTrieMap[str, _Entry]:
    row = attrs.evolve(old.row, **changes)
    return entries.insert(row.incarnation, _Entry(row, old.order, old.children, old.effective))


def _where_targets(row: Allocation) -> tuple[str, ...]:
    return () if row.where is None else row.where.write_targets()


def _with_top(tops: _Tops, row: Allocation) -> _Tops:
    return tops.insert(row.born_of, tops.get(row.born_of, _NOBODY).insert(row.incarnation))


def _without_top(tops: _Tops, row: Allocation) -> _Tops:
    left = tops[row.born_of].remove(row.incarnation)
    return tops.insert(row.born_of, left) if left else tops.remove(row.born_of)
