"""Parts of one's own in a simulated world: a store, a transport, a launcher, a registry."""

import pytest
import trio
from scenes import quiet

import podkit
from podkit import Scope, TaskLauncher
from podkit.abc import Launcher, SessionStore
from podkit.testing import simulate

ROOT, KID = Scope.write("/w"), Scope.write("/w/kid")


class Store(SessionStore):
    """As somebody would write it who keeps sessions elsewhere."""

    def __init__(self):
        self.inner, self.directory = podkit.MemorySessionStore(), None

    async def open(self, name, *, create=None):
        return await self.inner.open(name, create=create)

    async def read(self, name):
        return await self.inner.read(name)

    async def names(self):
        return await self.inner.names()


@pytest.mark.parametrize("task", [True, False])
def test_a_store_of_ones_own_keeps_the_whole_tree_in_a_simulated_run(task):
    async def scenario(world):
        store = Store()
        async with world.open_pod("root", quiet(), scope=ROOT, sessions=store) as root:
            launcher = TaskLauncher(quiet) if task else world.launcher(quiet)
            kid = await root.spawn("kid", scope=KID, launcher=launcher)
            assert (await kid.ask("hello")).text == "done"
            await kid.stop()
            assert sorted(await store.names()) == ["kid", "root"]
            assert await world.sessions.names() == ()

    for seed in range(10):
        simulate(scenario, seed=seed)


def test_a_root_is_restored_from_a_store_of_ones_own_and_its_log_is_watched():
    async def scenario(world):
        parts = {"transport": world.transport, "registry": world.registry}
        store = Store()
        async with world.open_pod("root", quiet(), scope=ROOT, sessions=store) as root:
            await root.ask("hello")
        async with podkit.restore_pod("root", quiet(), sessions=store, **parts) as root:
            assert (await root.ask("again")).text == "done"

    for seed in range(10):
        simulate(scenario, seed=seed)


def test_a_program_of_a_world_needs_its_transport_and_says_so():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT, transport=podkit.MemoryTransport()) as root:
            with pytest.raises(podkit.LaunchFailedError, match="its transport is not that of this world"):
                await root.spawn("kid", scope=KID, launcher=world.launcher(quiet))
            kid = await root.spawn("kid", scope=KID, launcher=TaskLauncher(quiet))
            await kid.stop()

    for seed in range(10):
        simulate(scenario, seed=seed)


def test_a_launcher_around_that_of_the_world_and_one_of_ones_own_start_children():
    class Around(Launcher):
        def __init__(self, inner):
            self.inner = inner

        async def launch(self, birth):
            await trio.sleep(1)
            return await self.inner.launch(birth)

    class Own(Launcher):
        async def launch(self, birth):
            await trio.lowlevel.checkpoint()
            return birth.task(lambda: birth.adopt(quiet()))

    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT) as root:
            for launcher in (Around(world.launcher(quiet)), Own()):
                kid = await root.spawn("kid", scope=KID, launcher=launcher, task="go")
                await kid.stop()

    for seed in range(10):
        simulate(scenario, seed=seed)
