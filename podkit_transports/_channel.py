"""Frames over a byte stream: one frame is one line."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit.abc import check_frame
from podkit.errors import RemoteProtocolError
from podkit.protocol import LineDecoder

from ._fast import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._fast import ByteStream, FastSocket

_BURST = 32  # so many operations in a row may go without letting others run
_BULK = 4096  # bytes that came at once after which more are probably here already


class LineChannel(trio.abc.Channel[bytes]):
    """A channel whose frames travel as lines. Reads lines of at most `max_line` bytes.

    Keeps the promises that `podkit.abc.Transport` makes for its channels.
    """

    def __init__(self, stream: ByteStream, *, max_line: int) -> None:
        self._stream = stream
        self._decoder = LineDecoder(max_line=max_line)
        self._max_line = max_line
        self._frames: deque[bytes] = deque()
        self._blocks: list[bytes] = []  # what came after the frames: whole lines, not cut yet, and never only blank ones
        self._end: Exception | None = None  # what receive raises once the frames are out
        self._left: int | None = None  # bytes that may still be read; None for no such limit
        self._closed = False
        self._send_failed = False
        self._sending = False
        self._receiving = False
        self._burst = 0
        self._bulk = False  # the last read brought much: it is worth looking for more without waiting

    def __repr__(self) -> str:
        held = len(self._frames) + sum(lines.count(b"\n") for lines in self._blocks)
        return f"<{type(self).__name__}{' closed' if self._closed else ''} holding {held} frames>"

    async def send(self, value: bytes) -> None:
        """Send one frame."""
        await self._write(check_frame(value) + b"\n")

    async def send_many(self, frames: Iterable[bytes]) -> None:
        """Send `frames` with one write. All of them are checked before the first is sent."""
        lines = [check_frame(frame) for frame in frames]
        lines.append(b"")
        await self._write(b"\n".join(lines))

    async def receive(self) -> bytes:
        """The next frame."""
        await self._ready()
        self._cut()
        return self._frames.popleft()

    async def receive_many(self) -> list[bytes]:
        """Every frame that is here; waits for the first."""
        await self._ready()
        self._cut()
        frames = list(self._frames)
        self._frames.clear()
        return frames

    async def receive_lines(self) -> bytes:
        """Every frame that is here, as lines, each with its line feed; waits for the first. Blank lines may be among them."""
        await self._ready()
        if self._frames:
            self._blocks.insert(0, b"\n".join([*self._frames, b""]))
            self._frames.clear()
        lines = self._blocks[0] if len(self._blocks) == 1 else b"".join(self._blocks)
        self._blocks.clear()
        return lines

    def read_at_most(self, count: int | None) -> None:
        """Read at most `count` bytes more of what the peer sends, and nothing ahead of them; None lifts that.

        When they are read and no frame is complete, it is as with a line over the limit: `RemoteProtocolError`, for good.
        """
        self._left = count

    async def aclose(self) -> None:
        """Close. What was sent before still arrives; whoever waits on this channel gets `trio.ClosedResourceError`."""
        self._closed = True
        await self._stream.aclose()

    async def _write(self, data: bytes) -> None:
        if self._sending:
            raise trio.BusyResourceError("another task is sending on this channel")
        self._sending = True
        try:
            await self._pass()
            self._check_sendable()
            try:
                await self._put(data)
            except trio.BrokenResourceError:
                self._send_failed = True
                raise
            except BaseException:
                # Part of a line may be out, and nothing may ever follow it.
                self._closed = True
                self._stream.abort()
                raise
        finally:
            self._sending = False

    def _check_sendable(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this channel was closed")
        if self._send_failed:
            raise trio.BrokenResourceError("an earlier send failed")

    async def _put(self, data: bytes) -> None:
        await self._stream.send_all(data)

    async def _ready(self) -> None:
        """Return when there is a frame to take; taking it is then one step, so a cancelled receive has taken nothing."""
        if self._receiving:
            raise trio.BusyResourceError("another task is receiving from this channel")
        self._receiving = True
        passed = False
        try:
            while True:
                if self._closed:
                    raise trio.ClosedResourceError("this channel was closed")
                if self._frames or self._blocks or self._end is not None:
                    if passed:
                        break
                    await self._pass()
                    passed = True
                    continue
                # What is read is kept here, so cancellation need not be looked for before it: only before a frame is handed out.
                passed = await self._read()
                if not (passed or self._frames or self._blocks):
                    await self._pass()
            if not (self._frames or self._blocks):
                assert self._end is not None
                raise self._again(self._end)
        finally:
            self._receiving = False

    async def _read(self) -> bool:
        """Read once, whatever comes; True when we waited for it, so that others ran and cancellation was noticed."""
        parked = False
        try:
            if self._decoder.failed:  # the lines before the overlong one have been handed out, so now it is told
                self._decoder.finish()
            if self._left == 0:
                raise RemoteProtocolError("no whole frame in as many bytes as may be read", fatal=True)
            most = CHUNK if self._left is None else min(self._left, CHUNK)
            # Whoever asks and answers one line at a time would look in vain each time.
            data = self._here(most) if self._bulk else None
            if data is None:
                parked, self._burst = True, 0
                data = await self._stream.receive(most)
            self._bulk = len(data) >= _BULK
            if self._left is not None:
                self._left -= len(data)
            if data:
                self._keep(data)
            else:
                self._end = trio.EndOfChannel()
                self._hold(self._decoder.finish())
        except (RemoteProtocolError, trio.BrokenResourceError) as error:
            self._end = error
        return parked

    def _keep(self, data: bytes) -> None:
        """Keep what was read. Whole lines stay together as they came, since who reads many of them need not have them cut."""
        begin = 0
        if self._decoder.pending:
            begin = data.find(b"\n") + 1 or len(data)
            self._hold(self._decoder.feed(data[:begin]))
        end = data.rfind(b"\n", begin) + 1
        if begin < end <= begin + self._max_line:  # so none of these lines can be too long
            lines = data[begin:end]
            if not lines.isspace():
                self._blocks.append(lines)
            begin = end
        if begin < len(data):
            self._hold(self._decoder.feed(data[begin:]))

    def _hold(self, frames: list[bytes]) -> None:
        if frames:
            self._blocks.append(b"\n".join([*frames, b""]))

    def _cut(self) -> None:
        """See to it that what is here is in frames, if it is anything."""
        for lines in self._blocks:
            self._frames.extend([line for line in lines.split(b"\n") if line and not line.isspace()])
        self._blocks.clear()

    def _here(self, most: int) -> bytes | None:  # noqa: ARG002 - for streams that can be tried
        """What can be read at once, at most so many bytes. Nothing at the end of the stream, None when that is not known."""
        return None

    @staticmethod
    def _again(error: Exception) -> Exception:
        """The same error anew, so that its traceback does not grow with every call."""
        if isinstance(error, RemoteProtocolError):
            return RemoteProtocolError(error.reason, error.frame, fatal=error.fatal)
        fresh = type(error)(*error.args)
        fresh.__cause__ = error.__cause__
        return fresh

    async def _pass(self) -> None:
        """Notice cancellation at every operation, and let the others run now and then."""
        self._burst += 1
        if self._burst >= _BURST:
            self._burst = 0
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()


class SocketChannel(LineChannel):
    """A line channel over a bare socket, which can be tried without waiting."""

    def __init__(self, stream: FastSocket, *, max_line: int) -> None:
        super().__init__(stream, max_line=max_line)
        self._socket = stream
        self._rest: memoryview | None = None  # of lines that were partly written: goes out before anything else

    def send_nowait(self, lines: bytes) -> bool:
        """Write `lines`, whole lines with their ends, as far as they go without waiting. Returns whether all of them went.

        What did not go is kept and goes first with the next `send` or `send_many`, an empty one if nothing else is to be said.
        Raises `trio.WouldBlock` when nothing was written: another task is sending, something is kept already, or the peer
        is behind. Raises `trio.BrokenResourceError` and `trio.ClosedResourceError` as `send` does.
        """
        if self._sending or self._rest is not None:
            raise trio.WouldBlock
        if self._closed or self._send_failed:
            self._check_sendable()
        try:
            sent = self._socket.send_nowait(lines)
        except trio.BrokenResourceError:
            self._send_failed = True
            raise
        if sent == len(lines):
            return True
        if not sent:
            raise trio.WouldBlock
        self._rest = memoryview(lines)[sent:]
        return False

    async def _put(self, data: bytes) -> None:
        if self._rest is not None:
            await self._socket.send_all(self._rest)
            self._rest = None
        sent = self._socket.send_nowait(data) if data else 0
        if sent != len(data):
            await self._socket.send_all(memoryview(data)[sent:])

    def _here(self, most: int) -> bytes | None:
        return self._socket.receive_nowait(most)
