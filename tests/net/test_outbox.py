"""The queue between a pod and one peer, under every mixture of events, replies and slowness."""

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit._net import Hub, Outbox
from podkit._net._record import record_of
from podkit.logic import Limits
from podkit.protocol import (
    Accepted,
    Error,
    ErrorCode,
    Greeting,
    Lagged,
    RunEnd,
    RunResult,
    Shutdown,
    Snapshot,
    TextDone,
    read_event,
)

GREETING = Greeting("p", "/", "x", "y", "z", ())


class Pod:
    def __init__(self, lens="full", **limits):
        self.hub = Hub(Limits(**limits))
        self.cuts = 0
        self.outbox = Outbox(self.hub.limits, lens=lens, fresh=self.fresh, cut=self.cut, hub=self.hub)
        self.hub.subscribe(self.outbox)

    def fresh(self):
        return Snapshot(tuple(range(self.hub.head)), GREETING), self.hub.head

    def cut(self):
        self.cuts += 1

    def written(self):
        return [read_event(frame) for frame in self.outbox.take()]


STEPS = st.lists(st.sampled_from(["event", "event", "event", "long event", "reply", "take", "restart"]), max_size=120)


@settings(deadline=None, max_examples=300)
@given(STEPS, st.integers(1, 6), st.integers(200, 2000))
@pytest.mark.proves("I15", "I22")
def test_snapshot_and_events_add_up_to_the_log_whatever_happens(steps, events, size):
    pod = Pod(outbox_events=events, outbox_bytes=size)
    pod.outbox.show_snapshot()
    out, replies = [], 0
    for step in steps:
        if step == "event":
            pod.hub.publish(TextDone("x"))
        elif step == "long event":
            pod.hub.publish(TextDone("x" * 700))
        elif step == "reply":
            replies += 1
            pod.outbox.reply(Accepted(run=pod.hub.seq), str(replies))
        elif step == "restart":
            pod.hub.unsubscribe(pod.outbox)
            pod.outbox.restart("full")
            pod.outbox.show_snapshot()
            pod.hub.subscribe(pod.outbox)
            out.append("restart")
        else:
            out += pod.written()
        assert pod.outbox.backlog.events <= events
    out += pod.written()
    assert pod.outbox.take() == []
    # Every reply once and in order, and never after an event that came later than it.
    said = [frame for frame in out if frame != "restart" and frame.re is not None]
    assert [frame.re for frame in said] == [str(number + 1) for number in range(replies)]
    at = missing = None
    for frame in out:
        if frame == "restart":
            at = None
            continue
        if frame.re is not None:
            assert at is None or at <= frame.event.run
            continue
        match frame.event:
            case Snapshot(entries=entries):
                assert len(entries) == frame.seq
                assert at is None or frame.seq >= at
                assert missing in (None, frame.seq)
                missing = None
                at = frame.seq
            case Lagged(first=first, last=last):
                assert first == at + 1
                missing = last
            case TextDone():
                assert at is not None
                assert frame.seq == at + 1
                at = frame.seq
    assert at is None or at == pod.hub.seq


def test_a_reply_stands_before_the_snapshot_that_shows_what_came_of_it():
    pod = Pod(outbox_events=2)
    pod.outbox.show_snapshot()
    pod.written()
    for _ in range(3):
        pod.hub.publish(TextDone("x"))
    pod.outbox.reply(Accepted(run=1), "1")
    pod.hub.publish(TextDone("of run 1"))
    assert [type(frame.event) for frame in pod.written()] == [Accepted, Lagged, Snapshot]


def test_a_plain_peer_that_falls_behind_is_cut_once_and_hears_no_more():
    pod = Pod("B", outbox_events=2)
    for _ in range(9):
        pod.hub.publish(TextDone("x"))
    pod.outbox.reply(Error(ErrorCode.INTERNAL, "x"), None)
    assert pod.cuts == 1
    assert pod.outbox.dead
    assert pod.outbox.done
    assert pod.written() == []
    assert "dead" in repr(pod.outbox)


def test_a_lens_shows_only_its_own_words():
    pod = Pod("B")
    pod.hub.publish(RunEnd(RunResult.CANCELLED))
    pod.hub.publish(RunEnd(RunResult.FAILED))
    pod.hub.publish(RunEnd(RunResult.FINISHED))
    pod.outbox.reply(Accepted(), "1")
    pod.outbox.reply(Error(ErrorCode.STOPPING, "x"), "2")
    assert [(frame.event.event, frame.seq) for frame in pod.written()] == [("error", 1), ("run_end", 3), ("error", None)]


def test_one_record_is_encoded_once_for_everybody():
    first, second = Pod(), Pod()
    first.hub.subscribe(second.outbox)
    first.hub.publish(TextDone("x"))
    assert first.outbox.take()[0] is second.outbox.take()[0]


async def test_the_writer_is_woken_by_each_kind_of_work():
    for work in ("publish", "reply", "show", "finish", "kill"):
        pod = Pod()
        with trio.fail_after(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pod.outbox.wait)
                await trio.testing.wait_all_tasks_blocked()
                match work:
                    case "publish":
                        pod.hub.publish(TextDone("x"))
                    case "reply":
                        pod.outbox.reply(Accepted(), "1")
                    case "show":
                        pod.outbox.show_snapshot()
                    case "finish":
                        pod.outbox.finish()
                    case "kill":
                        pod.outbox.kill()


@pytest.mark.parametrize("relief", ["written", "killed"])
async def test_a_crowded_outbox_has_room_again_when_replies_were_written_or_never_will_be(relief):
    pod = Pod()
    while not pod.outbox.crowded:
        pod.outbox.reply(Accepted(), "1")
    with trio.fail_after(2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pod.outbox.room)
            await trio.testing.wait_all_tasks_blocked()
            pod.outbox.take()
            await trio.testing.wait_all_tasks_blocked()
            assert pod.outbox.crowded, "taken is not written"
            if relief == "written":
                pod.outbox.take()
            else:
                pod.outbox.kill()


def test_finishing_writes_out_what_is_queued_first():
    pod = Pod()
    pod.hub.publish(TextDone("x"))
    pod.outbox.finish()
    assert not pod.outbox.done
    assert "closing" in repr(pod.outbox)
    assert len(pod.outbox.take()) == 1
    assert pod.outbox.done


def test_the_end_is_missed_by_nobody_however_far_behind():
    pod = Pod(outbox_events=2)
    pod.outbox.show_snapshot()
    pod.written()
    for _ in range(9):
        pod.hub.publish(TextDone("x"))
    pod.hub.publish(Shutdown())
    assert [(type(frame.event), frame.seq) for frame in pod.written()] == [(Lagged, None), (Snapshot, 9), (Shutdown, 10)]
    pod.hub.unsubscribe(pod.outbox)
    pod.outbox.restart("full")
    pod.outbox.show_snapshot()
    pod.hub.subscribe(pod.outbox)
    pod.hub.subscribe(pod.outbox)
    assert [(type(frame.event), frame.seq) for frame in pod.written()] == [(Snapshot, 9), (Shutdown, 10)]


def test_the_end_itself_never_makes_a_peer_fall_behind():
    for lens in ("full", "B"):
        pod = Pod(lens, outbox_events=2)
        pod.hub.publish(TextDone("x"))
        pod.hub.publish(TextDone("x"))
        pod.hub.publish(Shutdown())
        assert [frame.seq for frame in pod.written()] == [1, 2, 3]
        assert pod.cuts == 0


@pytest.mark.proves("I15", "I22")
def test_who_is_behind_is_handed_nothing_until_it_is_written_to_again():
    pod = Pod(outbox_events=2)
    for number in range(3):
        pod.hub.publish(TextDone(str(number)))
    late = Watcher()
    pod.hub.subscribe(late)
    pod.outbox.offer = late.offer  # what it would be handed
    pod.hub.publish(TextDone("3"))
    assert late.offered == [4]
    del pod.outbox.offer
    assert [type(frame.event) for frame in pod.written()] == [Lagged, Snapshot]
    pod.hub.publish(TextDone("4"))
    assert [(frame.seq, frame.event) for frame in pod.written()] == [(5, TextDone("4"))]


@pytest.mark.proves("I15")
def test_the_end_is_told_after_the_snapshot_also_to_who_fell_behind_before_it_subscribed():
    pod = Pod(outbox_events=2)
    pod.hub.unsubscribe(pod.outbox)
    for number in range(3):  # as when a stream is resumed
        pod.outbox.offer(record_of(number + 1, TextDone(str(number))))
    pod.hub.subscribe(pod.outbox)
    pod.hub.publish(Shutdown())
    assert [type(frame.event) for frame in pod.written()] == [Lagged, Snapshot, Shutdown]


class Watcher:
    def __init__(self):
        self.offered = []

    def offer(self, record):
        self.offered.append(record.seq)

    def hub_closed(self):
        pass
