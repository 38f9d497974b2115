"""Descriptors, paths and our own process: the small calls that birth and death need."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

import trio

from podkit._os._pidfd import start_ticks

if TYPE_CHECKING:
    from collections.abc import Iterable


def join(directory: str, name: str) -> str:
    """`name` in `directory`; `name` is one component that was checked before."""
    return f"{directory.rstrip('/')}/{name}"


def pipe() -> tuple[int, int]:
    """The read end and the write end of a new pipe; neither is inherited unless it is passed on."""
    return os.pipe()


def close_fds(fds: Iterable[int]) -> None:
    """Close descriptors of ours."""
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def say(fd: int, data: bytes) -> None:
    """Write a few bytes to a descriptor and close it; nobody may be left to read them."""
    with contextlib.suppress(BrokenPipeError):
        os.write(fd, data)
    close_fds((fd,))


async def read_all(fd: int, limit: int) -> bytes:
    """Read a pipe to its end and close it. Raises `OSError` for a descriptor that is no pipe, and for more than `limit` bytes."""
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        raise OSError(f"descriptor {fd} is no pipe")
    chunks, size = [], 0
    async with trio.lowlevel.FdStream(fd) as stream:
        while chunk := await stream.receive_some(65536):
            chunks.append(bytes(chunk))
            size += len(chunk)
            if size > limit:
                raise OSError(f"more than {limit} bytes")
    return b"".join(chunks)


def own_process() -> tuple[int, int]:
    """Our process id, and when we started, in clock ticks since boot (0 where that cannot be told)."""
    pid = os.getpid()
    return pid, start_ticks(pid) or 0
