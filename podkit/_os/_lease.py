"""Leases as named pipes: who lives holds the read end. The kernel ends a lease with its last holder and wakes who waits for that.

No process can be mistaken for another here, as with pids, and nothing has to be cleaned up first: a pipe that nobody reads
refuses a writer, whatever became of its readers.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import select
import stat
from typing import TYPE_CHECKING

import trio

from podkit._os._disk import DISK, Disk
from podkit.abc import Lease

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_WRITE = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_POLL = 0.02


class LeaseState(enum.Enum):
    """What can be said of a lease from outside."""

    HELD = "held"
    FREE = "free"
    MISSING = "missing"  # there is no such pipe: nobody knows


class FifoLease(Lease):
    """A lease that this process holds, by the read end of the named pipe `path`. A forked copy of the process does not."""

    fd: int | None

    def __init__(self, key: str, path: str, fd: int, *, disk: Disk = DISK) -> None:
        self.key, self.path, self.fd, self._disk = key, path, fd, disk
        _held.add(self)

    def release(self) -> None:
        """Let go. The pipe stays where it is, so that everybody can see that it is free."""
        fd, self.fd = self.fd, None
        _held.discard(self)
        if fd is not None:
            with contextlib.suppress(OSError):  # gone is gone, whatever the system has to say about it
                self._disk.close(fd)

    def __repr__(self) -> str:
        return f"<FifoLease {self.key} {'free' if self.fd is None else 'held'}>"


_held: set[FifoLease] = set()  # for the forked copies of this process only: a copy must not keep its original alive


def _let_go_after_fork() -> None:
    for lease in tuple(_held):
        lease.release()


os.register_at_fork(after_in_child=_let_go_after_fork)


def hold_lease(key: str, path: str, *, disk: Disk = DISK) -> FifoLease:
    """Make the pipe `path` and hold it. Raises `FileExistsError` when it was there already, and other `OSError`s."""
    disk.mkfifo(path, 0o600)
    try:
        fd = disk.open(path, _READ)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.unlink(path)
        raise
    return FifoLease(key, path, fd, disk=disk)


def take_lease(key: str, path: str, fd: int, *, disk: Disk = DISK) -> FifoLease:
    """Hold the pipe `path` by an inherited descriptor, which is ours from here on. Raises `OSError` when it is not that pipe."""
    there = disk.lstat(path)
    if not stat.S_ISFIFO(there.st_mode) or not os.path.samestat(there, disk.fstat(fd)):
        raise OSError(errno.EINVAL, f"descriptor {fd} is not this lease", path)
    os.set_inheritable(fd, False)
    return FifoLease(key, path, fd, disk=disk)


def lease_state(path: str, *, disk: Disk = DISK) -> LeaseState:
    """Whether somebody holds the pipe `path`. What is there and is no pipe, or may not be looked at, counts as held."""
    try:
        disk.close(disk.open(path, _WRITE))
    except OSError as error:
        return {errno.ENXIO: LeaseState.FREE, errno.ENOENT: LeaseState.MISSING}.get(error.errno or 0, LeaseState.HELD)
    return LeaseState.HELD


def drop_lease(path: str, *, disk: Disk = DISK) -> bool:
    """Remove the pipe `path` unless somebody holds it. Answers whether it is gone. Raises `OSError`."""
    if lease_state(path, disk=disk) is LeaseState.HELD:
        return False
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(path)
    return True


async def wait_lease(path: str, *, disk: Disk = DISK) -> LeaseState:
    """Wait until nobody holds the pipe `path`, and answer FREE; answer MISSING when there is no such pipe to wait for."""
    await trio.lowlevel.checkpoint()
    while (state := lease_state(path, disk=disk)) is LeaseState.HELD:
        try:
            end = disk.open(path, _WRITE)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                continue  # it changed just now: look again
            await trio.sleep(_POLL)
            continue
        with _closing(end, disk), contextlib.suppress(OSError):  # when there is nothing to wait with, look again later
            if hasattr(select, "epoll") and stat.S_ISFIFO(disk.fstat(end).st_mode):
                return await _wait_for_last_reader(end)
        await trio.sleep(_POLL)
    return state


async def _wait_for_last_reader(end: int) -> LeaseState:
    """A pipe with room is always writable, so only the error that it has no reader is asked for; trio waits for the asking."""
    with select.epoll() as asked:
        asked.register(end, select.EPOLLERR)
        while not asked.poll(0):
            await trio.lowlevel.wait_readable(asked.fileno())
    return LeaseState.FREE


@contextlib.contextmanager
def _closing(fd: int, disk: Disk) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            disk.close(fd)
