"""The walk: the one way to a file that somebody else named.

A path is first resolved, link by link, to the path it really means. That path is judged by whoever walks, and then opened from a
pinned directory in such a way that no link in it is followed. So what is opened is what was judged: when somebody swaps a
directory for a link in between, the opening fails and the walk begins again.
"""

from __future__ import annotations

import errno
import functools
import os
import stat
from typing import TYPE_CHECKING, TypeVar

import attrs

from podkit._os._openat2 import BENEATH, NO_MAGICLINKS, NO_SYMLINKS, NO_XDEV, has_openat2, openat2
from podkit._os._resolve import O_LOOK, O_STEP, ChangedError, Ground, Place, Resolution
from podkit._os._spelling import Spelling, spell
from podkit._os._targets import is_pinned, mount_of
from podkit.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from podkit._os._targets import Pinned

_T = TypeVar("_T")
_ATTEMPTS = 8
_STRICT = BENEATH | NO_SYMLINKS | NO_MAGICLINKS
_CHANGED = frozenset((errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EEXIST, errno.EXDEV, errno.EAGAIN))
_REFUSED = {errno.EISDIR: "is a directory", errno.ENXIO: "not a regular file"}


class Root:
    """A pinned directory from which paths are walked: `/`, or one that nothing may lead out of. Close it, or use it in `with`.

    `kernel` chooses how to open: True with `openat2`, False step by step with the same result, None the best there is. What is
    opened at or below one of `pins` is opened from what was pinned there, and refused ("replaced") when that is something else by
    now. With `cross_mounts=False` it is also refused when it is on another mount than the nearest pin above it.
    """

    path: str
    fd: int

    def __init__(
        self, path: str = "/", *, kernel: bool | None = None, pins: Sequence[Pinned] = (), cross_mounts: bool = True
    ) -> None:
        spelling = spell(path, cwd="/")
        if ".." in spelling.parts:
            raise PathRefusedError(path, "a root is named without '..'")
        self.path = spelling.shown
        self.fd = -1
        self._kernel = has_openat2() if kernel is None else kernel
        self._cross_mounts = cross_mounts
        self._ground = Ground(spelling.parts, -1, self._reopen, _processes())
        # The ones further up come first, so that the way to a place leads over them in this order.
        self._pins = sorted(
            ((self._ground.below(_parts(pin.target), pin.target), pin) for pin in pins), key=lambda pair: len(pair[0])
        )
        self._direct = self._kernel and not spelling.parts and not self._pins
        self.fd = os.open("/", O_STEP)
        if spelling.parts:
            self._go_down(spelling.parts)
        self._ground = attrs.evolve(self._ground, fd=self.fd)

    def _go_down(self, parts: tuple[str, ...]) -> None:
        top = self.fd
        try:
            self.fd = self._open(parts, O_STEP, 0, top)
        except OSError as error:
            self.fd = -1
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
                raise PathRefusedError(self.path, "not a directory, or reached through a link") from error
            raise
        finally:
            os.close(top)

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
                place = self.resolve(path, cwd=cwd, follow=follow)
                self._check_there(place)
                return use(place)
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
        where one is asked for, for what was replaced since it was pinned and what is on another mount, `OSError` for the rest.
        """
        if self._direct:
            return self._open_direct(path, flags, mode)
        names = self._ground.below(_parts(path), path)
        start, pin, done = self.fd, None, 0
        try:
            for parts, nearer in self._pins:
                size = len(parts)
                if names[:size] == parts and size < len(names):
                    below = self._open_pin(nearer, parts[done:], start)
                    self._let_go(start)
                    start, pin, done = below, nearer, size
            fd = self._open_rest(path, names[done:], flags, mode, start, pin)
        finally:
            self._let_go(start)
        try:
            for parts, nearer in self._pins:
                if parts == names and not is_pinned(nearer, os.fstat(fd)):
                    raise _replaced(nearer)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def is_target(self, path: str, *, above: bool = False) -> bool:
        """Whether something is pinned at `path`; with `above` also when something is pinned below it."""
        below = path.rstrip("/") + "/"
        return any(pin.target == path or (above and pin.target.startswith(below)) for _, pin in self._pins)

    def holds_files(self, info: os.stat_result) -> bool:
        """Whether it is a place for files at all: what /proc shows is not."""
        return info.st_dev != self._ground.processes

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

    def _check_there(self, place: Place) -> None:
        """Refuse a place in, or at, something pinned that is gone. What is there is compared when it is opened."""
        if place.missing:
            names = self._ground.below(_parts(place.path), place.shown)
            there = len(names) - len(place.missing)
            for parts, pin in self._pins:
                if len(parts) > there and names[: len(parts)] == parts:
                    raise _replaced(pin)

    def _reopen(self, names: tuple[str, ...]) -> int:
        return self.open_directory(self._ground.path(names))

    def _let_go(self, fd: int) -> None:
        if fd != self.fd:
            os.close(fd)

    def _open_pin(self, pin: Pinned, names: tuple[str, ...], start: int) -> int:
        try:
            fd = self._open(names, O_STEP, 0, start)
        except OSError as error:
            if error.errno in _CHANGED:
                raise _replaced(pin) from error
            raise
        if is_pinned(pin, os.fstat(fd)):
            return fd
        os.close(fd)
        raise _replaced(pin)

    def _open_direct(self, path: str, flags: int, mode: int) -> int:
        """With nothing to start from but `/` the kernel takes the path as it is."""
        try:
            return openat2(path, flags, mode, resolve=NO_SYMLINKS | NO_MAGICLINKS, dir_fd=self.fd)
        except OSError as error:
            _tell(path, error)
            raise

    def _open_rest(self, path: str, names: tuple[str, ...], flags: int, mode: int, start: int, pin: Pinned | None) -> int:
        stay = pin is not None and not self._cross_mounts
        try:
            return self._open(names, flags, mode, start, stay=stay)
        except OSError as error:
            if stay and error.errno == errno.EXDEV:
                raise PathRefusedError(path, "on another mount than the target of the scope") from error
            _tell(path, error)
            raise

    def _open(self, names: tuple[str, ...], flags: int, mode: int, start: int, *, stay: bool = False) -> int:
        if self._kernel:
            return openat2("/".join(names) or ".", flags, mode, resolve=_STRICT | (NO_XDEV if stay else 0), dir_fd=start)
        fd = self._open_steps(names, flags, mode, start)
        if stay and mount_of(fd) != mount_of(start):
            os.close(fd)
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return fd

    def _open_steps(self, names: tuple[str, ...], flags: int, mode: int, start: int) -> int:
        at = os.open(".", O_STEP, dir_fd=start)
        try:
            for name in names[:-1]:
                below = os.open(name, O_STEP, dir_fd=at)
                os.close(at)
                at = below
            fd = os.open(names[-1] if names else ".", flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=at)
        finally:
            os.close(at)
        try:
            if flags & O_LOOK and stat.S_ISLNK(os.fstat(fd).st_mode):  # for looking only, O_NOFOLLOW opens the link itself
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        except BaseException:
            os.close(fd)
            raise
        return fd


@functools.cache
def _processes() -> int | None:
    """The device number of /proc; None where it is not there or is an ordinary directory. Asked once."""
    try:
        device = os.stat("/proc").st_dev
    except OSError:
        return None
    return device if device != os.stat("/").st_dev else None


def _tell(path: str, error: OSError) -> None:
    """Raise what an error of opening means, when it means more than trouble."""
    if error.errno in _CHANGED:
        raise ChangedError from error
    if error.errno in _REFUSED:
        raise PathRefusedError(path, _REFUSED[error.errno]) from error


def _parts(path: str) -> tuple[str, ...]:
    """The parts of an absolute normal path."""
    return tuple(path.split("/")[1:]) if path != "/" else ()


def _replaced(pin: Pinned) -> PathRefusedError:
    return PathRefusedError(pin.target, "replaced")
