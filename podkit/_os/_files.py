"""What is done with files that somebody else named: each operation walks, has every end judged, and works on what was judged.

These calls do not wait and know no scope; who may do what is the judge's business.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import attrs

from podkit._os._resolve import O_LOOK, ChangedError, Place
from podkit._os._spelling import plain
from podkit.errors import PathRefusedError, PodkitError
from podkit.protocol import Permission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podkit._os._walk import Root

_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_LIST = os.O_RDONLY | os.O_DIRECTORY


class Judge(Protocol):
    """Who decides. Returns when `asked` is allowed at `place.path`, with `whole` also at everything below it; else raises."""

    def __call__(self, place: Place, asked: Permission, /, *, whole: bool = False) -> None: ...


def open_read(root: Root, path: object, judge: Judge, *, cwd: str = "/") -> tuple[int, Place]:
    """Open a regular file to read. Raises `PathRefusedError` for anything else, `FileNotFoundError`, and what the judge raises."""

    def use(place: Place) -> tuple[int, Place]:
        judge(place, Permission.READ)
        info = present(place)
        check_regular(place, info)
        fd = root.open_at(place.path, _READ)
        try:
            now = os.fstat(fd)
            check_regular(place, now)
        except BaseException:
            os.close(fd)
            raise
        return fd, attrs.evolve(place, info=now)

    return _read_straight(root, path, judge, cwd) or root.walk(path, use, cwd=cwd)


def _read_straight(root: Root, path: object, judge: Judge, cwd: str) -> tuple[int, Place] | None:
    """What most paths allow: no link is met, so the path means what it says and can be judged and then opened in one go.

    None means that it has to be looked at more closely, which also tells what is wrong. What is no file is not opened.
    """
    shown = plain(path, cwd)
    if shown is None:
        return None
    try:
        judge(Place(shown, shown), Permission.READ)
        if not stat.S_ISREG(os.lstat(shown).st_mode):
            return None
        fd = root.open_at(shown, _READ)
    except (PodkitError, ChangedError, OSError):
        return None
    info = os.fstat(fd)
    if not root.holds_files(info) or not stat.S_ISREG(info.st_mode):
        os.close(fd)
        return None
    return fd, Place(shown, shown, info)


def open_listing(root: Root, path: object, judge: Judge, *, cwd: str = "/") -> tuple[int, Place]:
    """Open a directory for listing. Raises `PathRefusedError` when it is none, `FileNotFoundError`, and what the judge raises."""

    def use(place: Place) -> tuple[int, Place]:
        judge(place, Permission.READ)
        if not stat.S_ISDIR(present(place).st_mode):
            raise PathRefusedError(place.shown, "not a directory")
        return root.open_at(place.path, _LIST), place

    return root.walk(path, use, cwd=cwd)


def stat_path(root: Root, path: object, judge: Judge, *, cwd: str = "/", follow: bool = True) -> os.stat_result:
    """What is there. Raises `FileNotFoundError`, `PathRefusedError`, and what the judge raises."""

    def use(place: Place) -> os.stat_result:
        judge(place, Permission.READ)
        if stat.S_ISLNK(present(place).st_mode):
            at = root.open_directory(place.parent)
            try:
                with surprised(FileNotFoundError):
                    return os.stat(place.name, dir_fd=at, follow_symlinks=False)
            finally:
                os.close(at)
        fd = root.open_at(place.path, O_LOOK)
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    return root.walk(path, use, cwd=cwd, follow=follow)


def make_directory(root: Root, path: object, judge: Judge, *, cwd: str = "/", mode: int = 0o777) -> None:
    """Make one directory; its parent must be there. Raises `FileExistsError`, `FileNotFoundError`, and what the judge raises."""

    def use(place: Place) -> None:
        judge(place, Permission.WRITE)
        if place.info is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), place.shown)
        if len(place.missing) > 1:
            raise _absent(place)
        parent = root.open_directory(place.parent)
        try:
            with surprised(FileExistsError, FileNotFoundError):
                os.mkdir(place.name, mode, dir_fd=parent)
        finally:
            os.close(parent)

    root.walk(path, use, cwd=cwd, follow=False)


def remove(root: Root, path: object, judge: Judge, *, cwd: str = "/") -> None:
    """Remove a file, a link (never what it points to) or an empty directory.

    A directory is asked about with everything below it. Raises `FileNotFoundError`, `OSError` when it is not empty, and what the
    judge raises.
    """

    def use(place: Place) -> None:
        judge(place, Permission.WRITE)
        directory = stat.S_ISDIR(present(place).st_mode)
        if directory:
            judge(place, Permission.WRITE, whole=True)
        parent = root.open_directory(name_to_change(root, place))
        try:
            with surprised(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                (os.rmdir if directory else os.unlink)(place.name, dir_fd=parent)
        finally:
            os.close(parent)

    root.walk(path, use, cwd=cwd, follow=False)


def rename(root: Root, source: object, target: object, judge: Judge, *, cwd: str = "/") -> None:
    """Give `source` (a link itself, not what it points to) the name `target`; a file there is replaced.

    Both ends are asked about with everything below them, whatever they are. Raises `FileNotFoundError`, `PathRefusedError`,
    `OSError`, and what the judge raises.
    """

    def from_place(one: Place) -> None:
        def to_place(other: Place) -> None:
            for place in (one, other):
                judge(place, Permission.WRITE, whole=True)
            present(one)
            if len(other.missing) > 1:
                raise _absent(other)
            start, end = root.open_directory(name_to_change(root, one)), -1
            try:
                end = root.open_directory(name_to_change(root, other))
                with surprised(FileNotFoundError):
                    os.rename(one.name, other.name, src_dir_fd=start, dst_dir_fd=end)
            finally:
                for fd in (start, end):
                    if fd != -1:
                        os.close(fd)

        root.walk(target, to_place, cwd=cwd, follow=False)

    root.walk(source, from_place, cwd=cwd, follow=False)


def present(place: Place) -> os.stat_result:
    """What is at `place`; raises `FileNotFoundError` when nothing is."""
    if place.info is None:
        raise _absent(place)
    return place.info


def check_regular(place: Place, info: os.stat_result) -> None:
    """Raise `PathRefusedError` for a directory, device, pipe, socket: reading and writing those does things, or never ends."""
    if stat.S_ISDIR(info.st_mode):
        raise PathRefusedError(place.shown, "is a directory")
    if not stat.S_ISREG(info.st_mode):
        raise PathRefusedError(place.shown, "not a regular file")


def name_to_change(root: Root, place: Place) -> str:
    """The directory in which the name of `place` can be removed or given to something else.

    Raises `PathRefusedError` for `/`, and for what a scope was granted by: a target, and what has one below it, stays where it is.
    """
    if not place.name:
        raise PathRefusedError(place.shown, "has no name that could be changed")
    if root.is_target(place.path, above=True):
        raise PathRefusedError(place.shown, "a target of the scope, or above one, and stays where it is")
    return place.parent


def _absent(place: Place) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), place.shown)


@contextmanager
def surprised(*surprises: type[OSError]) -> Iterator[None]:
    """These errors mean that what was judged has been changed since."""
    try:
        yield
    except surprises as error:
        raise ChangedError from error
