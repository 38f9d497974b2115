"""Known failures of runs, notices and what late-comers see, each as a scenario, and each brought back to see the scenario fail."""

import contextlib
import itertools

import attrs
import pytest
import trio
from scenes import KID, ROOT, everything, of_kind, play, play_with_the_bug, quiet, some_steps, until

from podkit.errors import MethodRejectedError, ModelError, PodUnreachableError
from podkit.logic import AskCancel
from podkit.logic._lifecycle import _CLASSIFIERS
from podkit.logic._lifecycle_actions import ACTIONS
from podkit.logic._lifecycle_table import TABLE, Action, InputKind, Row
from podkit.logic._lifecycle_values import Phase
from podkit.protocol import (
    NotificationItem,
    RunEnd,
    RunResult,
    Shutdown,
    Snapshot,
    Status,
    StatusEvent,
    SystemItemEvent,
    TextDelta,
    TextDone,
    ToolCallDone,
    ToolResult,
    TurnEnd,
    TurnResult,
    TurnStart,
)
from podkit.testing import Say, ScriptedWorker, Sleep, simulate


def entries(pod, kind):
    return [entry for entry in pod.log.data if entry["kind"] == kind]


# One end for everything (F17).


class Told(ScriptedWorker):
    """Ends as it is told."""

    def __init__(self):
        super().__init__()
        self.told, self.how = trio.Event(), None

    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        await self.told.wait()
        if self.how == "fail":
            raise ModelError("no model")
        emit(TurnEnd(turn=1, result=TurnResult.FINISHED))


def ended_by(*hows):
    async def scenario(world):
        worker = Told()

        async def end(how, client):
            with contextlib.suppress(MethodRejectedError, PodUnreachableError):
                match how:
                    case "cancel":
                        await client.cancel()
                    case "stop":
                        await client.shutdown()
                    case _:
                        worker.how = worker.how or how
                        worker.told.set()

        async with world.open_pod("root", worker, scope=ROOT) as root:
            async with world.connect(root.address) as client, world.connect(root.address) as asking:
                run = await asking.run("begin")
                async with trio.open_nursery() as nursery:
                    for how in hows:
                        await some_steps(world, 30)
                        nursery.start_soon(end, how, asking)
                events = await everything(client)
            ends = [event.result for event in events if isinstance(event, RunEnd) and event.run == run]
            assert len(ends) == 1, f"run {run} ended {ends}"
            kept = entries(root, "run_completed") + entries(root, "run_errored")
            assert [entry["run"] for entry in kept] == [run]
            assert kept[0].get("result", "failed") == ends[0].value
            leaving = of_kind(events, Shutdown)
            assert len(leaving) == ("stop" in hows)
            assert not leaving or events[-1] is leaving[0]

    return scenario


PAIRS = list(itertools.permutations(("cancel", "stop", "exit", "fail"), 2))


def broken_a_late_cancel_ends_the_run_again(monkeypatch):
    row = Row(None, (Action.ACCEPT, Action.END_CANCELLED, Action.SHOW_IDLE))
    monkeypatch.setitem(TABLE, (InputKind.CANCEL, Phase.IDLE), row)


@pytest.mark.proves("F17", "I24")
@pytest.mark.parametrize("hows", PAIRS, ids=" then ".join)
def test_whatever_comes_together_at_its_end_a_run_ends_once_and_stays_as_it_ended(hows):
    play(ended_by(*hows))


def stopped_by(*hows):
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT) as root:
            kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet))
            program, reports = world.program(kid), []

            async def end(how):
                match how:
                    case "stop":
                        reports.append(await kid.stop())
                    case "shutdown":
                        with contextlib.suppress(PodUnreachableError, MethodRejectedError):
                            await kid.shutdown()
                    case "crash":
                        world.crash(program)
                    case _:
                        program.scope.cancel()  # SIGTERM

            async with world.connect(root.address) as client:
                async with trio.open_nursery() as nursery:
                    for how in hows:
                        await some_steps(world, 30)
                        nursery.start_soon(end, how)
                with trio.fail_after(30):
                    await kid.gone.wait()
                told = [event.item.event.kind for event in of_kind(await everything(client), SystemItemEvent)]
            reports.append(await kid.stop())
            assert len(set(map(id, reports))) == 1, "two reports of one end"
            assert len(told) == len(set(told))

    return scenario


def broken_a_stop_of_who_is_gone_reports_once_more(monkeypatch):
    from podkit._life import _child

    stop = _child.stop_child

    async def stop_again(child, *, grace):
        child.report = None
        return await stop(child, grace=grace)

    monkeypatch.setattr(_child, "stop_child", stop_again)


@pytest.mark.proves("F17")
@pytest.mark.parametrize("hows", list(itertools.permutations(("stop", "shutdown", "exit", "crash"), 2)), ids=" then ".join)
def test_whatever_ends_a_child_at_the_same_time_its_end_is_reported_once(hows):
    play(stopped_by(*hows))


# A cancellation that comes as the run ends (F13).


async def a_cancel_comes_as_the_run_ends(world):
    class Short(ScriptedWorker):
        async def work(self, run, emit):
            if run.text == "second":
                await trio.sleep(1)
            for _ in range(12):
                await trio.lowlevel.checkpoint()

    async with world.open_pod("root", Short(), scope=ROOT) as root, world.connect(root.address) as asking:
        first = await asking.run("first")

        async def cancel():
            await some_steps(world, 40)
            with contextlib.suppress(MethodRejectedError):
                await asking.cancel(run=first)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await root.wait(first)
            second = await root.wait(await root.run("second"))
        assert second.result is RunResult.FINISHED, f"the run after the one that was cancelled is {second.result}"


def broken_a_cancel_is_for_whatever_runs(monkeypatch):
    monkeypatch.setitem(_CLASSIFIERS, AskCancel, lambda life, said: InputKind.CANCEL)


@pytest.mark.proves("F13", "I23")
def test_a_cancel_that_comes_as_its_run_ends_does_not_hit_the_next():
    play(a_cancel_comes_as_the_run_ends, range(60))


# Notices at the end of a run (F50), whose run cannot be kept (F51), and shown (F52).


def notified_after(steps):
    async def scenario(world):
        class Short(ScriptedWorker):
            async def work(self, run, emit):
                for _ in range(12):
                    await trio.lowlevel.checkpoint()

        async with world.open_pod("root", Short(), scope=ROOT) as root:
            async with world.connect(root.address) as client, world.connect(root.address) as asking:
                await asking.run("begin")
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                await asking.notify("news")
                events = await everything(client)
        assert len(of_kind(events, SystemItemEvent)) == 1
        assert len(of_kind(events, RunEnd)) <= 2
        assert of_kind(events, StatusEvent)[-1].status is Status.IDLE

    return scenario


def broken_left_overs_wait_for_the_next_run(monkeypatch):
    row = TABLE[InputKind.FINISHED, Phase.RUNNING]
    kept = tuple(action for action in row.actions if action is not Action.LEFT_OVERS)
    monkeypatch.setitem(TABLE, (InputKind.FINISHED, Phase.RUNNING), attrs.evolve(row, actions=kept))


@pytest.mark.proves("F50", "I26")
def test_a_notice_at_any_step_of_a_run_is_seen_once_in_that_run_or_in_one_more():
    for steps in range(25):
        play(notified_after(steps), seeds=range(3))


def notified_while_it_ends(how):
    class Long(ScriptedWorker):
        async def work(self, run, emit):
            if run.text == "begin":
                await trio.sleep(1)
                if how == "fail":
                    raise ModelError("no model")
                if how != "exit":
                    await trio.sleep(10)

    async def scenario(world):
        async with world.open_pod("root", Long(), scope=ROOT) as root:
            async with world.connect(root.address) as client, world.connect(root.address) as asking:

                async def tell():
                    await some_steps(world, 40)
                    await asking.notify("news", wake=world.chance.random() < 0.5)

                await asking.run("begin")
                await trio.sleep(1)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(tell)
                    match how:
                        case "cancel":
                            await asking.cancel()
                        case "pause":
                            await asking.pause()
                events = await everything(client)
                with contextlib.suppress(MethodRejectedError):
                    await asking.run("and now?")
                events += await everything(client)
        assert len(of_kind(events, SystemItemEvent)) == 1
        assert of_kind(events, StatusEvent)[-1].status is Status.IDLE

    return scenario


@pytest.mark.proves("F50", "I26")
@pytest.mark.parametrize("how", ["exit", "fail", "cancel", "pause"])
def test_a_notice_while_a_run_ends_in_any_way_is_seen_once(how):
    play(notified_while_it_ends(how))


def failing_store(kind, *, polls=False):
    """The entry of this kind cannot be kept, once."""

    class Worker(ScriptedWorker):
        async def work(self, run, emit):
            if run.text == "poll":
                await trio.sleep(2)
                run.poll_notices()

    async def scenario(world):
        async with world.open_pod("root", Worker(), scope=ROOT) as root:
            append, failures = root.log.append, [OSError(28, "No space left on device")]

            def fail_once(*entries):
                if failures and any(entry.kind == kind for entry in entries):
                    raise failures.pop()
                append(*entries)

            async with world.connect(root.address) as client:
                if polls:
                    await client.run("poll")
                root.log.append = fail_once
                await client.notify("news")
                events = await everything(client, most=200)
            assert not failures
            seen = of_kind(events, SystemItemEvent)
            assert [event.item.message for event in seen] == ["news"]
            assert len(entries(root, "system_item")) == 1

    return scenario


def broken_notices_are_forgotten_before_they_are_kept(monkeypatch):
    from podkit._life._actor import Actor
    from podkit.logic import NoticesSeen

    commit = Actor._commit

    def seen_first(self, effect):
        self.feed(NoticesSeen(effect.notices))
        commit(self, attrs.evolve(effect, notices=()))

    monkeypatch.setattr(Actor, "_commit", seen_first)


@pytest.mark.proves("F51", "I26")
def test_a_notice_whose_run_could_not_be_kept_is_seen_once_by_the_next_try():
    play(failing_store("invoke"))


@pytest.mark.proves("F51", "I26")
@pytest.mark.parametrize("polls", [False, True])
def test_a_notice_that_could_not_be_kept_as_seen_is_seen_once_by_the_next_try(polls):
    play(failing_store("system_item", polls=polls))


@pytest.mark.proves("F51", "I24")
def test_a_run_whose_input_could_not_be_kept_leaves_nothing_of_it_in_the_log():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT) as root:
            append = root.log.append

            def fail(*entries):
                if any(entry.kind == "user_input" for entry in entries):
                    raise OSError(28, "No space left on device")
                append(*entries)

            root.log.append = fail
            with pytest.raises(MethodRejectedError):
                await root.run("begin")
            root.log.append = append
            assert root.log.data == []

    simulate(scenario, seed=1)


async def some_notices_are_watched(world):
    slow = ScriptedWorker(Sleep(2), Say("done"))
    async with world.open_pod("root", slow, scope=ROOT) as root:
        async with world.connect(root.address) as client:
            for number in range(4):
                await client.notify(f"number {number}", wake=bool(number % 2))
                await trio.sleep(world.chance.random() * 3)
            live = [event.item for event in of_kind(await everything(client), SystemItemEvent)]
        async with world.connect(root.address) as client:
            snapshot = await client.receive()
            again = [entry["item"]["message"] for entry in snapshot.entries if entry["kind"] == "system_item"]
    assert sorted(item.message for item in live) == [f"number {number}" for number in range(4)]
    assert again == [item.message for item in live]
    assert len({item.notice for item in live}) == 4


def broken_a_notice_is_shown_when_it_comes_in_too(monkeypatch):
    from podkit._life._actor import Actor

    kept = Actor._kept

    def echo(self, said):
        self._hub.publish(SystemItemEvent(NotificationItem("number 1", "number 1", notice=said.notice)))
        return kept(self, said)

    monkeypatch.setattr(Actor, "_kept", echo)


@pytest.mark.proves("F52")
def test_each_notice_is_shown_once_live_and_once_to_who_comes_later():
    play(some_notices_are_watched)


# Who comes in the middle (F57).


class Speaking(ScriptedWorker):
    """Says three words in parts, with `pause` after each part."""

    def __init__(self, pause):
        super().__init__()
        self.pause = pause

    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        for word in ("one", "two", "three"):
            for part in (word[:2], word[2:]):
                emit(TextDelta(text=part))
                await self.pause()
            emit(TextDone(text=word))
            await trio.lowlevel.checkpoint()
            emit(ToolCallDone(id=word, name="look", arguments="{}"))
            await run.committed()
            emit(ToolResult(id=word, summary=f"saw {word}"))
        emit(TurnEnd(turn=1, result=TurnResult.FINISHED))


def seen_in(events):
    """What somebody knows who received these: what was said, called and answered, in order."""
    view = []
    for event in events:
        match event:
            case Snapshot():
                view = [told for entry in event.entries if (told := _seen(entry)) is not None]
            case TextDone(text=text):
                view.append(text)
            case ToolCallDone(id=call):
                view.append(("call", call))
            case ToolResult(id=call):
                view.append(("result", call))
    return view


def _seen(entry):
    match entry:
        case {"kind": "assistant_item", "item": {"kind": "message", "content": [{"text": text}]}}:
            return text
        case {"kind": "assistant_item", "item": {"kind": "tool_call", "call_id": call}}:
            return ("call", call)
        case {"kind": "tool_result", "item": {"call_id": call}}:
            return ("result", call)
    return None


WHOLE = [part for word in ("one", "two", "three") for part in (word, ("call", word), ("result", word))]


async def somebody_attaches_after_every_event(world):
    async def a_moment():
        await some_steps(world, 12)

    async with world.open_pod("root", Speaking(a_moment), scope=ROOT) as root:
        views = []

        async def late():
            buffer, pause = world.chance.choice(((1, 5), (3, 1), (4096, 0)))
            async with world.connect(root.address, buffer=buffer) as client:
                await trio.sleep(pause)  # a slow one loses events, and gets a snapshot instead
                views.append(seen_in(await everything(client)))

        async with trio.open_nursery() as nursery, world.connect(root.address) as client:
            await client.run("speak")
            async for event in client:
                nursery.start_soon(late)
                if isinstance(event, RunEnd):
                    break
        assert len(views) > 20
        assert [view for view in views if view != WHOLE] == []


def broken_the_log_is_copied_before_the_last_entry(monkeypatch):
    from podkit._life._desk import PodDesk

    snapshot = PodDesk.snapshot

    def early(self):
        whole = snapshot(self)
        return attrs.evolve(whole, entries=whole.entries[:-1])

    monkeypatch.setattr(PodDesk, "snapshot", early)


def broken_what_is_kept_is_shown_a_moment_later(monkeypatch):
    from podkit._life._saying import Saying, entry_of, with_run

    emit = Saying.emit

    async def show(hub, event):
        hub.publish(event)

    def emit_later(self, current, event):
        if isinstance(event, TextDone):
            event = with_run(event, current.number)
            self._session.append(entry_of(event, current.number, self._session.now()))
            trio.lowlevel.spawn_system_task(show, self._hub, event)
        else:
            emit(self, current, event)

    monkeypatch.setattr(Saying, "emit", emit_later)


@pytest.mark.proves("F57", "I15")
def test_who_attaches_after_any_event_knows_the_same_in_the_end():
    play(somebody_attaches_after_every_event)


@pytest.mark.proves("F57")
def test_who_attaches_in_the_middle_of_a_text_is_told_what_was_said_of_it():
    async def scenario(world):
        async def a_second():
            await trio.sleep(1)

        slow = Speaking(a_second)
        async with world.open_pod("root", slow, scope=ROOT) as root, world.connect(root.address) as client:
            await client.run("speak")
            await until(client, lambda event: isinstance(event, TextDelta))
            async with world.connect(root.address) as late:
                snapshot = await until(late, lambda event: isinstance(event, Snapshot))
                assert snapshot.in_flight == {"blocks": [{"kind": "text", "text": "on", "run": 1}]}

    simulate(scenario, seed=1)


# What was cancelled is not done again (H13).


async def a_cancelled_run_is_followed_by_a_notice(world):
    done = []

    class Careful(ScriptedWorker):
        unfinished = None

        async def work(self, run, emit):
            if run.text or run.resumed:
                call = f"call-{run.number}"
                emit(ToolCallDone(id=call, name="delete", arguments="{}"))
                await run.committed()
                done.append(call)
                await trio.sleep(10)
                emit(ToolResult(id=call, summary="deleted"))

    async with world.open_pod("root", Careful(), scope=ROOT) as root, world.connect(root.address) as client:
        await client.run("delete it")
        await until(client, lambda event: isinstance(event, ToolCallDone))
        await trio.sleep(world.chance.random() * 9)
        await client.cancel()
        await client.notify("news")
        events = await everything(client)
        assert [event.item.message for event in of_kind(events, SystemItemEvent)] == ["news"]
        with pytest.raises(MethodRejectedError):
            await client.resume()
    assert done == ["call-1"]


def broken_a_notice_resumes_what_was_cancelled(monkeypatch):
    commit = ACTIONS[Action.COMMIT_NOTICES]

    def resume(move, life):
        life = commit(move, life)
        move.effects[-1] = attrs.evolve(move.effects[-1], resumed=True)
        return life

    monkeypatch.setitem(ACTIONS, Action.COMMIT_NOTICES, resume)


@pytest.mark.proves("H13")
def test_a_notice_after_a_cancelled_run_starts_a_new_run_and_does_nothing_again():
    play(a_cancelled_run_is_followed_by_a_notice)


@pytest.mark.parametrize(
    ("plant", "scenario", "says"),
    [
        pytest.param(broken_a_cancel_is_for_whatever_runs, a_cancel_comes_as_the_run_ends, "the run after", id="F13"),
        pytest.param(broken_a_late_cancel_ends_the_run_again, ended_by("exit", "cancel"), "I24|ended", id="F17"),
        pytest.param(broken_a_stop_of_who_is_gone_reports_once_more, stopped_by("stop", "crash"), "two reports", id="F17 child"),
        pytest.param(broken_left_overs_wait_for_the_next_run, notified_after(1), "scenario", id="F50"),
        pytest.param(broken_notices_are_forgotten_before_they_are_kept, failing_store("invoke"), "scenario|I26", id="F51"),
        pytest.param(broken_a_notice_is_shown_when_it_comes_in_too, some_notices_are_watched, "scenario", id="F52"),
        pytest.param(
            broken_the_log_is_copied_before_the_last_entry, somebody_attaches_after_every_event, "scenario", id="F57 never"
        ),
        pytest.param(
            broken_what_is_kept_is_shown_a_moment_later, somebody_attaches_after_every_event, "I27|scenario", id="F57 twice"
        ),
        pytest.param(broken_a_notice_resumes_what_was_cancelled, a_cancelled_run_is_followed_by_a_notice, "scenario", id="H13"),
    ],
)
def test_with_the_bug_back_a_seed_turns_red(monkeypatch, plant, scenario, says):
    play_with_the_bug(monkeypatch, plant, scenario, says)
