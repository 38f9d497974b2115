"""What a session does not keep nobody sees, and nothing follows from it."""

import errno
import json

import pytest
import trio

import podkit
from podkit.logic import replay
from podkit.protocol import (
    Alert,
    Error,
    ErrorCode,
    RunEnd,
    RunResult,
    Status,
    TextDone,
    ToolCallDone,
    ToolResult,
    TurnStart,
    entry_from_data,
)
from podkit.testing import Say, ScriptedWorker, open_world

HOME = podkit.Scope.write("/w")


class Trouble(podkit.abc.Session):
    """A session whose `fails(change)` says with which errno a change fails, if any. `power`: it wants to be waited for."""

    def __init__(self, inner, fails, *, power=False):
        self.inner, self.fails = inner, fails
        self.name, self.id = inner.name, inner.id
        self.durability = podkit.abc.Durability.POWER if power else inner.durability
        self.synced, self.changes = 0, 0

    segment = property(lambda self: self.inner.segment)
    entries = property(lambda self: self.inner.entries)
    segments = property(lambda self: self.inner.segments)
    manifest = property(lambda self: self.inner.manifest)

    def _check(self, change):
        self.changes += 1
        number = self.fails(change)
        if number:
            error = podkit.SessionError("no room")
            error.errno = number
            raise error

    def append(self, entries):
        self._check("append")
        self.inner.append(entries)

    def rotate(self, segment, entries):
        self._check("rotate")
        self.inner.rotate(segment, entries)

    def save(self, manifest):
        self.inner.save(manifest)

    async def sync(self):
        await self.inner.sync()
        self.synced += 1
        self._check("sync")

    def read(self, segment):
        return self.inner.read(segment)

    async def aclose(self):
        await self.inner.aclose()


def troubled(world, fails, **options):
    made = []

    def opened(program, session):
        made.append(Trouble(session, fails, **options))
        return made[-1]

    world.sessions.opened = opened
    return made


class Caller(podkit.abc.Worker):
    """Says something, calls the tool, says what came of it; `swallow`: and goes on whatever happens."""

    def __init__(self, *, swallow=False):
        self.ran, self.swallow = [], swallow

    async def work(self, run, emit):
        try:
            await self.once(run, emit)
        except podkit.SessionError:
            if not self.swallow:
                raise
            with pytest.raises(podkit.SessionError):
                emit(TextDone(text="as if nothing had happened"))
            with pytest.raises(podkit.SessionError):
                await run.committed()
            await trio.lowlevel.checkpoint()
            self.ran.append("went on")

    async def once(self, run, emit):
        emit(TurnStart(turn=1))
        emit(TextDone(text="one"))
        emit(ToolCallDone(id="c", name="tool", arguments="{}"))
        await run.committed()
        self.ran.append(run.number)
        emit(ToolResult(id="c", summary="done"))
        emit(TextDone(text="two"))


def check(pod, kept):
    """The log in memory is the log that is kept, but for what is still owed."""
    assert pod.log.data == [json.loads(raw) for segment in kept.segments.values() for raw in segment]
    return replay(entry_from_data(data) for data in pod.log.data)


async def seen_of(pod, do):
    """Do it, and answer what watchers saw until all was quiet."""
    seen = []
    async with pod.hub.open_view(pod.desk) as view:
        await view.receive()
        result = await do()
        with trio.move_on_after(30):
            while True:
                seen.append(await view.receive())
    return result, seen


@pytest.mark.proves("F32", "F33", "I24", "I25", "I27")
@pytest.mark.parametrize("swallow", [False, True], ids=["raises", "swallows"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "for a while"])
@pytest.mark.parametrize("at", range(1, 8))
async def test_a_commit_that_fails_ends_the_run_and_is_never_seen(autojump_clock, at, lasting, swallow):
    count, broken = 0, False

    def fails(change):
        nonlocal count
        count += broken and change != "sync"
        return errno.ENOSPC if broken and (count == at or (lasting and count > at)) and change != "sync" else 0

    async with open_world() as world:
        troubled(world, fails)
        worker = Caller(swallow=swallow)
        async with world.open_pod("root", worker, scope=HOME, sessions=world.sessions) as pod:
            kept = world.sessions._kept["root"]
            broken = True

            async def go():
                try:
                    return await pod.run("go")
                except podkit.MethodRejectedError as error:
                    return error

            run, seen = await seen_of(pod, go)
            state = check(pod, kept)
            ends = [event for event in seen if isinstance(event, RunEnd)]
            broke = count >= at
            assert any(isinstance(event, Alert) for event in seen) == broke
            if at == 1:
                assert run.code is ErrorCode.STORAGE_FULL
                assert not ends
                assert state.run == 0
            else:
                assert [end.result for end in ends] == [RunResult.FAILED if broke else RunResult.FINISHED]
                assert [event.code for event in seen if isinstance(event, Error)] == [ErrorCode.STORAGE_FULL] * broke
            assert len(worker.ran) == (at > 3), "the tool ran on a call that was not kept, or the worker went on"
            said = {entry["item"]["content"][0]["text"] for entry in pod.log.data if entry.get("item", {}).get("kind") == "message"}
            assert {event.text for event in seen if isinstance(event, TextDone)} == said
            assert pod.status is Status.IDLE
            broken = False
            worker.swallow = False
            assert (await pod.ask("again")).result is RunResult.FINISHED
            state = check(pod, kept)
            assert (state.under_way, state.orphans) == (None, ())
            runs = [entry["run"] for entry in pod.log.data if entry["kind"] == "invoke"]
            assert runs == [entry["run"] for entry in pod.log.data if entry["kind"] in ("run_completed", "run_errored")]


@pytest.mark.proves("F51")
async def test_a_notice_that_cannot_be_kept_is_refused_and_one_that_cannot_be_shown_stays_queued(autojump_clock):
    broken = True
    async with open_world() as world:
        troubled(world, lambda change: errno.EIO if broken and change == "append" else 0)
        async with world.open_pod("root", ScriptedWorker(Say("x")), scope=HOME, sessions=world.sessions) as pod:
            with pytest.raises(podkit.MethodRejectedError):
                await pod.notify("lost", wake=False)
            broken = False
            await pod.notify("kept", wake=False)
            broken = True
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.run("go")
            assert caught.value.code is ErrorCode.STORAGE_FULL
            assert [notice.body for notice in check(pod, world.sessions._kept["root"]).notices] == ["kept"]
            broken = False
            await pod.ask("go")
            assert not check(pod, world.sessions._kept["root"]).notices


@pytest.mark.proves("I31")
async def test_a_run_is_accepted_and_a_tool_is_run_when_the_session_says_that_it_survives_a_loss_of_power(autojump_clock):
    async with open_world() as world:
        made, worker = troubled(world, lambda change: 0, power=True), Caller()
        async with world.open_pod("root", worker, scope=HOME, sessions=world.sessions) as pod:
            before = made[0].synced
            run = await pod.run("go")
            assert made[0].synced > before
            await pod.wait(run)
            assert made[0].synced >= before + 2


@pytest.mark.proves("I31")
async def test_input_that_may_not_survive_is_not_started_and_a_paused_run_stays_paused(autojump_clock):
    broken = False
    async with open_world() as world:
        troubled(world, lambda change: errno.EIO if broken and change == "sync" else 0, power=True)
        worker = ScriptedWorker(Say("x"))
        async with world.open_pod("root", worker, scope=HOME, sessions=world.sessions) as pod:
            await pod.ask("one")
            worker.steps = (podkit.testing.Sleep(1000),)
            run = await pod.run("two")
            await pod.pause(run=run)
            broken = True
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.resume()
            assert caught.value.code is ErrorCode.STORAGE_FULL
            assert pod.status is Status.PAUSED
            broken = False
            worker.steps = (Say("y"),)
            outcome = await pod.wait(await pod.resume())
            assert outcome.result is RunResult.FINISHED


class Slow(Trouble):
    """A session on a disk that answers when `disk` is set."""

    async def sync(self):
        await self.disk.wait()
        await super().sync()


def slowed(world, fails=lambda change: 0):
    made = []

    def opened(program, session):
        made.append(Slow(session, fails, power=True))
        made[-1].disk = trio.Event()
        made[-1].disk.set()
        return made[-1]

    world.sessions.opened = opened
    return made


async def told(pod, replies):
    try:
        await pod.notify("news", wake=False)
    except podkit.MethodRejectedError as error:
        replies.append(error.code)
    else:
        replies.append("accepted")


@pytest.mark.proves("I26", "I31")
@pytest.mark.parametrize("broken", [False, True], ids=["in the end it is", "in the end it is not"])
async def test_a_notice_is_accepted_once_it_survives_a_loss_of_power(autojump_clock, broken):
    async with open_world() as world:
        made, replies = slowed(world, lambda change: errno.EIO if broken and change == "sync" else 0), []
        async with world.open_pod("root", ScriptedWorker(Say("x")), scope=HOME, sessions=world.sessions) as pod:
            made[0].disk = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(told, pod, replies)
                await trio.sleep(100)
                assert not replies
                assert [notice.body for notice in check(pod, world.sessions._kept["root"]).notices] == ["news"]
                made[0].disk.set()
            assert replies == [ErrorCode.STORAGE_FULL if broken else "accepted"]


@pytest.mark.proves("I13", "I26")
@pytest.mark.parametrize("hangs", [False, True])
async def test_a_pod_that_leaves_while_the_disk_is_slow_accepts_no_notice_that_it_gave_back(autojump_clock, hangs):
    async with open_world() as world:
        made, here, there = slowed(world), [], []
        async with trio.open_nursery() as nursery:
            async with world.open_pod("root", ScriptedWorker(Say("x")), scope=HOME, sessions=world.sessions) as pod:
                async with world.connect(pod.address, subscribe="none") as client:
                    made[0].disk = trio.Event()
                    nursery.start_soon(told, pod, here)
                    if not hangs:  # else nobody waits for the last words of the pod for as long
                        nursery.start_soon(told, client, there)
                    await trio.sleep(1)
                    await pod.shutdown()
                    await trio.sleep(0.5)
                    if not hangs:
                        made[0].disk.set()
                    with trio.fail_after(100):
                        await pod.stopped()
                    made[0].disk.set()
        assert here == [ErrorCode.STOPPING]
        assert there == [ErrorCode.STOPPING] * (not hangs)


async def test_a_second_result_for_a_call_is_refused(autojump_clock):
    class Twice(podkit.abc.Worker):
        async def work(self, run, emit):
            emit(ToolCallDone(id="c", name="tool", arguments="{}"))
            emit(ToolResult(id="c", summary="done"))
            with pytest.raises(podkit.LocalProtocolError, match="exactly one"):
                emit(ToolResult(id="c", summary="done again"))
            with pytest.raises(podkit.LocalProtocolError, match="exactly one"):
                emit(ToolResult(id="d", summary="of no call"))

    async with open_world() as world, world.open_pod("root", Twice(), scope=HOME) as pod:
        assert (await pod.ask("go")).result is RunResult.FINISHED


@pytest.mark.proves("H13", "I25")
@pytest.mark.parametrize("how", ["cancel", "pause"])
async def test_a_call_that_was_interrupted_has_a_result_that_says_so_and_is_not_run_again(autojump_clock, how):
    class Slow(podkit.abc.Worker):
        ran = 0

        async def work(self, run, emit):
            if run.resumed or not run.text:
                return
            emit(TurnStart(turn=1))
            emit(ToolCallDone(id="c", name="tool", arguments="{}"))
            self.ran += 1
            await trio.sleep(100)

    worker = Slow()
    async with open_world() as world, world.open_pod("root", worker, scope=HOME) as pod:

        async def go():
            run = await pod.run("go")
            await trio.sleep(1)
            await (pod.cancel(run=run) if how == "cancel" else pod.pause(run=run))

        _, seen = await seen_of(pod, go)
        results = [event for event in seen if isinstance(event, ToolResult)]
        assert [(event.id, event.is_error) for event in results] == [("c", True)]
        if how == "pause":
            await pod.wait(await pod.resume())
        await pod.notify("on")
        await trio.sleep(5)
        assert worker.ran == 1
        assert not replay(entry_from_data(data) for data in pod.log.data).orphans


async def test_what_is_too_long_to_be_kept_is_the_workers_mistake(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(Say("x" * 2**24)), scope=HOME, sessions=world.sessions) as pod:
            outcome = await pod.ask("go")
            assert outcome.result is RunResult.FAILED
            assert check(pod, world.sessions._kept["root"]).run == 1


@pytest.mark.proves("I23", "I24")
@pytest.mark.parametrize(("end", "result"), [("cancel", RunResult.CANCELLED), ("pause", RunResult.PAUSED)])
async def test_a_run_that_is_ended_before_its_input_lasts_is_shown_to_begin_and_to_end(autojump_clock, end, result):
    async with open_world() as world:
        made = slowed(world)
        async with world.open_pod("root", ScriptedWorker(Say("x")), scope=HOME, sessions=world.sessions) as pod:
            made[-1].disk = trio.Event()

            async def go():
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(pod.run, "go")
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(getattr(pod, end))
                    await trio.testing.wait_all_tasks_blocked()
                    made[-1].disk.set()

            _, seen = await seen_of(pod, go)
            names = [type(event).__name__ for event in seen]
            assert names == ["StatusEvent", "InvokeStart", "UserMessage", "RunEnd", "StatusEvent"]
            assert seen[3].result is result
