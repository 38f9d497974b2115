"""Launchers and tools, and what strangers may do wrong in them."""

import errno
import os

import pytest
import trio

import podkit
from podkit._life import _birth
from podkit.abc import Tool, ToolOutput
from podkit.protocol import TextDone
from podkit.testing import ScriptedWorker, open_world
from podkit_transports import UnixTransport

HOME = podkit.Scope.write("/w")


class Named(podkit.abc.Worker):
    def __init__(self, name="nobody"):
        self.name = name

    async def work(self, run, emit):
        emit(TextDone(text=self.name))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (Named, "nobody"),
        (lambda: Named("none asked"), "none asked"),
        (lambda birth: Named(birth.name), "kid"),
        (lambda birth, /: Named(birth.incarnation[:0] + birth.name), "kid"),
    ],
)
async def test_a_task_launcher_gives_the_birth_to_who_asks_for_it(make, says):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(make))
            assert (await child.ask("who?")).text == says


async def test_a_program_needs_a_registry_that_others_can_open():
    launcher = podkit.ProcessLauncher(["/bin/true"])
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            with pytest.raises(podkit.LaunchFailedError, match="FileRegistry"):
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=launcher)
            assert set(await world.registry.table()) == {"root"}
            assert root.scope.at("/w/a") is podkit.Permission.WRITE


async def test_a_launcher_that_raises_leaves_nothing():
    class Broken(podkit.abc.Launcher):
        async def launch(self, birth):
            raise OSError("out of processes")

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            with pytest.raises(podkit.LaunchFailedError, match="out of processes"):
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=Broken())
            assert set(await world.registry.table()) == {"root"}


@pytest.mark.proves("I34", "I32")
async def test_a_birth_without_room_for_all_of_its_pipes_leaves_none_of_them(short_dir, monkeypatch):
    def one_more():
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(pipe())
        return made[0]

    made, pipe = [], _birth.pipe
    monkeypatch.setattr(_birth, "pipe", one_more)
    os.mkdir(f"{short_dir}/w")
    with trio.fail_after(10), podkit.FileRegistry(f"{short_dir}/r") as registry:
        options = {"transport": UnixTransport(), "registry": registry}
        async with podkit.open_pod("root", ScriptedWorker(), scope=podkit.Scope.write(f"{short_dir}/w"), **options) as root:
            with pytest.raises(podkit.LaunchFailedError, match="Too many open files"):
                kid = podkit.Scope.write(f"{short_dir}/w/a")
                await root.spawn("kid", scope=kid, launcher=podkit.ProcessLauncher(["/bin/true"]))
    (ends,) = made
    for fd in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


@pytest.mark.proves("I34", "I32")
async def test_a_child_whose_key_cannot_be_read_lets_go_of_its_session():
    class Keyless(podkit.MemoryTransport):
        def key(self, address):
            if address.endswith("kid"):
                raise podkit.TransportError(address, "the key cannot be read")
            return super().key(address)

    sessions = podkit.MemorySessionStore()
    with trio.fail_after(10):
        options = {"transport": Keyless(), "registry": podkit.MemoryRegistry(), "sessions": sessions}
        async with podkit.open_pod("root", ScriptedWorker(), scope=HOME, **options) as root:
            with pytest.raises(podkit.LaunchFailedError, match="the key cannot be read"):
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Named))
            async with await sessions.open("kid") as session:
                assert session.segment is not None


@pytest.mark.proves("F27")
async def test_a_birth_during_an_operation_waits_for_it_and_says_what_held_it_up(autojump_clock):
    async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
        async with trio.open_nursery() as nursery:

            async def write_slowly(task_status):
                async with root.authority.gate.shared("writing /w/a/big"):
                    task_status.started()
                    await trio.sleep(100)

            await nursery.start(write_slowly)
            with pytest.raises(podkit.NeverReadyError, match="writing /w/a/big"):
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Named), ready_timeout=5)
            assert root.scope.at("/w/a") is podkit.Permission.WRITE
            child = await root.spawn(
                "kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Named), ready_timeout=500
            )
            assert (await child.ask("hello")).text == "nobody"


async def test_a_birth_is_given_up_when_its_parent_stops(autojump_clock):
    class Never(podkit.abc.Launcher):
        async def launch(self, birth):
            return birth.task(trio.sleep_forever)

    errors = []
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            async with trio.open_nursery() as nursery:

                async def spawn():
                    with pytest.raises(podkit.SpawnError) as caught:
                        await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=Never(), ready_timeout=1000)
                    errors.append(caught.value)

                nursery.start_soon(spawn)
                await trio.sleep(1)
                await root.shutdown()
                await root.stopped()
            with pytest.raises(podkit.SpawnError):
                await root.spawn("late", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Named))
        assert "stopping" in str(errors[0])
        assert not await world.registry.table()


@pytest.mark.parametrize("count", [2])
async def test_one_child_too_many_is_refused(count):
    limits = podkit.Limits(children=count)
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME, limits=limits) as root:
            for number in range(count):
                await root.spawn(f"k{number}", scope=podkit.Scope.write(f"/w/{number}"), launcher=podkit.TaskLauncher(Named))
            with pytest.raises(podkit.LimitExceededError):
                await root.spawn("more", scope=podkit.Scope.write("/w/more"), launcher=podkit.TaskLauncher(Named))


async def test_a_child_lives_under_the_limits_of_its_tree():
    limits = podkit.Limits(notices=3, depth=2)
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME, limits=limits) as root:
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Named))
            for number in range(3):
                await child.notify(f"n{number}", wake=False)
            with pytest.raises(podkit.MethodRejectedError):
                await child.notify("one too many", wake=False)


async def test_a_task_that_is_lost_is_not_delivered_but_the_child_lives():
    class Deaf(podkit.abc.Worker):
        async def work(self, run, emit):
            await trio.sleep_forever()

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            real = podkit.Child.run

            async def refuse(self, input):
                raise podkit.PodUnreachableError("memory://kid")

            podkit.Child.run = refuse
            try:
                with pytest.raises(podkit.errors.DeliveryError):
                    await root.spawn("kid", task="x", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Deaf))
            finally:
                podkit.Child.run = real
            assert set(root.children) == {"kid"}
            assert (await root.children["kid"].stop()).how == "asked"


async def test_a_grant_may_be_wider_than_the_use_and_never_wider_than_ours():
    use = podkit.Scope.read("/w")
    async with open_world() as world:
        with trio.fail_after(10):
            async with world.open_pod("boss", ScriptedWorker(), scope=use, grant=podkit.Scope.write("/w")) as boss:
                assert boss.scope.at("/w/x") is podkit.Permission.READ
                child = await boss.spawn("kid", scope=podkit.Scope.write("/w/x"), launcher=podkit.TaskLauncher(Named))
                table = await world.registry.table()
                assert table["kid"].scope.at("/w/x/y") is podkit.Permission.WRITE
                await child.stop()
                with pytest.raises(podkit.NotSubsetError):
                    await boss.spawn(
                        "kid",
                        scope=podkit.Scope.read("/w/x"),
                        grant=podkit.Scope.write("/elsewhere"),
                        launcher=podkit.TaskLauncher(Named),
                    )


class Odd(Tool):
    name = "Odd"
    description = "misbehaves as it is told"
    input_schema = {"type": "object", "properties": {"how": {"type": "string"}}}  # noqa: RUF012 - a constant

    async def call(self, arguments, context):
        match arguments.get("how"):
            case "raise":
                raise ZeroDivisionError("by zero")
            case "nothing":
                return None
            case _:
                return ToolOutput(context.pod.name)


async def test_a_tool_that_fails_in_any_way_is_an_answer_for_the_model():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME, tools=[Odd()]) as root:
            assert (await root.call_tool("Odd", {})).summary == "root"
            for how in ("raise", "nothing"):
                with pytest.raises(podkit.errors.ExecutionFailedError):
                    await root.call_tool("Odd", {"how": how})
            deep = current = {}
            for _ in range(5000):
                current["how"] = current = {}
            with pytest.raises(podkit.errors.InvalidArgumentError):
                await root.call_tool("Odd", deep)


@pytest.mark.parametrize("tools", [[Odd(), Odd()], [type("Bad", (Odd,), {"name": "Bad", "input_schema": {}})()]])
async def test_tools_that_cannot_be_told_apart_or_called_are_refused_at_once(tools):
    async with open_world() as world:
        with pytest.raises(ValueError, match="tool"):
            async with world.open_pod("root", ScriptedWorker(), scope=HOME, tools=tools):
                pass
        assert not await world.registry.table()


async def test_a_stranger_at_the_childs_address_is_not_taken_for_the_child():
    class Impostor(podkit.abc.Launcher):
        def __init__(self, desk):
            self.desk = desk

        async def launch(self, birth):
            async def run():
                birth.ready.set()
                await podkit._net.serve_pod(self.desk, birth.listener, key=None, plain=None)

            return birth.task(run)

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            with pytest.raises(podkit.LaunchFailedError, match="does not answer as itself"):
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=Impostor(root.desk))
            assert set(await world.registry.table()) == {"root"}
            assert root.scope.at("/w/a") is podkit.Permission.WRITE


@pytest.mark.proves("I32", "H34")
async def test_a_launcher_that_is_cancelled_after_it_began_the_child_leaves_nothing():
    class Lasting(podkit.TaskLauncher):
        async def launch(self, birth):
            await super().launch(birth)
            await trio.sleep_forever()

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            with trio.move_on_after(0.1) as limit:
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=Lasting(Named))
            assert limit.cancelled_caught
            assert set(await world.registry.table()) == {"root"}
            assert not root.children
            assert root.scope.at("/w/a") is podkit.Permission.WRITE


async def test_a_pod_that_cannot_read_its_registry_as_it_leaves_still_leaves(monkeypatch):
    with trio.fail_after(10):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=HOME) as root:

                async def broken():
                    raise podkit.RegistryError("input/output error")

                monkeypatch.setattr(root.authority.registry, "rows", broken)
            assert root.status.value == "idle"
