"""What a transport keeps of what it need not have: whole batches, and ways to write and to read without waiting for more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from podkit.errors import RemoteProtocolError

from ._check_clauses import Clauses
from ._check_transport_ground import difference, raises, require, send_all, settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._check_transport_ground import Channel, Ground

clause: Clauses[Ground] = Clauses("T")


@clause("send_many and receive_many, where they exist, are many sends and receives")
async def _batches(ground: Ground) -> None:
    frames = [b"%d" % number for number in range(500)]
    async with ground.pair() as (ours, theirs):
        send_many, receive_many = getattr(ours, "send_many", None), getattr(theirs, "receive_many", None)
        async with trio.open_nursery() as nursery:
            if send_many is None:
                nursery.start_soon(send_all, ours, frames)
            else:
                nursery.start_soon(send_many, frames)
            got: list[bytes] = []
            while len(got) < len(frames):
                batch = [await theirs.receive()] if receive_many is None else await receive_many()
                require(batch, "receive_many returned nothing")
                got += batch
        require(got == frames, difference(got, frames))
        await ours.aclose()
        await raises(trio.EndOfChannel, theirs.receive if receive_many is None else receive_many, "the receive after the last")


@clause("send_nowait, where it exists, writes what goes without waiting, and the rest of it before anything else")
async def _without_waiting(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        send_nowait, send_many = getattr(ours, "send_nowait", None), getattr(ours, "send_many", None)
        if send_nowait is None or send_many is None:
            require(send_nowait is None, "there is no send_many that could send the rest")
            return
        require(send_nowait(b"first\nsecond\n") is True, "two short lines did not go at once though nobody is behind")
        await ours.send(b"third")
        require([await theirs.receive() for _ in range(3)] == [b"first", b"second", b"third"], "the three came otherwise")
        written, all_of_it = 0, True
        for number, frame in enumerate(ground.flood):
            try:
                all_of_it = send_nowait(b"%08d" % number + frame[8:] + b"\n")
            except trio.WouldBlock:
                break
            written += 1
            if not all_of_it:
                break
        require(written < len(ground.flood), "64 MiB were taken though nobody reads")
        if not all_of_it:
            _would_block(send_nowait, "while the rest of a line is waiting")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send_rest, send_many, ours)
            for number in range(written):
                got = await theirs.receive()
                require(got.startswith(b"%08d" % number), f"line {number} of {written} came as {got[:20]!r}")
            require(await theirs.receive() == b"behind it", "the rest was not sent before what came after it")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, ours, ground.flood)
            await settled()
            _would_block(send_nowait, "while another task is sending")
            nursery.cancel_scope.cancel()
    try:
        send_nowait(b"x\n")
    except trio.ClosedResourceError:
        return
    raise AssertionError("send_nowait after aclose did not raise ClosedResourceError")


def _would_block(send_nowait: Callable[[bytes], bool], when: str) -> None:
    try:
        send_nowait(b"overtaking\n")
    except trio.WouldBlock:
        return
    raise AssertionError(f"send_nowait {when} did not raise WouldBlock")


async def _send_rest(send_many: Callable[[list[bytes]], Awaitable[None]], channel: Channel) -> None:
    await send_many([])
    await channel.send(b"behind it")


@clause("put_many, where it exists, sends as many as there is room for right now, and answers how many that were")
async def _as_many_as_fit(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        put_many: Callable[[list[bytes]], int] | None = getattr(ours, "put_many", None)
        if put_many is None:
            return
        require(put_many([b"one", b"two"]) == 2, "two short frames did not go at once though nobody is behind")
        await ours.send(b"three")
        require([await theirs.receive() for _ in range(3)] == [b"one", b"two", b"three"], "the three came otherwise")
        frames = [b"%08d" % number + frame[8:] for number, frame in enumerate(ground.flood)]
        sent = put_many(frames)
        require(sent < len(frames), "64 MiB were taken though nobody reads")
        require(put_many([frames[sent]]) == 0, "there was no room and then there was")
        got = [await theirs.receive() for _ in range(sent)]
        require(got == frames[:sent], f"of the {sent} that went, another number came, or others")
        await theirs.aclose()
        for _ in range(1000):
            try:
                put_many([b"to nobody"])
            except trio.BrokenResourceError:
                break
            await trio.lowlevel.checkpoint()
        else:
            raise AssertionError("put_many goes on though the other end was closed")
        await ours.aclose()
        try:
            put_many([b"from nobody"])
        except trio.ClosedResourceError:
            return
    raise AssertionError("put_many after aclose did not raise ClosedResourceError")


@clause("read_at_most, where it exists, bounds what is taken in of a peer until it is lifted")
async def _read_at_most(ground: Ground) -> None:
    for least, enough in ((64, False), (1024, True)):
        async with ground.pair() as (ours, theirs):
            read_at_most: Callable[[int | None], None] | None = getattr(theirs, "read_at_most", None)
            if read_at_most is None:
                return
            read_at_most(least)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, ours, [b"x" * 512])
                if not enough:
                    await raises(RemoteProtocolError, theirs.receive, "receive of a frame for which not enough may be read")
                    continue
                require(await theirs.receive() == b"x" * 512, "a frame that may be read came otherwise")
            read_at_most(None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, ours, [b"y" * 4096])
                require(await theirs.receive() == b"y" * 4096, "what was lifted still holds")


@clause("hang_up, where it exists, is aclose without waiting: what was sent still arrives")
async def _hung_up(ground: Ground) -> None:
    async with ground.pair() as (ours, theirs):
        hang_up: Callable[[], None] | None = getattr(ours, "hang_up", None)
        if hang_up is None:
            return
        await send_all(ours, [b"one", b"two"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(raises, trio.ClosedResourceError, ours.receive, "the waiting receive")
            await settled()
            hang_up()
        hang_up()
        await raises(trio.ClosedResourceError, lambda: ours.send(b"x"), "send after hang_up")
        require([await theirs.receive() for _ in range(2)] == [b"one", b"two"], "what was sent before hang_up came otherwise")
        await raises(trio.EndOfChannel, theirs.receive, "receive after everything")


@clause("receive_lines, where it exists, is every frame that is here as lines, and like receive in everything else")
async def _as_lines(ground: Ground) -> None:
    frames = [b"%d" % number for number in range(500)]
    async with ground.pair() as (ours, theirs):
        receive_lines: Callable[[], Awaitable[bytes]] | None = getattr(theirs, "receive_lines", None)
        if receive_lines is None:
            return
        with trio.CancelScope() as scope:
            scope.cancel()
            await receive_lines()
        require(scope.cancelled_caught, "receive_lines did not notice that it was cancelled")
        got: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all, ours, frames)
            got.append(await theirs.receive())
            while len(got) < len(frames):
                lines = await receive_lines()
                require(lines.endswith(b"\n"), f"receive_lines returned {lines[-40:]!r}, which ends within a line")
                found = [line for line in lines.split(b"\n") if line and not line.isspace()]
                require(found, "receive_lines returned no frame")
                got += found
        require(got == frames, difference(got, frames))
        await send_all(ours, [b"last"])
        await ours.aclose()
        require(await theirs.receive() == b"last", "receive after receive_lines is something else than the next frame")
        await raises(trio.EndOfChannel, receive_lines, "receive_lines after the last frame")
        await theirs.aclose()
        await raises(trio.ClosedResourceError, receive_lines, "receive_lines after aclose")
