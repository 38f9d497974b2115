"""Pods of this machine and this user, reached through sockets in the file system."""

from __future__ import annotations

import os
import socket
import struct
import sys
from typing import TYPE_CHECKING

import trio

from podkit.abc import Transport
from podkit.errors import AuthenticationError, PodUnreachableError, TransportError

from ._channel import SocketChannel
from ._fast import FastSocket
from ._listener import SocketListener, inherited
from ._unix_files import Place, publish, read_key, socket_path

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECT_WAIT = 5.0  # seconds, for a pod whose queue of connections is full


class UnixTransport(Transport):
    """Reaches pods through Unix sockets, at `unix:///absolute/path` or a bare absolute path.

    Only programs of the same user get in: the socket's directory is 0700, the socket and the `key` file beside it are
    0600, and both sides look at the uid of the other. One directory holds one socket. `max_method` limits in bytes what a
    listening side reads in one line, `max_event` what a connecting side reads.
    """

    scheme = "unix"

    def __init__(self, *, max_method: int = 2**20, max_event: int = 2**26) -> None:
        self.max_method = max_method
        self.max_event = max_event

    def __repr__(self) -> str:
        return f"UnixTransport(max_method={self.max_method}, max_event={self.max_event})"

    def key(self, address: str) -> str:
        """The key in the file beside the socket.

        Raises `PodUnreachableError` when no pod is there, and `AuthenticationError` when its key file is missing, is not
        a plain file of ours, or is open to other users.
        """
        return read_key(socket_path(address), address)

    def address(self, name: str, run_dir: str | None) -> str:
        """`unix://<run_dir>/<name>/sock`. Raises `TransportError` without a directory, and for a path too long for a socket."""
        if run_dir is None:
            raise TransportError(
                f"unix://?/{name}/sock", "a Unix socket needs a run directory; give run_dir, address, or a registry in a directory"
            )
        address = f"unix://{os.fspath(run_dir).rstrip('/')}/{name}/sock"
        socket_path(address)
        return address

    async def connect(self, address: str) -> trio.abc.Channel[bytes]:
        """Connect to the pod at `address`.

        Raises `PodUnreachableError` when nobody answers, `AuthenticationError` when another user's program does, and
        `TransportError` for a path that cannot be a socket's.
        """
        path = socket_path(address)
        await trio.lowlevel.checkpoint()
        try:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise PodUnreachableError(address, f"cannot make a socket: {error.strerror}") from error
        try:
            sock.setblocking(False)
            await _connect(sock, path, address)
            if _peer_uid(sock) != os.geteuid():
                raise AuthenticationError(address, "the program that listens there belongs to another user")
        except BaseException:
            sock.close()
            raise
        return SocketChannel(FastSocket(sock), max_line=self.max_event)

    async def listen(self, address: str) -> UnixListener:
        """Listen at `address`, with a fresh key beside it.

        The last directory of the path is made, 0700, if it is missing. Raises `TransportError`, with nothing changed, when
        the path is too long, its directory is open to others, not ours or a link, when something that is not a socket is
        there, or when somebody listens there already. A socket that nobody listens on any more is replaced.
        """
        path = socket_path(address)
        await trio.lowlevel.checkpoint()
        sock, place = publish(path, address)
        return UnixListener(sock, address, self._serve, place, own=True)

    def from_fd(self, fd: int, address: str, *, own: bool = True) -> UnixListener:
        """A listener for the listening socket behind an inherited descriptor, which belongs to the listener from here on.

        With `own` the listener removes the socket at `address` and its key when it closes. Raises `TransportError`, and
        leaves the descriptor alone, when it is not a listening Unix socket.
        """
        path = socket_path(address)
        return UnixListener(inherited(fd, (socket.AF_UNIX,), address), address, self._serve, Place.found(path), own=own)

    def _serve(self, sock: socket.socket) -> SocketChannel | None:
        try:
            known = _peer_uid(sock) == os.geteuid()
        except OSError:
            known = False
        if not known:
            sock.close()
            return None
        return SocketChannel(FastSocket(sock), max_line=self.max_method)


class UnixListener(SocketListener):
    """Accepts at a path. `address` is that path as a URL, `fd` the descriptor of the listening socket.

    `aclose` removes the socket and the key, as long as they are the ones this listener knows. `detach` leaves them to the
    child that inherited the descriptor; an `aclose` after it removes what a child that died may have left.
    """

    def __init__(
        self, sock: socket.socket, address: str, make: Callable[[socket.socket], SocketChannel | None], place: Place, *, own: bool
    ) -> None:
        super().__init__(sock, address, make)
        self._own = own
        self._place = place

    async def aclose(self) -> None:
        """Stop listening; the path goes first, so that nobody finds a socket that does not answer."""
        if self._own:
            self._own = False
            self._place.remove()
        await super().aclose()


async def _connect(sock: socket.socket, path: str, address: str) -> None:
    pause = 0.001
    with trio.move_on_after(_CONNECT_WAIT):
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:  # the queue of connections is full, and nothing tells when it no longer is
                await trio.sleep(pause)
                pause = min(pause * 2, 0.05)
            except OSError as error:
                raise PodUnreachableError(address, f"nobody answers there: {error.strerror or error}") from error
            else:
                return
    raise PodUnreachableError(address, "the pod does not accept connections")


def _peer_uid(sock: socket.socket) -> int:
    """The effective user of the other side, as the kernel recorded it when the connection was made."""
    if sys.platform == "darwin":
        _version, uid = struct.unpack_from("2I", sock.getsockopt(0, 1, 76))  # LOCAL_PEERCRED: struct xucred
    else:
        _pid, uid, _gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)
