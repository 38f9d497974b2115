"""The disk as the kernel form is planned on it: what is at a path, no link followed, and what is in a directory, up to a bound."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from podkit._os import ChangedError, Root
from podkit.confinement._form import MAX_ENTRIES, Entry
from podkit.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_SEE = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK)
_LIST = os.O_RDONLY | os.O_DIRECTORY


class DiskLook:
    """Looks at the disk from `root`, which is open at `/`. Nothing is kept: every question is asked of the disk.

    `settled` are paths that are known to be reached without links, and are looked at in a quicker way.
    """

    def __init__(self, root: Root, *, settled: Collection[str] = ()) -> None:
        self._root = root
        self._settled = settled

    def kind(self, path: str) -> str | None:
        """What is at `path`; "link" also when there is one on the way; None when nothing is there, or it cannot be told."""
        try:
            if path in self._settled:
                return _kind(os.lstat(path).st_mode)
            fd = self._root.open_at(path or "/", _SEE)
        except ChangedError as error:
            return "link" if getattr(error.__cause__, "errno", None) == errno.ELOOP else None
        except (OSError, PathRefusedError):
            return None
        try:
            return _kind(os.fstat(fd).st_mode)
        finally:
            os.close(fd)

    def entries(self, path: str) -> Sequence[Entry]:
        """The entries of a directory, sorted by name, at most `MAX_ENTRIES` and one; empty when it cannot be listed."""
        found: list[Entry] = []
        try:
            fd = self._root.open_at(path, _LIST)
        except (OSError, PathRefusedError, ChangedError):
            return found
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    found.append(Entry(entry.name, _entry_kind(entry)))
                    if len(found) > MAX_ENTRIES:
                        break
        except OSError:
            return []
        finally:
            os.close(fd)
        return sorted(found, key=_name)


def _entry_kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    if entry.is_dir(follow_symlinks=False):
        return "dir"
    return "file" if entry.is_file(follow_symlinks=False) else "other"


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "dir"
    return "file" if stat.S_ISREG(mode) else "other"


def _name(entry: Entry) -> str:
    return entry.name
