"""What a pod says to whoever asked, later: on whatever connection that peer has then, and to nobody else."""

import pytest
import trio

from podkit.protocol import BirthCredential, Notify, Returned, Welcome

from .conftest import CHILD

GONE = Returned("n", "stopping")


async def asked(pod, peer):
    """A notice of that peer, as the pod got it."""
    await peer.say(Notify("x"), f"n{len(pod.desk.asks)}")
    await peer.hear()
    return pod.desk.asks[-1]


async def test_a_peer_is_told_on_the_connection_it_has(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as one, pod.peer() as other:
            await one.hello(instance="one")
            await other.hello(instance="other")
            ask = await asked(pod, one)
            ask.tell(GONE)
            said = await one.hear()
            assert (said.event, said.re, said.seq) == (GONE, None, None)
            (await asked(pod, other)).tell(GONE)
            assert (await other.hear()).event == GONE


async def test_who_came_back_under_its_name_is_told_there_and_who_is_gone_is_not(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            async with pod.peer() as before:
                await before.hello(instance="one")
                ask = await asked(pod, before)
                async with pod.peer() as after:
                    await after.hello(instance="one")
                    ask.tell(GONE)
                    assert (await after.hear()).event == GONE
            while pod.server.connections:
                await trio.lowlevel.checkpoint()
            ask.tell(GONE)
            assert not pod.server._house.peers


async def test_the_name_alone_makes_nobody_hear_what_is_meant_for_another(serve):
    name, incarnation, secret = CHILD
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as client, pod.peer() as child:
            await client.hello(instance="one")
            ask = await asked(pod, client)
            assert isinstance(await child.hello(instance="one", birth=BirthCredential(name, incarnation, secret)), Welcome)
            ask.tell(GONE)
            assert (await client.hear()).event == GONE


@pytest.mark.parametrize("plain", ["command"])
async def test_who_never_said_who_it_is_cannot_be_told(serve, plain):
    with trio.fail_after(5):
        async with serve(plain=plain) as pod, pod.peer() as peer:
            await peer.say(Notify("x"))
            while not pod.desk.asks:
                await trio.lowlevel.checkpoint()
            assert pod.desk.asks[0].tell is None
