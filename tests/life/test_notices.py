"""Notices in a running pod: in the log when accepted, seen once, given back otherwise, and never more runs than they are worth."""

import contextlib
import itertools

import pytest
import trio

import podkit
from podkit._net import Ask, Origin
from podkit.logic import Transcript, fold_transcript, project_notices
from podkit.protocol import (
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    ErrorCode,
    InvokeStart,
    Notify,
    PodErrored,
    PodEventMethod,
    PodScopeSubDelegated,
    PodShutDown,
    PodTurnEnded,
    Returned,
    Role,
    RunEnd,
    Shutdown,
    Snapshot,
    Status,
    StatusEvent,
    SystemItemEvent,
    UserMessage,
    entry_from_data,
)
from podkit.testing import Fail, Say, ScriptedWorker, Sleep, open_world

HOME = podkit.Scope.write("/w")
KID = podkit.Scope.write("/w/kid")
IDLE = podkit.TaskLauncher(ScriptedWorker)


class Reader(podkit.abc.Worker):
    """Remembers what it was told, and by which run."""

    def __init__(self, seconds=0.0):
        self.seen, self.seconds = [], seconds

    async def work(self, run, emit):
        self.seen += [(run.number, notice.body) for notice in run.notices]
        await trio.sleep(self.seconds)

    @property
    def bodies(self):
        return [body for _, body in self.seen]


def entries(pod):
    return [entry for entry in pod.log.data if entry["kind"] != "segment_start"]


def kinds(pod):
    return [entry["kind"] for entry in entries(pod)]


def logged(pod):
    """The queue as the log has it."""
    return project_notices(entry_from_data(data) for data in pod.log.data).ids


def failing(pod, kind, times=1):
    """Entries of this kind cannot be kept, so many times."""
    append, left = pod.log.append, [times]

    def fail(*entries):
        if left[0] and any(entry.kind == kind for entry in entries):
            left[0] -= 1
            raise OSError(28, "No space left on device")
        append(*entries)

    pod.log.append = fail


def report(pod, event, child="kid", answers=None):
    """A report as the desk gets it from a connection of that child."""
    found = pod.children[child]
    origin = Origin(Role.CHILD, child=(child, found.incarnation))
    answers = [] if answers is None else answers
    pod.desk.submit(Ask(PodEventMethod(event), None, origin, answers.append))
    return answers


# The queue is the log.


class QueueWatch(trio.abc.Instrument):
    """Compares after every step of every task."""

    def __init__(self, pod):
        self.pod, self.steps, self.most = pod, 0, 0

    def after_task_step(self, task):
        self.steps += 1
        waiting = logged(self.pod)
        self.most = max(self.most, len(waiting))
        assert self.pod.actor.life.queued == self.pod.notices.queue.ids == waiting


@pytest.mark.proves("F51", "H15", "I26")
async def test_what_waits_is_what_the_log_says_at_every_step(autojump_clock):
    class Polling(podkit.abc.Worker):
        async def work(self, run, emit):
            for _ in range(3):
                await trio.sleep(1)
                run.poll_notices()
            if run.text == "fail":
                raise podkit.ModelError("no model")

    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", Polling(), scope=HOME) as pod:
            watch = QueueWatch(pod)
            trio.lowlevel.add_instrument(watch)
            kid = await pod.spawn("kid", scope=KID, launcher=IDLE, task="go")
            async with world.connect(pod.address) as client:
                for number in range(12):
                    await client.notify(f"number {number}", wake=number % 3 == 0)
                    await trio.sleep(0.7)
                    if number % 4 == 1:
                        await kid.run("more")
                    if number == 5:
                        with contextlib.suppress(podkit.MethodRejectedError):
                            await client.cancel()
                run = await client.run("fail")
                failing(pod, "system_item", times=2)
                await client.notify("late")
                await pod.wait(run)
                await trio.sleep(100)
                await client.notify("never seen", wake=False)
        assert pod.log.data[-1]["kind"] == "notice_returned"
        assert watch.most > 1
        assert logged(pod) == ()


@pytest.mark.proves("H15")
async def test_a_crash_keeps_in_the_log_what_was_accepted_and_not_seen():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            await pod.spawn("kid", scope=KID, launcher=IDLE)
            await pod.notify("words", wake=False)
            pod.actor.life = podkit.logic.Life(phase=podkit.logic.Phase.PAUSED, notices=pod.actor.life.notices)
            report(pod, PodTurnEnded("kid", id="1"))
            waiting = logged(pod)
            world.crash(pod)
            assert len(waiting) == 2
            assert logged(pod) == waiting  # whoever goes on with this log delivers them


async def test_ids_are_never_used_again_by_another_life_of_the_pod():
    with trio.fail_after(10):
        async with open_world() as world:
            seen = []
            for _ in range(2):
                async with world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
                    for _ in range(2):
                        reply = await pod.send(Notify("x", auto_run=False))
                        seen.append(reply.notice)
            assert len(set(seen)) == 4
            assert all(notice is not None for notice in seen)


async def test_accepted_says_which_notice_it_was_and_the_model_sees_it_under_that_id(autojump_clock):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                reply = await client.send(Notify("hello"))
                assert isinstance(reply, Accepted)
                async for event in client:
                    if isinstance(event, SystemItemEvent):
                        break
                assert event.item.notice == reply.notice
                assert entries(pod)[0]["id"] == reply.notice


# Nothing is lost when something cannot be kept (F51).


@pytest.mark.proves("F51", "I26")
async def test_a_notice_that_cannot_be_kept_is_refused_and_was_never_there(autojump_clock):
    worker = Reader()
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", worker, scope=HOME) as pod:
            failing(pod, "notice")
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.notify("lost")
            assert caught.value.code is ErrorCode.STORAGE_FULL
            assert (entries(pod), pod.actor.life.queued, pod.status) == ([], (), Status.IDLE)
            await pod.notify("kept")
            await trio.sleep(1)
            assert worker.bodies == ["kept"]


async def test_a_notice_that_cannot_be_said_in_a_log_is_refused_as_our_own_mistake(monkeypatch):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:

            def broken(*entries):
                raise ValueError("a bug")

            monkeypatch.setattr(pod.log, "append", broken)
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.notify("lost")
            assert caught.value.code is ErrorCode.INTERNAL
            monkeypatch.undo()


@pytest.mark.proves("F51")
async def test_notices_that_cannot_be_given_back_stay_in_the_log_and_nobody_is_told_that_they_were():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                await client.notify("quiet", wake=False)
                failing(pod, "notice_returned")
                await client.shutdown()
                assert not [event async for event in client if isinstance(event, Returned)]
            await pod.stopped()
            assert kinds(pod) == ["notice"]


@pytest.mark.proves("F53", "I27")
async def test_what_a_worker_is_handed_is_in_the_log_before_it_has_it(autojump_clock):
    handed = []

    class Checking(podkit.abc.Worker):
        async def work(self, run, emit):
            def check(items):
                for item in items:
                    entries = [entry for entry in run.pod.log.data if entry["kind"] == "system_item"]
                    assert item.notice in [entry["item"]["notice"] for entry in entries]
                    handed.append(item.body)

            check(run.notices)
            await trio.sleep(1)
            check(run.poll_notices())
            assert run.poll_notices() == ()

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Checking(), scope=HOME) as pod:
            await pod.notify("first", wake=False)
            run = await pod.run("go")
            await pod.notify("second")
            assert (await pod.wait(run)).result.value == "finished"
            assert handed == ["first", "second"]


@pytest.mark.proves("F56")
async def test_what_a_user_said_is_shown_only_of_a_run_that_was_kept(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Sleep(5)), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                run = await client.run("kept")
                with pytest.raises(podkit.MethodRejectedError):
                    await client.run("refused")
                await pod.wait(run)
                failing(pod, "user_input")
                with pytest.raises(podkit.MethodRejectedError):
                    await client.run("not kept")
                await client.shutdown()
                events = [event async for event in client]
            assert [event.segments[0].content for event in events if isinstance(event, UserMessage)] == ["kept"]
            assert len([event for event in events if isinstance(event, InvokeStart)]) == 1
            assert isinstance(events[-1], Shutdown)


# Given back.


async def test_who_sent_a_notice_that_nobody_saw_is_told_which_when_the_pod_ends():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            async with world.connect(pod.address) as client, world.connect(pod.address, subscribe="none") as other:
                notice = (await client.send(Notify("quiet", auto_run=False))).notice
                second = (await other.send(Notify("quiet too", auto_run=False))).notice
                await client.shutdown()
                assert [event async for event in client if isinstance(event, Returned)] == [Returned(notice, "stopping")]
                assert [event async for event in other] == [Returned(second, "stopping")]
            await pod.stopped()
            assert kinds(pod) == ["notice", "notice", "notice_returned", "notice_returned"]


async def test_who_comes_back_under_its_name_is_told_and_who_is_gone_is_not_missed():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            there = {"transport": world.transport, "subscribe": "none"}
            for name in ("one", "two"):
                async with podkit._net.connect(pod.address, instance=name, **there) as client:
                    reply = await client.send(Notify(name, auto_run=False))
            async with podkit._net.connect(pod.address, instance="two", **there) as client:
                await client.shutdown()
                assert [event async for event in client] == [Returned(reply.notice, "stopping")]
            await pod.stopped()


async def test_a_seen_notice_is_not_given_back(autojump_clock):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                await client.notify("seen")
                await trio.sleep(1)
                await client.shutdown()
                assert not [event async for event in client if isinstance(event, Returned)]


async def test_a_parent_learns_which_of_its_notices_a_child_never_saw():
    worker = Reader()
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", worker, scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=IDLE)
            reply = await kid.send(Notify("too late", auto_run=False))
            async with world.connect(kid.address) as stranger:
                await stranger.notify("somebody else's", wake=False)
                await stranger.shutdown()
            await kid.gone.wait()
            assert kid.unseen == (reply.notice,)
            while not worker.seen:
                await trio.lowlevel.checkpoint()
            assert worker.bodies == ["pod `kid` has shut down; it did not see 1 of the notices you sent it"]


# Classes (F54) and waking (F49).


@pytest.mark.proves("F54")
async def test_what_only_moves_authority_is_neither_queued_nor_shown_and_wakes_nobody(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
            await pod.spawn("kid", scope=KID, launcher=IDLE)
            event = PodScopeSubDelegated("kid", "leaf", "memory://leaf", KID.allow, id="1")
            assert report(pod, event) == [Accepted()]
            await trio.sleep(100)
            assert entries(pod) == []
            assert "leaf" in pod.children.grandchildren


@pytest.mark.proves("F49")
@pytest.mark.parametrize("event", [PodTurnEnded("kid", id="1"), PodErrored("kid", "no", id="1"), PodShutDown("kid", id="1")])
async def test_news_of_a_child_wakes_an_idle_pod_in_the_same_step(event):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Reader(), scope=HOME) as pod:
            await pod.spawn("kid", scope=KID, launcher=IDLE)
            assert report(pod, event) == [Accepted()]
            assert pod.status is Status.RUNNING
            assert kinds(pod) == ["notice", "invoke", "system_item"]


async def test_a_hint_that_cannot_be_kept_was_not_heard_and_may_come_again():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Reader(), scope=HOME) as pod:
            await pod.spawn("kid", scope=KID, launcher=IDLE)
            failing(pod, "notice")
            event = PodTurnEnded("kid", id="1")
            (answer,) = report(pod, event)
            assert answer.code is ErrorCode.STORAGE_FULL
            assert report(pod, event) == [Accepted()]
            assert report(pod, event) == [Accepted()]
            assert kinds(pod).count("notice") == 1


async def test_the_id_of_a_report_is_bounded_and_its_text_is_made_safe():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Reader(), scope=HOME) as pod:
            await pod.spawn("kid", scope=KID, launcher=IDLE)
            (answer,) = report(pod, PodTurnEnded("kid", id="x" * 1000))
            assert answer.code is ErrorCode.INVALID_REQUEST
            report(pod, PodErrored("kid", "\x1b[31m" + "y" * 100_000))
            assert len(str(entries(pod)[0])) < 40_000
            assert "\x1b" not in str(entries(pod)[0])


# A full queue.


@pytest.mark.proves("H15")
async def test_news_without_room_is_put_together_by_child_and_hides_no_end(autojump_clock):
    worker = Reader(seconds=5)
    with trio.fail_after(1000):
        limits = podkit.Limits(notices=2)
        async with open_world() as world, world.open_pod("root", worker, scope=HOME, limits=limits) as pod:
            for name in ("kid", "boy"):
                await pod.spawn(name, scope=podkit.Scope.read("/w"), launcher=IDLE)
            run = await pod.run("go")
            await pod.notify("words")
            for number in range(4):
                for name in ("kid", "boy"):
                    assert report(pod, PodTurnEnded(name, id=f"{number}"), name) == [Accepted()]
            assert report(pod, PodShutDown("boy", id="bye"), "boy") == [Accepted()]
            assert report(pod, PodErrored("kid", "no model", id="e")) == [Accepted()]
            assert len(pod.actor.life.queued) == 3
            assert pod.actor.life.queued == logged(pod)
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.notify("no room for words")
            assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
            await pod.wait(run)
            await trio.sleep(10)
            assert worker.bodies[:2] == ["words", "pod `kid` finished its turn"]
            assert worker.bodies[2].splitlines()[1:] == [
                "gone: `boy`",
                "- pod `boy` is gone; finished 4 turns",
                "- pod `kid` finished 3 turns; 1 failure, the last: no model",
            ]
            assert len(worker.seen) == 3
            run = await pod.run("again")
            await pod.notify("more words", wake=False)
            await pod.notify("and more", wake=False)
            report(pod, PodTurnEnded("kid", id="later"))
            await pod.wait(run)
            await trio.sleep(10)
            assert worker.bodies[-1].splitlines()[1:] == ["- pod `kid` finished 1 turn"]  # what was seen is not told again


# Two pods that wake each other (F55).


@pytest.mark.proves("F55")
async def test_a_parent_that_starts_its_child_at_every_notice_is_slowed_down_and_loses_nothing(autojump_clock):
    runs = []

    class Eager(podkit.abc.Worker):
        async def work(self, run, emit):
            runs.append(trio.current_time())
            await trio.sleep(0.01)
            await run.pod.children["kid"].run("and now?")

    limits = podkit.Limits(wakes=4, wake_seconds=10.0)
    with trio.fail_after(10_000):
        async with open_world() as world, world.open_pod("root", Eager(), scope=HOME, limits=limits) as root:
            await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(lambda: ScriptedWorker(Say("and you?"))))
            await root.run("begin")
            await trio.sleep(600)
            assert 55 <= len(runs) <= 1 + 4 + 60
            assert sum(when < runs[0] + 9 for when in runs) == 1 + 4
            assert max(later - sooner for sooner, later in itertools.pairwise(runs)) < 11
            heard = [entry["item"]["event"]["id"] for entry in root.log.data if entry["kind"] == "system_item"]
            assert len(heard) == len(set(heard)) == len(runs) - 1
            # Whoever asks for a run is not made to wait, and sees what waits.
            while not root.actor.life.queued:  # noqa: ASYNC110 - only virtual time passes
                await trio.sleep(0.1)
            assert root.desk.greeting().held == 1
            await root.run("look")
            assert root.actor.life.queued == ()


async def test_words_of_a_child_wake_as_often_as_its_news_and_no_more():
    worker = Reader()
    limits = podkit.Limits(wakes=2)
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", worker, scope=HOME, limits=limits) as pod:
            kid = await pod.spawn("kid", scope=KID, launcher=IDLE)
            origin = Origin(Role.CHILD, child=("kid", kid.incarnation))
            for number in range(4):
                answers = []
                pod.desk.submit(Ask(Notify(f"{number}"), None, origin, answers.append))
                assert isinstance(answers[0], Accepted)
                while pod.status is Status.RUNNING:
                    await trio.lowlevel.checkpoint()
            assert len(worker.seen) == 2
            assert len(pod.actor.life.queued) == 2


# Only runs hold the place of a run (F59).


@pytest.mark.proves("F59")
async def test_what_goes_on_beside_runs_makes_no_pod_busy(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("done")), scope=HOME) as pod:
            pod.start_soon(trio.sleep_forever)
            ended = []

            async def slow_birth():
                class Late(podkit.abc.Launcher):
                    async def launch(self, birth):
                        await trio.sleep_forever()

                with pytest.raises(podkit.SpawnError):
                    await pod.spawn("kid", scope=KID, launcher=Late(), ready_timeout=1000)
                ended.append(trio.current_time())

            pod.start_soon(slow_birth)
            await trio.sleep(1)
            assert pod.status is Status.IDLE
            assert (await pod.ask("now")).text == "done"
            assert not ended
            began = trio.current_time()
            await pod.shutdown()
            await pod.stopped()
            assert trio.current_time() - began < 30
            assert ended


@pytest.mark.proves("I15")
async def test_how_many_notices_are_held_is_told_when_it_changes_and_only_then(autojump_clock):
    worker = Reader(seconds=5)
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", worker, scope=HOME) as pod:
            await pod.spawn("kid", scope=KID, launcher=IDLE)
            async with world.connect(pod.address) as client:
                shown = fold_transcript(Transcript(), await client.receive())
                run = await client.run("go")
                await client.cancel()
                await client.wait(run)
                for number in range(3):
                    report(pod, PodTurnEnded("kid", id=str(number)))
                report(pod, PodTurnEnded("kid", id="2"))  # told again, and counted once
                await client.notify("quiet", wake=False)
                pod.hub.publish(Alert(AlertLevel.WARN, AlertSource.POD, "that is all", 0))
                statuses = []
                while not shown.alerts:
                    event = await client.receive()
                    shown = fold_transcript(shown, event)
                    if isinstance(event, StatusEvent):
                        statuses.append((event.status, event.held))
                assert statuses == [(Status.RUNNING, 0), *((Status.IDLE, held) for held in range(4))]
                async with world.connect(pod.address) as late:
                    assert fold_transcript(Transcript(), await late.receive()).held == shown.held == 3
                await client.wait(await client.run("on"))
                while shown.status is not Status.IDLE or shown.held:
                    shown = fold_transcript(shown, await client.receive())


@pytest.mark.proves("H13")
async def test_a_notice_that_waited_for_a_cancelled_run_starts_nothing_until_somebody_asks(autojump_clock):
    worker = Reader(seconds=5)
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", worker, scope=HOME) as pod:
            await pod.spawn("kid", scope=KID, launcher=IDLE)
            async with world.connect(pod.address) as client:
                await client.run("go")
                report(pod, PodTurnEnded("kid", id="1"))
                await client.cancel()
                async for event in client:
                    if isinstance(event, StatusEvent) and event.status is Status.IDLE:
                        break
                assert event.held == 1
            report(pod, PodTurnEnded("kid", id="2"))
            await trio.sleep(100)
            assert worker.seen == []
            async with world.connect(pod.address) as client:
                snapshot = await client.receive()
                assert isinstance(snapshot, Snapshot)
                assert snapshot.greeting.held == 2
            await pod.notify("go on")
            await trio.sleep(1)
            assert len(worker.seen) == 3


@pytest.mark.proves("F50")
@pytest.mark.parametrize("end", [Say("done"), Fail(ValueError("no"))])
async def test_a_notice_at_any_checkpoint_of_the_end_of_a_run_starts_exactly_one_more(autojump_clock, end):
    for checkpoints in range(12):
        with trio.fail_after(1000):
            async with open_world() as world, world.open_pod("root", ScriptedWorker(end), scope=HOME) as pod:
                await pod.run("go")
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                await pod.notify("news")
                await trio.sleep(0.5 if isinstance(end, Say) else 100)
                assert kinds(pod).count("notice") == kinds(pod).count("system_item") == 1
                assert 1 <= kinds(pod).count("invoke") <= (2 if isinstance(end, Say) else 3)


async def test_the_end_of_a_run_is_reported_to_a_parent_only_when_it_asked_for_it(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", Reader(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=IDLE)
            async with world.connect(kid.address) as client:
                await client.run("a stranger's")
                async for event in client:
                    if isinstance(event, RunEnd):
                        break
            await kid.notify("a notice of ours")
            await trio.sleep(100)
            assert entries(root) == []
