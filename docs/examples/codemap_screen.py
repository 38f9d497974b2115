"""What codemap.py shows while it runs: the live pod tree, with name, status, scope and what each pod last said."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import trio
from codemap_plan import clean

import podkit
from podkit.protocol import RunEnd, Snapshot, StatusEvent, TextDone

if TYPE_CHECKING:
    from podkit.abc import Pod, Registry, Transport
    from podkit.logic import Allocation

POLL = 0.1


@dataclass
class Seen:
    """A pod of the tree, as last seen. It stays here after it is gone, so that its traces can be looked for."""

    row: Allocation
    status: str = "starting"
    said: str = ""


class Screen:
    """Follows the tree of one lead through the registry and listens to every pod in it."""

    def __init__(self, root: str, registry: Registry, transport: Transport, out: TextIO | None = None) -> None:
        self.seen: dict[str, Seen] = {}
        self._root, self._registry, self._transport = root, registry, transport
        self._out = sys.stdout if out is None else out
        self._live = self._out.isatty()
        self._drawn: list[str] = []
        self._next = 0.0

    async def follow(self, lead: Pod) -> None:
        """Show the tree below `lead` until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self.look(lead, nursery)
                self.draw()
                await trio.sleep(POLL)

    async def look(self, lead: Pod, nursery: trio.Nursery) -> None:
        """Take in what the registry says now, and listen to whoever is new."""
        rows = list((await self._registry.table()).values())
        tree = next((row.tree for row in rows if row.incarnation == lead.incarnation), None)
        present = {row.incarnation: row for row in rows if row.tree == tree}
        for incarnation, row in present.items():
            if incarnation not in self.seen:
                self.seen[incarnation] = Seen(row)
            self.seen[incarnation].row = row
            if self.seen[incarnation].status == "starting" and row.state.value == "live":
                self.seen[incarnation].status = "live"
                nursery.start_soon(self._listen, incarnation)
        for incarnation in self.seen.keys() - present.keys():
            self.seen[incarnation].status = "gone"

    async def _listen(self, incarnation: str) -> None:
        seen = self.seen[incarnation]
        try:
            async with podkit.connect(seen.row.address, transport=self._transport) as client:
                async for event in client:
                    if isinstance(event, Snapshot | StatusEvent):
                        seen.status = event.status.value
                    elif isinstance(event, TextDone) and not event.text.startswith("{"):  # that is for programs
                        seen.said = clean(event.text)
                    elif isinstance(event, RunEnd):
                        seen.said += f" [{event.result.value}]"
        except (podkit.PodkitError, OSError):
            pass  # gone, or going: the registry says which

    def draw(self, *, now: bool = False) -> None:
        """Show the tree if it changed: over the last one on a terminal, below it, and not too often, in a log."""
        lines = list(self._lines())
        if lines == self._drawn or (not now and trio.current_time() < self._next):
            return
        if self._live and self._drawn:
            self._out.write(f"\x1b[{len(self._drawn)}F\x1b[J")
        elif self._drawn:
            self._out.write("\n")
        self._out.writelines(line + "\n" for line in lines)
        self._out.flush()
        self._drawn = lines
        self._next = trio.current_time() + (POLL if self._live else 0.5)

    def _lines(self) -> list[str]:
        width = shutil.get_terminal_size((110, 24)).columns - 1 if self._live else 130
        rows = [(depth, seen) for depth, seen in self._nested(None, 0) if seen.status != "gone"]
        return [clean_row(depth, seen, self._root)[:width] for depth, seen in rows]

    def _nested(self, parent: str | None, depth: int) -> list[tuple[int, Seen]]:
        found: list[tuple[int, Seen]] = []
        for incarnation, seen in self.seen.items():
            above = seen.row.parent if seen.row.parent in self.seen else None
            if above == parent:
                found += [(depth, seen), *self._nested(incarnation, depth + 1)]
        return found


def clean_row(depth: int, seen: Seen, root: str) -> str:
    """One line of the tree."""
    name = "  " * depth + seen.row.name
    return f"{name:16} {seen.status:8} {short_scope(seen.row, root):32} {seen.said}".rstrip()


def short_scope(row: Allocation, root: str) -> str:
    """What the pod may write, in a few words."""
    targets = [rule.target for rule in row.scope.allow if rule.permission is podkit.Permission.WRITE]
    names = ["." if target == root else target.removeprefix(root.rstrip("/") + "/") for target in targets]
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    return clean(f"write {names[-1]}", 31 - len(more)) + more if names else "no write"
