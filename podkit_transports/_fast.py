"""A connected socket for trio that tries first and waits only when the kernel says so.

trio's own `SocketStream` passes through the scheduler after every operation. Here an operation that can be done is done at
once; the channel above counts how many went by and lets others run.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Protocol

import trio

CHUNK = 65536  # bytes asked of the kernel at once
_DISCARD = 16  # chunks thrown away when closing


class ByteStream(Protocol):
    """What a line channel needs of a connection. One reader and one writer at a time, which the channel sees to."""

    async def receive(self, most: int = CHUNK) -> bytes:
        """Some bytes, at most so many, or none at the end of the stream. Loses nothing when cancelled."""
        ...

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send everything. After any exception an unknown part of it was sent."""
        ...

    def abort(self) -> None:
        """Close at once; where the kernel can say that the connection was lost, the peer is told so."""
        ...

    async def aclose(self) -> None:
        """Close in order; what was sent before still arrives."""
        ...


class FastSocket:
    """A connected stream socket.

    A lost connection is `trio.BrokenResourceError`, anything after our own close `trio.ClosedResourceError`.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._closed = False

    def receive_nowait(self, most: int = CHUNK) -> bytes | None:
        """What has arrived, at most so many bytes. Nothing at the end of the stream, None when nothing is here yet."""
        if self._closed:
            self._check()
        try:
            return self._sock.recv(most)
        except BlockingIOError:
            return None
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection was lost: {error.strerror}") from error

    async def receive(self, most: int = CHUNK) -> bytes:
        """Wait for the first byte, and return what has arrived then, at most so many bytes. Nothing at the end of the stream."""
        while True:
            self._check()
            await trio.lowlevel.wait_readable(self._sock)
            data = self.receive_nowait(most)
            if data is not None:
                return data

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what there is room for; returns how many bytes that was."""
        if self._closed:
            self._check()
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise trio.BrokenResourceError(f"the other end is gone: {error.strerror}") from error

    async def send_all(self, data: bytes | memoryview) -> None:
        """Wait for room, and send all of `data`."""
        sent = 0
        with memoryview(data) as whole:
            while sent < len(whole):
                self._check()
                await trio.lowlevel.wait_writable(self._sock)
                sent += self.send_nowait(whole[sent:])

    def abort(self) -> None:
        """Close at once. A TCP peer sees a reset, a Unix peer the end of the stream."""
        if not self._closed:
            if self._sock.family != socket.AF_UNIX:
                # Linger on, for zero seconds: what is still queued is dropped and the peer gets a reset.
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self._close()

    async def aclose(self) -> None:
        """Close. What was sent still reaches the peer, which then sees the end of the stream."""
        if not self._closed:
            self._finish_writing()
            self._discard_unread()
            self._close()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this channel was closed")

    def _finish_writing(self) -> None:
        with suppress(OSError):  # the peer may be gone
            self._sock.shutdown(socket.SHUT_WR)

    def _discard_unread(self) -> None:
        """Closing with unread bytes would be a reset, and a reset can overtake what we sent; so read a bounded part of them."""
        left = _DISCARD
        with suppress(OSError):
            while left and self._sock.recv(CHUNK):
                left -= 1

    def _close(self) -> None:
        self._closed = True
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
