"""The registry's lock: one file that is never renamed or removed, locked for microseconds at a time, never across a wait."""

from __future__ import annotations

import os
import random
import stat
import sys

import trio

from podkit._store._anchor import SIZE
from podkit.errors import CorruptRegistryError, RegistryBusyError, RegistryError, shown

_OPEN = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_HOLDER = 128
_SHORTEST, _LONGEST = 0.0002, 0.004


class LockFile:
    """The lock file at `path`. It also carries the anchor in its first bytes, and after it who holds the lock."""

    def __init__(self, path: str, *, timeout: float) -> None:
        self.path, self.timeout = path, timeout
        self._fd = -1

    def open(self, *, create: bool) -> bool:
        """Open the file unless it is open. False when it is not there and is not to be created.

        Raises `OSError`, and `CorruptRegistryError` when it is no file of ours.
        """
        if self._fd >= 0:
            return True
        try:
            fd = os.open(self.path, _OPEN | (os.O_CREAT if create else 0), 0o600)
        except FileNotFoundError:
            return False
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
            os.close(fd)
            raise CorruptRegistryError(self.path, "the lock is not a regular file of ours")
        self._fd = fd
        return True

    def close(self) -> None:
        """Let go of the file, and with it of the lock. May be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def anchor_bytes(self) -> bytes:
        """The first bytes of the file, as they are. Whoever reads them without the lock may see half of a change."""
        return os.pread(self._fd, SIZE, 0)

    def write_anchor(self, data: bytes) -> None:
        """Replace the anchor. Only for who holds the lock. Raises `OSError`."""
        if os.pwrite(self._fd, data, 0) != len(data):
            raise OSError(f"the anchor in {self.path} could not be written")

    async def acquire(self) -> None:
        """Take the lock. The next thing is a `try` without any `await` in it, and `release`.

        Raises `RegistryBusyError` after `timeout` seconds, and `CorruptRegistryError` when the file at the path is another one by
        now. A cancelled waiter has taken nothing.
        """
        from portalocker import LOCK_EX, LOCK_NB, AlreadyLocked, LockException, lock  # 50 ms of import, and only once needed

        await trio.lowlevel.checkpoint_if_cancelled()
        begun = trio.current_time()
        while True:
            try:
                lock(self._fd, LOCK_EX | LOCK_NB)
                break
            except AlreadyLocked:
                waited = trio.current_time() - begun
                if waited >= self.timeout:
                    raise RegistryBusyError(waited, self.holder()) from None
            except LockException as error:
                raise RegistryError(f"{self.path} cannot be locked: {error}") from error
            await trio.sleep(random.uniform(_SHORTEST, _LONGEST))  # noqa: S311 - waiters shall not march in step
        try:
            self._check_place()
            os.pwrite(self._fd, _who().ljust(_HOLDER), SIZE)
        except OSError as error:
            self.release()
            raise RegistryError(f"{self.path} cannot be used: {error}") from error
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let go of the lock."""
        from portalocker import unlock

        unlock(self._fd)

    def holder(self) -> str | None:
        """What the file says of who took the lock last."""
        text = os.pread(self._fd, _HOLDER, SIZE).strip(b" \0\n")
        return shown(text.decode("utf-8", "replace")) if text else None

    def _check_place(self) -> None:
        try:
            same = os.path.samestat(os.stat(self.path, follow_symlinks=False), os.fstat(self._fd))
        except FileNotFoundError:
            same = False
        if not same:
            raise CorruptRegistryError(self.path, "the lock file was removed or replaced while it was in use")


def _who() -> bytes:
    program = os.path.basename(sys.argv[0] if sys.argv else "") or "python"
    return f"process {os.getpid()} ({program})".encode("utf-8", "replace")[:_HOLDER]
