"""A whole world in memory: registry, transport and pods, without files, sockets, threads or a wall clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from podkit._life import Pod, open_pod
from podkit._net import Client, MemoryTransport, connect
from podkit._store import MemoryRegistry
from podkit.abc import Worker
from podkit.logic import Scope


class World:
    """One registry and one transport that everything in this world shares."""

    registry: MemoryRegistry
    transport: MemoryTransport

    def __init__(self) -> None:
        self.registry = MemoryRegistry()
        self.transport = MemoryTransport()

    def __repr__(self) -> str:
        return f"<World {self.registry!r}>"

    def open_pod(self, name: str, worker: Worker, *, scope: Scope, **options: Any) -> AbstractAsyncContextManager[Pod]:
        """Like `podkit.open_pod`, in this world. `options` are those of `podkit.open_pod`."""
        options.setdefault("cwd", "/")
        options.setdefault("transport", self.transport)
        options.setdefault("registry", self.registry)
        return open_pod(name, worker, scope=scope, **options)

    def connect(self, address: str, **options: Any) -> AbstractAsyncContextManager[Client]:
        """Like `podkit.connect`, in this world."""
        return connect(address, transport=self.transport, **options)


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    """A new world. With trio's `MockClock` (the fixture `autojump_clock`) hours in it pass in no time."""
    yield World()
