"""Removing a directory with everything in it, in small steps, however deep it is, and nothing that a link leads to."""

from __future__ import annotations

import errno
import os
import stat
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from podkit._os._files import name_to_change, present
from podkit._os._mountinfo import mounts
from podkit._os._resolve import O_STEP, Place
from podkit.errors import PathRefusedError
from podkit.protocol import Permission

if TYPE_CHECKING:
    from podkit._os._files import Judge
    from podkit._os._walk import Root

_NAMES_AT_ONCE = 1024
_PASSES = 4096  # over one directory: nobody who keeps filling it can keep us for ever
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(root: Root, path: object, judge: Judge, *, cwd: str = "/") -> Removal:
    """Begin to remove `path` with everything below it; a file or a link (never what it points to) like `remove`.

    The judge is asked once, about everything. Nothing is removed yet, call `step` until it answers False and then `close`. What
    has another file system mounted at it or below it is refused. Raises `FileNotFoundError`, `PathRefusedError`, `OSError` and
    what the judge raises.
    """

    def use(place: Place) -> Removal:
        judge(place, Permission.WRITE, whole=True)
        directory = stat.S_ISDIR(present(place).st_mode)
        parent = root.open_directory(name_to_change(root, place))
        try:
            if directory:
                _check_mounts(place)
            return Removal(place, parent)
        except BaseException:
            os.close(parent)
            raise

    return root.walk(path, use, cwd=cwd, follow=False)


def _check_mounts(place: Place) -> None:
    inside = place.path.rstrip("/") + "/"
    for mount in mounts() or ():
        if mount.point == place.path or mount.point.startswith(inside):
            raise PathRefusedError(place.shown, "something is mounted at or below it")


@attrs.define(eq=False)
class _Level:
    name: str
    info: os.stat_result
    names: list[str] = attrs.field(factory=list)
    passes: int = 0


class Removal:
    """A tree being removed. One directory is open at a time; the way up is checked against the way down."""

    def __init__(self, place: Place, parent: int) -> None:
        self.place = place
        self._at = parent
        self._levels = [_Level("", os.fstat(parent), [place.name])]

    def step(self) -> bool:
        """Remove a little; False when nothing is left. Raises `OSError`, `PathRefusedError` when it is moved meanwhile."""
        for _ in range(_NAMES_AT_ONCE):
            level = self._levels[-1]
            if level.names:
                self._remove(level.names.pop())
            elif len(self._levels) == 1:
                return False
            elif not self._fill(level):
                self._up()
        return True

    def close(self) -> None:
        """Let go of it, once."""
        os.close(self._at)

    def _remove(self, name: str) -> None:
        """Remove a file, or go into a directory. What is gone, or something else than a moment ago, is left to the next pass."""
        try:
            os.unlink(name, dir_fd=self._at)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError) as error:  # systems differ in what they say of a directory
            self._enter(name, error)

    def _enter(self, name: str, refused: OSError, passes: int = 0) -> None:
        try:
            below = os.open(name, O_STEP, dir_fd=self._at)
        except NotADirectoryError:
            if isinstance(refused, PermissionError):
                raise refused from None
            if len(self._levels) == 1:
                raise PathRefusedError(self.place.shown, "changed while it was removed") from None
            return
        except FileNotFoundError:
            return
        info = os.fstat(below)
        if info.st_dev != self._levels[-1].info.st_dev:
            os.close(below)
            raise PathRefusedError(self.place.shown, "something is mounted below it")
        self._stand(below)
        self._levels.append(_Level(name, info, passes=passes))

    def _fill(self, level: _Level) -> bool:
        """Read some names of the directory; False when it is empty."""
        level.passes += 1
        if level.passes > _PASSES:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), self.place.shown)
        fd = os.open(".", _LIST, dir_fd=self._at)
        try:
            with os.scandir(fd) as entries:
                level.names.extend(entry.name for entry in islice(entries, _NAMES_AT_ONCE))
        finally:
            os.close(fd)
        return bool(level.names)

    def _up(self) -> None:
        level = self._levels.pop()
        self._stand(os.open("..", O_STEP, dir_fd=self._at))
        if not os.path.samestat(os.fstat(self._at), self._levels[-1].info):
            raise PathRefusedError(self.place.shown, "something in it was moved while it was removed")
        try:
            os.rmdir(level.name, dir_fd=self._at)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            self._enter(level.name, error, level.passes)  # somebody put something in

    def _stand(self, fd: int) -> None:
        os.close(self._at)
        self._at = fd
