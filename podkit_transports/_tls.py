"""TLS under a line channel. Slower than a bare socket: it goes through trio's own streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ._fast import CHUNK

if TYPE_CHECKING:
    import socket
    import ssl

_FAREWELL = 1.0  # seconds to say goodbye in


class _Carrier(trio.abc.Stream):
    """The socket under TLS. A failed write is remembered rather than raised, so that what the peer sent can still be read."""

    def __init__(self, sock: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self.lost = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self.lost = True

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()

    def close(self) -> None:
        self._stream.socket.close()


class TlsStream:
    """A TLS connection over a connected socket. The handshake happens with the first read or write."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server_hostname: str | None) -> None:
        self._carrier = _Carrier(sock)
        self._stream = trio.SSLStream(self._carrier, context, server_hostname=server_hostname, server_side=server_hostname is None)
        self._met = False  # whether the handshake is over, without which there is nobody to say goodbye to
        self._closed = False

    async def receive(self, most: int = CHUNK) -> bytes:
        """Some decrypted bytes, at most so many, or none after the peer's goodbye; an end without goodbye is a lost connection."""
        self._check()
        data = bytes(await self._stream.receive_some(most))
        self._met = True
        return data

    async def send_all(self, data: bytes | memoryview) -> None:
        """Encrypt and send all of `data`."""
        self._check()
        await self._stream.send_all(data)
        self._met = True
        if self._carrier.lost:
            raise trio.BrokenResourceError("the other end is gone")

    def abort(self) -> None:
        """Close without goodbye, which the peer can tell from an orderly end."""
        self._closed = True
        self._carrier.close()

    async def aclose(self) -> None:
        """Say goodbye, for one second at most, and close."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        with trio.move_on_after(_FAREWELL, shield=True):
            if self._met:
                await self._stream.aclose()
        self._carrier.close()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this channel was closed")
