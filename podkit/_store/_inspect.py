"""Who holds what, for people to read."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import attrs

from podkit._store._file_registry import FileRegistry
from podkit.errors import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podkit.abc import Registry
    from podkit.logic import Allocation, Scope, Table

_SHOWN_TARGETS = 4


@attrs.frozen
class Holding:
    """One pod: its row, what it may use right now, whether its lease is held, and how deep in its tree it is (0: top).

    `lost` says that its lease cannot be found: then nobody can tell whether it lives, and it counts as alive. Once it is stopped
    for certain, making the lease again (`mkfifo <registry>/.leases/<key>`) shows everybody that nobody holds it.
    """

    row: Allocation
    scope: Scope
    alive: bool
    depth: int
    lost: bool = attrs.field(default=False, kw_only=True)

    def __str__(self) -> str:
        since = dt.datetime.fromtimestamp(self.row.since, tz=dt.UTC).isoformat(" ", "seconds").removesuffix("+00:00")
        life = f"perhaps alive (its lease {self.row.key} is missing)" if self.lost else "alive" if self.alive else "dead"
        head = f"{'  ' * self.depth}{self.row.tree}/{self.row.name} {self.row.state.value} {life} since {since} UTC"
        return f"{head}, {_summary(self.row)}, at {shown(self.row.address, 200)}"


@attrs.frozen
class Inspection:
    """What a registry held at one moment: `holdings` with children after their parents. `where` is its locator."""

    where: str | None
    holdings: tuple[Holding, ...]

    def __iter__(self) -> Iterator[Holding]:
        return iter(self.holdings)

    def __len__(self) -> int:
        return len(self.holdings)

    def __str__(self) -> str:
        where = "this program" if self.where is None else shown(self.where, 200)
        if not self.holdings:
            return f"{where}: nobody holds anything"
        return "\n".join([f"{where}:", *map(str, self.holdings)])


async def inspect(registry: Registry) -> Inspection:
    """Look who holds what, since when, and whether it lives. Nothing is changed. Raises what reading the registry raises."""
    table = await registry.rows()
    found = []
    for row, depth in _walk(table):
        lost = isinstance(registry, FileRegistry) and registry.lost(row.key)
        found.append(Holding(row, table.effective(row.incarnation), await registry.held(row.key), depth, lost=lost))
    return Inspection(registry.locator, tuple(found))


def _walk(table: Table) -> Iterator[tuple[Allocation, int]]:
    waiting = [(row, 0) for row in reversed(table.roots())]
    while waiting:
        row, depth = waiting.pop()
        yield row, depth
        waiting.extend((child, depth + 1) for child in reversed(table.children(row.incarnation)))


def _summary(row: Allocation) -> str:
    write = row.scope.write_targets()
    read = tuple(rule.target for rule in row.scope.allow if rule.target not in write)
    parts = [f"{verb} {_list(targets)}" for verb, targets in (("writes", write), ("reads", read)) if targets]
    return " and ".join(parts)


def _list(targets: tuple[str, ...]) -> str:
    text = ", ".join(shown(target, 200) for target in targets[:_SHOWN_TARGETS])
    more = len(targets) - _SHOWN_TARGETS
    return f"{text} and {more} more" if more > 0 else text
