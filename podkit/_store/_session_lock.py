"""The lock of a pod's sessions: one file that is never renamed or removed, locked by whoever writes, for as long as they write.

The kernel unlocks it when the holder is gone. No child inherits it, and a forked copy lets go of its own descriptor only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from podkit._os import Disk
from podkit._store._anchor_places import PLACES, SIZE, next_place
from podkit._store._journal import syncing
from podkit._store._journal_record import DamagedError
from podkit._store._lockfile import who
from podkit._store._session_anchor import SessionAnchor, decode_session_anchors, encode_session_anchor
from podkit.errors import CorruptLogError, shown

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_HOLDER = 128
_AT = PLACES * SIZE


class LostError(OSError):
    """What was held is somebody else's, or nobody's."""


class SessionLock:
    """The lock file at `path`, opened. It carries the anchor in its first bytes, and after it who took the lock last.

    Raises `OSError`, and `CorruptLogError` for what is no file of ours.
    """

    def __init__(self, path: str, *, disk: Disk, create: bool = False, write: bool = True) -> None:
        self.path, self.disk, self._place, self._count = path, disk, 0, 0
        self._waits = False  # whether the place where the next one goes holds one that was not synced
        flags = _OPEN | (os.O_RDWR if write else os.O_RDONLY) | (os.O_CREAT if create else 0)
        self._fd = disk.open(path, flags, 0o600)
        try:
            info = disk.fstat(self._fd)
            if not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid():
                raise CorruptLogError(path, "the lock is not a regular file of ours")
        except BaseException:
            self.close()
            raise
        self._id = (info.st_dev, info.st_ino)

    def take(self) -> bool:
        """Take the lock for as long as this is open, unless somebody has it. Raises `OSError`, and then it is not taken."""
        if not self.disk.lock(self._fd):
            return False
        self.check_place()
        self.disk.pwrite(self._fd, who(), _AT)
        return True

    def holder(self) -> str | None:
        """What the file says of who took the lock last."""
        with contextlib.suppress(OSError):
            text = self.disk.pread(self._fd, _HOLDER, _AT).strip(b" \0\n")
            return shown(text.decode("utf-8", "replace")) if text else None
        return None

    def anchor(self) -> SessionAnchor | None:
        """The newest anchor; None before the first. Raises `CorruptLogError`."""
        try:
            anchor, self._place = decode_session_anchors(self.raw())
        except DamagedError as error:
            raise CorruptLogError(self.path, error.reason, error.line, error.offset) from error
        self._count = 0 if anchor is None else anchor.count
        return anchor

    def raw(self) -> bytes:
        """The bytes that anchors are in."""
        return self.disk.pread(self._fd, _AT, 0)

    def write(self, anchor: SessionAnchor, *, lasting: bool = False) -> None:
        """Put an anchor in the place of the older of the two. Raises `OSError`, also when the file is not at its path any more.

        When this fails, what is in that place is unknown, the other place is as it was, and the next one written goes there too.
        With `lasting` it goes there until this one was synced, so that a loss of power cannot reach both places.
        """
        self.check_place()
        self._count += 1
        self._fill(encode_session_anchor(anchor, self._count))
        if lasting:
            self._waits = True
        else:
            self._place = next_place(self._place)
            self._waits = False

    def lasts(self) -> None:
        """What was written before the `sync` that has just returned is on the disk."""
        if self._waits:
            self._place, self._waits = next_place(self._place), False

    def replace(self, old: SessionAnchor | None, new: SessionAnchor, *, durable: bool) -> None:
        """Make `new` count instead of `old`. When this raises `OSError`, `old` counts.

        With `SyncError` it is not known which one would count after a loss of power: what either names has to stay.
        """
        try:
            self.write(new)
        except OSError as error:
            with syncing(self.path):
                self._fill_again(old)
                if durable:
                    self.sync()
            raise error
        if durable:
            try:
                self.sync()
            except OSError:
                self._place = next_place(self._place)
                with contextlib.suppress(OSError):
                    self._fill_again(old)
                raise

    def sync(self) -> None:
        """Return when the anchor is on the disk. Raises `SyncError`."""
        with syncing(self.path):
            self.disk.sync(self._fd)

    def check_place(self) -> None:
        """Raise `OSError` when the file at the path is not this one any more, so that the lock keeps nobody out."""
        try:
            there = self.disk.lstat(self.path)
            same = (there.st_dev, there.st_ino) == self._id
        except FileNotFoundError:
            same = False
        if not same:
            raise LostError(errno.ESTALE, "the lock was removed or replaced while it was held", self.path)

    def unlock(self) -> None:
        """Let go of the lock and of the file, also in copies of this process. May be called again."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # closing does as much
                self.disk.unlock(self._fd)
        self.close()

    def close(self) -> None:
        """Let go of the file only; whoever has a copy of the descriptor keeps the lock. May be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                self.disk.close(fd)

    def _fill(self, data: bytes) -> None:
        if self.disk.pwrite(self._fd, data, self._place * SIZE) != len(data):
            raise OSError(errno.ENOSPC, "the anchor could not be written", self.path)

    def _fill_again(self, old: SessionAnchor | None) -> None:
        self._count += 1
        self._fill(bytes(SIZE) if old is None else encode_session_anchor(old, self._count))
