"""Writing to everybody who is up to date at once: what is joined, who falls back, and that nobody sees a difference but in time."""

import socket

import pytest
import trio

from podkit._net import Hub, Outbox
from podkit.logic import Limits
from podkit.protocol import Accepted, Alert, Lagged, Notify, Shutdown, Snapshot, StatusEvent, TextDelta, TextDone, read_event
from podkit_transports import UnixTransport


class Queue:
    """A member: what it is handed, and what was written to it directly."""

    def __init__(self, *, takes=None):
        self.written, self.offered, self.torn = [], [], False
        self.takes = takes  # None: everything; else the answer, or the error to raise

    def write(self, data):
        if isinstance(self.takes, BaseException):
            raise self.takes
        self.written.append(data)
        return self.takes is None

    def offer(self, record):
        self.offered.append(record.event)

    def hub_closed(self):
        pass

    def tear(self):
        self.torn = True


def hub_of(*members):
    hub = Hub(Limits())
    hub.fan.running = True
    for member in members:
        hub.subscribe(member)
        hub.level(member, member.write)
        assert member in hub.fan
    return hub


def texts(member):
    return [read_event(line).event for data in member.written for line in data.splitlines()]


def test_events_of_one_turn_are_one_write_of_the_same_bytes_for_everybody():
    one, two = Queue(), Queue()
    hub = hub_of(one, two)
    for text in "abc":
        hub.publish(TextDelta(text))
    assert one.written == []
    hub.fan.flush()
    assert texts(one) == [TextDelta("a"), TextDelta("b"), TextDelta("c")]
    assert len(one.written) == 1
    assert one.written[0] is two.written[0]
    hub.fan.flush()
    assert len(one.written) == 1


def test_much_in_one_turn_is_not_kept_until_its_end():
    one = Queue()
    hub = hub_of(one)
    hub.publish(TextDelta("x" * 2**16))
    assert len(one.written) == 1


@pytest.mark.parametrize("refusal", [trio.WouldBlock(), trio.BrokenResourceError(), ValueError("planted")])
def test_who_takes_nothing_is_handed_the_same_events_and_the_others_notice_nothing(refusal):
    slow, quick = Queue(takes=refusal), Queue()
    hub = hub_of(slow, quick)
    hub.publish(TextDelta("a"))
    hub.fan.flush()
    hub.publish(TextDelta("b"))
    hub.fan.flush()
    assert slow.offered == [TextDelta("a"), TextDelta("b")]
    assert not slow.torn
    assert slow not in hub.fan
    assert texts(quick) == [TextDelta("a"), TextDelta("b")]
    assert quick.offered == []


def test_who_takes_a_part_is_told_so_and_handed_only_what_comes_later():
    slow = Queue(takes=False)
    hub = hub_of(slow)
    hub.publish(TextDelta("a"))
    hub.fan.flush()
    hub.publish(TextDelta("b"))
    assert slow.torn
    assert slow.offered == [TextDelta("b")]


def test_pieces_that_are_gathered_keep_their_place_among_everything_else():
    one = Queue()
    hub = hub_of(one)
    for number in range(200):
        hub.publish(TextDelta(str(number)))
        if number % 50 == 49:
            hub.publish(TextDone("done"))
    hub.fan.flush()
    lines = [read_event(line) for data in one.written for line in data.splitlines()]
    assert [said.seq for said in lines] == list(range(1, 205))
    assert "".join(said.event.text for said in lines if isinstance(said.event, TextDelta)) == "".join(map(str, range(200)))
    assert [said.seq for said in lines if isinstance(said.event, TextDone)] == [51, 102, 153, 204]


def test_who_looks_finds_what_was_gathered():
    one, late = Queue(), Queue()
    hub = hub_of(one)
    hub.publish(TextDelta("a", run=1))
    assert hub.in_flight.data() == {"blocks": [{"kind": "text", "text": "a", "run": 1}]}
    hub.publish(TextDelta("b", run=1))
    assert [record.seq for record in hub.after(0)] == [1, 2]
    hub.publish(TextDelta("c", run=1))
    hub.subscribe(late)
    hub.publish(TextDelta("d", run=1))
    assert late.offered == [TextDelta("d", run=1)]
    hub.fan.flush()
    assert texts(one) == [TextDelta(text, run=1) for text in "abcd"]


def test_a_piece_that_cannot_be_said_is_replaced_where_it_stands():
    one = Queue()
    hub = hub_of(one)
    for text in ("a", "\ud800", "b"):
        hub.publish(TextDelta(text))
    hub.fan.flush()
    assert [type(event) for event in texts(one)] == [TextDelta, Alert, TextDelta]
    assert hub.in_flight.data() == {"blocks": [{"kind": "text", "text": "ab"}]}
    assert [type(record.event) for record in hub.after(0)] == [TextDelta, Alert, TextDelta]


def test_who_joins_in_the_middle_of_a_turn_gets_nothing_twice():
    early, late = Queue(), Queue()
    hub = hub_of(early)
    hub.subscribe(late)
    hub.publish(TextDelta("a"))
    hub.level(late, late.write)
    hub.publish(TextDelta("b"))
    hub.fan.flush()
    assert late.offered == [TextDelta("a")]
    assert texts(late) == [TextDelta("b")]
    assert texts(early) == [TextDelta("a"), TextDelta("b")]


def test_who_steps_back_has_been_written_what_was_said_before():
    one = Queue()
    hub = hub_of(one)
    hub.publish(TextDelta("a"))
    hub.step_back(one)
    assert texts(one) == [TextDelta("a")]
    hub.publish(TextDelta("b"))
    assert one.offered == [TextDelta("b")]
    hub.step_back(one)
    hub.subscribe(one)
    hub.publish(TextDelta("c"))
    assert one.offered == [TextDelta("b"), TextDelta("c")]


def test_who_unsubscribes_is_written_nothing_more_and_subscribing_twice_is_once():
    one = Queue()
    hub = hub_of(one)
    hub.subscribe(one)
    hub.publish(TextDelta("a"))
    hub.unsubscribe(one)
    hub.fan.flush()
    assert one.written == one.offered == []


def test_the_last_event_is_handed_to_everybody_and_nobody_is_written_to_after_it():
    one = Queue()
    hub = hub_of(one)
    hub.publish(TextDelta("a"))
    hub.publish(Shutdown())
    assert texts(one) == [TextDelta("a")]
    assert one.offered == [Shutdown()]
    hub.level(one, one.write)
    assert one not in hub.fan


def test_a_hub_that_closes_writes_what_it_held_back():
    one = Queue()
    hub = hub_of(one)
    hub.publish(TextDelta("a"))
    hub.close()
    assert texts(one) == [TextDelta("a")]
    assert len(hub.fan) == 0


def test_nobody_is_level_where_nobody_writes_at_the_end_of_a_turn():
    one = Queue()
    hub = Hub(Limits())
    hub.subscribe(one)
    hub.level(one, one.write)
    hub.publish(TextDelta("a"))
    assert one.offered == [TextDelta("a")]
    assert repr(hub.fan) == "<Fan of 0, 0 events to write>"


async def test_the_end_of_a_turn_is_when_the_task_runs():
    one = Queue()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            hub = Hub(Limits())
            fan = hub.fan
            nursery.start_soon(fan.run)
            await trio.testing.wait_all_tasks_blocked()
            hub.subscribe(one)
            hub.level(one, one.write)
            hub.publish(TextDelta("a"))
            await trio.testing.wait_all_tasks_blocked()
            assert texts(one) == [TextDelta("a")]
            hub.publish(TextDelta("b"))
            nursery.cancel_scope.cancel()
        assert texts(one) == [TextDelta("a"), TextDelta("b")]
        assert not fan.running


async def level(pod, count=1):
    """Wait until so many connections are written to directly."""
    with trio.fail_after(5):
        while len(pod.desk.hub.fan) < count:
            await trio.lowlevel.checkpoint()


async def test_replies_and_events_keep_their_order_on_a_connection_that_is_written_to_directly(serve, short_dir):
    async with serve(UnixTransport(), address=f"unix://{short_dir}/d/s") as pod:
        hub = pod.desk.hub

        def both(ask):
            hub.publish(TextDelta("before"))
            ask.answer(Accepted())
            hub.publish(TextDelta("after"))

        pod.desk.on[Notify] = both
        async with pod.peer() as peer:
            await peer.hello(subscribe="live", key=pod.key)
            with trio.fail_after(5):
                for number in range(3):
                    await level(pod)
                    await peer.say(Notify("x"), str(number))
                    heard = [(await peer.hear()).event for _ in range(3)]
                    assert heard == [TextDelta("before"), Accepted(), TextDelta("after")]


@pytest.mark.proves("I22")
async def test_a_reader_that_stands_still_costs_the_others_nothing_and_finds_whole_lines_when_it_goes_on(serve, short_dir):
    transport = UnixTransport()
    async with serve(transport, address=f"unix://{short_dir}/d/s", outbox_events=8) as pod:
        async with pod.peer() as slow, pod.peer() as quick:
            for name, peer in (("slow", slow), ("quick", quick)):
                await peer.hello(subscribe="live", key=pod.key, instance=name)
            await level(pod, 2)
            text, count = "x" * 10_000, 200
            with trio.fail_after(20):
                for number in range(1, count + 1):
                    pod.desk.hub.publish(TextDone(text))
                    assert (await quick.hear()).seq == number
                await level(pod, 1)
                pod.desk.hub.publish(StatusEvent(pod.desk.state))
                seen, lagged = 0, None
                while seen <= count:
                    said = await slow.hear()
                    if isinstance(said.event, Lagged):
                        assert said.event.first == seen + 1
                        lagged, seen = said.event, said.event.last
                    elif isinstance(said.event, Snapshot):
                        assert said.seq == seen
                    else:
                        assert said.seq == seen + 1
                        seen = said.seq
                assert lagged is not None
                # And once it has read everything it is written to directly again.
                await level(pod, 2)


async def test_a_peer_that_is_gone_ends_its_own_connection_only(serve, short_dir):
    async with serve(UnixTransport(), address=f"unix://{short_dir}/d/s") as pod:
        async with pod.peer() as stays:
            async with pod.peer() as goes:
                for name, peer in (("stays", stays), ("goes", goes)):
                    await peer.hello(subscribe="live", key=pod.key, instance=name)
                await level(pod, 2)
                goes.channel._socket._sock.shutdown(socket.SHUT_RDWR)
                for text in "abc":
                    pod.desk.hub.publish(TextDelta(text))
            with trio.fail_after(5):
                assert [(await stays.hear()).event.text for _ in range(3)] == ["a", "b", "c"]
                while pod.server.connections > 1:
                    await trio.lowlevel.checkpoint()


async def test_what_was_published_in_the_last_turn_is_written_before_a_server_has_left(serve, short_dir):
    async with serve(UnixTransport(), address=f"unix://{short_dir}/d/s") as pod:
        async with pod.peer() as peer:
            await peer.hello(subscribe="live", key=pod.key)
            await level(pod)
            pod.desk.hub.publish(TextDelta("the last"))
            with trio.fail_after(5):
                await pod.server.drain(1)
                assert [said.event for said in await peer.ended()] == [TextDelta("the last")]


async def test_in_memory_nobody_is_written_to_directly(serve):
    async with serve() as pod:
        async with pod.peer() as peer:
            await peer.hello(subscribe="live")
            pod.desk.hub.publish(TextDelta("a"))
            with trio.fail_after(5):
                assert (await peer.hear()).event == TextDelta("a")
            await trio.testing.wait_all_tasks_blocked()
            assert len(pod.desk.hub.fan) == 0
            assert not pod.desk.hub.fan.running


def test_pieces_are_gathered_also_while_somebody_is_far_behind():
    one = Queue()
    hub = hub_of(one)
    fresh = lambda: pytest.fail("nobody writes to it")  # noqa: E731
    behind = Outbox(Limits(outbox_events=1), lens="full", fresh=fresh, cut=fresh, hub=hub)
    hub.subscribe(behind)
    hub.publish(TextDone("a"))
    hub.publish(TextDone("b"))
    before = len(one.written)
    for text in "cde":
        hub.publish(TextDelta(text))
    assert len(one.written) == before
    assert hub._pending == [TextDelta("c"), TextDelta("d"), TextDelta("e")]
    hub.fan.flush()
    assert [event.text for event in texts(one)] == list("abcde")
