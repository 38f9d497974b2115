"""Rows under the names that people give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from podkit.logic._allocations import Allocation


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
