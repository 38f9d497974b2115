"""The walk: the one way to a file that somebody else named.

A path is first resolved, link by link, to the path it really means. That path is judged by whoever walks, and then opened from a
pinned directory in such a way that no link in it is followed. So what is opened is what was judged: when somebody swaps a
directory for a link in between, the opening fails and the walk begins again.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, TypeVar

from podkit._os._openat2 import BENEATH, NO_MAGICLINKS, NO_SYMLINKS, has_openat2, openat2
from podkit._os._resolve import O_LOOK, O_STEP, ChangedError, Ground, Place, Resolution
from podkit._os._spelling import Spelling, spell
from podkit.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_T = TypeVar("_T")
_ATTEMPTS = 8
_STRICT = BENEATH | NO_SYMLINKS | NO_MAGICLINKS
_CHANGED = frozenset((errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EXDEV, errno.EAGAIN))
_REFUSED = {errno.EISDIR: "is a directory", errno.ENXIO: "not a regular file"}


class Root:
    """A pinned directory from which paths are walked: `/`, or one that nothing may lead out of. Close it, or use it in `with`.

    `kernel` chooses how to open: True with `openat2`, False step by step with the same result, None the best there is.
    """

    path: str
    fd: int

    def __init__(self, path: str = "/", *, kernel: bool | None = None) -> None:
        spelling = spell(path, cwd="/")
        if ".." in spelling.parts:
            raise PathRefusedError(path, "a root is named without '..'")
        self.path = spelling.shown
        self.fd = -1
        self._kernel = has_openat2() if kernel is None else kernel
        top = os.open("/", O_STEP)
        try:
            self.fd = self._open(spelling.parts, O_STEP, 0, top)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                raise PathRefusedError(path, "not a directory, or reached through a link") from error
            raise
        finally:
            os.close(top)
        self._ground = Ground(spelling.parts, self.fd, self._reopen, _processes())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the directory. May be called again."""
        fd, self.fd = self.fd, -1
        if fd != -1:
            os.close(fd)

    def walk(self, path: object, use: Callable[[Place], _T], *, cwd: str = "/", follow: bool = True) -> _T:
        """Resolve `path` and call `use` with the place: it judges, then opens with `open_at`. While things change, do it again.

        Up to 8 times. With `follow=False` a link at the end is itself the place. Raises `PathRefusedError` for a path that leads
        nowhere sensible, and what `use` raises.
        """
        for _ in range(_ATTEMPTS):
            try:
                return use(self.resolve(path, cwd=cwd, follow=follow))
            except ChangedError:
                continue
        raise PathRefusedError(spell(path, cwd=cwd).shown, "changed while it was opened")

    def resolve(self, path: object, *, cwd: str = "/", follow: bool = True) -> Place:
        """Find out where `path` leads, over at most 40 links. Nothing is opened for reading or writing.

        Raises `PathRefusedError`, `ChangedError` when somebody moves things about, `OSError`.
        """
        spelling = spell(path, cwd=cwd)
        if self._kernel and follow:
            place = self._straight(spelling)
            if place is not None:
                return place
        resolution = Resolution(self._ground, spelling, follow=follow)
        try:
            return resolution.run()
        finally:
            resolution.close()

    def open_at(self, path: str, flags: int, mode: int = 0o666) -> int:
        """Open `path`, which a walk resolved and somebody judged, following no link at all. The descriptor is close-on-exec.

        Raises `ChangedError` when it is not there as it was, `PathRefusedError` for a directory or something that is not a file
        where one is asked for, `OSError` for the rest.
        """
        try:
            return self._open(self._ground.below(spell(path, cwd="/").parts, path), flags, mode, self.fd)
        except OSError as error:
            if error.errno in _CHANGED:
                raise ChangedError from error
            if error.errno in _REFUSED:
                raise PathRefusedError(path, _REFUSED[error.errno]) from error
            raise

    def open_directory(self, path: str) -> int:
        """A descriptor of directory `path` to work in, not to list. Raises as `open_at`."""
        return self.open_at(path, O_STEP)

    def _straight(self, spelling: Spelling) -> Place | None:
        """The place when no link is on the way and something is there, by one system call. None means: look closer."""
        names = self._ground.below(spelling.parts, spelling.shown)
        if ".." in names:
            return None
        try:
            fd = self._open(names, O_LOOK, 0, self.fd)
        except OSError:
            return None
        try:
            info = os.fstat(fd)
        finally:
            os.close(fd)
        self._ground.check(spelling.shown, info)
        if spelling.directory and not stat.S_ISDIR(info.st_mode):
            raise PathRefusedError(spelling.shown, "not a directory")
        return Place(spelling.shown, self._ground.path(names), info, directory=spelling.directory)

    def _reopen(self, names: tuple[str, ...]) -> int:
        return self.open_directory(self._ground.path(names))

    def _open(self, names: tuple[str, ...], flags: int, mode: int, start: int) -> int:
        if self._kernel:
            return openat2("/".join(names) or ".", flags, mode, resolve=_STRICT, dir_fd=start)
        at = os.open(".", O_STEP, dir_fd=start)
        try:
            for name in names[:-1]:
                below = os.open(name, O_STEP, dir_fd=at)
                os.close(at)
                at = below
            fd = os.open(names[-1] if names else ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
        finally:
            os.close(at)
        if flags & O_LOOK and stat.S_ISLNK(os.fstat(fd).st_mode):  # for looking only, O_NOFOLLOW opens the link itself
            os.close(fd)
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return fd


def _processes() -> int | None:
    """The device number of /proc; None where it is not there or is an ordinary directory."""
    try:
        device = os.stat("/proc").st_dev
    except OSError:
        return None
    return device if device != os.stat("/").st_dev else None
