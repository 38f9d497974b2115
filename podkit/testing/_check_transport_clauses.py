"""The clauses that every transport keeps. Each one is checked on a transport of its own."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from podkit.abc import address_body
from podkit.errors import LocalProtocolError, PodUnreachableError, RemoteProtocolError, TransportError

from ._check_transport_ground import Ground, drain, fill, raises, require, settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Clause = Callable[[Ground], Awaitable[None]]

ALL: list[tuple[str, str, Clause]] = []


def clause(sentence: str) -> Callable[[Clause], Clause]:
    """Give the clause its sentence and the next number."""

    def add(check: Clause) -> Clause:
        ALL.append((f"T{len(ALL) + 1}", sentence, check))
        return check

    return add


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
                nursery.start_soon(_send_all, sender, frames)
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
            await _send_all(closer, [b"one", b"two", b"three"])
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
        await _send_all(channel, ground.flood)

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
            nursery.start_soon(_send_all, ours, ground.flood)
            await settled()
            await raises(trio.BusyResourceError, lambda: ours.send(b"y"), "a second send")
            nursery.cancel_scope.cancel()


@clause("a cancelled receive has taken nothing, and a cancelled accept no connection")
async def _cancelled_receive(ground: Ground) -> None:
    frames = [b"%d" % number for number in range(200)]
    async with ground.pair() as (ours, theirs):
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_slowly, theirs, frames)
            for attempt in itertools.count():
                if len(got) == len(frames):
                    break
                patience = attempt % 5
                async with trio.open_nursery() as impatient:
                    if patience < 4:  # and else wait until it is here, or hang if it was lost
                        impatient.start_soon(_cancel_soon, impatient.cancel_scope, patience)
                    got.append(await ours.receive())
                    impatient.cancel_scope.cancel()
        require(got == frames, _difference(got, frames))
    async with ground.listening() as (listener, address):
        with trio.CancelScope() as scope:
            scope.cancel()
            await listener.accept()
        channel = await ground.transport.connect(address)
        async with channel, await listener.accept() as other:
            await channel.send(b"x")
            require(await other.receive() == b"x", "a cancelled accept took a connection")


@clause("a send that is cancelled while it waits closes the channel, and nothing follows what was torn")
async def _cancelled_send(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        frame = ground.flood[0]
        sent = await fill(ours, frame, at_most=len(ground.flood))
        await raises(trio.ClosedResourceError, lambda: ours.send(b"glued?"), "send after the cancelled one")
        got, _ = await drain(theirs)
        require(b"glued?" not in b"".join(got), "a frame was sent after a torn one")
        whole, rest = got[:sent], got[sent:]
        require(all(one == frame for one in whole), "a frame before the torn one was damaged")
        require(len(rest) <= 1 and all(frame.startswith(one) for one in rest), "something came after the torn frame")


@clause("a send that is cancelled before it begins has done nothing")
async def _cancelled_early(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        with trio.CancelScope() as scope:
            scope.cancel()
            await ours.send(b"never")
        require(scope.cancelled_caught, "send does not notice that it is cancelled")
        await ours.send(b"after")
        require(await theirs.receive() == b"after", "the cancelled frame was sent")


@clause("a sender waits while nobody reads, and everything arrives when somebody does")
async def _backpressure(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        done = False

        async def flood() -> None:
            nonlocal done
            for number, frame in enumerate(ground.flood):
                await ours.send(b"%08d" % number + frame[8:])
            done = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await settled()
            require(not done, "64 MiB were taken though nobody reads")
            for number in range(len(ground.flood)):
                got = await theirs.receive()
                require(got.startswith(b"%08d" % number), f"frame {number} came as {got[:20]!r}")


@clause("sending and receiving never wait for each other")
async def _both_ways(ground: Ground) -> None:
    frame = b"x" * min(2**19, ground.limit)
    frames = [frame] * (2**23 // len(frame))
    async with ground.pair() as (ours, theirs):
        async with trio.open_nursery() as nursery:  # our send waits, and we receive all the same
            nursery.start_soon(_send_all, ours, frames * 8)
            await settled()
            await theirs.send(b"meanwhile")
            require(await ours.receive() == b"meanwhile", "a waiting send holds up receiving")
            for _ in range(len(frames) * 8):
                await theirs.receive()
        async with trio.open_nursery() as nursery:
            for channel in (ours, theirs):
                nursery.start_soon(_send_all, channel, frames)
                nursery.start_soon(_expect, channel, frames)


@clause("a frame as long as the limit arrives; a longer one is RemoteProtocolError for good, after the frames before it")
async def _overlong(ground: Ground) -> None:
    limit = ground.limit
    async with ground.pair() as (ours, theirs), trio.open_nursery() as nursery:

        async def send() -> None:
            # The receiver stops reading inside the long frame, so this may wait until the connection is closed.
            try:
                await _send_all(ours, [b"x" * limit, b"before", b"x" * (limit + 1), b"after"])
            except trio.BrokenResourceError:
                await trio.lowlevel.checkpoint()

        nursery.start_soon(send)
        require(len(await theirs.receive()) == limit, "a frame as long as the limit was changed")
        require(await theirs.receive() == b"before", "a frame before the long one was lost")
        for _ in range(3):
            await raises(RemoteProtocolError, theirs.receive, "receive of a frame over the limit")
        await theirs.send(b"too long")
        require(await ours.receive() == b"too long", "after a long frame the other direction is dead too")
        await theirs.aclose()


@clause("closing a listener ends connections that nobody accepted and leaves the accepted ones")
async def _listener_closes(ground: Ground) -> None:
    async with ground.listening() as (listener, address):
        ours = await ground.transport.connect(address)
        async with ours, await listener.accept() as theirs, await ground.transport.connect(address) as pending:
            await listener.aclose()
            await raises((trio.BrokenResourceError, trio.EndOfChannel), pending.receive, "receive on a connection nobody accepted")
            await ours.send(b"still")
            require(await theirs.receive() == b"still", "an accepted connection ended with its listener")


@clause("connections that are made at once stay apart, and connect does not wait for accept")
async def _many(ground: Ground) -> None:
    async with ground.listening() as (listener, address):
        channels = [await ground.transport.connect(address) for _ in range(20)]
        for number, channel in enumerate(channels):
            await channel.send(b"%d" % number)
        accepted = [await listener.accept() for _ in channels]
        for other in accepted:
            await other.send(b"re " + await other.receive())
        for number, channel in enumerate(channels):
            require(await channel.receive() == b"re %d" % number, "two connections were mixed up")
        for one in (*channels, *accepted):
            await one.aclose()


@clause("send_many and receive_many, where they exist, are many sends and receives")
async def _batches(ground: Ground) -> None:
    frames = [b"%d" % number for number in range(500)]
    async with ground.pair() as (ours, theirs):
        send_many, receive_many = getattr(ours, "send_many", None), getattr(theirs, "receive_many", None)
        async with trio.open_nursery() as nursery:
            if send_many is None:
                nursery.start_soon(_send_all, ours, frames)
            else:
                nursery.start_soon(send_many, frames)
            got: list[bytes] = []
            while len(got) < len(frames):
                batch = [await theirs.receive()] if receive_many is None else await receive_many()
                require(batch, "receive_many returned nothing")
                got += batch
        require(got == frames, _difference(got, frames))
        await ours.aclose()
        await raises(trio.EndOfChannel, theirs.receive if receive_many is None else receive_many, "the receive after the last")


async def _send_all(channel: trio.abc.Channel[bytes], frames: list[bytes]) -> None:
    for frame in frames:
        await channel.send(frame)


async def _send_slowly(channel: trio.abc.Channel[bytes], frames: list[bytes]) -> None:
    for number, frame in enumerate(frames):
        await channel.send(frame)
        for _ in range(number % 4):
            await trio.lowlevel.checkpoint()


async def _cancel_soon(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def _expect(channel: trio.abc.Channel[bytes], frames: list[bytes]) -> None:
    for frame in frames:
        require(await channel.receive() == frame, "a frame was damaged while both sides wrote")


def _difference(got: list[bytes], frames: list[bytes]) -> str:
    place = next((n for n, (a, b) in enumerate(zip(got, frames, strict=False)) if a != b), min(len(got), len(frames)))
    return f"frame {place} came as {got[place : place + 1]}, {len(got)} of {len(frames)} frames came"
