"""Accepting connections on a listening socket, whatever the kernel is short of."""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

import trio

from podkit.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger("podkit.transport")

BACKLOG = 128  # connections that wait to be accepted
_FIRST_PAUSE = 0.05  # seconds
_LONGEST_PAUSE = 1.0
# Not the listener's fault: no resources right now, so wait a little.
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# The listening socket itself is of no use.
_DEAD = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})


class SocketListener(trio.abc.Listener[trio.abc.Channel[bytes]]):
    """Accepts on a listening socket. `address` is where it listens.

    `make` turns a connected socket into a channel, or answers None (and has closed it) when that peer is not served.
    """

    def __init__(self, sock: socket.socket, address: str, make: Callable[[socket.socket], trio.abc.Channel[bytes] | None]) -> None:
        sock.setblocking(False)
        self.address = address
        self._sock = sock
        self._make = make
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.address}{' closed' if self._closed else ''}>"

    @property
    def fd(self) -> int:
        """The descriptor of the listening socket, for a child to inherit; -1 when closed."""
        return self._sock.fileno()

    async def accept(self) -> trio.abc.Channel[bytes]:
        """The next connection. Shortage of descriptors or memory is waited out.

        Raises `trio.ClosedResourceError` when the listener is or becomes closed.
        """
        await trio.lowlevel.checkpoint()
        pause = _FIRST_PAUSE
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this listener was closed")
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
            except OSError as error:
                if error.errno in _DEAD:
                    raise trio.BrokenResourceError(f"the listening socket is of no use: {error.strerror}") from error
                # Anything else is one connection that failed before we saw it, or a shortage.
                short = error.errno in _SHORT
                self._report(error, pause if short else 0)
                await trio.sleep(pause if short else 0)
                pause = min(pause * 2, _LONGEST_PAUSE) if short else _FIRST_PAUSE
            else:
                channel = self._make(sock)
                if channel is not None:
                    return channel
                await trio.lowlevel.checkpoint()

    def _report(self, error: OSError, pause: float) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        level = logging.WARNING if pause else logging.DEBUG
        _log.log(
            level, "accepting at %s failed with %s; on in %g s", self.address, name, pause, extra={"errno": name, "pause": pause}
        )

    def detach(self) -> None:
        """Close this program's copy of the descriptor and nothing else: a child that inherited it goes on listening."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def aclose(self) -> None:
        """Stop listening. Connections that nobody accepted are lost."""
        self.detach()
        await trio.lowlevel.checkpoint()


def open_listening(family: int, place: tuple[Any, ...]) -> socket.socket:
    """A socket that listens at `place`, on a port that may have been used a moment ago. Raises `OSError`."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def inherited(fd: int, families: tuple[int, ...], address: str) -> socket.socket:
    """The listening socket behind an inherited descriptor, which is ours from here and no longer inheritable.

    Raises `TransportError`, and leaves the descriptor alone, when it is not a listening stream socket of these families.
    """
    try:
        sock = socket.socket(fileno=fd)
    except (OSError, ValueError, TypeError) as error:
        raise TransportError(address, f"descriptor {fd} is not a socket: {error}") from None
    try:
        listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError:
        listening = 0
    if sock.family not in families or sock.type != socket.SOCK_STREAM or not listening:
        sock.detach()
        raise TransportError(address, f"descriptor {fd} is not a listening socket of the right kind")
    os.set_inheritable(sock.fileno(), False)
    return sock
