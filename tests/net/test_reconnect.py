"""A client that comes back by itself: the same stream, the same methods, and nothing hidden."""

import contextlib
import gc
import itertools
import os
from collections import deque

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podkit import Reconnect
from podkit._net import MemoryTransport, serve_pod
from podkit._net._inbox import Inbox
from podkit.errors import AuthenticationError, MethodRejectedError, PodkitError, PodUnreachableError
from podkit.protocol import (
    Accepted,
    Cancel,
    Error,
    ErrorCode,
    EventFrame,
    Greeting,
    Lagged,
    Notify,
    Role,
    Run,
    RunEnd,
    RunResult,
    Shutdown,
    Snapshot,
    SnapshotBegin,
    Status,
    TextDone,
    Welcome,
    encode_event,
    read_method,
)

SOON = Reconnect(chance=lambda: 0.0)
GREETING = Greeting("root", "/", "p", "m", "s", ())


class Cuttable(MemoryTransport):
    """Connections that can be lost, attempts that can fail, and a key that can change."""

    def __init__(self, key=None):
        super().__init__()
        self.channels, self.attempts, self.failing, self.shown, self.asked = [], [], [], key, 0

    def key(self, address):
        self.asked += 1
        return self.shown

    async def connect(self, address):
        self.attempts.append(trio.current_time())
        if self.failing:
            raise self.failing.pop(0)
        channel = await super().connect(address)
        self.channels.append(channel)
        return channel

    def cut(self):
        """The youngest connection is lost on both sides."""
        self.channels[-1].abort()


async def settled():
    await trio.testing.wait_all_tasks_blocked()


async def again(transport, number):
    """Return once there were so many connections."""
    while len(transport.channels) < number:  # noqa: ASYNC110 - in virtual time, which only moves while nothing else does
        await trio.sleep(0.01)
    await settled()


async def test_a_client_says_whether_it_is_connected_right_now(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod:
        async with pod.client(reconnect=SOON) as client:
            assert client.connected
            net.cut()
            await settled()
            assert not client.connected
            await again(net, 2)
            assert client.connected
        assert not client.connected


@pytest.mark.proves("I15")
async def test_the_stream_goes_on_where_it_was_and_nothing_shows(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client:
        assert isinstance(await client.receive(), Snapshot)
        for number in range(1, 31):
            pod.desk.hub.publish(TextDone(str(number)))
            if number % 7 == 3:
                net.cut()
            if number % 5 == 0:
                await trio.sleep(1)
        pod.desk.hub.publish(Shutdown())
        seen = [(event, client.seq) async for event in client]
        assert seen == [*((TextDone(str(number)), number) for number in range(1, 31)), (Shutdown(), 31)]
        assert len(net.channels) > 2
        assert client.welcome.resumed


@pytest.mark.proves("I15", "F19")
async def test_where_it_cannot_go_on_the_stream_says_what_is_missing(serve, autojump_clock):
    net = Cuttable()
    async with serve(net, resume_events=3) as pod, pod.client(reconnect=SOON) as client:
        assert isinstance(await client.receive(), Snapshot)
        pod.desk.hub.publish(TextDone("1"))
        assert await client.receive() == TextDone("1")
        net.cut()
        for number in range(2, 9):
            pod.desk.hub.publish(TextDone(str(number)))
        assert await client.receive() == Lagged(2, 8)
        assert isinstance(await client.receive(), Snapshot)
        assert client.seq == 8
        assert not client.welcome.resumed
        pod.desk.hub.publish(TextDone("9"))
        assert (await client.receive(), client.seq) == (TextDone("9"), 9)


@pytest.mark.parametrize("read", [True, False])
async def test_who_was_behind_when_the_connection_was_lost_is_told_all_that_is_missing(serve, autojump_clock, read):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON, buffer=3) as client:
        if read:
            assert isinstance(await client.receive(), Snapshot)
        for number in range(9):
            pod.desk.hub.publish(TextDone(str(number)))
        await settled()
        net.cut()
        pod.desk.hub.publish(TextDone("while nobody listened"))
        await again(net, 2)
        if read:
            assert await client.receive() == Lagged(1, 10)
        assert isinstance(await client.receive(), Snapshot)
        assert client.seq == 10


@pytest.mark.parametrize("resume_events", [1, 100])
async def test_a_live_client_goes_on_or_is_told_too(serve, autojump_clock, resume_events):
    net = Cuttable()
    async with serve(net, resume_events=resume_events) as pod:
        pod.desk.hub.publish(TextDone("before"))
        async with pod.client(reconnect=SOON, subscribe="live") as client:
            net.cut()
            for text in "abc":
                pod.desk.hub.publish(TextDone(text))
            if resume_events == 1:
                assert await client.receive() == Lagged(2, 4)
                assert isinstance(await client.receive(), Snapshot)
            else:
                assert [(await client.receive()).text for _ in range(3)] == ["a", "b", "c"]
            assert client.seq == 4


async def _play(serve, steps, buffer, **limits):
    """Do `steps` to a pod and a client that reconnects; what the client yielded, with the numbers."""
    net, seen, published = Cuttable(), [], []

    async def read(client, most):
        with trio.move_on_after(20):  # longer than any pause before an attempt
            while len(seen) < most:
                event = await client.receive()
                seen.append((event, client.seq))

    async with serve(net, **limits) as pod, pod.client(reconnect=SOON, buffer=buffer) as client:
        for step in steps:
            match step:
                case "event":
                    published.append(str(len(published)))
                    pod.desk.entries.append({"n": len(published)})
                    pod.desk.hub.publish(TextDone(published[-1]))
                case "cut":
                    net.cut()
                case "wait":
                    await trio.sleep(1)
                case "read":
                    await read(client, len(seen) + 3)
        pod.desk.hub.publish(Shutdown())
        seen += [(event, client.seq) async for event in client]
    return seen, published


@pytest.mark.proves("I15")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([*["event"] * 4, "cut", "wait", "wait", "read"]), max_size=60),
    st.integers(1, 12),
    st.integers(2, 12),
    st.integers(2, 12),
)
def test_whatever_is_lost_and_whoever_is_slow_the_stream_adds_up(serve, steps, resume_events, outbox_events, buffer):
    async def main():
        limits = {"resume_events": resume_events, "outbox_events": outbox_events}
        with trio.fail_after(10_000):
            return await _play(serve, steps, buffer, **limits)

    seen, published = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    at = told = 0
    for event, seq in seen:
        match event:
            case Snapshot(entries=entries):
                assert len(entries) == seq
                assert seq >= max(at, told)
                at = seq
            case Lagged(first=first, last=last):
                assert first == max(at, told) + 1
                told = last
            case TextDone(text=text):
                assert seq == at + 1
                assert text == published[seq - 1]
                at = seq
    assert at == len(published)
    assert isinstance(seen[-1][0], Shutdown)


# Another incarnation.


async def _restart(pod, nursery, make_desk, serve_pod, incarnation="inc-2"):
    """The pod crashes, and another one of its name listens at its address."""
    desk = make_desk()
    desk.incarnation = incarnation
    (before,) = pod.transport._listeners.values()
    await before.aclose()
    pod.transport.cut()
    listener = await pod.transport.listen(pod.address)
    await nursery.start(lambda task_status: serve_pod(desk, listener, key=pod.key, plain=None, task_status=task_status))
    return desk


@pytest.mark.proves("I15", "H3")
async def test_a_successor_is_said_to_be_one_after_the_rest_of_the_stream_before(serve, make_desk, autojump_clock):
    async with serve(Cuttable()) as pod, pod.client(reconnect=SOON) as client:
        assert isinstance(await client.receive(), Snapshot)
        pod.desk.hub.publish(TextDone("last words"))
        await settled()
        new = await _restart(pod, pod.nursery, make_desk, serve_pod)
        new.entries = ["of", "the", "new"]
        new.hub.publish(TextDone("before"))
        await again(pod.transport, 2)
        pod.transport.cut()
        new.hub.publish(TextDone("after"))
        await again(pod.transport, 3)
        assert client.incarnation == "inc-1"
        # What is asked now is meant for who was being listened to.
        with pytest.raises(PodUnreachableError, match="another incarnation") as caught:
            await client.send(Cancel())
        assert caught.value.may_have_run is False
        assert (await client.receive(), client.incarnation) == (TextDone("last words"), "inc-1")
        snapshot = await client.receive()
        assert (snapshot.entries, client.incarnation, client.welcome.incarnation, client.seq) == (
            ("of", "the", "new"),
            "inc-2",
            "inc-2",
            1,
        )
        assert (await client.receive(), client.seq) == (TextDone("after"), 2)
        assert await client.send(Cancel()) == Accepted()
        assert (pod.desk.asks, new.methods) == ([], [Cancel()])


async def test_of_incarnations_that_were_never_read_the_last_one_stands_for_all(serve, make_desk, autojump_clock):
    async with serve(Cuttable()) as pod, pod.client(reconnect=SOON) as client:
        await settled()
        second = await _restart(pod, pod.nursery, make_desk, serve_pod, "inc-2")
        await again(pod.transport, 2)
        second.hub.publish(TextDone("never read"))
        await settled()
        third = await _restart(pod, pod.nursery, make_desk, serve_pod, "inc-3")
        await again(pod.transport, 3)
        third.hub.publish(Shutdown())
        seen = [(type(event), client.incarnation) async for event in client]
        assert seen == [(Snapshot, "inc-1"), (Snapshot, "inc-3"), (Shutdown, "inc-3")]


async def test_what_was_dropped_of_the_stream_before_is_told_before_the_successor(serve, make_desk, autojump_clock):
    async with serve(Cuttable()) as pod, pod.client(reconnect=SOON, buffer=3) as client:
        assert isinstance(await client.receive(), Snapshot)
        for number in range(9):
            pod.desk.hub.publish(TextDone(str(number)))
        await settled()
        await _restart(pod, pod.nursery, make_desk, serve_pod)
        await again(pod.transport, 2)
        assert (await client.receive(), client.incarnation) == (Lagged(1, 9), "inc-1")
        assert (type(await client.receive()), client.incarnation) == (Snapshot, "inc-2")


@pytest.mark.parametrize("options", [{"subscribe": "none"}, {"expect": ("root", "inc-1")}])
async def test_who_could_not_be_told_or_means_one_incarnation_gets_no_successor(serve, make_desk, autojump_clock, options):
    async with serve(Cuttable()) as pod, pod.client(reconnect=SOON, **options) as client:
        new = await _restart(pod, pod.nursery, make_desk, serve_pod)
        await trio.sleep(10)
        with pytest.raises(PodUnreachableError, match="another"):
            await client.send(Cancel())
        assert new.asks == []
        assert client.incarnation == "inc-1"


async def test_another_pod_at_the_address_ends_the_client(serve, make_desk, autojump_clock):
    async with serve(Cuttable()) as pod, pod.client(reconnect=SOON) as client:
        await client.receive()
        other = make_desk()
        other.name = "somebody else"
        await pod.server._listener.aclose()
        pod.transport.cut()
        listener = await pod.transport.listen(pod.address)
        other.incarnation = "inc-9"
        await pod.nursery.start(lambda task_status: serve_pod(other, listener, key=None, plain=None, task_status=task_status))
        with pytest.raises(PodUnreachableError, match="another pod answers there: somebody else inc-9"):
            await client.receive()


# Methods.


@pytest.mark.proves("I13", "H11")
async def test_a_method_under_way_is_sent_again_and_runs_once(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client, trio.open_nursery() as nursery:
        pod.desk.hold = deque()
        runs = []

        async def run(text):
            runs.append((text, await client.run(text)))

        for number in range(5):
            nursery.start_soon(run, str(number))
        await settled()
        for _ in range(3):
            net.cut()
            await again(net, len(net.channels) + 1)
        assert len(pod.desk.hold) == 5
        while pod.desk.hold:
            ask = pod.desk.hold.pop()
            ask.answer(Accepted(run=10 + int(ask.method.input)))
        await settled()
        assert sorted(runs) == [(str(number), 10 + number) for number in range(5)]
        assert len(pod.desk.asks) == 5


@pytest.mark.proves("I13")
async def test_an_answer_that_was_lost_on_the_way_is_had_again(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON, subscribe="none") as client:

        def answer_into_the_void(ask):
            net.cut()
            ask.answer(Accepted(run=7))

        pod.desk.on[Run] = answer_into_the_void
        assert await client.run("once") == 7
        assert pod.desk.methods == [Run("once")]


async def test_a_method_asked_for_while_there_is_no_connection_waits_for_one(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client:
        net.failing = [PodUnreachableError("memory://root")] * 3
        net.cut()
        await settled()
        assert "reconnecting" in repr(client)
        assert await client.send(Cancel()) == Accepted()
        assert "open" in repr(client)
        assert len(net.attempts) == 5


@pytest.mark.parametrize(("sent", "ran"), [(True, True), (False, False)])
async def test_a_method_that_can_get_no_answer_says_whether_it_may_have_run(serve, autojump_clock, sent, ran):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=Reconnect(give_up=5)) as client, trio.open_nursery() as nursery:
        pod.desk.hold = deque()

        async def ask():
            with pytest.raises(PodUnreachableError, match="no connection for 5 s") as caught:
                await client.send(Notify("x"))
            assert caught.value.may_have_run is ran
            assert ("may have run" in str(caught.value)) is ran

        if sent:
            nursery.start_soon(ask)
            await settled()
        net.failing = [PodUnreachableError("memory://root")] * 1000
        net.cut()
        if not sent:
            await settled()
            nursery.start_soon(ask)


@pytest.mark.parametrize(("sent", "ran"), [(True, True), (False, False)])
async def test_without_reconnecting_too_it_is_said_whether_a_method_may_have_run(serve, sent, ran):
    net = Cuttable()
    with trio.fail_after(5):
        async with serve(net) as pod, pod.client() as client, trio.open_nursery() as nursery:
            pod.desk.hold = deque()

            async def ask():
                with pytest.raises(PodUnreachableError) as caught:
                    await client.send(Notify("x"))
                assert caught.value.may_have_run is ran

            if sent:
                nursery.start_soon(ask)
                await settled()
            net.cut()
            await settled()
            if not sent:
                nursery.start_soon(ask)


async def test_waiting_for_a_run_outlasts_a_lost_connection(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client, trio.open_nursery() as nursery:
        run = await client.run("long")
        ends = []

        async def wait():
            ends.append(await client.wait(run))

        nursery.start_soon(wait)
        await settled()
        for channel in net.channels:
            channel.abort()
        pod.desk.hub.publish(RunEnd(RunResult.FINISHED, run=run))
        await trio.sleep(5)
        assert ends == [RunEnd(RunResult.FINISHED, run=run)]


def log_of(session, *entries):
    return ({"kind": "segment_start", "ts": 1, "session_id": session}, *entries)


ENDED = {"kind": "run_errored", "ts": 2, "run": 1, "message": "interrupted", "interrupted": True}


@pytest.mark.proves("I13", "I24")
@pytest.mark.parametrize("listens", ["snapshot", "none"])
@pytest.mark.parametrize("begun", ["before the crash", "after it"])
@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        (log_of("s"), log_of("s", ENDED), RunEnd(RunResult.FAILED, run=1)),
        (log_of("s"), log_of("s"), MethodRejectedError),  # that session, and the run is not in it any more
        (log_of("s"), log_of("s2", ENDED), PodUnreachableError),  # a run of that number, and another one
        (log_of("s"), (ENDED,), PodUnreachableError),
        ((), (ENDED,), PodUnreachableError),  # nothing was kept, so nothing was restored
        ((), log_of("s", ENDED), PodUnreachableError),
        ((None,), ({"kind": "segment_start", "session_id": 5}, ENDED), PodUnreachableError),
    ],
)
async def test_waiting_for_a_run_outlasts_a_restore_and_nothing_else(
    serve, make_desk, autojump_clock, before, after, answer, begun, listens
):
    """Who listens to nothing knows of no session but the one it finds when it begins to wait."""
    net, answers = Cuttable(), []
    if (listens, begun) == ("none", "after it"):
        answer = PodUnreachableError
    desk = make_desk()
    desk.entries[:] = before
    async with serve(net, desk=desk) as pod, pod.client(reconnect=SOON, subscribe=listens) as client:
        run = await client.run("long")
        async with trio.open_nursery() as nursery:

            async def wait():
                try:
                    answers.append(await client.wait(run))
                except PodkitError as error:
                    answers.append(error)

            if begun == "before the crash":
                nursery.start_soon(wait)
            await settled()
            net.failing = [PodUnreachableError(pod.address)] * 3
            new = await _restart(pod, pod.nursery, make_desk, serve_pod)
            new.entries = list(after)
            if begun == "after it":
                nursery.start_soon(wait)
            for channel in net.channels:
                channel.abort()
        (found,) = answers
        assert found == answer if isinstance(answer, RunEnd) else type(found) is answer


async def test_who_does_not_come_back_waits_for_one_incarnation(serve, make_desk, autojump_clock):
    desk = make_desk()
    desk.entries[:] = log_of("s")
    async with serve(Cuttable(), desk=desk) as pod, pod.client() as client:
        run = await client.run("long")
        new = await _restart(pod, pod.nursery, make_desk, serve_pod)
        new.entries = list(log_of("s", ENDED))
        with pytest.raises(AuthenticationError, match="another pod answers there: root inc-2"):
            await client.wait(run)


# When to come back, and when not.


@pytest.mark.proves("I35")
async def test_pauses_grow_up_to_the_longest_and_the_whole_is_bounded(serve, autojump_clock):
    net, drawn = Cuttable(), []

    def chance():
        drawn.append(len(drawn) % 2)
        return drawn[-1]

    policy = Reconnect(first=1, longest=8, give_up=60, chance=chance)
    async with serve(net) as pod, pod.client(reconnect=policy) as client:
        assert isinstance(await client.receive(), Snapshot)
        net.failing = [OSError("cable")] * 1000
        begin = trio.current_time()
        net.cut()
        with pytest.raises(PodUnreachableError, match="no connection for 60 s"):
            await client.receive()
        assert trio.current_time() - begin <= 60
        times = [begin, *net.attempts[1:]]
        pauses = [round(after - before, 3) for before, after in itertools.pairwise(times)]
        assert pauses[:6] == [0.5, 2, 2, 8, 4, 8]
        assert len(drawn) == len(pauses) + 1
        with pytest.raises(PodUnreachableError):
            await client.send(Cancel())
        assert pod.desk.asks == []


@pytest.mark.parametrize("times", [{"first": 0}, {"longest": -1.0}, {"give_up": float("inf")}, {"first": True}, {"first": "1"}])
def test_times_that_mean_nothing_are_refused(times):
    with pytest.raises(ValueError, match="seconds"):
        Reconnect(**times)


def test_a_pause_is_bounded_whatever_the_attempt_and_the_chance():
    policy = Reconnect(first=1, longest=8)
    assert [policy.pause(attempt, 1.0) for attempt in (0, 1, 2, 3, 10_000)] == [1, 2, 4, 8, 8]
    assert [policy.pause(0, chance) for chance in (-5.0, 0.0, 0.5, 7.0)] == [0.5, 0.5, 0.75, 1]


async def test_a_pod_that_left_in_order_is_not_looked_for(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client:
        pod.desk.hub.publish(Shutdown())
        await settled()
        await pod.server.drain(1.0)
        assert [type(event) async for event in client] == [Snapshot, Shutdown]
        assert len(net.attempts) == 1


async def test_the_first_connection_is_not_tried_again(autojump_clock):
    from podkit import connect

    net = Cuttable()
    with pytest.raises(PodUnreachableError):
        async with connect("memory://nobody", transport=net, reconnect=SOON):
            pass
    assert len(net.attempts) == 1


async def test_a_pod_that_does_not_know_us_any_more_ends_the_client_at_once(serve, autojump_clock):
    net = Cuttable("right")
    async with serve(net, key="right") as pod, pod.client(reconnect=SOON) as client:
        await client.receive()
        net.shown = "wrong"
        net.cut()
        begin = trio.current_time()
        with pytest.raises(PodUnreachableError, match="did not let us in"):
            await client.receive()
        assert trio.current_time() - begin < 1
        assert len(net.attempts) == 2
        assert pod.desk.asks == []


async def test_the_key_is_read_again_for_every_connection(serve, make_desk, autojump_clock):
    net = Cuttable("one")
    async with serve(net, key="one") as pod, pod.client(reconnect=SOON) as client:
        await client.receive()
        net.shown = "two"
        await _restart(attrs.evolve(pod, key="two"), pod.nursery, make_desk, serve_pod)
        assert isinstance(await client.receive(), Snapshot)
        assert client.incarnation == "inc-2"


async def test_what_a_transport_lacks_for_a_moment_is_waited_for(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client:
        await client.receive()
        net.failing = [
            AuthenticationError("memory://root", "no key file"),
            ZeroDivisionError("bug"),
            PodUnreachableError("memory://root"),
        ]
        net.cut()
        pod.desk.hub.publish(TextDone("1"))
        assert await client.receive() == TextDone("1")


async def test_a_full_pod_is_tried_again_and_a_refusal_for_good_is_not(autojump_clock):
    from podkit import connect

    net, said = Cuttable(), []
    welcome = Welcome(1, "root", "inc-1", 0, Status.IDLE, Role.CLIENT, "none", False, ())
    codes = (ErrorCode.LIMIT_EXCEEDED, ErrorCode.STOPPING, ErrorCode.UNSUPPORTED_PROTOCOL)
    full, later, never = (Error(code, "no") for code in codes)
    answers = deque([welcome, full, later, None, never])
    listener = await net.listen("memory://root")

    async def serve_once():
        while answers:
            channel = await listener.accept()
            hello = read_method(await channel.receive())
            said.append(hello.method)
            answer = answers.popleft()
            if answer is not None:
                await channel.send(encode_event(answer, re=hello.id))
            await settled()
            await channel.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_once)
        async with connect("memory://root", transport=net, reconnect=SOON) as client:
            with pytest.raises(PodUnreachableError, match=": no"):
                await client.receive()
        nursery.cancel_scope.cancel()
    assert [hello.resume for hello in said] == [None] * 5
    assert len({hello.instance for hello in said}) == 1


async def test_a_pod_that_accepts_and_says_nothing_is_given_up_in_time(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=Reconnect(give_up=25)) as client:
        await client.receive()
        await pod.server._listener.aclose()
        await net.listen(pod.address)
        net.cut()
        begin = trio.current_time()
        with pytest.raises(PodUnreachableError, match="no connection for 25 s"):
            await client.receive()
        assert trio.current_time() - begin <= 25
        await settled()
        assert all(channel._closed for channel in net.channels)


async def test_a_snapshot_in_pieces_that_was_cut_in_two_is_asked_for_again(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod:
        pod.desk.entries = [{"n": number, "text": "x" * 100_000} for number in range(40)]
        pod.desk.hub.publish(TextDone("1"))
        async with pod.client(reconnect=SOON) as client:
            net.cut()
            await again(net, 2)
            assert await client.receive() == pod.desk.snapshot()
            assert client.seq == 1


# Leaving.


@pytest.mark.proves("F7", "I34")
@pytest.mark.parametrize("state", ["connected", "waiting to try", "connecting", "waiting for a welcome"])
async def test_leaving_at_any_moment_leaves_nothing_behind(serve, autojump_clock, state):
    class Slow(Cuttable):
        slow = False

        async def connect(self, address):
            if self.slow:
                self.attempts.append(trio.current_time())
                await trio.sleep_forever()
            return await super().connect(address)

    net = Slow()
    async with serve(net) as pod:
        before = trio.lowlevel.current_statistics().tasks_living
        async with pod.client(reconnect=SOON) as client:
            await client.receive()
            net.slow = state == "connecting"
            if state == "waiting for a welcome":
                await pod.server._listener.aclose()
                await net.listen(pod.address)
            if state != "connected":
                net.cut()
            if state in ("connecting", "waiting for a welcome"):
                while len(net.attempts) < 2:  # noqa: ASYNC110 - in virtual time
                    await trio.sleep(0.01)
            await settled()
        await settled()
        assert trio.lowlevel.current_statistics().tasks_living <= before
        assert all(channel._closed for channel in net.channels)
        with pytest.raises(trio.ClosedResourceError):
            await client.receive()
        with pytest.raises(trio.ClosedResourceError):
            await client.send(Cancel())


async def test_closing_a_client_that_is_coming_back_wakes_who_waits(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client, trio.open_nursery() as nursery:
        await client.receive()
        net.failing = [OSError("cable")] * 1000
        net.cut()

        async def listen():
            with pytest.raises(trio.ClosedResourceError):
                await client.receive()

        async def ask():
            with pytest.raises(PodUnreachableError):
                await client.send(Cancel())

        nursery.start_soon(listen)
        nursery.start_soon(ask)
        await settled()
        await client.aclose()
        await settled()
        assert nursery.child_tasks == set()


@pytest.mark.proves("F7", "I34")
async def test_many_lost_connections_leave_no_descriptor_and_no_task(serve, short_dir):
    from podkit_transports import UnixTransport

    with trio.fail_after(60):
        async with serve(UnixTransport(), address=f"unix://{short_dir}/p/sock") as pod:
            policy = Reconnect(first=0.0001, longest=0.0001)
            async with pod.client():
                pass  # with its first connection a server begins to write to several at once, and goes on with that
            while pod.server.connections:
                await trio.lowlevel.checkpoint()
            before, tasks = len(os.listdir("/proc/self/fd")), trio.lowlevel.current_statistics().tasks_living
            async with pod.client(reconnect=policy) as client:
                assert isinstance(await client.receive(), Snapshot)
                for number in range(1, 201):
                    (connection,) = pod.server._connections
                    connection.cut()
                    pod.desk.hub.publish(TextDone(str(number)))
                    assert (await client.receive(), client.seq) == (TextDone(str(number)), number)
                    assert await client.send(Cancel()) == Accepted()
            while pod.server.connections:
                await trio.lowlevel.checkpoint()
            gc.collect()
            assert len(os.listdir("/proc/self/fd")) <= before
            assert trio.lowlevel.current_statistics().tasks_living <= tasks


# The inbox, where a stream starts anew.


@pytest.mark.parametrize(
    ("before", "head", "told"),
    [
        ([EventFrame(TextDone("x"), seq=4)], 9, Lagged(5, 9)),
        ([EventFrame(TextDone("x"), seq=4)], 4, None),
        ([EventFrame(Snapshot((), GREETING), seq=4), EventFrame(TextDone("x"), seq=7, first=5)], 9, Lagged(8, 9)),
        ([], 9, None),
        ([EventFrame(SnapshotBegin(4, 1, greeting=GREETING))], 9, None),
        ([EventFrame(TextDone("x"), seq=4), EventFrame(Lagged(5, 6))], 9, None),
    ],
)
def test_what_is_missing_where_a_stream_starts_anew(before, head, told):
    inbox = Inbox(10)
    inbox.restart()
    for said in before:
        inbox.put([said])
    inbox.lost(head)
    kept = []
    while (item := inbox.take()) is not None:
        kept.append(item.event)
    assert kept[len([said for said in before if not isinstance(said.event, SnapshotBegin)]) :] == ([] if told is None else [told])
    assert inbox.point is None


def test_who_listens_live_can_resume_before_the_first_event():
    inbox = Inbox(10)
    inbox.restart(5)
    assert inbox.point == 5


async def test_a_refusal_of_a_method_is_final(serve, autojump_clock):
    net = Cuttable()
    async with serve(net) as pod, pod.client(reconnect=SOON) as client:
        pod.desk.on[Cancel] = lambda ask: ask.answer(Error(ErrorCode.NOT_RUNNING, "no"))
        with pytest.raises(MethodRejectedError):
            await client.send(Cancel())
        assert len(pod.desk.asks) == 1


# Under a seed, with connections that are lost anywhere.


@pytest.mark.proves("I13", "I15")
def test_runs_and_streams_outlast_whatever_happens_to_connections():
    from podkit import Scope
    from podkit.testing import Faults, Say, ScriptedWorker, Sleep, simulate

    lost = []

    async def scenario(world):
        worker = ScriptedWorker(Sleep(1), Say("one"), Sleep(1), Say("two"))
        async with world.open_pod("root", worker, scope=Scope.write("/w")) as root:
            async with contextlib.AsyncExitStack() as stack:
                client = None
                while client is None:  # the first connection is tried once, and may be lost like any other
                    with contextlib.suppress(PodUnreachableError):
                        client = await stack.enter_async_context(world.connect(root.address, reconnect=Reconnect()))
                runs = []
                for number in range(6):
                    runs.append(await client.run(str(number)))
                    await client.wait(runs[-1])
                assert runs == [1, 2, 3, 4, 5, 6], "every run was begun once"
                at = None
                while at != root.hub.seq:
                    event = await client.receive()
                    match event:
                        case Lagged(first=first, last=last):
                            assert first == at + 1
                            at = last
                        case Snapshot():
                            assert at is None or client.seq >= at
                        case _:
                            assert client.seq == at + 1
                    at = max(at or 0, client.seq)
                lost.append(client.welcome.resumed)

    for seed in range(20):
        simulate(scenario, seed=seed, faults=Faults.only("cut", "torn", "half_close", "slow_reader", rate=4.0))
    assert sum(lost) > 5, "connections were lost, and streams resumed"
