"""The calls podkit makes on the files it keeps for itself, in one place, so that a test can stand in for the disk."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import struct
from types import ModuleType

_CLAIM = struct.Struct("hhqqi4x")  # the kernel's `struct flock` where a file offset and a pointer have 64 bits
_HAS_CLAIMS = hasattr(fcntl, "F_OFD_SETLK") and struct.calcsize("P") == 8


class Disk:
    """Files as the operating system has them: every method is one call of it and decides nothing.

    The registry, its lock, leases and private directories reach the disk only through one of these, which is handed to them.
    What stands in for it may refuse, fail or die at any call. All raise `OSError`. With `dir_fd` a path is a name in there.
    """

    may_wait = True
    """Whether a call may take long, so that what needs many belongs in a thread. A disk in memory takes no time."""

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        """Open; the descriptor."""
        return os.open(path, flags, mode, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        """Close. The descriptor is gone also when this fails."""
        os.close(fd)

    def pread(self, fd: int, size: int, at: int) -> bytes:
        """Up to `size` bytes from offset `at`."""
        return os.pread(fd, size, at)

    def write(self, fd: int, data: bytes) -> int:
        """Write, at the end of a file opened for appending; how many bytes were written."""
        return os.write(fd, data)

    def pwrite(self, fd: int, data: bytes, at: int) -> int:
        """Write at offset `at`; how many bytes were written."""
        return os.pwrite(fd, data, at)

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file, or lengthen it with zeros."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Return when the file's content, and its length, would survive a loss of power."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def sync_dir(self, path: str) -> None:
        """Return when the names in the directory `path` would survive a loss of power."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def fstat(self, fd: int) -> os.stat_result:
        """What is known of an open file."""
        return os.fstat(fd)

    def lstat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        """What is known of what is at `path`; a link is not followed."""
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, in no order."""
        return os.listdir(path)

    def rename(self, old: str, new: str) -> None:
        """Give another name, in place of whatever has it."""
        os.rename(old, new)

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        """Remove a name that is no directory's."""
        os.unlink(path, dir_fd=dir_fd)

    def mkfifo(self, path: str, mode: int = 0o600) -> None:
        """Make a named pipe."""
        os.mkfifo(path, mode)

    def mkdir(self, path: str, mode: int = 0o700) -> None:
        """Make a directory."""
        os.mkdir(path, mode)

    def rmdir(self, path: str, *, dir_fd: int | None = None) -> None:
        """Remove an empty directory."""
        os.rmdir(path, dir_fd=dir_fd)

    def chmod(self, fd: int, mode: int) -> None:
        """Set the permissions of an open file."""
        os.fchmod(fd, mode)

    def lock(self, fd: int) -> bool:
        """Lock an open file for this descriptor alone (flock), without waiting. Answers whether that worked."""
        locker = _portalocker()
        try:
            locker.lock(fd, locker.LOCK_EX | locker.LOCK_NB)
        except locker.AlreadyLocked:
            return False
        except locker.LockException as error:
            raise OSError(f"it cannot be locked: {error}") from error
        return True

    def unlock(self, fd: int) -> None:
        """Let go of that lock."""
        locker = _portalocker()
        try:
            locker.unlock(fd)
        except locker.LockException as error:
            raise OSError(f"it cannot be unlocked: {error}") from error

    def claim(self, fd: int, at: int) -> bool:
        """Claim the number `at` (below 2**63) for this descriptor until it is closed or disclaims it. False when another has it.

        A claim stops nobody; others see it with `first_claim`. Where the system has no such thing, nobody ever claims anything.
        """
        if not _HAS_CLAIMS:
            return True
        with contextlib.suppress(BlockingIOError):
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _CLAIM.pack(fcntl.F_WRLCK, os.SEEK_SET, at, 1, 0))
            return True
        return False

    def disclaim(self, fd: int, at: int) -> None:
        """Give up the claim on a number."""
        if _HAS_CLAIMS:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _CLAIM.pack(fcntl.F_UNLCK, os.SEEK_SET, at, 1, 0))

    def first_claim(self, fd: int, start: int, end: int) -> int | None:
        """The lowest number from `start` to `end`, without `end`, that somebody else claims; None when there is none."""
        lowest = None
        while _HAS_CLAIMS and start < end:
            found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _CLAIM.pack(fcntl.F_WRLCK, os.SEEK_SET, start, end - start, 0))
            kind, _, at, _, _ = _CLAIM.unpack(found)
            if kind == fcntl.F_UNLCK:
                break
            lowest = end = max(int(at), start)  # the system answers with one of those there are, in the order of their owners
        return lowest


@functools.cache
def _portalocker() -> ModuleType:
    import portalocker  # 50 ms of import, and only once needed

    return portalocker


DISK = Disk()
