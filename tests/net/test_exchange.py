"""One connection for one method: the same answers and the same errors as a client, without its tasks."""

import pytest
import trio

from podkit._net import MemoryTransport, exchange
from podkit.errors import AuthenticationError, LocalProtocolError, MethodRejectedError, PodkitError, PodUnreachableError
from podkit.protocol import (
    Accepted,
    BirthCredential,
    Cancel,
    Error,
    ErrorCode,
    Hello,
    Lagged,
    Notify,
    PodEventMethod,
    PodTurnEnded,
    Role,
    Run,
    Status,
    Welcome,
    encode_event,
)

WELCOME = encode_event(Welcome(1, "fake", "i", 0, Status.IDLE, Role.CLIENT, "none", False, ()), re="1")


class Keyed(MemoryTransport):
    def key(self, address):
        return "right"


async def _until_empty(pod):
    while pod.server.connections:
        await trio.lowlevel.checkpoint()


def _said(pod, method, **options):
    return exchange(pod.address, method, transport=pod.transport, **options)


async def _against(script, method=Cancel(), **options):  # noqa: B008 - frozen
    """Ask a pod that says exactly what `script(channel)` says, and give back the reply."""
    net = MemoryTransport()
    listener = await net.listen("memory://fake")

    async def serve():
        channel = await listener.accept()
        await script(channel)
        try:
            while True:
                await channel.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            await channel.aclose()

    raised = reply = None
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            try:
                reply = await exchange("memory://fake", method, transport=net, **options)
            except PodkitError as error:
                raised = error  # raised outside of the nursery, so that nothing wraps it
            nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
    return reply


async def test_the_reply_comes_back_and_the_connection_is_closed(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            assert await _said(pod, Run("go")) == Accepted(run=1)
            await _until_empty(pod)


async def test_without_a_method_the_reply_is_the_welcome(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            welcome = await _said(pod, None)
            assert (welcome.pod_name, welcome.incarnation) == ("root", "inc-1")
            assert pod.desk.asks == []


async def test_the_run_that_is_meant_and_who_we_are_are_said(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            await _said(pod, Cancel(), run=7, instance="me.1")
            assert [(ask.run, ask.origin.instance) for ask in pod.desk.asks] == [(7, "me.1")]


async def test_the_transports_key_is_shown_and_a_wrong_one_refused(serve):
    with trio.fail_after(5):
        async with serve(Keyed(), key="right") as pod:
            assert await _said(pod, Cancel()) == Accepted()
        async with serve(Keyed(), key="another") as pod:
            with pytest.raises(AuthenticationError):
                await _said(pod, Cancel())
            assert pod.desk.asks == []


async def test_a_child_shows_its_birth_and_may_only_report(serve, child):
    with trio.fail_after(5):
        async with serve() as pod:
            birth = BirthCredential(*child)
            assert await _said(pod, PodEventMethod(PodTurnEnded("kid")), birth=birth) == Accepted()
            with pytest.raises(MethodRejectedError) as caught:
                await _said(pod, Run("go"), birth=birth)
            assert caught.value.code is ErrorCode.FORBIDDEN


@pytest.mark.parametrize("other", [("root", "inc-2"), ("toor", "inc-1")])
async def test_another_pod_than_expected_never_hears_the_method(serve, other):
    with trio.fail_after(5):
        async with serve() as pod:
            with pytest.raises(AuthenticationError, match="another pod"):
                await _said(pod, Run("go"), expect=other)
            await _until_empty(pod)
            assert pod.desk.asks == []


async def test_a_refusal_is_raised_with_code_and_message(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            pod.desk.on[Cancel] = lambda ask: ask.answer(Error(ErrorCode.NOT_RUNNING, "nothing runs"))
            with pytest.raises(MethodRejectedError, match="nothing runs") as caught:
                await _said(pod, Cancel())
            assert caught.value.code is ErrorCode.NOT_RUNNING


async def test_one_connection_too_many_is_told_why(serve):
    with trio.fail_after(5):
        async with serve(connections=1) as pod, pod.client():
            with pytest.raises(MethodRejectedError) as caught:
                await _said(pod, Cancel())
            assert caught.value.code is ErrorCode.LIMIT_EXCEEDED


async def test_nobody_there_is_unreachable():
    with pytest.raises(PodUnreachableError):
        await exchange("memory://nobody", Cancel(), transport=MemoryTransport())


async def test_a_hello_is_no_method_to_exchange():
    with pytest.raises(LocalProtocolError, match="hello"):
        await exchange("memory://nobody", Hello((1,), "c", "i"), transport=MemoryTransport())


async def test_a_cancelled_exchange_leaves_no_connection_behind(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            asked = trio.Event()
            pod.desk.on[Cancel] = lambda _ask: asked.set()  # and never answers
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_said, pod, Cancel())
                await asked.wait()
                nursery.cancel_scope.cancel()
            await _until_empty(pod)


async def test_what_is_no_reply_is_passed_over():
    async def script(channel):
        await channel.receive()
        await channel.send(WELCOME)
        await channel.receive()
        await channel.send_many([encode_event(Lagged(1, 2)), encode_event(Accepted(run=3), re="9")])
        await channel.send(encode_event(Error(ErrorCode.INTERNAL, "of the stream")))
        await channel.send(encode_event(Accepted(run=4), re="2"))

    assert await _against(script) == Accepted(run=4)


async def test_no_welcome_in_time_is_unreachable(autojump_clock):
    async def script(channel):
        await channel.receive()

    with pytest.raises(PodUnreachableError, match="no welcome within 10 s"):
        await _against(script)


async def test_a_welcome_without_a_name_is_unreachable():
    async def script(channel):
        await channel.receive()
        await channel.send(encode_event(Welcome(1, "", "", 0, Status.IDLE, Role.CLIENT, "none", False, ()), re="1"))

    with pytest.raises(PodUnreachableError):
        await _against(script)


@pytest.mark.parametrize("after", [0, 1])
async def test_a_connection_that_ends_early_says_why(after):
    async def script(channel):
        await channel.receive()
        if after:
            await channel.send(WELCOME)
            await channel.receive()
        await channel.aclose()

    with pytest.raises(PodUnreachableError, match="closed the connection"):
        await _against(script)


async def test_a_connection_that_is_lost_says_so():
    async def script(channel):
        await channel.receive()
        channel.abort()

    with pytest.raises(PodUnreachableError, match="was lost"):
        await _against(script)


async def test_a_line_that_is_no_event_is_told_as_such():
    async def script(channel):
        await channel.receive()
        await channel.send(b"junk")

    with pytest.raises(PodUnreachableError, match="does not speak the protocol"):
        await _against(script)


class Scripted(trio.abc.Channel):
    """Our end of a connection of which each call does what it is told: `sends` and `receives` are values, or errors to raise."""

    def __init__(self, sends, receives):
        self.sends, self.receives, self.closed = sends, receives, False

    async def send(self, value):
        await trio.lowlevel.checkpoint()
        if (error := self.sends.pop(0)) is not None:
            raise error

    async def receive(self):
        await trio.lowlevel.checkpoint()
        if not self.receives:
            await trio.sleep_forever()
        frame = self.receives.pop(0)
        if isinstance(frame, Exception):
            raise frame
        return frame

    async def aclose(self):
        self.closed = True
        await trio.lowlevel.checkpoint()


async def _over(channel, method=Cancel()):  # noqa: B008 - frozen
    class Net(MemoryTransport):
        async def connect(self, address):
            await trio.lowlevel.checkpoint()
            return channel

    with trio.fail_after(60):
        try:
            return await exchange("memory://fake", method, transport=Net())
        finally:
            assert channel.closed


async def test_a_channel_that_passes_one_frame_at_a_time_will_do():
    reply = await _over(Scripted([None, None], [b" ", WELCOME, encode_event(Accepted(), re="2")]))
    assert reply == Accepted()


async def test_what_a_pod_said_before_it_stopped_reading_still_counts():
    channel = Scripted([None, trio.BrokenResourceError()], [WELCOME, encode_event(Error(ErrorCode.STOPPING, "too late"), re="2")])
    with pytest.raises(MethodRejectedError, match="too late"):
        await _over(channel)


async def test_a_pod_that_reads_no_more_and_says_nothing_is_waited_for_a_few_seconds(autojump_clock):
    began = trio.current_time()
    with pytest.raises(PodUnreachableError, match="reads no more"):
        await _over(Scripted([None, OSError("gone")], [WELCOME]))
    assert trio.current_time() - began == pytest.approx(5)


async def test_a_transport_that_fails_in_its_own_way_is_contained(caplog):
    with pytest.raises(PodUnreachableError, match="the channel failed: ValueError"):
        await _over(Scripted([None, None], [WELCOME, ValueError("a bug")]), Notify("x"))
    assert "a channel to a pod failed" in caplog.text
