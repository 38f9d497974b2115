"""Who holds what, as it follows from the facts. Values only: `fold` answers a new table and leaves the old one as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from podkit.logic._allocations import Allocation
from podkit.logic._regions import Regions
from podkit.logic._scope import Scope


@attrs.define(eq=False)
class _Entry:
    """A row with its children's incarnations. What the pod may use right now is worked out once, on demand."""

    row: Allocation
    order: int  # the number of the fact that made the row
    children: tuple[str, ...] = ()
    effective: Scope | None = attrs.field(default=None, repr=False)


@attrs.frozen(eq=False)
class Table:
    """The rows of all pods of one registry, by incarnation, in the order they were made.

    `sequence` counts the facts folded so far, `refused` those among them that were not lawful and changed nothing.
    `foreign` says why nothing may be granted on this table, when a fact of a newer podkit is in it.
    """

    _entries: Mapping[str, _Entry] = attrs.field(factory=dict, repr=lambda entries: f"<{len(entries)} rows>")
    _names: Mapping[tuple[str, str], str] = attrs.field(factory=dict, repr=False)
    _regions: Regions = attrs.field(factory=Regions, repr=False)
    sequence: int = attrs.field(default=0, kw_only=True)
    refused: int = attrs.field(default=0, kw_only=True)
    foreign: str | None = attrs.field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Allocation]:
        return (entry.row for entry in self._entries.values())

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
        found = [self._entries[incarnation] for incarnation in self._regions.near(scope.write_targets())]
        return [entry.row for entry in sorted(found, key=_by_order)]

    def roots(self) -> tuple[Allocation, ...]:
        """The rows without a parent: roots, and pods that outlived theirs."""
        return tuple(row for row in self if row.parent is None)

    def children(self, incarnation: str) -> tuple[Allocation, ...]:
        """The rows directly below; none for an unknown incarnation."""
        entry = self._entries.get(incarnation)
        return () if entry is None else tuple(self._entries[child].row for child in entry.children)

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
        """What the pod may use right now: its declared scope less what its children were lent. `KeyError` when unknown."""
        entry = self._entries[incarnation]
        if entry.effective is None:
            scope = entry.row.scope
            for child in entry.children:
                row = self._entries[child].row
                scope = scope.lend(row.scope, to=row.name)
            entry.effective = scope
        return entry.effective

    def label(self, row: Allocation, *, seen_from: str | None = None) -> str:
        """How to call the pod when speaking to a pod of the tree `seen_from`: `name` within it, `tree/name` otherwise."""
        return row.name if row.tree == seen_from else f"{row.tree}/{row.name}"

    def named(self) -> Mapping[str, Allocation]:
        """The rows by name; see `NamedRows`."""
        return NamedRows(self)

    # What `fold` builds new tables from.

    def with_row(self, row: Allocation) -> Table:
        """This table and a new row at the end of its parent's children."""
        entries = dict(self._entries)
        entries[row.incarnation] = _Entry(row, self.sequence)
        if row.parent is not None:
            above = entries[row.parent]
            lent = None if above.effective is None else above.effective.lend(row.scope, to=row.name)
            entries[row.parent] = _Entry(above.row, above.order, (*above.children, row.incarnation), lent)
        names = {**self._names, (row.tree, row.name): row.incarnation}
        regions = self._regions.with_targets(row.incarnation, row.scope.write_targets())
        return attrs.evolve(self, entries=entries, names=names, regions=regions)

    def with_change(self, row: Allocation) -> Table:
        """This table with a row changed in what no other row depends on."""
        entries = dict(self._entries)
        old = entries[row.incarnation]
        entries[row.incarnation] = _Entry(row, old.order, old.children, old.effective)
        return attrs.evolve(self, entries=entries)

    def without(self, incarnation: str) -> Table:
        """This table less one row; its children take its place below its parent."""
        entries = dict(self._entries)
        gone = entries.pop(incarnation)
        parent = gone.row.parent
        above = None if parent is None else entries[parent]
        for child in gone.children:
            old = entries[child]
            row = attrs.evolve(old.row, parent=parent, parent_name=None if above is None else above.row.name)
            entries[child] = _Entry(row, old.order, old.children, old.effective)
        if above is not None and parent is not None:
            left = tuple(child for child in above.children if child != incarnation)
            entries[parent] = _Entry(above.row, above.order, (*left, *gone.children))
        names = dict(self._names)
        del names[gone.row.tree, gone.row.name]
        regions = self._regions.without_targets(incarnation, gone.row.scope.write_targets())
        return attrs.evolve(self, entries=entries, names=names, regions=regions)


def _by_order(entry: _Entry) -> int:
    return entry.order


class NamedRows(Mapping[str, Allocation]):
    """Rows by name: `name` where one tree has it, `tree/name` where several do. Every row also answers to `tree/name`."""

    def __init__(self, rows: Iterable[Allocation]) -> None:
        self._exact = {f"{row.tree}/{row.name}": row for row in rows}
        short: dict[str, list[str]] = {}
        for label, row in self._exact.items():
            short.setdefault(row.name, []).append(label)
        self._shown = {
            name if len(labels) == 1 else label: self._exact[label] for name, labels in short.items() for label in labels
        }

    def __getitem__(self, name: str) -> Allocation:
        found = self._shown.get(name)
        return self._exact[name] if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._shown)

    def __len__(self) -> int:
        return len(self._shown)

    def __repr__(self) -> str:
        return f"NamedRows({self._shown!r})"
