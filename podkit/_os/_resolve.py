"""Where a path leads: its links resolved one by one, so that the answer can be judged before anything is opened."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import attrs

from podkit._os._spelling import Spelling, check_size
from podkit.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_LINKS = 40
O_LOOK: int = getattr(os, "O_PATH", os.O_RDONLY)  # enough to look at a file, or to start from a directory
O_STEP = O_LOOK | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ChangedError(Exception):
    """What was looked at is not what is there any more: resolve and judge again. Stays inside a walk."""


@attrs.frozen
class Place:
    """Where a path leads: `path` is absolute and without links, `shown` is the path as it was written, normal by spelling.

    `info` is what is there (None when nothing is), `missing` the names at the end of `path` that do not exist, `links` the paths
    of the links that were followed. `directory` says that it was written as a directory.
    """

    shown: str
    path: str
    info: os.stat_result | None = None
    missing: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    directory: bool = False

    @property
    def parent(self) -> str:
        """The directory it is in."""
        return self.path.rpartition("/")[0] or "/"

    @property
    def name(self) -> str:
        """Its name there; empty for `/`."""
        return self.path.rpartition("/")[2]


@attrs.frozen
class Ground:
    """What a resolution stands on: the parts of the pinned directory's path, its descriptor, and how to get to one below it again.

    `processes` is the device number of /proc: what the kernel shows of processes is refused wherever it is mounted, because its
    names lead to other processes' files and memory.
    """

    base: tuple[str, ...]
    fd: int
    reopen: Callable[[tuple[str, ...]], int]
    processes: int | None

    def below(self, parts: tuple[str, ...], shown: str) -> tuple[str, ...]:
        """The parts of an absolute path below the pinned directory. Raises `PathRefusedError` for one that is elsewhere."""
        size = len(self.base)
        if parts[:size] != self.base:
            raise PathRefusedError(shown, f"leads out of /{'/'.join(self.base)}")
        return parts[size:]

    def path(self, names: Iterable[str]) -> str:
        """The absolute path of `names` below the pinned directory. Raises `PathRefusedError` for one too long to be used."""
        parts = (*self.base, *names)
        path = "/" + "/".join(parts)
        check_size(path, parts)
        return path

    def check(self, path: str, info: os.stat_result) -> None:
        """Raise `PathRefusedError` for what is no place for files."""
        if info.st_dev == self.processes:
            raise PathRefusedError(path, "what /proc shows is not files")


class Resolution:
    """One resolution: the names so far, the directory they lead to, and what is still to be walked (last first).

    Each step asks for one name in one open directory. The outcome may be outdated when it is there; it is judged and opened as
    what it says, so that does no harm.
    """

    def __init__(self, ground: Ground, spelling: Spelling, *, follow: bool) -> None:
        self._ground = ground
        self._spelling = spelling
        self._follow = follow
        self._directory = spelling.directory
        self._names: list[str] = []
        self._links: list[str] = []
        self._todo = list(reversed(ground.below(spelling.parts, spelling.shown)))
        self._at = os.open(".", O_STEP, dir_fd=ground.fd)

    def close(self) -> None:
        """Let go of the directory it stands in."""
        os.close(self._at)

    def run(self) -> Place:
        """Walk to the end. Raises `PathRefusedError`, `ChangedError`, `OSError`."""
        info: os.stat_result | None = None
        while self._todo:
            name = self._todo.pop()
            if name == "..":
                self._up()
                info = None
                continue
            try:
                info = os.stat(name, dir_fd=self._at, follow_symlinks=False)
            except FileNotFoundError:
                return self._missing(name)
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:  # a name in a link: those of the path itself were checked
                    raise PathRefusedError(self._spelling.shown, "too long when its links are followed") from error
                raise
            self._ground.check(self._spelling.shown, info)
            if stat.S_ISLNK(info.st_mode) and (self._todo or self._follow or self._directory):
                self._link(name)
                info = None
            else:
                self._enter(name, info)
        return self._place(info or os.fstat(self._at))

    def _up(self) -> None:
        if self._names:
            self._names.pop()
            self._stand(self._ground.reopen(tuple(self._names)))
        elif self._ground.base:
            raise PathRefusedError(self._spelling.shown, f"leads out of {self._ground.path(())}")

    def _enter(self, name: str, info: os.stat_result) -> None:
        self._names.append(name)
        if not stat.S_ISDIR(info.st_mode):
            if self._todo or self._directory:
                raise PathRefusedError(self._spelling.shown, "not a directory")
        else:
            self._stand(self._open(name))

    def _link(self, name: str) -> None:
        self._links.append(self._ground.path((*self._names, name)))
        if len(self._links) > MAX_LINKS:
            raise PathRefusedError(self._spelling.shown, f"more than {MAX_LINKS} links on the way, or a loop of links")
        try:
            text = os.readlink(name, dir_fd=self._at)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                raise ChangedError from error
            raise
        parts = tuple(part for part in text.split("/") if part not in ("", "."))
        if not self._todo and text.rpartition("/")[2] in ("", ".", ".."):
            self._directory = True
        if text.startswith("/"):
            parts = self._ground.below(parts, self._spelling.shown)
            self._names.clear()
            self._stand(os.open(".", O_STEP, dir_fd=self._ground.fd))
        self._todo.extend(reversed(parts))

    def _missing(self, name: str) -> Place:
        rest = tuple(reversed(self._todo))
        if ".." in rest:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._spelling.shown)
        self._names += (name, *rest)
        return self._place(None, (name, *rest))

    def _place(self, info: os.stat_result | None, missing: tuple[str, ...] = ()) -> Place:
        if info is not None:
            self._ground.check(self._spelling.shown, info)
        path = self._ground.path(self._names)
        return Place(self._spelling.shown, path, info, missing, tuple(self._links), self._directory)

    def _open(self, name: str) -> int:
        try:
            return os.open(name, O_STEP, dir_fd=self._at)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT):
                raise ChangedError from error
            raise

    def _stand(self, fd: int) -> None:
        os.close(self._at)
        self._at = fd
