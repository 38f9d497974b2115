"""Pods reached through TCP: on this machine unless TLS is used, and always with a key that both sides were given."""

from __future__ import annotations

import ipaddress
import socket
import ssl

import trio

from podkit.abc import Transport, address_body
from podkit.errors import PodUnreachableError, TransportError

from ._channel import LineChannel, SocketChannel
from ._fast import FastSocket
from ._listener import SocketListener, inherited, open_listening
from ._tls import TlsStream

_SHORTEST_KEY, _LONGEST_KEY = 16, 4096  # characters


class TcpTransport(Transport):
    """Reaches pods at `tcp://host:port`, an IPv6 host in brackets. Port 0 listens where there is room.

    `key` is what a client shows to be let in, 16 to 4096 printable characters, and the same on both sides. Without `tls`
    only loopback addresses are listened at, since the key and everything else would travel in the clear. `tls` is one
    `ssl.SSLContext`, for the side it was made for, or a pair of them: for listening and for connecting. With TLS the first
    send or receive of each side is where the two meet, so a first send waits until the other side takes part too.
    `max_method` limits in bytes what a listening side reads in one line, `max_event` what a connecting side reads.
    """

    scheme = "tcp"

    def __init__(
        self,
        *,
        key: str,
        tls: ssl.SSLContext | tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
        max_method: int = 2**20,
        max_event: int = 2**26,
    ) -> None:
        if not isinstance(key, str) or not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY or not key.isprintable():
            raise TransportError("tcp://", f"a key has {_SHORTEST_KEY} to {_LONGEST_KEY} printable characters")
        self._key = key
        self._tls_listen, self._tls_connect = tls if isinstance(tls, tuple) else (tls, tls)
        self.max_method = max_method
        self.max_event = max_event

    def __repr__(self) -> str:
        return f"<TcpTransport{' with TLS' if self._tls_listen is not None else ''}>"

    def key(self, address: str) -> str:  # noqa: ARG002 - the same everywhere
        """The key this transport was given."""
        return self._key

    def address(self, name: str, run_dir: str | None) -> str:  # noqa: ARG002 - a port says nothing of either
        """`tcp://127.0.0.1:0`: the kernel chooses the port, and `listener.address` says which."""
        return "tcp://127.0.0.1:0"

    async def connect(self, address: str) -> trio.abc.Channel[bytes]:
        """Connect to the pod at `address`. Raises `PodUnreachableError` when nobody answers there."""
        host, port = _host_and_port(address)
        if self._tls_connect is not None and self._tls_connect.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise TransportError(address, "the TLS context given is for listening only")
        try:
            stream = await trio.open_tcp_stream(host, port)
        except (OSError, UnicodeError) as error:
            raise PodUnreachableError(address, f"nobody answers there: {error}") from error
        sock = _plain(stream)
        try:
            # A free port can meet itself when both ends choose the same number: then nobody else is there.
            met_itself = sock.getsockname() == sock.getpeername()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            raise PodUnreachableError(address, f"the connection was lost at once: {error.strerror}") from error
        if met_itself:
            sock.close()
            raise PodUnreachableError(address)
        return self._channel(sock, self._tls_connect, host, self.max_event)

    async def listen(self, address: str) -> SocketListener:
        """Listen at `address`.

        Raises `TransportError` when it is taken, when it is not an address of this machine, and for anything but loopback
        without TLS.
        """
        host, port = _host_and_port(address)
        if self._tls_listen is not None and self._tls_listen.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise TransportError(address, "the TLS context given is for connecting only")
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, _, _, _, place = found[0]
            if self._tls_listen is None and not ipaddress.ip_address(place[0]).is_loopback:
                raise TransportError(address, "not a loopback address; listening there needs TLS, or the key travels in the clear")
            sock = open_listening(family, place)
        except (OSError, UnicodeError) as error:
            raise TransportError(address, f"cannot listen: {getattr(error, 'strerror', None) or error}") from error
        return SocketListener(sock, _address_of(sock), self._serve)

    def from_fd(self, fd: int, address: str) -> SocketListener:
        """A listener for the listening socket behind an inherited descriptor, which belongs to the listener from here on.

        Raises `TransportError`, and leaves the descriptor alone, when it is not a listening TCP socket.
        """
        sock = inherited(fd, (socket.AF_INET, socket.AF_INET6), address)
        return SocketListener(sock, _address_of(sock), self._serve)

    def _serve(self, sock: socket.socket) -> LineChannel | None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:  # gone already
            sock.close()
            return None
        return self._channel(sock, self._tls_listen, None, self.max_method)

    @staticmethod
    def _channel(sock: socket.socket, context: ssl.SSLContext | None, host: str | None, max_line: int) -> LineChannel:
        if context is None:
            return SocketChannel(FastSocket(sock), max_line=max_line)
        sock.setblocking(False)
        return LineChannel(TlsStream(sock, context, server_hostname=host), max_line=max_line)


def _host_and_port(address: str) -> tuple[str, int]:
    body = address_body(address)
    host, mark, port = body.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise TransportError(address, "an IPv6 host stands in brackets")
    if not mark or not host or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise TransportError(address, "a TCP address is tcp://host:port, with a port of 0 to 65535")
    return host, int(port)


def _address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"tcp://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"tcp://{host}:{port}"


def _plain(stream: trio.SocketStream) -> socket.socket:
    """The bare socket of a trio stream, which no longer has it."""
    return socket.socket(fileno=stream.socket.detach())
