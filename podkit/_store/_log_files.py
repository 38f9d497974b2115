"""The files of one registry's log: a generation each, and what is kept of earlier boots as evidence."""

from __future__ import annotations

import contextlib
import os
import re

_LOG = re.compile(r"log\.([1-9][0-9]{0,15})")
_EVIDENCE = re.compile(r"log\.[1-9][0-9]{0,15}\.(?!new$).+")
_KEEP = 4


class LogFiles:
    """Names and places of the log's files in `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, generation: int) -> str:
        """Where the log of that generation is."""
        return os.path.join(self.directory, f"log.{generation}")

    def generations(self) -> list[int]:
        """The generations that are there, oldest first. Mostly one: more only when a writer died while it changed over."""
        found = (_LOG.fullmatch(name) for name in os.listdir(self.directory))
        return sorted(int(match[1]) for match in found if match is not None)

    def remove_before(self, generation: int) -> None:
        """Remove the logs that this generation replaced."""
        for old in self.generations():
            if old < generation:
                self._remove(self.path(old))

    def put_aside(self, generation: int, boot: str) -> None:
        """Keep the log of an earlier boot as evidence, under a name that nothing reads. The last few are kept."""
        old = self.path(generation)
        with contextlib.suppress(FileNotFoundError):
            os.rename(old, f"{old}.{boot}")
        kept = [os.path.join(self.directory, name) for name in os.listdir(self.directory) if _EVIDENCE.fullmatch(name)]
        for path in sorted(kept, key=os.path.getmtime)[:-_KEEP]:
            self._remove(path)

    def _remove(self, path: str) -> None:
        with contextlib.suppress(OSError):  # it is only in the way, and is tried again next time
            os.unlink(path)
