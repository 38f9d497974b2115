"""A world in memory: its programs can die, stand still and be cut off, and podkit's own code has to cope."""

import inspect

import pytest
import trio
from scenes import quiet

import podkit
from podkit import Scope, TaskLauncher
from podkit.errors import PodUnreachableError, WriteConflictError
from podkit.protocol import Permission, Snapshot
from podkit.testing import ScriptedWorker, Sleep, open_world

WRITE, READ = Permission.WRITE, Permission.READ


@pytest.fixture
async def world():
    with trio.fail_after(3600):
        async with open_world(seed=1) as world:
            yield world


async def test_a_crashed_child_gives_its_scope_back(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        child = await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
        assert root.scope.at("/w/a") is READ
        world.crash(child)
        with trio.fail_after(2):
            await child.gone.wait()
        assert root.scope.at("/w/a") is WRITE
        assert "a" not in root.children


async def test_a_crashed_program_runs_no_orderly_end(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        async with world.connect(root.address) as client:
            await client.receive()
            world.crash(root)
            with pytest.raises(PodUnreachableError):
                while True:
                    await client.receive()
        await root.stopped()
        assert [row.name for row in await world.registry.rows()] == ["root"]  # nobody freed it
        assert world.registry.leases_held() == []
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as again:  # and the next one takes it back
            assert again.scope.at("/w") is WRITE
            assert len(await world.registry.rows()) == 1


async def test_a_child_outlives_its_crashed_parent_and_ends_by_itself(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        child = await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
        program = world.program(child)
        world.crash(root)
        assert program.alive
        with trio.fail_after(10):
            await program.over.wait()
        assert program.status == 0


async def test_a_child_that_is_a_task_dies_with_its_parents_program(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        await root.spawn("a", scope=Scope.write("/w/a"), launcher=TaskLauncher(quiet))
        world.crash(root)
        assert world.registry.leases_held() == []
        with pytest.raises(PodUnreachableError):
            async with world.connect("memory://a"):
                pass


@pytest.mark.proves("I38")
async def test_a_frozen_pod_answers_when_it_goes_on_and_keeps_its_scope_meanwhile(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        child = await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
        async with world.connect(child.address) as client:
            assert isinstance(await client.receive(), Snapshot)
            world.freeze(child)
            with trio.move_on_after(30) as waited:
                await client.run("hello")
            assert waited.cancelled_caught
            assert root.scope.at("/w/a") is READ
            world.thaw(child)
            with trio.fail_after(5):
                assert (await child.snapshot()).entries  # what was asked meanwhile was heard


async def test_a_frozen_pod_takes_no_step(world, autojump_clock):
    class Counter(ScriptedWorker):
        count = 0

        async def work(self, run, emit):
            while True:
                self.count += 1
                await trio.sleep(1)

    worker = Counter()
    async with world.open_pod("root", worker, scope=Scope.write("/w")) as root:
        await root.run("count")
        await trio.sleep(10)
        world.freeze(root)
        before = worker.count
        await trio.sleep(100)
        assert worker.count == before
        world.thaw(root)
        await trio.sleep(10)
        assert worker.count > before


async def test_nothing_passes_a_partition_until_it_heals(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        child = await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
        world.partition(root, child)
        with trio.move_on_after(5) as waited:
            await child.run("hello")
        assert waited.cancelled_caught
        world.heal(root, child)
        with trio.fail_after(5):
            assert (await child.ask("hello")).text == "done"


async def test_a_reboot_ends_every_program_and_empties_the_registry(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        child = await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
        world.reboot()
        assert not world.program(root).alive
        assert not world.program(child).alive
        assert len(await world.registry.rows()) == 0
        async with world.open_pod("next", quiet(), scope=Scope.write("/w")):
            assert [row.name for row in await world.registry.rows()] == ["next"]


async def test_what_opening_raises_comes_out_as_it_is(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")):
        with pytest.raises(WriteConflictError):
            async with world.open_pod("other", quiet(), scope=Scope.write("/w/a")):
                pass


async def test_a_task_inside_a_program_dies_with_it(world, autojump_clock):
    async with world.open_pod("root", ScriptedWorker(Sleep(3600)), scope=Scope.write("/w")) as root:

        async def crash_soon():
            await trio.sleep(1)
            world.crash(root)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_soon)
            with pytest.raises(PodUnreachableError):
                await world.inside(root, trio.sleep_forever)


async def test_leaving_a_world_leaves_nothing_behind(world, autojump_clock):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
    assert len(await world.registry.rows()) == 0
    assert world.registry.leases_held() == []
    assert not world.net.links
    assert not world.net.listeners


def test_the_options_of_a_world_are_those_of_podkit_itself():
    """So that a type checker knows them."""
    from podkit.testing import _world_options as options

    def beside(function, *given):
        return set(inspect.signature(function).parameters) - set(given)

    assert set(options.OpenOptions.__annotations__) == beside(podkit.open_pod, "name", "worker", "scope")
    assert set(options.ConnectOptions.__annotations__) == beside(podkit.connect, "address", "transport")


async def test_a_world_with_a_disk_keeps_its_files_there_and_what_was_accepted_when_the_power_is_lost(autojump_clock):
    async with open_world(seed=1, disk=True) as world:
        assert world.clock is autojump_clock
        assert world.run_dir == "/run/podkit"
        async with world.open_pod("root", quiet(), scope=Scope.write("/w"), sessions=world.sessions) as root:
            assert (await root.ask("hello")).text == "done"
            assert any(name.startswith(world.run_dir + "/.registry/log.") for name in world.disk.names)
            world.reboot()
        assert world.registry.leases_held() == []
        async with world.restore_pod("root", quiet()) as again:
            assert "hello" in str(next(entry for entry in again.log.data if entry["kind"] == "user_input"))
            kid = await again.spawn("kid", scope=Scope.write("/w/kid"), launcher=world.launcher(quiet))
            world.crash(kid)
            with trio.fail_after(60):
                await kid.gone.wait()
            assert again.scope == Scope.write("/w")


async def test_a_world_without_a_disk_says_so(world, autojump_clock):
    assert world.disk is world.run_dir is None
