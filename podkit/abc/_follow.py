"""Following a registry: its facts as they come."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit.logic import Fact, Restart, Table, changes, fold

if TYPE_CHECKING:
    from podkit.abc._registry import Registry


class Following(trio.abc.ReceiveChannel[Fact]):
    """The facts that changed the table, in order, without end. Where the log dropped its past meanwhile, what ended and what is
    new comes as facts that say so. `table` is the table after everything that was read so far."""

    table: Table

    def __init__(self, registry: Registry, table: Table) -> None:
        self.table = table
        self._registry = registry
        self._waiting: deque[Fact] = deque()
        self._scope: trio.CancelScope | None = None
        self._closed = False

    async def receive(self) -> Fact:
        """The next fact. Raises `trio.ClosedResourceError`, `trio.BusyResourceError`, and what the registry raises."""
        if self._scope is not None:
            raise trio.BusyResourceError("another task is receiving here")
        with trio.CancelScope() as scope:
            self._scope = scope
            if self._closed:
                scope.cancel()
            try:
                if self._waiting:
                    await trio.lowlevel.checkpoint()
                while not self._waiting:
                    await self._read()
            finally:
                self._scope = None
        if self._closed:
            raise trio.ClosedResourceError("this was closed")
        return self._waiting.popleft()

    async def _read(self) -> None:
        await self._registry.changed(self.table.sequence)
        tail = await self._registry.facts(self.table.sequence)
        restarted = any(isinstance(fact, Restart) for fact in tail)
        before, seen = self.table, self.table
        for fact in tail:
            after = fold(seen, fact)
            if after.refused == seen.refused and not restarted:
                self._waiting.append(fact)
            seen = after
        if restarted:
            self._waiting.extend(changes(before, seen, author="witness"))
        self.table = seen

    async def aclose(self) -> None:
        """Stop following. A task that waits here gets `trio.ClosedResourceError`."""
        self._closed = True
        if self._scope is not None:
            self._scope.cancel()
        await trio.lowlevel.checkpoint()
