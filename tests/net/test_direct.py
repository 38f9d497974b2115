"""What is written at once, without waking whoever writes: methods on one side, replies on the other, and never out of order."""

import itertools

import pytest
import trio

from podkit._net import Hub, Outbox
from podkit._net._link import Link
from podkit.errors import PodUnreachableError
from podkit.logic import Limits
from podkit.protocol import (
    Accepted,
    Cancel,
    Greeting,
    Notify,
    Snapshot,
    TextDelta,
    TextDone,
    read_event,
    read_method,
)
from podkit_transports import UnixTransport


class Wire:
    """A channel that can be tried, and keeps a record of who wrote what: the caller at once, or the writing task."""

    def __init__(self):
        self.now, self.later = [], []
        self.takes = None  # None: everything; else the answer, or the error to raise
        self.mended = 0
        self.over = trio.Event()

    def send_nowait(self, lines):
        if isinstance(self.takes, BaseException):
            raise self.takes
        self.now.append(lines)
        return self.takes is None

    async def send(self, frame):
        await trio.lowlevel.checkpoint()
        self.later.append(frame)

    async def send_many(self, frames):
        await trio.lowlevel.checkpoint()
        self.mended += not frames
        self.later += frames

    async def receive(self):
        await self.over.wait()
        raise trio.EndOfChannel

    async def aclose(self):
        await trio.lowlevel.checkpoint()


def link_to(wire):
    return Link(wire, "here", ids=map(str, itertools.count(1)), heard=lambda said: None, told=lambda: None)


def texts(frames):
    return [read_method(frame).method.message for frame in frames]


def nothing(reply):
    pass


@pytest.fixture
async def linked():
    wire = Wire()
    link = link_to(wire)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await trio.testing.wait_all_tasks_blocked()
            yield link, wire
            wire.over.set()


async def test_a_method_is_written_at_once_when_nothing_is_before_it(linked):
    link, wire = linked
    for text in "ab":
        link.post(Notify(text), nothing)
    assert texts(wire.now) == ["a", "b"]
    await trio.testing.wait_all_tasks_blocked()
    assert wire.later == []


async def test_before_the_writer_is_there_methods_wait_for_it():
    wire = Wire()
    link = link_to(wire)
    link.post(Notify("early"), nothing)
    assert wire.now == []
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await trio.testing.wait_all_tasks_blocked()
            assert texts(wire.later) == ["early"]
            wire.over.set()


@pytest.mark.parametrize("refusal", [trio.WouldBlock(), trio.BrokenResourceError(), ValueError("planted")])
async def test_a_method_that_finds_no_room_waits_and_what_comes_later_stays_behind_it(linked, refusal):
    link, wire = linked
    wire.takes = refusal
    link.post(Notify("a"), nothing)
    wire.takes = None
    link.post(Notify("b"), nothing)
    assert wire.now == []
    await trio.testing.wait_all_tasks_blocked()
    assert texts(wire.later) == ["a", "b"]
    link.post(Notify("c"), nothing)
    assert texts(wire.now) == ["c"]


async def test_the_rest_of_a_torn_method_goes_before_the_next_one(linked):
    link, wire = linked
    wire.takes = False
    link.post(Notify("torn"), nothing)
    wire.takes = None
    link.post(Notify("behind"), nothing)
    assert texts(wire.now) == ["torn"]
    await trio.testing.wait_all_tasks_blocked()
    assert wire.mended == 1
    assert texts(wire.later) == ["behind"]


async def test_a_method_that_was_written_at_once_may_have_run_when_the_connection_is_lost(linked):
    link, wire = linked
    async with trio.open_nursery() as nursery:

        async def ask():
            with pytest.raises(PodUnreachableError) as caught:
                await link.ask(Cancel())
            assert caught.value.may_have_run

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert len(wire.now) == 1
        wire.over.set()


class Peer:
    """An outbox whose writer waits, over a wire."""

    def __init__(self, hub, wire):
        self.wire = wire
        fresh = lambda: (Snapshot((), Greeting("p", "/", "x", "y", "z", ())), hub.head)  # noqa: E731
        self.outbox = Outbox(hub.limits, lens="full", fresh=fresh, cut=lambda: None, hub=hub, direct=wire.send_nowait)

    async def write(self):
        while True:
            frames = self.outbox.take()
            if frames or self.outbox.mend():
                await self.wire.send_many(frames)
            else:
                await self.outbox.wait()


@pytest.fixture
async def level():
    """A hub and a peer that is written to directly."""
    hub, wire = Hub(Limits()), Wire()
    peer = Peer(hub, wire)
    hub.subscribe(peer.outbox)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hub.fan.run)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(peer.write)
            await trio.testing.wait_all_tasks_blocked()
            assert peer.outbox in hub.fan
            yield hub, peer.outbox, wire
            nursery.cancel_scope.cancel()


def said(wire):
    return [read_event(line).event for lines in wire.now for line in lines.splitlines()]


def later(wire):
    return [read_event(frame).event for frame in wire.later]


async def test_a_reply_is_written_at_once_after_the_events_before_it(level):
    hub, outbox, wire = level
    hub.publish(TextDelta("before"))
    outbox.reply(Accepted(run=1), "1")
    assert said(wire) == [TextDelta("before"), Accepted(run=1)]
    hub.publish(TextDelta("after"))
    await trio.testing.wait_all_tasks_blocked()
    assert said(wire) == [TextDelta("before"), Accepted(run=1), TextDelta("after")]
    assert (wire.later, outbox._unsent) == ([], 0)
    assert outbox in hub.fan


async def test_replies_that_come_together_go_out_together(level):
    _hub, outbox, wire = level
    outbox.corked = True
    for number in range(3):
        outbox.reply(Accepted(run=number), "1")
    outbox.corked = False
    await trio.testing.wait_all_tasks_blocked()
    assert wire.now == []
    assert later(wire) == [Accepted(run=number) for number in range(3)]


@pytest.mark.parametrize("refusal", [trio.WouldBlock(), trio.BrokenResourceError(), ValueError("planted")])
async def test_a_reply_that_finds_no_room_waits_with_the_events_on_both_sides_of_it(level, refusal):
    hub, outbox, wire = level
    hub.publish(TextDone("before"))
    wire.takes = refusal
    outbox.reply(Accepted(run=1), "1")
    hub.publish(TextDone("after"))
    wire.takes = None
    await trio.testing.wait_all_tasks_blocked()
    assert later(wire) == [TextDone("before"), Accepted(run=1), TextDone("after")]
    assert wire.now == []


async def test_a_reply_without_events_before_it_that_finds_no_room_waits(level):
    hub, outbox, wire = level
    wire.takes = trio.WouldBlock()
    outbox.reply(Accepted(run=1), "1")
    wire.takes = None
    hub.publish(TextDone("after"))
    await trio.testing.wait_all_tasks_blocked()
    assert later(wire) == [Accepted(run=1), TextDone("after")]


async def test_the_rest_of_a_torn_reply_goes_before_everything_else(level):
    hub, outbox, wire = level
    wire.takes = False
    outbox.reply(Accepted(run=1), "1")
    wire.takes = None
    outbox.reply(Accepted(run=2), "2")
    hub.publish(TextDone("after"))
    assert outbox not in hub.fan
    await trio.testing.wait_all_tasks_blocked()
    assert said(wire) == [Accepted(run=1)]
    assert later(wire) == [Accepted(run=2), TextDone("after")]
    assert outbox in hub.fan


async def test_a_torn_event_goes_before_the_reply_after_it(level):
    hub, outbox, wire = level
    hub.publish(TextDone("torn"))
    wire.takes = False
    outbox.reply(Accepted(run=1), "1")
    assert said(wire) == [TextDone("torn")]
    wire.takes = None
    await trio.testing.wait_all_tasks_blocked()
    assert later(wire) == [Accepted(run=1)]


async def test_a_question_over_a_socket_wakes_no_writer_on_either_side(serve, short_dir):
    async with serve(UnixTransport(), address=f"unix://{short_dir}/d/s") as pod:
        async with pod.client(subscribe="live") as client:
            with trio.fail_after(5):
                assert await client.send(Cancel()) == Accepted()
                while not len(pod.desk.hub.fan):
                    await trio.lowlevel.checkpoint()
                (connection,) = pod.server._connections
                outbox, link = connection._outbox, client._line.link
                woken = []
                outbox.take = lambda: woken.append("the pod's") or []
                link._channel.send = lambda frame: woken.append("the client's")
                pod.desk.hub.publish(TextDelta("x"))
                assert await client.send(Cancel()) == Accepted()
                assert await client.receive() == TextDelta("x")
                assert woken == []
                del outbox.take, link._channel.send
