"""What is longer than the other side reads: methods that a pod refuses, and events that no client could take."""

import pytest
import trio

from podkit import Reconnect
from podkit._net import Hub, MemoryTransport
from podkit.errors import MethodRejectedError, PodUnreachableError
from podkit.logic import Limits
from podkit.protocol import (
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    ErrorCode,
    Notify,
    Snapshot,
    TextDelta,
    TextDone,
    read_event,
)
from podkit_transports import TcpTransport, UnixTransport

SOON = Reconnect(chance=lambda: 0.0)
LONGEST_EVENT = 2**26


def transport_over(kind, **options):
    return {
        "memory": lambda: MemoryTransport(**options),
        "unix": lambda: UnixTransport(**options),
        "tcp": lambda: TcpTransport(key="k" * 32, **options),
    }[kind]()


@pytest.mark.proves("I13", "I16")
@pytest.mark.parametrize("reconnect", [None, SOON], ids=["once", "reconnecting"])
@pytest.mark.parametrize("kind", ["memory", "unix", "tcp"])
async def test_who_sends_more_than_the_transport_reads_hears_that_it_was_too_large(serve, short_dir, kind, reconnect):
    address = f"unix://{short_dir}/root/sock" if kind == "unix" else None
    with trio.fail_after(10):
        async with serve(transport_over(kind, max_method=4096), address=address) as pod:
            async with pod.client(reconnect=reconnect) as client:
                with pytest.raises(MethodRejectedError) as caught:
                    await client.notify("x" * 100_000)
                assert caught.value.code is ErrorCode.TOO_LARGE
                if reconnect is not None:
                    assert await client.send(Notify("short")) == Accepted()
            assert all(len(method.message) < 100 for method in pod.desk.methods)


@pytest.mark.proves("I13")
async def test_a_reconnecting_client_sends_the_others_again_and_the_long_one_not(serve, autojump_clock):
    transport = MemoryTransport(max_method=4096)
    with trio.fail_after(60):
        async with serve(transport) as pod, pod.client(reconnect=SOON) as client, trio.open_nursery() as nursery:
            pod.desk.hold = waiting = []
            answers = {}

            async def ask(name, method):
                try:
                    answers[name] = await client.send(method)
                except MethodRejectedError as error:
                    answers[name] = error.code

            nursery.start_soon(ask, "before", Notify("x" * 2000))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, "long", Notify("x" * 9000))
            await trio.sleep(5)
            assert answers == {"long": ErrorCode.TOO_LARGE}
            assert len(waiting) == 1, "it was asked once, and its second asking attaches to the first"
            waiting[0].answer(Accepted())
    assert answers["before"] == Accepted()


@pytest.mark.proves("I13")
async def test_a_pod_reads_methods_up_to_its_own_limit(serve):
    with trio.fail_after(5):
        async with serve(method_bytes=200) as pod:
            async with pod.client() as client:
                assert await client.send(Notify("x" * 100)) == Accepted()
                with pytest.raises(MethodRejectedError) as caught:
                    await client.notify("x" * 200)
                assert caught.value.code is ErrorCode.TOO_LARGE
                assert "200" in caught.value.message
                with pytest.raises(PodUnreachableError):
                    await client.notify("the connection is over, as after every line that is too long")
            assert [len(method.message) for method in pod.desk.methods] == [100]


async def test_a_plain_peer_is_told_in_words_that_it_knows(serve):
    with trio.fail_after(5):
        async with serve(plain="command", method_bytes=200) as pod, pod.peer() as peer:
            await peer.hear_until(Snapshot)
            await peer.say(Notify("x" * 300), "1")
            (last,) = await peer.ended()
            assert (last.event.code, last.re) == (ErrorCode.INVALID_REQUEST, "1")


async def test_a_long_method_that_nobody_waits_for_any_more_is_not_taken_for_another(serve, short_dir):
    address = f"unix://{short_dir}/root/sock"
    with trio.fail_after(5):
        async with serve(UnixTransport(max_method=4096), address=address) as pod, pod.client() as client:
            pod.desk.hold = []
            ended = []

            async def ask():
                try:
                    await client.notify("x" * 2000)
                except PodUnreachableError as error:
                    ended.append(error.may_have_run)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                while not pod.desk.hold:  # noqa: ASYNC110 - what the kernel does has no event of ours
                    await trio.sleep(0.001)
                link, nobody = client._line.link, ended.append
                link.forget(link.post(Notify("x" * 9000), nobody), nobody)  # it is written already
            assert ended == [True]


async def test_a_long_method_that_was_never_written_does_not_count(serve):
    with trio.fail_after(5):
        async with serve(MemoryTransport(max_method=4096)) as pod, pod.client() as client:
            link = client._line.link
            link._idle = False  # the writer is at something else
            link.forget(link.post(Notify("x" * 9000), print), print)
            assert not link._long
            link._idle = True
            assert await client.send(Notify("x" * 2000)) == Accepted()
            assert not link._long


def a_hub():
    return Hub(Limits())


@pytest.mark.proves("I15")
@pytest.mark.parametrize("said", ["x" * (LONGEST_EVENT + 1), "\x00" * (LONGEST_EVENT // 6 + 1), "ä" * (LONGEST_EVENT // 2 + 1)])
def test_an_event_that_no_client_could_read_is_told_as_an_alert_in_its_place(said):
    hub = a_hub()
    hub.publish(TextDone("before"))
    hub.publish(TextDelta(said))
    hub.publish(TextDone("after"))
    frames = [read_event(record.whole) for record in hub.after(0)]
    assert [frame.seq for frame in frames] == [1, 2, 3]
    assert isinstance(frames[1].event, Alert)
    assert "TextDelta" in frames[1].event.message
    assert hub.in_flight.data() is None


@pytest.mark.proves("I35")
@pytest.mark.parametrize("message", ["x" * (LONGEST_EVENT + 1), "\ud800"], ids=["too long", "not text"])
async def test_an_alert_that_cannot_be_said_keeps_nobody_out(serve, message):
    with trio.fail_after(10):
        async with serve(plain="watch") as pod:
            pod.desk.hub.publish(Alert(AlertLevel.WARN, AlertSource.WORKER, message, 0))
            async with pod.peer() as peer:
                alert, snapshot = await peer.hear(), await peer.hear()
    assert "could not be" in alert.event.message
    assert isinstance(snapshot.event, Snapshot)
