"""A pod in memory: opened, spoken to, ended."""

from typing import ClassVar

import pytest
import trio

import podkit
from podkit.protocol import (
    ErrorCode,
    InvokeStart,
    RunEnd,
    RunResult,
    Shutdown,
    Snapshot,
    Status,
    StatusEvent,
    TextDone,
    TurnEnd,
    TurnStart,
    UserMessage,
)
from podkit.testing import Fail, Say, ScriptedWorker, Sleep, open_world

HOME = podkit.Scope.write("/w")


async def _until(client, kind):
    seen = []
    async for event in client:
        seen.append(event)
        if isinstance(event, kind):
            return seen
    return seen


async def test_a_client_sees_the_run_in_the_documented_order():
    with trio.fail_after(5):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("hi")), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                run = await client.run("hello")
                seen = []
                async for event in client:
                    seen.append(event)
                    if event == StatusEvent(Status.IDLE):
                        break
        kinds = [type(event) for event in seen]
        assert kinds == [
            Snapshot, StatusEvent, InvokeStart, UserMessage, TurnStart, TextDone, TurnEnd, RunEnd, StatusEvent,
        ]  # fmt: skip
        assert all(event.run == run for event in seen[2:8])
        assert seen[-2].result is RunResult.FINISHED


async def test_asking_collects_what_was_said():
    with trio.fail_after(5):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("a"), Say("b")), scope=HOME) as pod:
            outcome = await pod.ask("hello")
            assert (outcome.text, outcome.result) == ("a\n\nb", RunResult.FINISHED)
            async with world.connect(pod.address) as client:
                assert (await client.ask("again")).text == "a\n\nb"


async def test_a_second_run_is_refused_while_one_runs(autojump_clock):
    async with open_world() as world, world.open_pod("root", ScriptedWorker(Sleep(3600)), scope=HOME) as pod:
        async with world.connect(pod.address) as client:
            await client.run("long job")
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await client.run("another")
            assert caught.value.code is ErrorCode.ALREADY_RUNNING


async def test_leaving_the_block_cancels_the_run_and_says_shutdown_last(autojump_clock):
    async with open_world() as world:
        async with trio.open_nursery() as nursery:
            seen = []

            async def follow(address, task_status):
                async with world.connect(address) as client:
                    async for event in client:
                        if isinstance(event, Snapshot):
                            task_status.started()
                        seen.append(event)

            with trio.fail_after(100):
                async with world.open_pod("root", ScriptedWorker(Sleep(3600)), scope=HOME) as pod:
                    await nursery.start(follow, pod.address)
                    run = await pod.run("long job")
        assert isinstance(seen[-1], Shutdown)
        assert RunEnd(RunResult.CANCELLED, run=run) in seen
        assert not await world.registry.table()


async def test_an_error_in_the_block_comes_out_bare_and_leaves_nothing():
    with trio.fail_after(5):
        async with open_world() as world:
            with pytest.raises(KeyError):
                async with world.open_pod("root", ScriptedWorker(), scope=HOME):
                    raise KeyError("mine")
            assert not await world.registry.table()
            async with world.open_pod("root", ScriptedWorker(), scope=HOME):
                pass


async def test_a_cancelled_block_ends_in_order():
    with trio.fail_after(5):
        async with open_world() as world:
            with trio.CancelScope() as scope:
                async with world.open_pod("root", ScriptedWorker(Sleep(60)), scope=HOME) as pod:
                    await pod.run("x")
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            assert not await world.registry.table()
            with pytest.raises(podkit.PodUnreachableError):
                async with world.connect(pod.address):
                    pass


async def test_a_remote_shutdown_does_not_cancel_the_block():
    with trio.fail_after(5):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                await client.shutdown()
            await pod.stopped()
            await trio.lowlevel.checkpoint()
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.run("too late")
            assert caught.value.code is ErrorCode.STOPPING


async def test_a_failing_worker_fails_its_run_and_not_the_pod():
    with trio.fail_after(5):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Fail(podkit.ToolError("no"))), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                run = await client.run("x")
                seen = await _until(client, RunEnd)
                assert seen[-1] == RunEnd(RunResult.FAILED, run=run)
                assert seen[-2].code is ErrorCode.TOOL_ERROR
                assert (await client.wait(run)).result is RunResult.FAILED
                assert (await pod.ask("y")).result is RunResult.FAILED


async def test_pause_and_resume_run_the_same_input_again(autojump_clock):
    class Counting(podkit.abc.Worker):
        runs: ClassVar = []

        async def work(self, run, emit):
            self.runs.append((run.number, run.text, run.resumed))
            if not run.resumed:
                await trio.sleep(100)
            emit(TextDone(text="done"))

    async with open_world() as world, world.open_pod("root", Counting(), scope=HOME) as pod:
        first = await pod.run("work")
        await pod.pause()
        assert pod.status is Status.PAUSED
        assert (await pod.wait(first)).result is RunResult.PAUSED
        second = await pod.resume()
        assert (await pod.wait(second)).result is RunResult.FINISHED
        assert Counting.runs == [(first, "work", False), (second, "work", True)]


async def test_a_notice_wakes_an_idle_pod_and_is_seen_once():
    class Noting(podkit.abc.Worker):
        def __init__(self):
            self.seen = []

        async def work(self, run, emit):
            self.seen += [notice.message for notice in run.notices]
            self.seen += [notice.message for notice in run.poll_notices()]

    worker = Noting()
    with trio.fail_after(5):
        async with open_world() as world, world.open_pod("root", worker, scope=HOME) as pod:
            await pod.notify("later", wake=False)
            assert worker.seen == []
            async with world.connect(pod.address) as client:
                await client.notify("now")
                await _until(client, RunEnd)
            assert worker.seen == ["later", "now"]


async def test_two_writers_of_one_path_conflict_and_the_holder_is_named():
    with trio.fail_after(5):
        async with open_world() as world, world.open_pod("one", ScriptedWorker(), scope=HOME):
            with pytest.raises(podkit.WriteConflictError) as caught:
                async with world.open_pod("two", ScriptedWorker(), scope=podkit.Scope.write("/w/x")):
                    pass
            assert caught.value.holder.endswith("/one")
            assert caught.value.path.startswith("/w/x")
            assert list(await world.registry.table()) == ["one"]


@pytest.mark.parametrize("name", ["", "A", "../x", "a b", "a" * 64, None, "-a"])
async def test_a_bad_name_is_refused_before_anything_happens(name):
    async with open_world() as world:
        with pytest.raises(podkit.InvalidNameError):
            async with world.open_pod(name, ScriptedWorker(), scope=HOME):
                pass
        assert not await world.registry.table()
