"""A pod restored after a crash is the pod it was."""

import json
from typing import ClassVar

import pytest
import trio

import podkit
from podkit.logic import replay
from podkit.protocol import (
    Accepted,
    ErrorCode,
    ListRewindTargets,
    RewindApplied,
    RewindTarget,
    RewindTo,
    RunResult,
    SegmentRotated,
    Snapshot,
    Status,
    StatusEvent,
    TextDone,
    ToolCallDone,
    ToolResult,
    TurnEnd,
    TurnResult,
    TurnStart,
    entry_from_data,
)
from podkit.testing import Say, ScriptedWorker, open_world

HOME = podkit.Scope.write("/w")


class Count(podkit.abc.Tool):
    """A tool with an effect that must not happen twice."""

    name, description, input_schema = "count", "count", {"type": "object"}

    def __init__(self, seconds=0.0):
        self.ran, self.seconds = [], seconds

    async def call(self, arguments, context):
        self.ran.append(arguments["n"])
        await trio.sleep(self.seconds)
        return podkit.abc.ToolOutput("counted")


def log_of(pod):
    return [entry_from_data(data) for data in pod.log.data]


def kinds(pod):
    return [data["kind"] for data in pod.log.data]


async def quiet(pod):
    """Wait until the pod does nothing."""
    async with pod.hub.open_view(pod.desk) as view:
        while pod.status is Status.RUNNING:
            await view.receive()


@pytest.mark.proves("F34")
async def test_what_was_said_before_a_crash_is_in_the_snapshot_after_it(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(Say("hi")), scope=HOME, sessions=world.sessions) as pod:
            await pod.ask("hello")
            before = list(pod.log.data)
            world.crash(pod)
        async with world.restore_pod("root", ScriptedWorker(Say("again"))) as again:
            assert again.log.data == before
            assert again.incarnation != pod.incarnation
            async with world.connect(again.address) as client:
                snapshot = await client.receive()
                assert isinstance(snapshot, Snapshot)
                assert list(snapshot.entries) == before
            run = await again.run("more")
            assert run == 2
            assert (await again.wait(run)).result is RunResult.FINISHED
        assert not await world.registry.table()


class CrashAt(podkit.abc.Session):
    """A session whose holder dies at its n-th change, before or after it is committed."""

    def __init__(self, inner, die, at, after):
        self._inner, self._die, self._at, self._after = inner, die, at, after
        self.name, self.id, self.durability = inner.name, inner.id, inner.durability
        self.count = 0

    segment = property(lambda self: self._inner.segment)
    entries = property(lambda self: self._inner.entries)
    segments = property(lambda self: self._inner.segments)
    manifest = property(lambda self: self._inner.manifest)

    def _change(self, make):
        self.count += 1
        if self.count == self._at and not self._after:
            self._die()
        make()  # raises when the holder is dead
        if self.count == self._at:
            self._die()

    def append(self, entries):
        self._change(lambda: self._inner.append(entries))

    def rotate(self, segment, entries):
        self._change(lambda: self._inner.rotate(segment, entries))

    def save(self, manifest):
        self._change(lambda: self._inner.save(manifest))

    async def sync(self):
        await self._inner.sync()

    def read(self, segment):
        return self._inner.read(segment)

    async def aclose(self):
        await self._inner.aclose()


def crashing(world, at, after):
    made = []

    def opened(program, session):
        if made or session.name != "root":
            return session
        made.append(CrashAt(session, program.kill, at, after))
        return made[0]

    world.sessions.opened = opened
    return made


class Busy(podkit.abc.Worker):
    """Speaks, calls the tool, listens to notices; a run that is asked to `wait` waits before its last word."""

    def __init__(self):
        self.heard = []
        self.calls = 0

    async def work(self, run, emit):
        self.heard += [item.notice for item in run.notices]
        for turn in (1, 2):
            emit(TurnStart(turn=turn))
            emit(TextDone(text=f"turn {turn}"))
            self.calls += 1
            call, n = f"call-{self.calls}", f"{run.number}.{turn}.{len(self.heard)}.{run.resumed}"
            emit(ToolCallDone(id=call, name="count", arguments=json.dumps({"n": n})))
            await run.committed()
            output = await run.pod.call_tool("count", {"n": n})
            emit(ToolResult(id=call, summary=output.summary))
            self.heard += [item.notice for item in run.poll_notices()]
            emit(TurnEnd(turn=turn, result=TurnResult.FINISHED))
        if run.text == "wait" and not run.resumed:
            await trio.sleep(1000)


async def drive(world, pod):
    """A day in the life of a pod: a run, notices that wait and that wake, a pause and a resume, a cancel."""
    async with world.connect(pod.address, subscribe="none") as client:
        await client.notify("waits", wake=False)
        await client.ask("go")
        await client.notify("wakes")
        await trio.sleep(10)
        run = await client.run("wait")
        await trio.sleep(1)
        await client.notify("meanwhile")
        await client.pause(run=run)
        await client.resume()
        await trio.sleep(10)
        run = await client.run("wait")
        await trio.sleep(1)
        await client.cancel(run=run)
        await trio.sleep(10)
        run = await client.run("wait")
        await trio.sleep(1)
        await client.pause(run=run)


def check_log(pod, tool):
    entries = log_of(pod)
    state = replay(entries)
    assert not state.orphans
    assert state.under_way is None
    calls = [entry for entry in pod.log.data if entry["kind"] == "assistant_item" and entry["item"]["kind"] == "tool_call"]
    results = [entry for entry in pod.log.data if entry["kind"] == "tool_result"]
    assert len(calls) == len(results)
    assert len(set(tool.ran)) == len(tool.ran), "a tool ran twice"
    kept = {json.loads(entry["item"]["arguments"])["n"] for entry in calls}
    assert set(tool.ran) <= kept, "a tool ran on a call that is not in the log"
    seen = [entry["item"]["notice"] for entry in pod.log.data if entry["kind"] == "system_item"]
    assert len(set(seen)) == len(seen)
    runs = [entry["run"] for entry in pod.log.data if entry["kind"] == "invoke"]
    ends = [entry["run"] for entry in pod.log.data if entry["kind"] in ("run_completed", "run_errored")]
    assert runs == ends, "a run has no end, or two"
    assert len(set(runs)) == len(runs)
    return state


async def crashed_and_restored(at, after):
    """One day with a crash at the n-th change; whether there was one."""
    async with open_world() as world:
        made, tool, worker = crashing(world, at, after), Count(0.1), Busy()
        try:
            async with world.open_pod("root", worker, scope=HOME, tools=[tool], sessions=world.sessions) as pod:
                with trio.fail_after(3600):
                    await drive(world, pod)
                world.crash(pod)
        except podkit.PodUnreachableError:
            pass
        fired = made[0].count >= at
        world.sessions.opened = None
        if not world.sessions._kept["root"].manifest:
            return fired  # the opening itself never came to its end: there is no pod to restore
        kept = world.sessions._kept["root"]
        before = [podkit.protocol.decode_entry(raw) for segment in kept.segments.values() for raw in segment]
        was = replay(before)
        accepted = {entry.id for entry in before if entry.kind == "notice"}
        heard = set(worker.heard)
        second = Busy()
        second.calls = 1000
        with trio.fail_after(3600):
            async with world.restore_pod("root", second, tools=[tool]) as pod:
                assert log_of(pod)[: len(before)] == before, "what was committed is not what it was"
                if was.paused is not None:
                    assert pod.status is Status.PAUSED
                    run = await pod.resume()
                    assert (await pod.wait(run)).result is RunResult.FINISHED
                    assert pod.log.data[-1]["run"] == run
                await trio.sleep(10)
                await quiet(pod)
                state = check_log(pod, tool)
                if was.under_way is not None:
                    failed = next(e for e in pod.log.data if e["kind"] == "run_errored" and e["run"] == was.under_way)
                    assert failed["interrupted"]
                assert await pod.run("wait") == state.run + 1
                await pod.cancel()
                await trio.sleep(10)
                state = check_log(pod, tool)
                seen = {entry["item"]["notice"] for entry in pod.log.data if entry["kind"] == "system_item"}
                assert seen | {notice.id for notice in state.notices} >= accepted
                assert not heard & set(second.heard), "a notice was given to a model twice"
        return fired


@pytest.mark.proves("F33", "F46", "F47", "F58", "H13", "H14", "H15", "I24", "I25", "I26", "I27")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_loses_nothing_that_was_committed_and_repeats_nothing(autojump_clock, after):
    at = 1
    while await crashed_and_restored(at, after):
        at += 1
    assert at > 40, "the day has that many commits"


async def rewound(pod, place):
    """Go back to before the n-th input, and answer what the stream said."""
    targets = (await pod.send(ListRewindTargets())).targets
    choice = targets[place]
    async with pod.hub.open_view(pod.desk) as view:
        await view.receive()
        assert await pod.send(RewindTo(choice.id, choice.expected_head_entries)) == Accepted()
        return [await view.receive() for _ in range(4)], choice


@pytest.mark.proves("F38", "F56", "F58")
async def test_going_back_begins_a_segment_and_leaves_the_old_one_as_it_was(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(Say("a")), scope=HOME, sessions=world.sessions) as pod:
            await pod.ask("one")
            await pod.notify("later", wake=False)
            await pod.ask("two")
            await pod.notify("queued", wake=False)
            before, segment = list(pod.log.data), pod.log.segment
            events, choice = await rewound(pod, 1)
            assert [type(event) for event in events] == [StatusEvent, SegmentRotated, RewindApplied, StatusEvent]
            start, applied = events[1].entry, events[2]
            assert start["kind"] == "segment_start"
            assert start["forked_from"] == {"segment_id": segment, "at_turn_index": choice.turn_index}
            assert list(applied.entries) == pod.log.data
            assert [part.content for part in applied.input] == ["two"]
            assert [raw["segments"][0]["content"] for raw in pod.log.data if raw["kind"] == "user_input"] == ["one"]
            kept = world.sessions._kept["root"]
            assert [json.loads(raw) for raw in kept.segments[segment]] == before
            assert [notice.body for notice in replay(log_of(pod)).notices] == ["queued"], "what was seen stays seen"
            async with world.connect(pod.address) as client:
                assert list((await client.receive()).entries) == pod.log.data
            world.crash(pod)
        async with world.restore_pod("root", ScriptedWorker(Say("b"))) as again:
            assert list(applied.entries) == again.log.data
            assert again.log.segment == pod.log.segment
            assert await again.run("three") == 3, "a run number is never used again"


@pytest.mark.proves("F37")
async def test_going_back_is_refused_when_the_log_went_on_since_the_targets_were_listed(autojump_clock):
    async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("a")), scope=HOME) as pod:
        await pod.ask("one")
        choice = (await pod.send(ListRewindTargets())).targets[0]
        await pod.notify("meanwhile", wake=False)
        before = list(pod.log.data)
        with pytest.raises(podkit.MethodRejectedError, match="list the targets again") as caught:
            await pod.send(RewindTo(choice.id, choice.expected_head_entries))
        assert caught.value.code is ErrorCode.INVALID_REQUEST
        assert pod.log.data == before
        head = len(before)
        for target in (RewindTarget(choice.id.segment_id, 0), RewindTarget("0" * 8 + choice.id.segment_id[8:], 2)):
            with pytest.raises(podkit.MethodRejectedError):
                await pod.send(RewindTo(target, head))
        await rewound(pod, 0)
        with pytest.raises(podkit.MethodRejectedError, match="another segment"):
            await pod.send(RewindTo(choice.id, head))


@pytest.mark.proves("F38")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_crash_while_going_back_leaves_the_one_segment_or_the_other(autojump_clock, after):
    async with open_world() as world:
        made = crashing(world, 10**6, after)
        async with world.open_pod("root", ScriptedWorker(Say("a")), scope=HOME, sessions=world.sessions) as pod:
            await pod.ask("one")
            before = list(pod.log.data)
            made[0]._at = made[0].count + 1
            choice = (await pod.send(ListRewindTargets())).targets[0]
            with trio.move_on_after(5):
                await pod.send(RewindTo(choice.id, choice.expected_head_entries))
            assert world.program(pod).dead
        world.sessions.opened = None
        async with world.restore_pod("root", ScriptedWorker()) as again:
            if after:
                assert [entry["kind"] for entry in again.log.data] == ["segment_start", "extension"]
            else:
                assert again.log.data == before


async def test_a_restored_pod_keeps_what_was_said_once(tmp_path):
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    place = {"transport": net, "registry": registry}
    for store in (podkit.MemorySessionStore(), podkit.FileSessionStore(tmp_path / "s")):
        async with podkit.open_pod("root", ScriptedWorker(Say("hi")), scope=HOME, sessions=store, **place) as pod:
            await pod.ask("hello")
            before = list(pod.log.data)
        async with podkit.restore_pod("root", ScriptedWorker(Say("again")), sessions=store, **place) as pod:
            assert pod.log.data == before
            assert list(pod.log._session.entries) == [], "the bytes are in the store"
            assert (pod.setting.kept.state.history, pod.setting.kept.state.inputs) == ((), ())
            assert (await pod.run("more")) == 2


class Named(podkit.abc.Tool):
    name, description = "twice", "a tool"
    input_schema: ClassVar = {"type": "object"}

    async def call(self, arguments, context):
        raise AssertionError("nobody calls it")


@pytest.mark.parametrize(
    ("options", "error"),
    [({"cwd": "not/absolute"}, podkit.InvalidRuleError), ({"tools": [Named(), Named()]}, ValueError)],
    ids=["cwd", "tools"],
)
async def test_an_opening_that_cannot_be_leaves_the_session_before_it_as_it_was(autojump_clock, options, error):
    async with open_world() as world:
        async with world.open_pod("root", ScriptedWorker(Say("done")), scope=HOME, sessions=world.sessions) as pod:
            await pod.ask("remember this")
        with pytest.raises(error):
            async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions, **options):
                pass
        async with world.restore_pod("root", ScriptedWorker()) as again:
            assert "remember this" in str(again.log.data)


async def test_a_child_that_cannot_be_opened_leaves_the_session_before_it_as_it_was(autojump_clock):
    async with open_world() as world:
        launcher = podkit.TaskLauncher(lambda: ScriptedWorker(Say("done")))
        wrong = podkit.TaskLauncher(ScriptedWorker, tools=[Named(), Named()])
        kid = podkit.Scope.write("/w/kid")
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as pod:
            child = await pod.spawn("kid", scope=kid, launcher=launcher)
            await child.ask("remember this")
            child.process.kill()
            await child.gone.wait()
            with pytest.raises(podkit.LaunchFailedError):
                await pod.spawn("kid", scope=kid, launcher=wrong)
            back = await pod.restore_child("kid", launcher=launcher)
            assert "remember this" in str((await back.snapshot()).entries)
