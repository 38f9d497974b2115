"""Messages between the hosting program, its nanny, a ward and what becomes the tool: JSON, and descriptors beside it."""

from __future__ import annotations

import array
import contextlib
import json
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_FDS = 250  # in one message; the kernel takes 253
MAX_MESSAGE = 65536
_ROOM = socket.CMSG_SPACE(MAX_FDS * 4)
_AT_ONCE = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One message and the descriptors that came with it, close-on-exec. Empty at the end of the socket, or of its peer."""
    fds = array.array("i")
    try:
        data, ancillary, _, _ = sock.recvmsg(MAX_MESSAGE, _ROOM, socket.MSG_CMSG_CLOEXEC)
    except ConnectionError:
        return b"", []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, list(fds)


def hand_over(sock: socket.socket, data: bytes, fds: Iterable[int]) -> None:
    """Send one message with descriptors. Never waits: raises `OSError` when it cannot go now."""
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))], _AT_ONCE)


def pack(message: object) -> bytes:
    """One message for a socket that keeps messages apart."""
    return json.dumps(message, separators=(",", ":")).encode()


def say(call: socket.socket, message: object) -> None:
    """Write one line to the program's end of a call. Nobody may be left to read it, which is no fault."""
    with contextlib.suppress(OSError):
        call.send(pack(message) + b"\n", _AT_ONCE)


def failure(step: str, error: int, path: str = "") -> dict[str, object]:
    """Why a call came to nothing: the step that failed, the errno, and what it was about."""
    return {"failed": {"step": step, "errno": error, "path": path[:4096]}}
