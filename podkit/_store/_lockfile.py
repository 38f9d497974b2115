"""The registry's lock: one file that is never renamed or removed, locked for microseconds at a time, never across a wait."""

from __future__ import annotations

import contextlib
import os
import random
import stat
import sys

import trio

from podkit._os import DISK, Disk
from podkit._store._anchor_places import PLACES, SIZE
from podkit._store._journal import syncing
from podkit.errors import CorruptRegistryError, RegistryBusyError, RegistryError, shown

_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_HOLDER = 128
_AT = PLACES * SIZE
_EAGER = 0.001  # seconds in which who waits asks again at once: the lock is held for less than that
_SHORTEST, _LONGEST = 0.0005, 0.004


class LockFile:
    """The lock file at `path`. It also carries the anchor in its first bytes, and after it who holds the lock."""

    def __init__(self, path: str, *, timeout: float, disk: Disk = DISK) -> None:
        self.path, self.timeout, self._disk = path, timeout, disk
        self.fd = -1
        self._id = (0, 0)
        self._name = b""

    def open(self, *, create: bool) -> bool:
        """Open the file unless it is open. False when it is not there and is not to be created.

        Raises `OSError`, and `CorruptRegistryError` when it is no file of ours.
        """
        if self.fd >= 0:
            return True
        try:
            fd = self._disk.open(self.path, _OPEN | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            return False
        try:
            info = self._disk.fstat(fd)
            if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
                raise CorruptRegistryError(self.path, "the lock is not a regular file of ours")
        except BaseException:
            with contextlib.suppress(OSError):
                self._disk.close(fd)
            raise
        self.fd, self._id, self._name = fd, (info.st_dev, info.st_ino), who()
        return True

    def close(self) -> None:
        """Let go of the file, and with it of the lock. May be called again."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # it is gone all the same
                self._disk.close(fd)

    def anchor_bytes(self) -> bytes:
        """The first bytes of the file, as they are. Whoever reads them without the lock may see half of a change."""
        return self._disk.pread(self.fd, _AT, 0)

    def write_anchor(self, data: bytes, place: int) -> None:
        """Replace the anchor in one of the places for it. Only for who holds the lock. Raises `OSError`."""
        if self._disk.pwrite(self.fd, data, place * SIZE) != len(data):
            raise OSError(f"the anchor in {self.path} could not be written")

    def sync(self) -> None:
        """Return when the anchor is on the disk. Raises `SyncError`."""
        with syncing(self.path):
            self._disk.sync(self.fd)

    async def acquire(self, waited: float = 0.0) -> None:
        """Take the lock. The next thing is a `try` without any `await` in it, and `release`. `waited` counts as waited already.

        Raises `RegistryBusyError` after `timeout` seconds, and `CorruptRegistryError` when the file at the path is another one by
        now. A cancelled waiter has taken nothing.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        begun = trio.current_time() - waited
        eager = begun + waited + _EAGER
        while not self.try_acquire():
            now = trio.current_time()
            if now - begun >= self.timeout:
                raise RegistryBusyError(now - begun, self.holder())
            if now < eager:
                os.sched_yield()
                await trio.lowlevel.checkpoint()
            else:
                await trio.sleep(random.uniform(_SHORTEST, _LONGEST))  # noqa: S311 - waiters shall not march in step

    def try_acquire(self) -> bool:
        """Take the lock unless somebody has it. Raises as `acquire` does, and then it is not taken."""
        try:
            if not self._disk.lock(self.fd):
                return False
        except OSError as error:
            raise RegistryError(f"{self.path} cannot be locked: {error}") from error
        try:
            self._check_place()
            self._disk.pwrite(self.fd, self._name, _AT)
        except OSError as error:
            self.release()
            raise RegistryError(f"{self.path} cannot be used: {error}") from error
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        """Let go of the lock, if need be with the file."""
        try:
            self._disk.unlock(self.fd)
        except OSError:
            self.close()

    def holder(self) -> str | None:
        """What the file says of who took the lock last."""
        with contextlib.suppress(OSError):
            text = self._disk.pread(self.fd, _HOLDER, _AT).strip(b" \0\n")
            return shown(text.decode("utf-8", "replace")) if text else None
        return None

    def _check_place(self) -> None:
        try:
            there = self._disk.lstat(self.path)
            same = (there.st_dev, there.st_ino) == self._id
        except FileNotFoundError:
            same = False
        if not same:
            raise CorruptRegistryError(self.path, "the lock file was removed or replaced while it was in use")


def who() -> bytes:
    """What a holder writes about itself, padded to the length it always has."""
    program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    return f"process {os.getpid()} ({program})".encode("utf-8", "replace")[:_HOLDER].ljust(_HOLDER)
