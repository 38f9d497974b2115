"""Many tasks and two openings of one registry: who is cancelled while it waits or changes something is in nobody's way."""

import random
import tempfile

import trio

from podkit._store import FileRegistry
from podkit.logic import Scope, decide_free, decide_root

_SECONDS, _CHANGES = 0.5, 300


async def _play(registries, chance):
    asked = 0

    async def change(registry, name):
        await registry.transact(
            lambda table: decide_root(
                table, name=name, tree=name, incarnation=name, scope=Scope.write(f"/{name}"), address="memory://x", since=1.0
            )
        )
        await registry.transact(lambda table: decide_free(table, incarnation=name, author=name))

    async def impatient(registry, steps):
        """Ask again and again, and give up after a few steps of the schedule."""
        nonlocal asked
        while trio.current_time() < end and asked < _CHANGES:
            async with trio.open_nursery() as nursery:
                asked += 1
                nursery.start_soon(change, registry, f"p{asked}")
                for _ in range(chance.randrange(steps)):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()

    end = trio.current_time() + _SECONDS
    async with trio.open_nursery() as nursery:
        for registry in registries:
            for steps in (4, 12, 40):
                nursery.start_soon(impatient, registry, steps)
    for registry in registries:
        await change(registry, "last")


def waiters(seeds):
    """Whether somebody who gave up stands in the way of the others."""
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="pk") as directory:
            registries = [FileRegistry(directory, lock_timeout=2.0) for _ in range(2)]
            try:
                trio.run(_play, registries, random.Random(seed))
            except Exception as error:  # noqa: BLE001 - nothing that a change may refuse happens here
                print(f"seed {seed}: {getattr(error, 'exceptions', error)}")
                return True
    return False
