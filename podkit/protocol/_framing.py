"""Bytes to frames: one line, one frame."""

import re
from typing import Final

from podkit.errors import RemoteProtocolError

_HEAD: Final = 128
_SECRET: Final = re.compile(rb"key|secret|\\u")  # a name before a secret, or a letter of it in another spelling


def head_of(frame: bytes | bytearray) -> bytes:
    """The beginning of a frame as errors carry it: up to where a key or the secret of a birth might be."""
    head = bytes(frame[:_HEAD])
    found = _SECRET.search(head)
    return head if found is None else head[: found.start()]


class LineDecoder:
    """Cuts a stream of bytes into frames at byte 0x0A, and nowhere else. Lines of white space are skipped.

    A line of more than `max_line` bytes (without its end) is an error for good: resynchronising after it would let a peer have the
    middle of a line read as a message. Frames that were complete before it are returned first; then this call, or the
    next one if there were such frames, and every later one raises. Takes time linear in the bytes and at most one line of memory
    beyond what it is fed.
    """

    def __init__(self, *, max_line: int) -> None:
        if max_line < 1:
            raise ValueError("max_line is at least 1")
        self._max = max_line
        self._rest = bytearray()
        self._overlong: bytes | None = None

    def __repr__(self) -> str:
        return f"<LineDecoder {len(self._rest)} bytes of a line{', failed' if self.failed else ''}>"

    @property
    def failed(self) -> bool:
        """Whether a line was overlong: the next call raises."""
        return self._overlong is not None

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished line are kept."""
        return len(self._rest)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """The frames completed by `data`. Raises `RemoteProtocolError` (`fatal`)."""
        self._check()
        lines = bytes(data).split(b"\n")
        rest = lines.pop()
        if lines and self._rest:
            self._rest += lines[0]
            lines[0] = bytes(self._rest)
            self._rest.clear()
        frames: list[bytes] = []
        for line in lines:
            if len(line) > self._max:
                return self._give_up(line, frames)
            if line and not line.isspace():
                frames.append(line)
        self._rest += rest
        if len(self._rest) > self._max:
            return self._give_up(self._rest, frames)
        return frames

    def finish(self) -> list[bytes]:
        """The stream ended: the last line, if it has no end and is not white space. Raises `RemoteProtocolError` (`fatal`)."""
        self._check()
        line = bytes(self._rest)
        self._rest.clear()
        return [line] if line and not line.isspace() else []

    def _give_up(self, line: bytes | bytearray, frames: list[bytes]) -> list[bytes]:
        self._overlong = head_of(line)
        self._rest = bytearray()
        if not frames:
            self._check()
        return frames

    def _check(self) -> None:
        if self._overlong is not None:
            raise RemoteProtocolError(f"a line of more than {self._max} bytes", self._overlong, True)
