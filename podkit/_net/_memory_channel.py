"""The two ends of an in-memory connection: bounded, without threads, and with the manners of a socket."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit.abc import check_frame
from podkit.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_FRAMES = 64
_MAX_BYTES = 2**18
_BURST = 32  # so many operations in a row may go without letting others run


class Pipe:
    """One direction. Holds at most 64 frames or 256 KiB, and one frame of any size when it is empty."""

    size: int
    ended: bool
    broken: bool
    deserted: bool
    changed: trio.lowlevel.ParkingLot

    def __init__(self) -> None:
        self.frames: deque[bytes] = deque()
        self.size = 0
        self.ended = False  # the writing end left: what is here can still be read
        self.broken = False  # the connection was lost before anybody took it
        self.deserted = False  # the reading end left: writing makes no sense any more
        self.changed = trio.lowlevel.ParkingLot()

    def has_room(self, frame: bytes) -> bool:
        return not self.frames or (len(self.frames) < _MAX_FRAMES and self.size + len(frame) <= _MAX_BYTES)

    def put(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.size += len(frame)
        self.tell()

    def take(self) -> bytes:
        frame = self.frames.popleft()
        self.size -= len(frame)
        self.tell()
        return frame

    def desert(self) -> None:
        self.deserted = True
        self.frames.clear()
        self.size = 0
        self.tell()

    def end(self, *, broken: bool = False) -> None:
        self.ended = True
        self.broken = self.broken or broken
        self.tell()

    def tell(self) -> None:
        """Wake whoever waits for something to change."""
        if self.changed:
            self.changed.unpark_all()


class MemoryChannel(trio.abc.Channel[bytes]):
    """One end of a connection. `max_frame` is the longest frame this end reads, in bytes."""

    def __init__(self, incoming: Pipe, outgoing: Pipe, *, max_frame: int) -> None:
        self._in = incoming
        self._out = outgoing
        self._max_frame = max_frame
        self._closed = False
        self._overlong: RemoteProtocolError | None = None
        self._sending = False
        self._receiving = False
        self._burst = 0

    def __repr__(self) -> str:
        return f"<MemoryChannel{' closed' if self._closed else ''} holding {len(self._in.frames)} frames>"

    async def send(self, value: bytes) -> None:
        """Send one frame; waits while the other end is behind."""
        await self.send_many((value,))

    async def send_many(self, frames: Iterable[bytes]) -> None:
        """Send `frames` in order. All of them are checked before the first is sent."""
        checked = [check_frame(frame) for frame in frames]
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this channel")
        self._sending = True
        try:
            await self._pass()
            self._check_sendable()
            try:
                for frame in checked:
                    while not self._out.has_room(frame):
                        await self._wait(self._out)
                        self._check_sendable()
                    self._out.put(frame)
            except trio.Cancelled:
                self._close()
                raise
        finally:
            self._sending = False

    def put_many(self, frames: list[bytes]) -> int:
        """Send as many of `frames` as there is room for right now, and answer how many that were. Nobody else may be sending."""
        self._check_sendable()
        for count, frame in enumerate(frames):
            if not self._out.has_room(check_frame(frame)):
                return count
            self._out.put(frame)
        return len(frames)

    async def receive(self) -> bytes:
        """The next frame."""
        await self._ready()
        return self._take()

    async def receive_many(self) -> list[bytes]:
        """Every frame that is here; waits for the first."""
        await self._ready()
        frames = [self._take()]
        while self._in.frames and len(self._in.frames[0]) <= self._max_frame:
            frames.append(self._in.take())
        return frames

    def hang_up(self) -> None:
        """As `aclose`, without waiting."""
        self._close()

    async def aclose(self) -> None:
        """Close this end. The other end receives what was sent and then `trio.EndOfChannel`."""
        self._close()
        await self._pass()

    def _take(self) -> bytes:
        if len(self._in.frames[0]) > self._max_frame:
            head = self._in.take()[:128]
            self._overlong = RemoteProtocolError(f"a line of more than {self._max_frame} bytes", head, fatal=True)
            raise self._overlong
        return self._in.take()

    async def _ready(self) -> None:
        """Return when there is a frame to take; taking it is then one step, so a cancelled receive has taken nothing."""
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._receiving = True
        try:
            await self._pass()
            while True:
                if self._closed:
                    raise trio.ClosedResourceError("this channel was closed")
                if self._overlong is not None:
                    raise RemoteProtocolError(self._overlong.reason, self._overlong.frame, fatal=True)
                if self._in.frames:
                    return
                if self._in.broken:
                    raise trio.BrokenResourceError("the connection was lost")
                if self._in.ended:
                    raise trio.EndOfChannel
                await self._wait(self._in)
        finally:
            self._receiving = False

    def _check_sendable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this channel was closed")
        if self._out.deserted:
            raise trio.BrokenResourceError("the other end is gone")

    async def _pass(self) -> None:
        """Notice cancellation at every operation, and let the others run now and then."""
        self._burst += 1
        if self._burst >= _BURST:
            self._burst = 0
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def _wait(self, pipe: Pipe) -> None:
        self._burst = 0
        await pipe.changed.park()

    def abort(self) -> None:
        """Close this end as a lost connection: the other end is told so."""
        self._out.end(broken=True)
        self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._out.end()
            self._in.desert()
            # Whoever of ours is parked waits on one of these two pipes, so both were woken.
