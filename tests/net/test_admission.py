"""Who is let in, as what, and what happens to everybody else."""

import pytest
import trio

from podkit._net import MemoryTransport, Server
from podkit.protocol import (
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    BirthCredential,
    Cancel,
    ErrorCode,
    Notify,
    PodEventMethod,
    PodScopeSubDelegated,
    PodShutDown,
    PodTurnEnded,
    Role,
    Run,
    Snapshot,
    TextDelta,
    Welcome,
    encode_method,
)

KEY = "k" * 64


async def test_a_hello_with_the_right_key_is_welcomed(serve):
    with trio.fail_after(5):
        async with serve(key=KEY) as pod, pod.peer() as peer:
            pod.desk.hub.publish(TextDelta("x"))
            welcome = await peer.hello(key=KEY)
            assert isinstance(welcome, Welcome)
            assert (welcome.pod_name, welcome.incarnation, welcome.seq, welcome.role) == ("root", "inc-1", 1, Role.CLIENT)
            assert (welcome.protocol, welcome.confinement, welcome.resumed) == (1, "advisory", False)


@pytest.mark.parametrize("shown", [None, "", "k", "K" * 64, "k" * 63 + "ö"])
@pytest.mark.proves("I18")
async def test_a_wrong_key_is_forbidden_and_the_connection_is_closed(serve, shown):
    with trio.fail_after(5):
        async with serve(key=KEY) as pod, pod.peer() as peer:
            assert (await peer.hello(key=shown)).code is ErrorCode.FORBIDDEN
            assert await peer.ended() == []
            assert pod.desk.asks == []


async def test_without_a_common_version_the_connection_is_closed(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            assert (await peer.hello(protocol=(2, 7))).code is ErrorCode.UNSUPPORTED_PROTOCOL
            assert await peer.ended() == []


@pytest.mark.parametrize(
    "first",
    [
        encode_method(Run("hi"), id="1"),
        b"not json",
        b'{"method":"hello"}',
        b'{"method":"hello","id":"1","params":{"protocol":[1],"client":"' + b"x" * 70_000 + b'","instance":"i"}}',
        b"\xff\xfe",
        b"[" * 500,
    ],
)
@pytest.mark.proves("I16", "I18")
async def test_anything_but_a_good_hello_closes_without_a_word(serve, first):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.send(first)
            assert await peer.ended() == []
            assert pod.desk.asks == []
            async with pod.peer() as other:
                assert isinstance(await other.hello(), Welcome)


@pytest.mark.proves("I35")
async def test_who_says_nothing_is_closed_after_the_time_for_a_hello(serve, autojump_clock):
    async with serve(hello_seconds=5.0) as pod, pod.peer() as peer:
        began = trio.current_time()
        assert await peer.ended() == []
        assert 4.9 < trio.current_time() - began < 7


async def test_once_admitted_there_is_no_hurry(serve, autojump_clock):
    async with serve() as pod, pod.peer() as peer:
        await peer.hello()
        await trio.sleep(3600)
        await peer.say(Cancel(), "1")
        assert (await peer.hear()).event == Accepted()


async def test_a_birth_secret_makes_a_child(serve, child):
    with trio.fail_after(5):
        async with serve(key=KEY) as pod, pod.peer() as peer:
            welcome = await peer.hello(birth=BirthCredential(*child), subscribe="snapshot")
            assert welcome.role is Role.CHILD
            await peer.say(PodEventMethod(PodTurnEnded("kid")), "1")
            await peer.say(Notify("hello up there"), "2")
            # Its own reports are answered; a stream of its parent it never gets, whatever it subscribes to.
            pod.desk.hub.publish(TextDelta("not for children"))
            assert [(await peer.hear()).re for _ in range(2)] == ["1", "2"]
            assert {ask.origin.child for ask in pod.desk.asks} == {("kid", "inc-kid")}


@pytest.mark.parametrize(
    "method",
    [
        Run("hi"),
        Cancel(),
        PodEventMethod(PodTurnEnded("somebody-else")),
        PodEventMethod(PodShutDown("kid", incarnation="another")),
        PodEventMethod(PodScopeSubDelegated("other", "kid", "/s", ())),
    ],
)
@pytest.mark.proves("I19")
async def test_a_child_may_only_report_about_itself_and_notify(serve, child, method, error_code):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello(birth=BirthCredential(*child))
            await peer.say(method, "1")
            assert error_code((await peer.hear()).event) is ErrorCode.FORBIDDEN
            assert pod.desk.asks == []


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.proves("I19")
async def test_a_wrong_birth_is_forbidden_even_with_the_key(serve, child, wrong):
    credential = [part if index != wrong else part + "x" for index, part in enumerate(child)]
    with trio.fail_after(5):
        async with serve(key=KEY) as pod, pod.peer() as peer:
            assert (await peer.hello(key=KEY, birth=BirthCredential(*credential))).code is ErrorCode.FORBIDDEN
            assert await peer.ended() == []


@pytest.mark.proves("I19", "H22")
async def test_pod_events_from_anybody_but_a_child_are_forbidden(serve, error_code):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello()
            await peer.say(PodEventMethod(PodShutDown("kid")), "1")
            assert error_code((await peer.hear()).event) is ErrorCode.FORBIDDEN
            assert pod.desk.asks == []


async def test_a_later_hello_subscribes_anew(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello()
            pod.desk.hub.publish(TextDelta("unheard"))
            welcome = await peer.hello(subscribe="snapshot")
            assert welcome.seq == 1
            snapshot = await peer.hear()
            assert isinstance(snapshot.event, Snapshot)
            assert snapshot.seq == 1
            pod.desk.hub.publish(TextDelta("heard"))
            assert (await peer.hear()).seq == 2
            await peer.hello(subscribe="none")
            pod.desk.hub.publish(TextDelta("unheard"))
            await peer.say(Cancel(), "c")
            assert (await peer.hear()).re == "c"


async def test_a_live_subscription_has_no_snapshot(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello(subscribe="live")
            pod.desk.hub.publish(TextDelta("x"))
            frame = await peer.hear()
            assert (frame.event, frame.seq) == (TextDelta("x"), 1)


async def test_a_later_hello_cannot_change_who_speaks(serve, child):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello(birth=BirthCredential(*child))
            assert (await peer.hello()).code is ErrorCode.FORBIDDEN
            assert await peer.ended() == []


@pytest.mark.proves("I35")
async def test_one_connection_too_many_is_told_so_and_closed(serve, error_code):
    with trio.fail_after(5):
        async with serve(connections=2) as pod, pod.peer() as one, pod.peer() as two:
            await one.hello()
            await two.hello()
            async with pod.peer() as three:
                heard = await three.ended()
                assert [error_code(frame.event) for frame in heard] == [ErrorCode.LIMIT_EXCEEDED]
            await one.channel.aclose()
            await trio.testing.wait_all_tasks_blocked()
            async with pod.peer() as four:
                assert isinstance(await four.hello(), Welcome)


# Connections without a hello.


async def test_a_plain_watcher_gets_alerts_then_one_snapshot_then_the_stream(serve):
    with trio.fail_after(5):
        async with serve(plain="watch") as pod:
            for number in range(3):
                pod.desk.hub.publish(Alert(AlertLevel.WARN, AlertSource.POD, str(number), number))
            async with pod.peer() as peer:
                prelude = await peer.hear_until(Snapshot)
                assert [frame.event.message for frame in prelude[:-1]] == ["0", "1", "2"]
                pod.desk.hub.publish(TextDelta("x"))
                assert (await peer.hear()).seq == 4


async def test_a_plain_watcher_may_only_watch(serve):
    with trio.fail_after(5):
        async with serve(plain="watch") as pod, pod.peer() as peer:
            await peer.hear_until(Snapshot)
            await peer.say(Run("hi"), "1")
            frame = await peer.hear()
            # Older clients have no word for `forbidden`.
            assert (frame.re, frame.event.code) == ("1", ErrorCode.INTERNAL)
            assert pod.desk.asks == []


async def test_a_plain_commander_is_obeyed_and_never_hears_of_acceptance(serve):
    with trio.fail_after(5):
        async with serve(plain="command") as pod, pod.peer() as peer:
            await peer.hear_until(Snapshot)
            await peer.say(Run("hi"), "1")
            assert (await peer.hear()).event.event == "status"
            assert [ask.origin.plain for ask in pod.desk.asks] == [True]


async def test_a_hello_turns_a_plain_connection_into_an_admitted_one(serve, make_hello):
    with trio.fail_after(5):
        async with serve(plain="watch", key=KEY) as pod, pod.peer() as peer:
            await peer.say(make_hello(key=KEY), "h")
            heard = await peer.hear_until(Welcome)
            assert all(frame.re is None for frame in heard[:-1])
            await peer.say(Cancel(), "1")
            assert await peer.reply("1") == Accepted()


async def test_a_wrong_key_on_a_plain_pod_is_forbidden_too(serve, make_hello):
    with trio.fail_after(5):
        async with serve(plain="watch", key=KEY) as pod, pod.peer() as peer:
            await peer.say(make_hello(key="nope"), "h")
            heard = await peer.ended()
            assert heard[-1].event.code is ErrorCode.FORBIDDEN


async def test_generation_a_gets_no_prelude_and_only_its_own_kinds(serve):
    with trio.fail_after(5):
        async with serve(plain="watch", generation="A") as pod, pod.peer() as peer:
            await trio.testing.wait_all_tasks_blocked()
            pod.desk.hub.publish(Alert(AlertLevel.WARN, AlertSource.POD, "old words", 1))
            assert (await peer.hear()).event.event == "notification"


@pytest.mark.proves("F3")
async def test_an_alert_backlog_of_512_comes_before_the_snapshot(serve):
    with trio.fail_after(10):
        async with serve(plain="watch") as pod:
            for number in range(600):
                pod.desk.hub.publish(Alert(AlertLevel.WARN, AlertSource.POD, str(number), number))
            async with pod.peer() as peer:
                prelude = await peer.hear_until(Snapshot)
                assert [frame.event.message for frame in prelude[:-1]] == [str(number) for number in range(88, 600)]


@pytest.mark.parametrize("options", [{"plain": "yes"}, {"plain": True}, {"generation": "C"}])
def test_a_server_refuses_settings_it_does_not_know(make_desk, options):
    with pytest.raises(ValueError, match=r"plain|generation"):
        Server(make_desk(), None, key=None, **({"plain": None} | options))


@pytest.mark.proves("I35")
@pytest.mark.parametrize(("blank", "served"), [(0, True), (10, True), (400, False)])
async def test_all_that_is_said_before_a_hello_counts_not_the_longest_line(serve, make_hello, blank, served):
    """Also over a transport that hands out frames and no bytes, and blank ones among them."""

    class Blanks(MemoryTransport):
        async def listen(self, address):
            listener = await super().listen(address)
            accept = listener.accept

            async def accepted():
                channel = await accept()
                receive, left = channel.receive, [blank]

                async def receives():
                    left[0] -= 1
                    return b" " * 9 if left[0] >= 0 else await receive()

                channel.receive, channel.receive_many = receives, None
                return channel

            listener.accept = accepted
            return listener

    with trio.fail_after(5):
        async with serve(Blanks(), hello_bytes=500) as pod, pod.peer() as peer:
            await peer.say(make_hello(), "h")
            assert [type(said.event) for said in ([await peer.hear()] if served else await peer.ended())] == [Welcome] * served
