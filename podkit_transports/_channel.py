"""Frames over a byte stream: one frame is one line."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit.abc import check_frame
from podkit.errors import RemoteProtocolError
from podkit.protocol import LineDecoder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._fast import ByteStream

_BURST = 32  # so many operations in a row may go without letting others run


class LineChannel(trio.abc.Channel[bytes]):
    """A channel whose frames travel as lines. Reads lines of at most `max_line` bytes.

    Keeps the promises that `podkit.abc.Transport` makes for its channels.
    """

    def __init__(self, stream: ByteStream, *, max_line: int) -> None:
        self._stream = stream
        self._decoder = LineDecoder(max_line=max_line)
        self._frames: deque[bytes] = deque()
        self._end: Exception | None = None  # what receive raises once the frames are out
        self._closed = False
        self._send_failed = False
        self._sending = False
        self._receiving = False
        self._burst = 0

    def __repr__(self) -> str:
        return f"<LineChannel{' closed' if self._closed else ''} holding {len(self._frames)} frames>"

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
        return self._frames.popleft()

    async def receive_many(self) -> list[bytes]:
        """Every frame that is here; waits for the first."""
        await self._ready()
        frames = list(self._frames)
        self._frames.clear()
        return frames

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
            if self._closed:
                raise trio.ClosedResourceError("this channel was closed")
            if self._send_failed:
                raise trio.BrokenResourceError("an earlier send failed")
            try:
                await self._stream.send_all(data)
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
                if self._frames:
                    return
                if self._end is not None:
                    raise self._again(self._end)
                await self._read()
        finally:
            self._receiving = False

    async def _read(self) -> None:
        try:
            if self._decoder.failed:  # the lines before the overlong one have been handed out, so now it is told
                self._decoder.finish()
            data = await self._stream.receive()
            if data:
                self._frames.extend(self._decoder.feed(data))
                return
            self._end = trio.EndOfChannel()
            self._frames.extend(self._decoder.finish())
        except (RemoteProtocolError, trio.BrokenResourceError) as error:
            self._end = error

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
