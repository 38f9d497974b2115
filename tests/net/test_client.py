"""The client: its stream, its replies, and how it comes and goes."""

import gc
import os
from collections import deque

import pytest
import trio

from podkit._net import MemoryTransport, connect
from podkit.errors import AuthenticationError, LocalProtocolError, MethodRejectedError, PodUnreachableError
from podkit.protocol import (
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    BirthCredential,
    Cancel,
    Error,
    ErrorCode,
    Greeting,
    Lagged,
    Notify,
    Pause,
    PodEventMethod,
    PodTurnEnded,
    Role,
    Run,
    Shutdown,
    Snapshot,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    Status,
    TextDone,
    UnknownEvent,
    Welcome,
    encode_event,
    read_method,
)


class Keyed(MemoryTransport):
    def key(self, address):
        return "right"


async def _until_empty(pod):
    while pod.server.connections:
        await trio.lowlevel.checkpoint()


async def test_iterating_yields_a_snapshot_and_then_every_event_once(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            pod.desk.hub.publish(TextDone("before"))
            async with pod.client() as client:
                pod.desk.hub.publish(TextDone("a"))
                pod.desk.hub.publish(Shutdown())
                seen = [(event, client.seq) async for event in client]
            assert [type(event) for event, _ in seen] == [Snapshot, TextDone, Shutdown]
            assert [seq for _, seq in seen] == [1, 2, 3]
            assert (client.name, client.incarnation, client.confinement) == ("root", "inc-1", "advisory")


async def test_the_transports_key_is_shown(serve):
    with trio.fail_after(5):
        async with serve(Keyed(), key="right") as pod, pod.client() as client:
            assert await client.send(Cancel()) == Accepted()


async def test_a_wrong_key_is_an_authentication_error(serve):
    with trio.fail_after(5):
        async with serve(Keyed(), key="another") as pod:
            with pytest.raises(AuthenticationError):
                async with pod.client():
                    pass


async def test_another_pod_than_expected_is_an_authentication_error(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            async with pod.client(expect=("root", "inc-1")):
                pass
            for other in (("root", "inc-2"), ("toor", "inc-1")):
                with pytest.raises(AuthenticationError, match="another pod"):
                    async with pod.client(expect=other):
                        pass


async def test_nobody_there_is_unreachable():
    with pytest.raises(PodUnreachableError):
        async with connect("memory://nobody", transport=MemoryTransport()):
            pass


async def test_one_client_too_many_is_told_why(serve):
    with trio.fail_after(5):
        async with serve(connections=1) as pod, pod.client():
            with pytest.raises(MethodRejectedError) as caught:
                async with pod.client():
                    pass
            assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


@pytest.mark.parametrize("options", [{"subscribe": "all"}, {"buffer": 0}])
async def test_settings_that_mean_nothing_are_refused_before_anything_is_done(options):
    with pytest.raises((LocalProtocolError, ValueError)):
        async with connect("memory://nobody", transport=MemoryTransport(), **options):
            pass


async def test_a_refusal_is_raised_with_code_and_message(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.client() as client:
            pod.desk.on[Cancel] = lambda ask: ask.answer(Error(ErrorCode.NOT_RUNNING, "nothing runs"))
            with pytest.raises(MethodRejectedError, match="nothing runs") as caught:
                await client.send(Cancel())
            assert caught.value.code is ErrorCode.NOT_RUNNING


async def test_a_hello_is_not_for_sending(serve, make_hello):
    with trio.fail_after(5):
        async with serve() as pod, pod.client() as client:
            with pytest.raises(LocalProtocolError):
                await client.send(make_hello())


@pytest.mark.proves("I13", "H11")
async def test_replies_find_who_asked_in_any_order(serve):

    with trio.fail_after(5):
        async with serve() as pod, pod.client() as client:
            pod.desk.hold = deque()
            replies = {}

            async def ask(number):
                replies[number] = await client.send(Notify(str(number)))

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(ask, number)
                await trio.testing.wait_all_tasks_blocked()
                while pod.desk.hold:
                    held = pod.desk.hold.pop()
                    held.answer(Accepted(run=int(held.method.message)))
            assert replies == {number: Accepted(run=number) for number in range(20)}


async def test_a_cancelled_send_drops_its_reply_and_leaves_the_connection_usable(serve):

    with trio.fail_after(5):
        async with serve() as pod, pod.client() as client:
            pod.desk.hold = deque()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, Pause())
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            (late,) = pod.desk.hold
            late.answer(Accepted(run=1))
            pod.desk.hold = None
            assert await client.send(Cancel()) == Accepted()


async def test_a_send_cancelled_before_it_went_out_is_not_sent(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.client() as client:
            with trio.CancelScope() as scope:
                scope.cancel()
                await client.send(Pause())
            await client.send(Cancel())
            assert pod.desk.methods == [Cancel()]


async def test_the_same_id_under_the_same_instance_runs_once(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            for _ in range(2):
                async with pod.client(instance="parent") as client:
                    assert await client._send(Run("task"), id="task") == Accepted(run=1)
                    # What has no id of its own is never mixed up with what was asked before.
                    await client.send(Cancel())
            assert pod.desk.methods == [Run("task"), Cancel(), Cancel()]


async def test_a_child_speaks_with_its_birth(serve, child):
    with trio.fail_after(5):
        async with serve(Keyed(), key="unknown to children") as pod:
            async with pod.client(birth=BirthCredential(*child)) as client:
                assert await client.send(PodEventMethod(PodTurnEnded("kid"))) == Accepted()
                with pytest.raises(MethodRejectedError):
                    await client.send(Cancel())
            assert pod.desk.asks[0].origin.role is Role.CHILD


@pytest.mark.proves("F3")
async def test_the_prelude_of_a_plain_pod_is_skipped(serve):
    with trio.fail_after(5):
        async with serve(plain="watch") as pod:
            for number in range(512):
                pod.desk.hub.publish(Alert(AlertLevel.WARN, AlertSource.POD, str(number), number))
            async with pod.client() as client:
                pod.desk.hub.publish(TextDone("x"))
                assert isinstance(await client.receive(), Snapshot)
                assert await client.receive() == TextDone("x")


@pytest.mark.proves("F19", "I15")
async def test_who_iterates_too_slowly_is_told_and_gets_a_snapshot_and_nothing_waits(serve):
    with trio.fail_after(10):
        async with serve() as pod, pod.client(buffer=10) as client:
            assert isinstance(await client.receive(), Snapshot)
            for number in range(100):
                pod.desk.entries.append({"n": number})
                pod.desk.hub.publish(TextDone(str(number)))
            assert await client.send(Cancel()) == Accepted()
            assert await client.receive() == Lagged(1, 100)
            snapshot = await client.receive()
            assert isinstance(snapshot, Snapshot)
            assert (len(snapshot.entries), client.seq) == (100, 100)
            pod.desk.hub.publish(TextDone("next"))
            assert await client.receive() == TextDone("next")
            assert client.seq == 101


async def test_a_snapshot_that_was_not_read_is_replaced_without_a_word(serve):
    with trio.fail_after(10):
        async with serve() as pod, pod.client(buffer=10) as client:
            for number in range(100):
                pod.desk.hub.publish(TextDone(str(number)))
            await client.send(Cancel())
            assert isinstance(await client.receive(), Snapshot)
            assert client.seq == 100


async def test_the_end_is_seen_also_by_who_fell_behind(serve):
    with trio.fail_after(10):
        async with serve() as pod, pod.client(buffer=10) as client:
            await client.receive()
            for number in range(100):
                pod.desk.hub.publish(TextDone(str(number)))
            pod.desk.hub.publish(Shutdown())
            await client.send(Cancel())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pod.server.drain, 1.0)
            assert [event async for event in client] == [Lagged(1, 100), Shutdown()]


@pytest.mark.proves("F19", "I15")
async def test_both_sides_falling_behind_still_adds_up(serve):
    with trio.fail_after(20):
        async with serve(outbox_events=50) as pod, pod.client(buffer=20) as client:
            total, expected = 3000, 1
            assert isinstance(await client.receive(), Snapshot)

            async def publish():
                for number in range(total):
                    pod.desk.entries.append({"n": number})
                    pod.desk.hub.publish(TextDone(str(number)))
                    if number % 37 == 0:
                        await trio.lowlevel.checkpoint()
                pod.desk.hub.publish(Shutdown())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(publish)
                async for event in client:
                    if isinstance(event, Lagged):
                        assert event.first == expected
                        expected = event.last + 1
                    elif isinstance(event, Snapshot):
                        assert client.seq >= expected - 1
                        assert len(event.entries) == min(client.seq, total)
                        expected = client.seq + 1
                    else:
                        assert client.seq == expected
                        expected += 1
            assert expected == total + 2


async def test_a_large_snapshot_is_put_together(serve):
    with trio.fail_after(10):
        async with serve() as pod:
            pod.desk.entries = [{"n": number, "text": "x" * 100_000} for number in range(40)]
            pod.desk.state = Status.PAUSED
            pod.desk.hub.publish(TextDone("x"))
            async with pod.client() as client:
                snapshot = await client.receive()
                assert snapshot == pod.desk.snapshot()
                assert client.seq == 1


# Pods that misbehave.


class Fake:
    """A pod of one connection that says exactly what it is told to say."""

    def __init__(self, net):
        self.net = net

    async def run(self, script, *, task_status):
        listener = await self.net.listen("memory://fake")
        task_status.started()
        channel = await listener.accept()
        await script(channel)
        await channel.aclose()
        await listener.aclose()


WELCOME = Welcome(1, "fake", "i", 0, Status.IDLE, Role.CLIENT, "none", False, ())
GREETING = Greeting("fake", "/", "p", "m", "s", ())


async def _against(script, body, **options):
    net = MemoryTransport()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: Fake(net).run(script, task_status=task_status))
            async with connect("memory://fake", transport=net, **options) as client:
                await body(client)
            nursery.cancel_scope.cancel()


@pytest.mark.proves("F3")
async def test_an_unknown_event_is_yielded_and_not_fatal():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        await channel.send(b'{"event":"from_the_future","data":{"x":1},"seq":1,"new":true}')
        await channel.send(encode_event(Shutdown(), seq=2))

    async def body(client):
        assert [event async for event in client] == [UnknownEvent("from_the_future", {"x": 1}), Shutdown()]

    await _against(script, body)


@pytest.mark.parametrize("line", [b"junk", b"{}", b'{"event":"snapshot"}', b"[" * 9999, b"\xff"])
async def test_a_line_that_is_no_event_ends_the_connection_with_a_typed_error(line):
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        await channel.send(line)
        await trio.sleep_forever()

    async def body(client):
        with pytest.raises(PodUnreachableError):
            await client.receive()
        with pytest.raises(PodUnreachableError):
            await client.send(Cancel())

    await _against(script, body)


async def test_a_connection_that_ends_without_a_shutdown_is_an_error():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))

    async def body(client):
        with pytest.raises(PodUnreachableError):
            await client.receive()

    await _against(script, body)


async def test_without_a_subscription_the_end_is_just_the_end():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))

    async def body(client):
        assert [event async for event in client] == []

    await _against(script, body, subscribe="none")


async def test_open_requests_fail_when_the_connection_ends():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        for _ in range(3):
            await channel.receive()

    async def body(client):
        async def ask():
            with pytest.raises(PodUnreachableError):
                await client.send(Cancel())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)

    await _against(script, body)


@pytest.mark.proves("F3", "H11")
async def test_unrelated_events_between_request_and_reply_are_skipped():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        asked = read_method(await channel.receive())
        for number in range(100):
            await channel.send(encode_event(TextDone("noise"), seq=number + 1))
        await channel.send(encode_event(Accepted(run=8), re="somebody else's"))
        await channel.send(encode_event(Accepted(run=7), re=asked.id))
        await channel.send(encode_event(Accepted(run=9), re=asked.id))
        await trio.sleep_forever()

    async def body(client):
        assert await client.run("x") == 7

    await _against(script, body)


async def test_a_pod_that_closes_without_a_welcome_is_unreachable():
    async def script(channel):
        await channel.receive()

    with pytest.raises((PodUnreachableError, ExceptionGroup)):
        await _against(script, None)


async def test_a_pod_that_never_answers_the_hello_is_unreachable(autojump_clock):
    async def script(channel):
        await trio.sleep_forever()

    net = MemoryTransport()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: Fake(net).run(script, task_status=task_status))
        with pytest.raises(PodUnreachableError, match="no welcome"):
            async with connect("memory://fake", transport=net):
                pass
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "pieces",
    [
        [SnapshotChunk(())],
        [SnapshotEnd(1)],
        [SnapshotBegin(1, 1, greeting=GREETING), SnapshotChunk(({}, {}))],
        [SnapshotBegin(1, 2, greeting=GREETING), SnapshotChunk(({},)), SnapshotEnd(1)],
        [SnapshotBegin(1, 0, greeting=GREETING), SnapshotEnd(2)],
        [SnapshotBegin(1, 0), SnapshotEnd(1)],
    ],
)
async def test_a_snapshot_whose_pieces_do_not_fit_is_a_typed_error(pieces):
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        for piece in pieces:
            await channel.send(encode_event(piece))
        await trio.sleep_forever()

    async def body(client):
        with pytest.raises(PodUnreachableError, match="protocol"):
            await client.receive()

    await _against(script, body)


async def test_a_reply_that_is_no_acceptance_of_a_run_is_a_typed_error():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        asked = read_method(await channel.receive())
        await channel.send(encode_event(Accepted(), re=asked.id))
        await trio.sleep_forever()

    async def body(client):
        from podkit.errors import RemoteProtocolError

        with pytest.raises(RemoteProtocolError):
            await client.run("x")

    await _against(script, body)


# Coming and going.


class OurError(Exception):
    pass


async def test_what_the_block_raises_comes_out_bare(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            caught = None
            try:
                async with pod.client():
                    raise OurError
            except OurError as error:
                caught = error
            assert caught is not None
            await _until_empty(pod)


async def test_what_the_block_raises_comes_out_bare_also_when_cancelled(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            with trio.CancelScope() as scope:
                caught = None
                try:
                    async with pod.client():
                        scope.cancel()
                        raise OurError
                except OurError as error:
                    caught = error
                assert caught is not None


async def test_cancelling_the_block_closes_the_connection(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            with trio.move_on_after(0.01) as scope:
                async with pod.client() as client:
                    await client.receive()
                    await client.receive()
            assert scope.cancelled_caught
            await _until_empty(pod)


async def test_leaving_in_the_middle_of_the_stream_is_clean(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            async with pod.client() as client:
                async for _event in client:
                    break
            with pytest.raises(trio.ClosedResourceError):
                await client.receive()
            with pytest.raises(trio.ClosedResourceError):
                await client.send(Cancel())
            gc.collect()


async def test_closing_wakes_who_waits(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.client() as client:
            await client.receive()

            async def listen():
                with pytest.raises(trio.ClosedResourceError):
                    await client.receive()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await trio.testing.wait_all_tasks_blocked()
                await client.aclose()
            await _until_empty(pod)
            assert "closed" in repr(client)
            with pytest.raises(trio.ClosedResourceError):
                await client.wait(1)
            with pytest.raises(trio.ClosedResourceError):
                await client.ask("hi")


@pytest.mark.proves("F7", "I34")
async def test_many_clients_leave_no_task_and_no_descriptor(serve):
    def tasks():
        return trio.lowlevel.current_statistics().tasks_living

    with trio.fail_after(60):
        async with serve() as pod:
            async with pod.client():
                pass
            await _until_empty(pod)
            before = tasks(), len(os.listdir("/proc/self/fd"))
            for _ in range(500):
                async with pod.client() as client:
                    await client.receive()
            await _until_empty(pod)
            assert (tasks(), len(os.listdir("/proc/self/fd"))) == before
            assert "0 subscribers" in repr(pod.desk.hub)


@pytest.mark.proves("I36")
async def test_a_repr_shows_no_key(serve):
    with trio.fail_after(5):
        async with serve(Keyed(), key="right") as pod, pod.client() as client:
            assert "right" not in repr(client) + repr(pod.server) + repr(client._hello)


async def test_a_pod_that_refuses_to_let_us_subscribe_again_ends_the_connection():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        for number in range(20):
            await channel.send(encode_event(TextDone("x"), seq=number + 1))
        again = read_method(await channel.receive())
        await channel.send(encode_event(Error(ErrorCode.STOPPING, "too late"), re=again.id))
        await trio.sleep_forever()

    async def body(client):
        await trio.testing.wait_all_tasks_blocked()
        assert await client.receive() == Lagged(1, 20)
        with pytest.raises(PodUnreachableError, match="too late"):
            await client.receive()

    await _against(script, body, buffer=5)


@pytest.mark.proves("H3")
async def test_a_successor_of_the_pod_is_not_mistaken_for_it_when_subscribing_again():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        for number in range(20):
            await channel.send(encode_event(TextDone("x"), seq=number + 1))
        again = read_method(await channel.receive())
        other = Welcome(1, "fake", "another", 0, Status.IDLE, Role.CLIENT, "none", False, ())
        await channel.send(encode_event(other, re=again.id))
        await trio.sleep_forever()

    async def body(client):
        await trio.testing.wait_all_tasks_blocked()
        assert await client.receive() == Lagged(1, 20)
        with pytest.raises(PodUnreachableError):
            await client.receive()

    await _against(script, body, buffer=5)


class Faulty(MemoryTransport):
    """Connections whose sending or receiving side fails from the second use on."""

    def __init__(self, **faults):
        super().__init__()
        self.faults = faults

    async def connect(self, address):
        return FaultyChannel(await super().connect(address), self.faults)


class FaultyChannel:
    def __init__(self, inner, faults):
        self.inner, self.faults, self.sent, self.received = inner, faults, 0, 0

    async def send(self, frame):
        self.sent += 1
        if self.sent > 1 and "send" in self.faults:
            raise self.faults["send"]
        await self.inner.send(frame)

    async def receive(self):
        self.received += 1
        if self.received > 2 and "receive" in self.faults:
            raise self.faults["receive"]
        return await self.inner.receive()

    async def aclose(self):
        await self.inner.aclose()


@pytest.mark.parametrize("error", [trio.BrokenResourceError(), OSError("cable"), ZeroDivisionError("bug")])
@pytest.mark.parametrize("side", ["send", "receive"])
async def test_whatever_the_channel_raises_who_asks_gets_a_typed_error(serve, autojump_clock, side, error):
    async with serve(Faulty(**{side: error})) as pod, pod.client() as client:
        pod.desk.hold = deque()
        assert isinstance(await client.receive(), Snapshot)
        with pytest.raises(PodUnreachableError):
            await client.send(Cancel())
        with pytest.raises(PodUnreachableError):
            await client.receive()
        with pytest.raises(PodUnreachableError):
            await client.run("again")


async def test_a_pod_that_reads_no_more_is_still_heard(serve, autojump_clock):
    async with serve(Faulty(send=trio.BrokenResourceError())) as pod, pod.client() as client, trio.open_nursery() as nursery:

        async def ask():
            with pytest.raises(PodUnreachableError):
                await client.send(Cancel())

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        pod.desk.hub.publish(Shutdown())
        assert [type(event) async for event in client] == [Snapshot, Shutdown]


async def test_one_id_is_under_way_once_at_a_time(serve):

    with trio.fail_after(5):
        async with serve() as pod, pod.client() as client, trio.open_nursery() as nursery:
            pod.desk.hold = deque()
            nursery.start_soon(lambda: client._send(Cancel(), id="same"))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(LocalProtocolError):
                await client._send(Cancel(), id="same")
            pod.desk.hold[0].answer(Accepted())


async def test_the_end_waits_for_the_snapshot_that_was_asked_for():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        for number in range(20):
            await channel.send(encode_event(TextDone("x"), seq=number + 1))
        again = read_method(await channel.receive())
        await channel.send(encode_event(TextDone("x"), seq=21))
        await channel.send(encode_event(Shutdown(), seq=22))
        await trio.testing.wait_all_tasks_blocked()
        await channel.send(encode_event(WELCOME, re=again.id))
        await channel.send(encode_event(Snapshot((), GREETING), seq=21))
        await channel.send(encode_event(Shutdown(), seq=22))
        await trio.sleep_forever()

    async def body(client):
        await trio.testing.wait_all_tasks_blocked()
        seen = [(type(event), client.seq) async for event in client]
        assert seen[1:] == [(Snapshot, 21), (Shutdown, 22)]

    await _against(script, body, buffer=5)


async def test_what_was_skipped_is_told_when_the_pod_leaves_before_the_snapshot():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        for number in range(20):
            await channel.send(encode_event(TextDone("x"), seq=number + 1))
        await channel.receive()
        await channel.send(encode_event(TextDone("x"), seq=21))
        await channel.send(encode_event(Shutdown(), seq=22))

    async def body(client):
        await trio.testing.wait_all_tasks_blocked()
        assert [event async for event in client] == [Lagged(1, 20), Lagged(21, 21), Shutdown()]

    await _against(script, body, buffer=5)


async def test_what_is_cancelled_while_it_waits_to_go_out_never_does():
    go_on = trio.Event()
    heard = []

    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(WELCOME, re="1"))
        await go_on.wait()
        async for frame in channel:
            said = read_method(frame)
            heard.append(said.method)
            await channel.send(encode_event(Accepted(run=1), re=said.id))

    async def body(client):
        big = Run("x" * 200_000)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(client.send, big)
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as inner:
                inner.start_soon(client.send, Pause())
                await trio.testing.wait_all_tasks_blocked()
                inner.cancel_scope.cancel()
            go_on.set()
        await client.send(Cancel())
        assert heard == [big, big, big, Cancel()]

    await _against(script, body)


async def test_iterating_over_events_that_are_here_already_lets_others_run_and_can_be_cancelled(serve):
    async with serve() as pod, pod.client(subscribe="live") as client:
        for number in range(700):
            pod.desk.hub.publish(TextDone(str(number)))
        await trio.testing.wait_all_tasks_blocked()
        turns, seen = 0, 0

        async def other():
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other)
                for seen in range(690):
                    assert (await client.receive()).text == str(seen)
                nursery.cancel_scope.cancel()
        assert turns >= 3
        with trio.CancelScope() as scope:
            scope.cancel()
            await client.receive()
        assert scope.cancelled_caught
        assert (await client.receive()).text == str(seen + 1)


async def test_who_iterates_is_cancelled_soon_and_loses_nothing_by_that(serve):
    async with serve() as pod, pod.client(subscribe="live") as client:
        for number in range(300):
            pod.desk.hub.publish(TextDone(str(number)))
        await trio.testing.wait_all_tasks_blocked()
        seen = []
        with trio.fail_after(5):
            for _ in range(10):
                so_far = len(seen)
                with trio.CancelScope() as scope:
                    async for event in client:
                        seen.append(event.text)
                        if len(seen) == so_far + 7:
                            scope.cancel()
                assert scope.cancelled_caught
                assert len(seen) < so_far + 7 + 16
            turns = 0

            async def other():
                nonlocal turns
                while True:
                    await trio.lowlevel.checkpoint()
                    turns += 1

            for number in range(300, 1000):
                pod.desk.hub.publish(TextDone(str(number)))
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(other)
                before = turns
                async for event in client:
                    seen.append(event.text)
                    if event.text == "999":
                        break
                assert turns > before + 3
                nursery.cancel_scope.cancel()
        assert seen == [str(number) for number in range(1000)]
        assert client.seq == 1000


async def test_who_iterates_a_client_that_was_closed_is_told_so_at_once(serve):
    async with serve() as pod, pod.client(subscribe="live") as client:
        for number in range(10):
            pod.desk.hub.publish(TextDone(str(number)))
        with trio.fail_after(5), pytest.raises(trio.ClosedResourceError):
            async for _ in client:
                await client.aclose()
