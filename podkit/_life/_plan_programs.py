"""What may be asked of `run_process`, checked before anything happens. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from podkit.errors import InvalidArgumentError, shown
from podkit.protocol import check_name

MAX_OUTPUT = 8 * 2**20  # bytes kept of each of stdout and stderr
MAX_INPUT = 64 * 2**20
_MAX_STRING = 128 * 1024 - 1  # what Linux takes for one argument or NAME=value
_MAX_ALL = 1024 * 1024


@attrs.frozen(kw_only=True)
class Request:
    """One program to run. `env` is added to a clean environment; `timeout` is in seconds."""

    argv: tuple[str, ...]
    cwd: str | None
    input: bytes | None = attrs.field(repr=False)
    timeout: float | None
    unix_sockets: bool
    network: bool
    job: str | None
    env: Mapping[str, str] = attrs.field(repr=False)

    @property
    def what(self) -> str:
        """The program in a few words, for saying what somebody waits for."""
        return f"job `{self.job}`" if self.job is not None else f"program `{shown(self.argv[0], 80)}`"


def plan_request(
    argv: Sequence[str],
    *,
    cwd: str | None,
    input: bytes | str | None,
    timeout: float | None,
    unix_sockets: bool,
    network: bool,
    job: str | None,
    env: Mapping[str, str] | None,
) -> Request:
    """Check what was asked. Raises `InvalidArgumentError` for what no program can be given, `InvalidNameError` for a job's name."""
    if isinstance(argv, str | bytes) or not isinstance(argv, Sequence) or not argv:
        raise InvalidArgumentError("argv is a list of at least one string")
    size = 0
    for place, argument in enumerate(argv):
        size += _size(argument, f"argument {place}")
    if not argv[0]:
        raise InvalidArgumentError("the name of a program is not empty")
    for name, value in (env or {}).items():
        size += _size(name, "a name in the environment") + _size(value, f"the value of {shown(name, 80)} in the environment")
        if not name or "=" in name:
            raise InvalidArgumentError("a name in the environment is not empty and has no '='")
    if size > _MAX_ALL:
        raise InvalidArgumentError(
            f"arguments and environment have more than {_MAX_ALL} bytes together; pass it as input or in a file"
        )
    if timeout is not None and (
        isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf")
    ):
        raise InvalidArgumentError("timeout is a number of seconds above 0")
    if job is not None:
        check_name(job)
        if input is not None:
            raise InvalidArgumentError("a job has no input: it goes on when nobody is left to write it")
    return Request(
        argv=tuple(argv),
        cwd=cwd,
        input=_input(input),
        timeout=timeout,
        unix_sockets=bool(unix_sockets),
        network=bool(network),
        job=job,
        env=dict(env or {}),
    )


def _size(text: object, what: str) -> int:
    if not isinstance(text, str):
        raise InvalidArgumentError(f"{what} is text")
    if "\0" in text:
        raise InvalidArgumentError(f"{what} holds no NUL character")
    try:
        size = len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise InvalidArgumentError(f"{what} is text without lone surrogates") from None
    if size > _MAX_STRING:
        raise InvalidArgumentError(f"{what} has more than {_MAX_STRING} bytes; pass it as input or in a file")
    return size


def _input(data: bytes | str | None) -> bytes | None:
    if data is None:
        return None
    found = data.encode() if isinstance(data, str) else bytes(data)
    if len(found) > MAX_INPUT:
        raise InvalidArgumentError(f"the input has more than {MAX_INPUT} bytes")
    return found


class Kept:
    """The output of a program as far as it is kept: the first half of `limit` and the last half; the middle is counted."""

    def __init__(self, limit: int = MAX_OUTPUT) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self.dropped = 0

    def add(self, data: bytes | bytearray) -> None:
        """Take in more of it."""
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room > 0 else data
        over = len(self._tail) - self._half
        if over > self._half or (over > 0 and len(data) >= self._half):  # cut seldom, so that small pieces cost little
            self._cut()

    def bytes(self) -> bytes:
        """What is kept."""
        self._cut()
        return bytes(self._head + self._tail)

    def _cut(self) -> None:
        over = len(self._tail) - self._half
        if over > 0:
            del self._tail[:over]
            self.dropped += over
