"""What every transport keeps: where connections come from, what arrives on them, and how they end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from podkit.abc import address_body
from podkit.errors import LocalProtocolError, PodUnreachableError, TransportError

from ._check_clauses import Clauses
from ._check_transport_ground import raises, require, send_all, settled

if TYPE_CHECKING:
    from ._check_transport_ground import Ground

clause: Clauses[Ground] = Clauses("T")


@clause("a transport reads what follows :// and never checks the scheme; its key is text or None")
async def _scheme_is_not_checked(ground: Ground) -> None:
    require(isinstance(ground.transport.scheme, str), "scheme is not text")
    async with ground.listening() as (listener, address):
        key = ground.transport.key(address)
        require(key is None or (isinstance(key, str) and key), f"key() answered {type(key).__name__}")
        channel = await ground.transport.connect(f"elsewhere://{address_body(address)}")
        async with channel, await listener.accept() as other:
            await channel.send(b"here")
            require(await other.receive() == b"here", "the connection went somewhere else")


@clause("connecting where nobody listens, or no longer, is PodUnreachableError with the address")
async def _nobody_there(ground: Ground) -> None:
    nowhere = ground.address()
    await raises(PodUnreachableError, lambda: ground.transport.connect(nowhere), "connect to a fresh address")
    async with ground.listening() as (listener, address):
        await listener.aclose()
        error = await raises(PodUnreachableError, lambda: ground.transport.connect(address), "connect after the listener closed")
        require(error.address == address, f"the error names {error.address!r}")


@clause("listening where somebody listens is TransportError, and who was there stays")
async def _taken(ground: Ground) -> None:
    async with ground.listening() as (listener, address):
        await raises(TransportError, lambda: ground.transport.listen(address), "listen at a taken address")
        channel = await ground.transport.connect(address)
        async with channel, await listener.accept() as other:
            await other.send(b"still here")
            require(await channel.receive() == b"still here", "the first listener lost its address")


@clause("frames arrive whole, once and in order, in both directions, whatever bytes they hold")
async def _frames_arrive(ground: Ground) -> None:
    every_byte = bytes(b for b in range(256) if b != 0x0A)
    odd = "a\u2028b\u0085c".encode()
    frames = [b"{}", b"\r", b" x ", b"\0", every_byte, odd, b"y" * 65535, b"y" * 65536, b"z" * 300_000, b"last"]
    frames = [frame for frame in frames if len(frame) <= ground.limit and not frame.isspace()]
    async with ground.pair() as (ours, theirs):
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, sender, frames)
                for number, frame in enumerate(frames):
                    got = await receiver.receive()
                    require(got == frame, f"frame {number} of {len(frame)} bytes came as {got[:40]!r} of {len(got)} bytes")


@clause("what is not a frame is LocalProtocolError, and nothing of it is sent")
async def _bad_frames(ground: Ground) -> None:
    bad: list[Any] = [b"", b"\n", b"a\nb", b"a\n", "text", bytearray(b"a"), None]
    async with ground.pair() as (ours, theirs):
        for frame in bad:
            await raises(LocalProtocolError, partial(ours.send, frame), f"send({frame!r})")
        send_many = getattr(ours, "send_many", None)
        if send_many is not None:
            await raises(LocalProtocolError, lambda: send_many([b"good", b"not\ngood"]), "send_many with a bad frame")
        await ours.send(b"after")
        require(await theirs.receive() == b"after", "something of a refused frame was sent")


@clause("after the peer closed, everything it sent is received first, and then EndOfChannel for good")
async def _peer_closed(ground: Ground) -> None:
    for closer_is_ours in (True, False):
        async with ground.pair() as (ours, theirs):
            closer, other = (ours, theirs) if closer_is_ours else (theirs, ours)
            await send_all(closer, [b"one", b"two", b"three"])
            await closer.aclose()
            got = [await other.receive() for _ in range(3)]
            require(got == [b"one", b"two", b"three"], f"received {got}")
            for _ in range(3):
                await raises(trio.EndOfChannel, other.receive, "receive after everything")


@clause("sending to a peer that closed is BrokenResourceError, and what it had sent can still be received")
async def _send_to_closed(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        await theirs.send(b"farewell")
        await theirs.aclose()

        async def until_refused() -> None:
            while True:
                await ours.send(b"hello?")
                await trio.lowlevel.checkpoint()

        await raises(trio.BrokenResourceError, until_refused, "sending on")
        await raises(trio.BrokenResourceError, lambda: ours.send(b"again"), "sending again")
        require(await ours.receive() == b"farewell", "a frame was lost with the failed send")


@clause("after aclose everything is ClosedResourceError, and aclose may come again")
async def _closed(ground: Ground) -> None:
    async with ground.listening() as (listener, address):
        channel = await ground.transport.connect(address)
        other = await listener.accept()
        await other.send(b"unread")
        for _ in range(2):
            await channel.aclose()
            await raises(trio.ClosedResourceError, lambda: channel.send(b"x"), "send after aclose")
            await raises(trio.ClosedResourceError, channel.receive, "receive after aclose")
        await other.aclose()
        for _ in range(2):
            await listener.aclose()
            await raises(trio.ClosedResourceError, listener.accept, "accept after aclose")


@clause("aclose wakes who waits on this end with ClosedResourceError")
async def _close_wakes(ground: Ground) -> None:
    async def flood(channel: trio.abc.Channel[bytes]) -> None:
        await send_all(channel, ground.flood)

    async with ground.pair() as (ours, _theirs), trio.open_nursery() as nursery:
        nursery.start_soon(raises, trio.ClosedResourceError, ours.receive, "the waiting receive")
        nursery.start_soon(raises, trio.ClosedResourceError, lambda: flood(ours), "the waiting send")
        await settled()
        await ours.aclose()
    async with ground.listening() as (listener, _address), trio.open_nursery() as nursery:
        nursery.start_soon(raises, trio.ClosedResourceError, listener.accept, "the waiting accept")
        await settled()
        await listener.aclose()


@clause("two receivers, or two senders, at a time are BusyResourceError, and the first is not disturbed")
async def _busy(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        async with trio.open_nursery() as nursery:
            first: list[bytes] = []

            async def receive() -> None:
                first.append(await ours.receive())

            nursery.start_soon(receive)
            await settled()
            await raises(trio.BusyResourceError, ours.receive, "a second receive")
            await theirs.send(b"for the first")
        require(first == [b"for the first"], "the first receiver was disturbed")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, ours, ground.flood)
            await settled()
            await raises(trio.BusyResourceError, lambda: ours.send(b"y"), "a second send")
            nursery.cancel_scope.cancel()
