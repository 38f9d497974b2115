"""Births and deaths in memory: authority moves down and comes back."""

import pytest
import trio

import podkit
from podkit.protocol import Permission, RunEnd, RunResult, Status, TextDone
from podkit.testing import CallTool, Fail, Say, ScriptedWorker, Sleep, Spawn, open_world
from podkit.tools import pod_tools

HOME = podkit.Scope.write("/w")


def echo():
    class Echo(podkit.abc.Worker):
        async def work(self, run, emit):
            emit(TextDone(text=f"you said {run.text}"))

    return podkit.TaskLauncher(Echo)


@pytest.mark.proves("F20", "I3")
async def test_write_leaves_the_parent_and_comes_back():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            child = await root.spawn("scribe", scope=podkit.Scope.write("/w/notes"), launcher=echo())
            assert root.scope.at("/w/notes/x") is Permission.READ
            assert root.scope.at("/w/other") is Permission.WRITE
            assert root.scope.explain("/w/notes/x").holder == "scribe"
            table = await world.registry.table()
            assert set(table) == {"root", "scribe"}
            assert table["scribe"].parent_name == "root"
            outcome = await child.ask("hello")
            assert outcome.text == "you said hello"
            report = await child.stop()
            assert (report.name, report.how) == ("scribe", "asked")
            assert root.scope.at("/w/notes/x") is Permission.WRITE
            assert set(await world.registry.table()) == {"root"}
            assert not root.children
            assert await child.stop() is report


async def test_a_task_is_delivered_and_its_end_reported():
    told = []

    class Lead(podkit.abc.Worker):
        async def work(self, run, emit):
            told.extend(notice.body for notice in run.notices)

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Lead(), scope=HOME) as root:
            child = await root.spawn("scribe", task="write", scope=podkit.Scope.write("/w/notes"), launcher=echo())
            assert child.status is Status.RUNNING
            async with world.connect(root.address, subscribe="snapshot") as client:
                async for event in client:
                    if isinstance(event, RunEnd) or told:
                        break
            assert child.status is Status.IDLE
    assert len(told) == 1
    assert "scribe" in told[0]


async def test_stopping_the_middle_stops_the_leaves_first():
    steps = (Spawn("leaf", podkit.Scope.write("/w/a/b"), (Sleep(3600),)), Sleep(3600))
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            launcher = podkit.TaskLauncher(lambda: ScriptedWorker(*steps))
            middle = await root.spawn("middle", task="go", scope=podkit.Scope.write("/w/a"), launcher=launcher)
            while "leaf" not in await world.registry.table():
                await trio.lowlevel.checkpoint()
            table = await world.registry.table()
            assert table["leaf"].parent == middle.incarnation
            report = await middle.stop()
            assert report.how == "asked"
            assert set(await world.registry.table()) == {"root"}
            assert root.scope.at("/w/a/b/c") is Permission.WRITE


@pytest.mark.parametrize(
    ("name", "scope", "error"),
    [
        ("BAD", podkit.Scope.write("/w/a"), podkit.InvalidNameError),
        ("root", podkit.Scope.write("/w/a"), podkit.InvalidNameError),
        ("kid", podkit.Scope.write("/elsewhere"), podkit.NotSubsetError),
        ("kid", podkit.Scope.write("/"), podkit.NotSubsetError),
        ("taken", podkit.Scope.write("/w/b"), podkit.DuplicatePodError),
        ("kid", podkit.Scope.write("/w/held/x"), podkit.WriteConflictError),
        ("kid", podkit.Scope.write("/w"), podkit.WriteConflictError),
    ],
)
async def test_a_birth_that_may_not_be_reserves_and_starts_nothing(name, scope, error):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            await root.spawn("taken", scope=podkit.Scope.write("/w/held"), launcher=echo())
            before = root.scope
            with pytest.raises(error):
                await root.spawn(name, scope=scope, launcher=echo())
            assert set(await world.registry.table()) == {"root", "taken"}
            assert root.scope == before
            assert set(root.children) == {"taken"}


async def test_a_child_that_raises_at_once_fails_the_birth_at_once():
    def broken():
        raise RuntimeError("no such worker")

    with trio.fail_after(5):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            with pytest.raises(podkit.LaunchFailedError) as caught:
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(broken))
            assert "no such worker" in caught.value.stderr_tail
            assert set(await world.registry.table()) == {"root"}
            assert root.scope.at("/w/a") is Permission.WRITE


@pytest.mark.proves("H4", "I32")
async def test_a_child_that_is_never_ready_is_ended_and_the_write_is_back(autojump_clock):
    class Sleeper(podkit.abc.Launcher):
        async def launch(self, birth):
            return birth.task(trio.sleep_forever)

    async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
        began = trio.current_time()
        with pytest.raises(podkit.NeverReadyError) as caught:
            await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=Sleeper(), ready_timeout=7)
        assert 7 <= trio.current_time() - began < 8
        assert caught.value.waited >= 7
        assert set(await world.registry.table()) == {"root"}
        assert root.scope.at("/w/a") is Permission.WRITE


@pytest.mark.proves("I32")
@pytest.mark.parametrize("checkpoints", range(0, 60, 3))
async def test_a_birth_cancelled_anywhere_leaves_all_or_nothing(checkpoints):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            async with trio.open_nursery() as nursery:

                async def cancel_later():
                    for _ in range(checkpoints):
                        await trio.lowlevel.checkpoint()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(cancel_later)
                await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=echo())
            if nursery.cancel_scope.cancelled_caught and "kid" not in root.children:
                assert set(await world.registry.table()) == {"root"}
                assert root.scope.at("/w/a") is Permission.WRITE
            else:
                await root.children["kid"].stop()
            assert set(await world.registry.table()) == {"root"}


async def test_a_delivery_that_fails_leaves_a_live_child():
    class Refusing(podkit.abc.Worker):
        async def work(self, run, emit):
            await trio.sleep_forever()

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            child = await root.spawn("kid", task="x", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Refusing))
            with pytest.raises(podkit.MethodRejectedError):
                await child.run("while it works")
            assert set(root.children) == {"kid"}
            assert (await child.stop()).how == "asked"
            assert set(await world.registry.table()) == {"root"}


async def test_a_model_can_run_pods_through_the_five_tools():
    launcher = podkit.TaskLauncher(lambda: ScriptedWorker(Say("line one\nline two")))
    spawn = {"name": "kid", "task": "go", "scope": [{"target": "/w/a", "permission": "write"}]}
    with trio.fail_after(10):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=HOME, tools=pod_tools(launcher)) as root:
                assert (await root.call_tool("ListPods", {})).summary == "no spawned pods"
                assert "kid" in (await root.call_tool("SpawnPod", spawn)).summary
                await root.children["kid"].wait(1)
                read = await root.call_tool("ReadPodOutput", {"name": "kid"})
                assert "2 new line(s)" in read.summary
                assert "line one\n> line two" in read.content
                assert "no new assistant text" in (await root.call_tool("ReadPodOutput", {"name": "kid"})).summary
                assert "sent" in (await root.call_tool("SendToPod", {"name": "kid", "message": "again"})).summary
                listed = await root.call_tool("ListPods", {})
                assert listed.summary == "1 pod(s) known"
                assert "write:/w/a" in listed.content
                assert "write:/w/a" in (await root.call_tool("StopPod", {"name": "kid"})).summary
                assert root.scope.at("/w/a") is Permission.WRITE


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("SpawnPod", {"name": "kid", "task": "x", "scope": []}),
        ("SpawnPod", {"name": "kid", "task": "x", "scope": [{"target": "a", "permission": "write"}]}),
        ("SpawnPod", {"name": "kid", "task": "x", "scope": [{"target": "/w/a", "permission": "WRITE"}]}),
        ("SpawnPod", {"name": "kid", "task": "x", "scope": [{"target": "/w/a", "permission": "write", "recursiv": False}]}),
        ("SpawnPod", {"name": "kid", "task": "x", "scope": [{"target": "/w/../etc", "permission": "read"}]}),
        ("SpawnPod", {"name": "../x", "task": "x", "scope": [{"target": "/w/a", "permission": "write"}]}),
        ("SpawnPod", {"name": "kid", "task": "x", "scope": [{"target": "/etc", "permission": "read"}]}),
        ("SpawnPod", {"name": "kid", "task": "x", "scope": [{"target": "/w", "permission": "write"}], "extra": 1}),
        ("SendToPod", {"name": "nobody", "message": "x"}),
        ("StopPod", {"name": "nobody"}),
        ("ReadPodOutput", {}),
        ("NoSuchTool", {}),
        ("ListPods", {"x": float("nan")}),
    ],
)
async def test_wrong_tool_calls_are_answered_and_change_nothing(tool, arguments):
    with trio.fail_after(10):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=HOME, tools=pod_tools(echo())) as root:
                with pytest.raises(podkit.errors.InvalidArgumentError) as caught:
                    await root.call_tool(tool, arguments)
                assert str(caught.value)
                assert set(await world.registry.table()) == {"root"}


async def test_a_worker_calls_tools_through_its_pod():
    worker = ScriptedWorker(CallTool("ListPods"), CallTool("Nope"), Say("done"))
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", worker, scope=HOME, tools=pod_tools(echo())) as root:
            assert (await root.ask("go")).result is RunResult.FINISHED


@pytest.mark.proves("I10")
async def test_a_child_that_dies_gives_its_scope_back_and_the_parent_hears_of_it():
    class Doomed(podkit.abc.Worker):
        async def work(self, run, emit):
            await trio.sleep_forever()

    seen = []

    class Lead(podkit.abc.Worker):
        async def work(self, run, emit):
            seen.extend(notice.body for notice in run.notices)

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Lead(), scope=HOME) as root:
            child = await root.spawn("kid", task="x", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Doomed))
            child.process.kill()
            await child.gone.wait()
            assert root.scope.at("/w/a") is Permission.WRITE
            assert set(await world.registry.table()) == {"root"}
            while not seen:
                await trio.lowlevel.checkpoint()
            assert "kid" in seen[0]


async def test_a_worker_that_fails_is_reported_as_such():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            failing = podkit.TaskLauncher(lambda: ScriptedWorker(Fail(ValueError("broken"))))
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=failing)
            outcome = await child.ask("go")
            assert outcome.result is RunResult.FAILED


async def test_scope_comes_back_also_when_the_registry_is_busy_for_a_while(autojump_clock):
    class Busy(podkit.MemoryRegistry):
        busy = 0

        async def append(self, after, facts):
            if self.busy:
                self.busy -= 1
                raise podkit.RegistryBusyError(10.0, "somebody")
            return await super().append(after, facts)

    registry = Busy()
    async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME, registry=registry) as root:
        child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=echo())
        registry.busy = 3
        report = await child.stop()
        assert report.how == "asked"
        assert root.scope.at("/w/a") is Permission.WRITE
        assert set(await registry.table()) == {"root"}


async def test_a_task_is_delivered_whole_or_not_at_all_when_its_sender_is_cancelled():
    with trio.fail_after(20):
        for checkpoints in range(40, 200, 8):
            async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
                async with trio.open_nursery() as nursery:

                    async def cancel_later(nursery=nursery, checkpoints=checkpoints):
                        for _ in range(checkpoints):
                            await trio.lowlevel.checkpoint()
                        nursery.cancel_scope.cancel()

                    nursery.start_soon(cancel_later)
                    await root.spawn("kid", task="go", scope=podkit.Scope.write("/w/a"), launcher=echo())
                if "kid" in root.children:
                    entries = (await root.children["kid"].snapshot()).entries
                    assert [entry["kind"] for entry in entries].count("user_input") == 1
                else:
                    assert set(await world.registry.table()) == {"root"}
