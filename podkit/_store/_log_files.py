"""The files of one registry's log: a generation each, and what is kept as evidence of earlier boots and of damage."""

from __future__ import annotations

import contextlib
import os
import re

from podkit._os import DISK, Disk
from podkit._store._journal import TEMPORARY

_LOG = re.compile(r"log\.([1-9][0-9]{0,15})")
_UNFINISHED = re.compile(_LOG.pattern + re.escape(TEMPORARY))
_EVIDENCE = re.compile(r"(?:log\.[1-9][0-9]{0,15}|lock)\.(?!new$).+")
_NUMBER = re.compile(r"(?:log)\.([1-9][0-9]{0,15})(?:\..*)?")
_KEEP = 4
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST = 2**26  # bytes that are looked at in a damaged file


class LogFiles:
    """Names and places of the log's files in `directory`. All raise `OSError`."""

    def __init__(self, directory: str, *, disk: Disk = DISK) -> None:
        self.directory, self._disk = directory, disk

    def path(self, generation: int) -> str:
        """Where the log of that generation is."""
        return os.path.join(self.directory, f"log.{generation}")

    def generations(self) -> list[int]:
        """The generations that are there, oldest first. Mostly one: more only when a writer died while it changed over."""
        found = (_LOG.fullmatch(name) for name in self._disk.listdir(self.directory))
        return sorted(int(match[1]) for match in found if match is not None)

    def highest(self) -> int:
        """The highest generation that ever left a trace here, evidence included; 0 for none."""
        found = (_NUMBER.fullmatch(name) for name in self._disk.listdir(self.directory))
        return max((int(match[1]) for match in found if match is not None), default=0)

    def cluttered(self, generation: int) -> bool:
        """Whether there is anything that a writer that died left behind, beside the log of this generation."""
        names = self._disk.listdir(self.directory)
        return any(_UNFINISHED.fullmatch(name) or (_LOG.fullmatch(name) and name != f"log.{generation}") for name in names)

    def tidy(self, generation: int) -> None:
        """Remove what was never finished, and the logs that this generation replaced."""
        for name in self._disk.listdir(self.directory):
            if _UNFINISHED.fullmatch(name):
                self._remove(os.path.join(self.directory, name))
        self.remove_before(generation)

    def remove_before(self, generation: int) -> None:
        """Remove the logs that this generation replaced."""
        for old in self.generations():
            if old < generation:
                self.remove(old)

    def remove(self, generation: int) -> None:
        """Remove one log. When that fails it is in the way a while longer."""
        self._remove(self.path(generation))

    def put_aside(self, generation: int, why: str) -> None:
        """Keep a log as evidence, under a name that nothing reads: its own and `why`. The last few are kept."""
        old = self.path(generation)
        with contextlib.suppress(FileNotFoundError):
            self._disk.rename(old, f"{old}.{why}")
        kept = [os.path.join(self.directory, name) for name in self._disk.listdir(self.directory) if _EVIDENCE.fullmatch(name)]
        for path in sorted(kept, key=lambda path: self._disk.lstat(path).st_mtime)[:-_KEEP]:
            self._remove(path)

    def keep_copy(self, data: bytes, why: str) -> None:
        """Keep what a damaged lock file said as evidence, since the lock file itself stays where it is."""
        fd = self._disk.open(os.path.join(self.directory, f"lock.{why}"), _MAKE, 0o600)
        try:
            self._disk.write(fd, data)
        finally:
            self._disk.close(fd)

    def raw(self, generation: int) -> bytes:
        """The bytes of a log, whatever they are."""
        fd = self._disk.open(self.path(generation), _READ)
        try:
            return self._disk.pread(fd, _MOST, 0)
        finally:
            self._disk.close(fd)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(OSError):  # it is only in the way, and is tried again next time
            self._disk.unlink(path)
