"""A program that is short of descriptors, in simulated runs: it opens nothing, loses nothing, and goes on when it can."""

import pytest
import trio
from scenes import quiet

from podkit import Scope
from podkit.errors import PodUnreachableError, RegistryError, TransportError
from podkit.testing import Faults, simulate


def test_a_birth_that_finds_no_descriptor_fails_and_the_next_one_does_not():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            launcher, program = world.launcher(quiet), world.program(root)
            program.short = True
            with pytest.raises(RegistryError, match="too many open files"):
                await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=launcher)
            assert root.scope == Scope.write("/w")
            program.has_descriptors()
            await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=launcher)

    for seed in range(10):
        simulate(scenario, seed=seed)
        simulate(scenario, seed=seed, faults=Faults.none(disk=True))


def test_who_connects_meanwhile_is_served_afterwards():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            program = world.program(root)
            program.short = True
            with pytest.raises(PodUnreachableError, match="too many open files"):
                await program.transport.connect(root.address)
            with pytest.raises(TransportError, match="too many open files"):
                await program.transport.listen("memory://elsewhere")
            async with trio.open_nursery() as nursery:

                async def ask():
                    async with world.connect(root.address) as client:
                        assert (await client.ask("hello")).text == "done"

                nursery.start_soon(ask)
                await trio.sleep(3)
                program.has_descriptors()

    for seed in range(10):
        simulate(scenario, seed=seed)


def test_who_cannot_look_takes_nobody_for_dead():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            kid = await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=world.launcher(quiet))
            key = f"kid.{kid.incarnation}"
            program = world.program(root)
            world.freeze(root)
            world.crash(kid)
            program.short = True
            assert await program.registry.held(key)
            program.has_descriptors()
            assert not await program.registry.held(key)
            world.thaw(root)
            await kid.gone.wait()
            assert root.scope == Scope.write("/w")

    for seed in range(10):
        simulate(scenario, seed=seed)
