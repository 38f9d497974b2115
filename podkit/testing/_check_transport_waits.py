"""What every transport keeps when many things happen at once: who is cancelled, who has to wait, who comes in a crowd."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import trio

from podkit.errors import RemoteProtocolError

from ._check_clauses import Clauses
from ._check_transport_ground import difference, drain, fill, raises, require, send_all, settled

if TYPE_CHECKING:
    from ._check_transport_ground import Channel, Ground

clause: Clauses[Ground] = Clauses("T")


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
        require(got == frames, difference(got, frames))
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
            nursery.start_soon(send_all, ours, frames * 8)
            await settled()
            await theirs.send(b"meanwhile")
            require(await ours.receive() == b"meanwhile", "a waiting send holds up receiving")
            for _ in range(len(frames) * 8):
                await theirs.receive()
        async with trio.open_nursery() as nursery:
            for channel in (ours, theirs):
                nursery.start_soon(send_all, channel, frames)
                nursery.start_soon(_expect, channel, frames)


@clause("a frame as long as the limit arrives; a longer one is RemoteProtocolError for good, after the frames before it")
async def _overlong(ground: Ground) -> None:
    limit = ground.limit
    async with ground.pair() as (ours, theirs), trio.open_nursery() as nursery:

        async def send() -> None:
            # The receiver stops reading inside the long frame, so this may wait until the connection is closed.
            try:
                await send_all(ours, [b"x" * limit, b"before", b"x" * (limit + 1), b"after"])
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


async def _send_slowly(channel: Channel, frames: list[bytes]) -> None:
    for number, frame in enumerate(frames):
        await channel.send(frame)
        for _ in range(number % 4):
            await trio.lowlevel.checkpoint()


async def _cancel_soon(scope: trio.CancelScope, steps: int) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


async def _expect(channel: Channel, frames: list[bytes]) -> None:
    for frame in frames:
        require(await channel.receive() == frame, "a frame was damaged while both sides wrote")
