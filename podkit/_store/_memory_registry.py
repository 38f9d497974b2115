"""A registry in memory: for one program, and for tests in virtual time. No thread, no file, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from podkit.abc import Lease, Registry
from podkit.errors import RegistryError
from podkit.logic import check_lease_key

if TYPE_CHECKING:
    from collections.abc import Sequence


class MemoryLease(Lease):
    """A lease whose holder is an object of this program."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.fd = None
        self.gone = trio.Event()

    def release(self) -> None:
        """Let go."""
        self.gone.set()

    def __repr__(self) -> str:
        return f"<MemoryLease {self.key} {'free' if self.gone.is_set() else 'held'}>"


class MemoryRegistry(Registry):
    """The registry of the pods of one program. It ends with the program and no other program can open it."""

    exclusive: str | None = "exclusive within this program"

    def __init__(self) -> None:
        self._facts: list[bytes] = []
        self._dropped = 0  # facts before the first one kept
        self._size = 0
        self._more = trio.Event()
        self._leases: dict[str, MemoryLease] = {}

    def __repr__(self) -> str:
        return f"<MemoryRegistry of {len(self._folded)} pods>"

    async def read(self, after: int) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return self._facts[max(0, after - self._dropped) :]

    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        await trio.lowlevel.checkpoint_if_cancelled()
        if after != self._last:
            return False
        self._facts.extend(facts)
        self._size += sum(map(len, facts))
        self._tell()
        return True

    async def compact(self, after: int, facts: Sequence[bytes]) -> bool:
        await trio.lowlevel.checkpoint_if_cancelled()
        if after != self._last:
            return False
        self._facts, self._dropped, self._size = list(facts), after, sum(map(len, facts))
        self._tell()
        return True

    def droppable(self) -> int:
        return self._size

    async def changed(self, after: int) -> None:
        await trio.lowlevel.checkpoint()
        while self._last <= after:
            await self._more.wait()

    async def hold(self, key: str) -> Lease:
        check_lease_key(key)
        await trio.lowlevel.checkpoint()
        if key in self._leases:
            raise RegistryError(f"the lease {key} was taken before")
        lease = self._leases[key] = MemoryLease(key)
        return lease

    async def held(self, key: str) -> bool:
        await trio.lowlevel.checkpoint()
        lease = self._leases.get(check_lease_key(key))
        return lease is None or not lease.gone.is_set()

    async def gone(self, key: str) -> None:
        lease = self._leases.get(check_lease_key(key))
        if lease is not None:
            await lease.gone.wait()
            return
        table = await self.rows()
        while any(row.key == key for row in table):
            await self.changed(table.sequence)
            table = await self.rows()

    async def forget(self, key: str) -> None:
        check_lease_key(key)
        await trio.lowlevel.checkpoint_if_cancelled()
        lease = self._leases.get(key)
        if lease is not None and lease.gone.is_set():
            del self._leases[key]

    @property
    def _last(self) -> int:
        return self._dropped + len(self._facts)

    def _tell(self) -> None:
        self._more.set()
        self._more = trio.Event()
