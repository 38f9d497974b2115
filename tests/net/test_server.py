"""Methods and events on connections: order, receipts, slow readers, hostile bytes, and leaving."""

from collections import deque

import pytest
import trio

from podkit.errors import PodUnreachableError
from podkit.protocol import (
    Accepted,
    Cancel,
    CompletionKind,
    CompletionsEvent,
    Error,
    ErrorCode,
    Lagged,
    ListCompletions,
    Notify,
    Pause,
    Run,
    Shutdown,
    Snapshot,
    StatusEvent,
    TextDone,
    Welcome,
    encode_method,
)


@pytest.mark.proves("I13")
async def test_accepted_comes_before_every_event_of_its_run(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello(subscribe="live")
            await peer.say(Run("hi"), "1")
            first, second = await peer.hear(), await peer.hear()
            assert (first.re, first.event, first.seq) == ("1", Accepted(run=1), None)
            assert (second.event.event, second.seq) == ("status", 1)


@pytest.mark.proves("I13")
async def test_a_reply_goes_to_its_own_connection_only(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as one, pod.peer() as two:
            await one.hello(instance="one")
            await two.hello(instance="two", subscribe="live")
            await one.say(Cancel(), "1")
            assert (await one.hear()).event == Accepted()
            pod.desk.hub.publish(TextDone("next"))
            assert (await two.hear()).event == TextDone("next")


async def test_two_subscribers_see_the_same_numbers(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as one, pod.peer() as two:
            for peer in (one, two):
                await peer.hello(subscribe="snapshot")
                await peer.hear()
            for number in range(50):
                pod.desk.hub.publish(TextDone(str(number)))
            seen = [[(await peer.hear()) for _ in range(50)] for peer in (one, two)]
            assert seen[0] == seen[1]
            assert [frame.seq for frame in seen[0]] == list(range(1, 51))


async def test_without_an_id_refusals_are_told_and_acceptance_is_not(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello()
            pod.desk.on[Pause] = lambda ask: ask.answer(Error(ErrorCode.NOT_RUNNING, "no"))
            await peer.say(Cancel())
            await peer.say(Pause())
            frame = await peer.hear()
            assert (frame.re, frame.event.code) == (None, ErrorCode.NOT_RUNNING)


@pytest.mark.proves("H11")
async def test_a_question_is_answered_with_its_data_under_its_id(serve):
    answer = CompletionsEvent(CompletionKind.FILE, ())
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.on[ListCompletions] = lambda ask: ask.answer(answer)
            await peer.hello()
            await peer.say(ListCompletions(CompletionKind.FILE, "a"), "q")
            frame = await peer.hear()
            assert (frame.re, frame.event) == ("q", answer)


@pytest.mark.proves("F13")
async def test_cancel_carries_the_run_it_is_meant_for(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello()
            await peer.say(Cancel(), "1", 7)
            await peer.hear()
            assert pod.desk.asks[0].run == 7


# Receipts.


@pytest.mark.proves("I13")
async def test_the_same_id_runs_once_and_is_answered_the_same(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            for _ in range(3):
                async with pod.peer() as peer:
                    await peer.hello(instance="stubborn")
                    await peer.say(Run("once"), "task")
                    assert await peer.reply("task") == Accepted(run=1)
            assert len(pod.desk.asks) == 1


async def test_a_pending_method_is_attached_to_also_from_another_connection(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as one, pod.peer() as two:
            pod.desk.hold = deque()
            for peer in (one, two):
                await peer.hello(instance="same")
                await peer.say(Pause(), "p")
                await peer.say(Pause(), "p")
            await trio.testing.wait_all_tasks_blocked()
            (ask,) = pod.desk.hold
            ask.answer(Accepted(run=3))
            for peer in (one, two):
                assert [(await peer.hear()).event for _ in range(2)] == [Accepted(run=3)] * 2


async def test_a_refusal_is_remembered_too(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.on[Run] = lambda ask: ask.answer(Error(ErrorCode.STOPPING, "leaving"))
            await peer.hello()
            for _ in range(2):
                await peer.say(Run("x"), "1")
                assert (await peer.reply("1")).code is ErrorCode.STOPPING
            assert len(pod.desk.asks) == 1


async def test_an_answer_whose_asker_left_is_kept_for_its_return(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            pod.desk.hold = deque()
            async with pod.peer() as peer:
                await peer.hello(instance="back soon")
                await peer.say(Run("x"), "1")
                await trio.testing.wait_all_tasks_blocked()
            await trio.testing.wait_all_tasks_blocked()
            pod.desk.hold[0].answer(Accepted(run=9))
            async with pod.peer() as peer:
                await peer.hello(instance="back soon")
                await peer.say(Run("x"), "1")
                assert await peer.reply("1") == Accepted(run=9)


async def test_other_instances_and_children_have_receipts_of_their_own(serve, child):
    from podkit.protocol import BirthCredential

    with trio.fail_after(5):
        async with serve() as pod:
            for options in ({"instance": "a"}, {"instance": "b"}, {"instance": "a", "birth": BirthCredential(*child)}):
                async with pod.peer() as peer:
                    await peer.hello(**options)
                    await peer.say(Notify("x"), "1")
                    await peer.reply("1")
            assert len(pod.desk.asks) == 3


async def test_a_second_answer_is_dropped(serve, caplog):
    def twice(ask):
        ask.answer(Accepted(run=1))
        ask.answer(Accepted(run=2))

    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.on[Cancel] = twice
            await peer.hello()
            await peer.say(Cancel(), "1")
            await peer.say(Cancel())
            await peer.say(Pause(), "2")
            assert [(await peer.hear()).event for _ in range(2)] == [Accepted(run=1), Accepted()]
            assert caplog.text.count("answered twice") == 2


async def test_a_pod_that_fails_at_a_method_answers_internal(serve, caplog):
    def fail(ask):
        raise RuntimeError("oops")

    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.on[Cancel] = fail
            await peer.hello()
            await peer.say(Cancel(), "1")
            assert (await peer.hear()).event.code is ErrorCode.INTERNAL
            await peer.say(Pause(), "2")
            assert (await peer.hear()).event == Accepted()


async def test_too_many_open_methods_of_one_connection_are_refused(serve):

    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.hold = deque()
            await peer.hello()
            for number in range(257):
                await peer.say(Pause(), f"p{number}")
            frame = await peer.hear()
            assert (frame.re, frame.event.code) == ("p256", ErrorCode.LIMIT_EXCEEDED)
            pod.desk.hold[0].answer(Accepted())
            await peer.hear()
            await peer.say(Pause(), "again")
            await trio.testing.wait_all_tasks_blocked()
            assert len(pod.desk.hold) == 257


# Slow readers.


@pytest.mark.proves("I15", "F19")
async def test_who_falls_behind_is_told_what_is_missing_and_gets_a_snapshot(serve):
    with trio.fail_after(10):
        async with serve(outbox_events=100) as pod, pod.peer() as slow:
            await slow.hello(subscribe="snapshot")
            await slow.hear()
            total = 2000
            for number in range(total):
                pod.desk.entries.append({"n": number})
                pod.desk.hub.publish(TextDone(str(number)))
                if number % 50 == 0:
                    await trio.testing.wait_all_tasks_blocked()
            pod.desk.hub.publish(TextDone("end"))
            expected, lags = 1, 0
            while expected <= total + 1:
                frame = await slow.hear()
                if isinstance(frame.event, Lagged):
                    lags += 1
                    assert frame.event.first == expected
                    snapshot = await slow.hear()
                    assert isinstance(snapshot.event, Snapshot)
                    assert snapshot.seq >= frame.event.last
                    assert len(snapshot.event.entries) == min(snapshot.seq, total)
                    expected = snapshot.seq + 1
                else:
                    assert frame.seq == expected
                    expected += 1
            assert lags >= 1


@pytest.mark.proves("I22", "I35")
async def test_the_bytes_that_wait_are_bounded_too(serve):
    with trio.fail_after(10):
        async with serve(outbox_bytes=100_000) as pod, pod.peer() as slow:
            await slow.hello(subscribe="live")
            for _ in range(40):
                pod.desk.hub.publish(TextDone("x" * 50_000))
                await trio.testing.wait_all_tasks_blocked()
            heard = await slow.hear_until(Lagged)
            assert 0 < len(heard) < 20
            assert isinstance((await slow.hear()).event, Snapshot)


async def test_one_event_larger_than_the_bound_still_arrives(serve):
    with trio.fail_after(10):
        async with serve(outbox_bytes=1000) as pod, pod.peer() as peer:
            await peer.hello(subscribe="live")
            pod.desk.hub.publish(TextDone("x" * 5000))
            assert len((await peer.hear()).event.text) == 5000


@pytest.mark.proves("I22", "H17")
async def test_a_slow_reader_slows_nobody_else_and_not_its_own_methods(serve):
    with trio.fail_after(10):
        async with serve(outbox_events=50) as pod, pod.peer() as slow, pod.peer() as quick:
            await slow.hello(subscribe="live", instance="slow")
            await quick.hello(subscribe="live", instance="quick")
            for number in range(1000):
                pod.desk.hub.publish(TextDone(str(number)))
                assert (await quick.hear()).seq == number + 1
            await slow.say(Cancel(), "mine")
            await trio.testing.wait_all_tasks_blocked()
            assert len(pod.desk.asks) == 1
            heard = [await slow.hear()]
            while heard[-1].re != "mine":
                heard.append(await slow.hear())
            assert not any(isinstance(frame.event, Lagged) for frame in heard)


async def test_a_plain_connection_that_falls_behind_is_cut_off(serve):
    with trio.fail_after(10):
        async with serve(plain="watch", outbox_events=50) as pod, pod.peer() as slow:
            await slow.hear_until(Snapshot)
            for number in range(1000):
                pod.desk.hub.publish(TextDone(str(number)))
            heard = await slow.ended()
            assert len(heard) < 500
            assert not any(isinstance(frame.event, Lagged) for frame in heard)
            while pod.server.connections:
                await trio.lowlevel.checkpoint()


@pytest.mark.proves("I22")
async def test_replies_left_unread_stop_the_reading_of_methods_and_nothing_else(serve, autojump_clock):
    with trio.fail_after(10):
        async with serve() as pod, pod.peer() as rude:
            await rude.hello()
            asked = 0
            with trio.move_on_after(0.5):
                while True:
                    await rude.say(Cancel(), str(asked))
                    asked += 1
            assert asked < 600
            async with pod.peer() as polite:
                await polite.hello(instance="polite")
                await polite.say(Cancel(), "1")
                assert (await polite.hear()).event == Accepted()


async def test_who_reads_its_replies_late_gets_all_of_them(serve):
    with trio.fail_after(10):
        async with serve() as pod, pod.peer() as peer, trio.open_nursery() as nursery:
            await peer.hello()

            async def ask():
                for number in range(1000):
                    await peer.say(Cancel(), str(number))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert [(await peer.hear()).re for _ in range(1000)] == [str(number) for number in range(1000)]


async def test_a_large_snapshot_comes_in_pieces(serve):
    with trio.fail_after(10):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.entries = [{"n": number, "text": "x" * 100_000} for number in range(40)]
            await peer.hello(subscribe="snapshot")
            begin = (await peer.hear()).event
            assert (begin.event, begin.entries, begin.seq) == ("snapshot_begin", 40, 0)
            entries = []
            while (piece := (await peer.hear()).event).event == "snapshot_chunk":
                entries += piece.entries
            assert piece.event == "snapshot_end"
            assert entries == pod.desk.entries


# Hostile and unlucky peers.


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b'{"method":"run"}',
        b'{"method":"nope"}',
        b"[]",
        b'{"method":"cancel","params":{}}',
        b"[" * 100_000,
        b'{"method":"cancel","method":"run"}',
        b'"' + b"\\ud800" + b'"',
        b"1e999",
        b"\x00",
    ],
)
async def test_a_line_that_is_no_method_is_answered_and_changes_nothing(serve, line):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer, pod.peer() as other:
            await other.hello(instance="other", subscribe="live")
            await peer.hello()
            await peer.send(line)
            frame = await peer.hear()
            assert (frame.re, frame.event.code) == (None, ErrorCode.INVALID_REQUEST)
            assert len(frame.event.message) < 1000
            await peer.say(Cancel(), "1")
            assert (await peer.hear()).event == Accepted()
            pod.desk.hub.publish(TextDone("the first thing the other hears"))
            assert isinstance((await other.hear()).event, TextDone)


async def test_a_refused_line_is_answered_under_its_id_when_it_has_one(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello()
            await peer.send(b'{"method":"nope","id":"42"}')
            assert (await peer.hear()).re == "42"


async def test_bytes_that_are_no_text_are_answered_and_end_the_connection(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello()
            await peer.send(b'{"method":"cancel\xff"}', encode_method(Cancel(), id="after"))
            assert [frame.event.code for frame in await peer.ended()] == [ErrorCode.INVALID_REQUEST]
            assert pod.desk.asks == []


async def test_an_overlong_line_is_answered_and_ends_the_connection(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello()
            await peer.send(b"x" * (2**20 + 1))
            await peer.say(Cancel(), "after")
            assert [frame.event.code for frame in await peer.ended()] == [ErrorCode.TOO_LARGE]
            assert pod.desk.asks == []


async def test_one_line_and_gone_is_still_processed(serve):
    for plain, opening, size in (("command", (), 4000), (None, ("hello",), 100)):
        with trio.fail_after(20):
            async with serve(plain=plain) as pod:
                pod.desk.entries = ["x" * 1000] * size
                for number in range(100):
                    channel = await pod.transport.connect(pod.address)
                    if opening:
                        from podkit.protocol import Hello, Subscribe

                        await channel.send(encode_method(Hello((1,), "c/1", str(number), subscribe=Subscribe.SNAPSHOT)))
                    await channel.send(encode_method(Notify(f"message {number}")))
                    await channel.aclose()
                while len(pod.desk.asks) < 100:
                    await trio.lowlevel.checkpoint()
                assert {method.message for method in pod.desk.methods} == {f"message {number}" for number in range(100)}
                while pod.server.connections:
                    await trio.lowlevel.checkpoint()


async def test_large_writes_both_ways_do_not_wait_for_each_other(serve):
    with trio.fail_after(20):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.entries = ["x" * 1000] * 8000
            await peer.hello(subscribe="snapshot")
            big = encode_method(Run("y" * 1_000_000), id="1")
            # Eight megabytes go out before anything of the eight that come in is read.
            for number in range(8):
                await peer.send(big.replace(b'"id":"1"', b'"id":"r%d"' % number))
            for number in range(8):
                assert await peer.reply(f"r{number}") == Accepted(run=number + 1)


async def test_a_disconnect_in_every_state_leaves_the_server_serving(serve, make_hello):
    hello = encode_method(make_hello(subscribe="snapshot"), id="1")
    openings = [[], [b'{"meth'], [hello], [hello, b'{"met'], [hello, encode_method(Run("x"), id="2")], [b"junk"], [hello, b"junk"]]
    with trio.fail_after(10):
        async with serve() as pod, pod.peer() as watcher:
            await watcher.hello(instance="watcher", subscribe="live")
            for frames in openings:
                for wait in (False, True):
                    channel = await pod.transport.connect(pod.address)
                    await channel.send_many(frames)
                    if wait:
                        await trio.testing.wait_all_tasks_blocked()
                    (channel.abort if wait else channel._close)()
            while pod.server.connections > 1:
                await trio.lowlevel.checkpoint()
            heard = set()
            pod.desk.hub.publish(TextDone("end"))
            while True:
                frame = await watcher.hear()
                heard.add(type(frame.event))
                if frame.event == TextDone("end"):
                    break
            assert heard <= {TextDone, StatusEvent}


class Treacherous:
    """A channel that fails in a way no channel should."""

    def __init__(self, inner, *, on):
        self.inner, self.on = inner, on

    async def send(self, frame):
        if self.on == "send":
            raise ZeroDivisionError("send")
        await self.inner.send(frame)

    async def receive(self):
        if self.on == "receive":
            raise ZeroDivisionError("receive")
        return await self.inner.receive()

    async def aclose(self):
        await self.inner.aclose()
        if self.on == "aclose":
            raise ZeroDivisionError("aclose")


class TreacherousListener:
    def __init__(self, inner, faults):
        self.inner, self.faults = inner, faults

    async def accept(self):
        channel = await self.inner.accept()
        fault = self.faults.pop(0) if self.faults else None
        if fault == "accept":
            await channel.aclose()
            raise OSError(24, "too many open files")
        return channel if fault is None else Treacherous(channel, on=fault)

    async def aclose(self):
        await self.inner.aclose()


@pytest.mark.parametrize("fault", ["send", "receive", "aclose", "accept"])
async def test_whatever_a_connection_raises_stays_with_it(make_desk, make_hello, fault, caplog, autojump_clock):
    from podkit._net import MemoryTransport, Server

    net, desk = MemoryTransport(), make_desk()
    listener = TreacherousListener(await net.listen("memory://x"), [fault])
    async with trio.open_nursery() as nursery:
        server = Server(desk, listener, key=None, plain=None)
        await nursery.start(lambda task_status: server.serve(task_status=task_status))
        first = await net.connect("memory://x")
        await first.send(encode_method(make_hello(), id="1"))
        await trio.sleep(1)
        await first.aclose()
        second = await net.connect("memory://x")
        await second.send(encode_method(make_hello(), id="1"))
        assert b"welcome" in await second.receive()
        await second.aclose()
        nursery.cancel_scope.cancel()
    assert fault == "send" or "fail" in caplog.text


async def test_an_event_that_cannot_be_said_leaves_no_gap(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello(subscribe="live")
            pod.desk.hub.publish(TextDone("\ud800"))
            pod.desk.hub.publish(TextDone("fine"))
            first, second = await peer.hear(), await peer.hear()
            assert (first.event.event, first.seq) == ("alert", 1)
            assert (second.event, second.seq) == (TextDone("fine"), 2)


async def test_a_reply_that_cannot_be_said_is_an_internal_error(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            pod.desk.on[Cancel] = lambda ask: ask.answer(Error(ErrorCode.NOT_RUNNING, "\ud800"))
            await peer.hello()
            await peer.say(Cancel(), "1")
            frame = await peer.hear()
            assert (frame.re, frame.event.code) == ("1", ErrorCode.INTERNAL)


# Leaving.


async def test_draining_writes_out_what_is_queued_and_closes(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello(subscribe="live")
            for number in range(300):
                pod.desk.hub.publish(TextDone(str(number)))
            pod.desk.hub.publish(Shutdown())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pod.server.drain, 2.0)
                heard = await peer.ended()
            assert len(heard) == 301
            assert isinstance(heard[-1].event, Shutdown)
            with pytest.raises(PodUnreachableError):
                await pod.transport.connect(pod.address)


async def test_draining_cuts_off_who_does_not_read(serve, autojump_clock):
    async with serve() as pod, pod.peer() as slow:
        await slow.hello(subscribe="live")
        for number in range(1000):
            pod.desk.hub.publish(TextDone(str(number)))
        began = trio.current_time()
        await pod.server.drain(2.0)
        assert 1.9 < trio.current_time() - began < 3
        assert pod.server.connections == 0
        assert len(await slow.ended()) < 1000


async def test_draining_closes_who_was_not_admitted_yet(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await trio.testing.wait_all_tasks_blocked()
            await pod.server.drain(2.0)
            assert await peer.ended() == []


async def test_a_drained_server_returns_and_a_cancelled_one_closes_its_listener(make_desk):
    from podkit._net import MemoryTransport, Server

    net = MemoryTransport()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            server = Server(make_desk(), await net.listen("memory://x"), key=None, plain=None)
            await nursery.start(lambda task_status: server.serve(task_status=task_status))
            await server.drain(1.0)
        async with trio.open_nursery() as nursery:
            server = Server(make_desk(), await net.listen("memory://x"), key=None, plain=None)
            await nursery.start(lambda task_status: server.serve(task_status=task_status))
            nursery.cancel_scope.cancel()
        await (await net.listen("memory://x")).aclose()


async def test_a_cancelled_drain_still_leaves_nobody_behind(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as slow:
            await slow.hello(subscribe="live")
            for number in range(1000):
                pod.desk.hub.publish(TextDone(str(number)))
            with trio.CancelScope() as scope:
                scope.cancel()
                await pod.server.drain(60.0)
            assert pod.server.connections == 0


async def test_the_end_of_a_connection_ends_its_subscription(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            for _ in range(20):
                async with pod.peer() as peer:
                    assert isinstance(await peer.hello(subscribe="live"), Welcome)
            while pod.server.connections:
                await trio.lowlevel.checkpoint()
            assert "0 subscribers" in repr(pod.desk.hub)
