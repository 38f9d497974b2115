from collections.abc import Sequence
from functools import partial

import trio

from podkit.abc import Lease, Registry
from podkit.errors import RegistryError
from podkit.logic import check_lease_key
from podkit.testing import check_registry


class Shelf:
    """What every opening of one registry shares. In earnest: a database."""

    def __init__(self) -> None:
        self.facts: list[bytes] = []
        self.leases: dict[str, ShelfLease] = {}


class ShelfLease(Lease):
    def __init__(self, key: str) -> None:
        self.key, self.over = key, trio.Event()

    def release(self) -> None:
        self.over.set()


class ShelfRegistry(Registry):
    exclusive = "exclusive within this program"

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    async def read(self, after: int) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return self.shelf.facts[after:]

    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        await trio.lowlevel.checkpoint()  # here it may be cancelled, and nothing was kept
        if after != len(self.shelf.facts):
            return False
        self.shelf.facts.extend(facts)
        return True

    async def hold(self, key: str) -> Lease:
        await trio.lowlevel.checkpoint()
        if check_lease_key(key) in self.shelf.leases:
            raise RegistryError(f"the lease {key} was taken before")
        self.shelf.leases[key] = ShelfLease(key)
        return self.shelf.leases[key]

    async def held(self, key: str) -> bool:
        await trio.lowlevel.checkpoint()
        lease = self.shelf.leases.get(check_lease_key(key))
        return lease is None or not lease.over.is_set()  # nobody knows: it counts as held

    async def gone(self, key: str) -> None:
        lease = self.shelf.leases.get(check_lease_key(key))
        if lease is not None:
            await lease.over.wait()
        table = await self.rows()
        while key not in self.shelf.leases and any(row.key == key for row in table):
            await self.changed(table.sequence)
            table = await self.rows()

    async def forget(self, key: str) -> None:
        if not await self.held(key):
            del self.shelf.leases[key]


def another(first: Registry) -> Registry:
    assert isinstance(first, ShelfRegistry)
    return ShelfRegistry(first.shelf)


if __name__ == "__main__":
    trio.run(partial(check_registry, lambda: ShelfRegistry(Shelf()), make_second=another))
