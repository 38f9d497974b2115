"""What a target of a scope is on the disk: found without following a link, made where it is missing, and known again later."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING, Protocol

import attrs

from podkit._os._openat2 import NO_MAGICLINKS, NO_SYMLINKS, has_openat2, openat2
from podkit._os._resolve import O_LOOK, O_STEP, ChangedError
from podkit.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

_AT_CWD = -100
_ATTEMPTS = 8
_ELSEWHERE = frozenset((errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES))
_MOVED = frozenset((errno.ENOENT, errno.ELOOP, errno.ENOTDIR))


class Pinned(Protocol):
    """A path, and which object was there when it was looked at: its device and inode numbers."""

    @property
    def target(self) -> str: ...
    @property
    def device(self) -> int: ...
    @property
    def inode(self) -> int: ...


@attrs.frozen
class Target:
    """What was found at a path: `info` of it, None when nothing is there; then `missing` are the names at the end that are not."""

    path: str
    info: os.stat_result | None = None
    missing: tuple[str, ...] = ()


def find_target(path: str) -> Target:
    """Walk from `/` to `path`, an absolute normal path, step by step.

    Raises `PathRefusedError` for a link anywhere, the end included, and for something on the way that is no directory; `OSError`
    where one may not look.
    """
    return _again(path, _find)


def make_target(path: str, allowed: Callable[[str], bool]) -> tuple[Target, tuple[Target, ...]]:
    """The same, and the directories that are missing are made, each where `allowed` says so of its path; the umask applies.

    Answers what is there now and what was made, from the top down. When one may not be made the ones before it are not either.
    Raises as `find_target`, with nothing left of the attempt.
    """
    making = _Making(allowed)
    try:
        found = _again(path, lambda target: _find(target, making))
    except BaseException:
        unmake_targets(making.made)
        raise
    return found, tuple(making.made)


def unmake_targets(made: list[Target] | tuple[Target, ...]) -> None:
    """Remove directories that were made, the deepest first, each if it is still the one that was made and empty."""
    for target in reversed(made):
        parent, name = target.path.rpartition("/")[::2]
        with contextlib.suppress(OSError, PathRefusedError, ChangedError):
            at = _descend(parent or "/")
            try:
                now = os.stat(name, dir_fd=at, follow_symlinks=False)
                if target.info is not None and os.path.samestat(now, target.info):
                    os.rmdir(name, dir_fd=at)
            finally:
                os.close(at)


def still_there(pin: Pinned) -> bool:
    """Whether what is at the pin's path, reached by no link, is what was pinned. Raises `OSError` for trouble of the system."""
    try:
        fd = (
            openat2(pin.target, O_LOOK, 0, resolve=NO_SYMLINKS | NO_MAGICLINKS, dir_fd=_AT_CWD)
            if has_openat2()
            else _open(pin.target)
        )
    except OSError as error:
        if error.errno in _ELSEWHERE:
            return False
        raise
    try:
        info = os.fstat(fd)
    finally:
        os.close(fd)
    return is_pinned(pin, info) and not stat.S_ISLNK(info.st_mode)  # the number of what was removed may be given to a new link


def is_pinned(pin: Pinned, info: os.stat_result) -> bool:
    """Whether `info` is of the object that was pinned."""
    return (info.st_dev, info.st_ino) == (pin.device, pin.inode)


def mount_of(fd: int) -> int:
    """A number for the mount that an open file is reached through; of its device where the system does not tell mounts apart."""
    try:
        with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as info:
            for line in info:
                if line.startswith("mnt_id:"):
                    return int(line.removeprefix("mnt_id:"))
    except OSError:
        pass
    return os.fstat(fd).st_dev


def _again(path: str, attempt: Callable[[str], Target]) -> Target:
    for _ in range(_ATTEMPTS):
        try:
            return attempt(path)
        except ChangedError:
            continue
    raise PathRefusedError(path, "changed while it was looked at")


@attrs.define
class _Making:
    """Makes directories on the way, when all that are missing may be made."""

    _allowed: Callable[[str], bool]
    made: list[Target] = attrs.field(factory=list)
    _agreed: bool = False

    def make(self, names: list[str], number: int, at: int) -> os.stat_result | None:
        """Make the directory `names[number]` in `at`; None when it is not to be. Raises `ChangedError`, `OSError`."""
        if not self._agreed:
            self._agreed = all(self._allowed(_path(names[:end])) for end in range(number + 1, len(names) + 1))
        if not self._agreed:
            return None
        try:
            os.mkdir(names[number], 0o777, dir_fd=at)
            info = os.stat(names[number], dir_fd=at, follow_symlinks=False)
        except (FileExistsError, FileNotFoundError) as error:
            raise ChangedError from error
        self.made.append(Target(_path(names[: number + 1]), info))
        return info


def _find(path: str, making: _Making | None = None) -> Target:
    names = [name for name in path.split("/") if name]
    at = os.open("/", O_STEP)
    try:
        info: os.stat_result | None = os.fstat(at)
        for number, name in enumerate(names):
            try:
                info = os.stat(name, dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                info = making.make(names, number, at) if making is not None else None
            if info is None:
                return Target(path, None, tuple(names[number:]))
            if stat.S_ISLNK(info.st_mode):
                link = "" if number + 1 == len(names) else _path(names[: number + 1]) + " "
                raise PathRefusedError(path, f"{link}is a link, name the real path")
            if number + 1 < len(names):
                at = _step(path, at, name, info)
        return Target(path, info)
    finally:
        os.close(at)


def _path(names: list[str]) -> str:
    return "/" + "/".join(names)


def _step(path: str, at: int, name: str, info: os.stat_result) -> int:
    """The directory `name` in `at`, which is closed when this succeeds."""
    if not stat.S_ISDIR(info.st_mode):
        raise PathRefusedError(path, "something on the way is not a directory")
    try:
        below = os.open(name, O_STEP, dir_fd=at)
    except OSError as error:
        if error.errno in _MOVED:
            raise ChangedError from error
        raise
    os.close(at)
    return below


def _descend(path: str) -> int:
    at = os.open("/", O_STEP)
    try:
        for name in path.split("/"):
            if name:
                below = os.open(name, O_STEP, dir_fd=at)
                os.close(at)
                at = below
    except BaseException:
        os.close(at)
        raise
    return at


def _open(path: str) -> int:
    parent, name = path.rpartition("/")[::2]
    at = _descend(parent)
    try:
        return os.open(name or ".", O_LOOK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    finally:
        os.close(at)
