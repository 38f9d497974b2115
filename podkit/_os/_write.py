"""Writing a whole file so that nobody ever sees half of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from podkit._os._files import check_regular, surprised
from podkit._os._ids import new_incarnation
from podkit._os._resolve import O_LOOK, O_STEP, ChangedError, Place
from podkit.errors import AccessDeniedError, PathRefusedError
from podkit.protocol import Permission

if TYPE_CHECKING:
    from podkit._os._files import Judge
    from podkit._os._walk import Root

_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IN_PLACE = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY
_TEMPORARY = re.compile(r"\.podkit-[a-z0-9_-]{1,80}\.tmp")
_MAX_SWEPT = 10_000  # entries of a directory that are looked at
_MAX_REMEMBERED = 256


def open_write(root: Root, path: object, judge: Judge, *, size: int, cwd: str = "/", swept: set[str] | None = None) -> Writing:
    """Begin to write `size` bytes as the whole content of the file `path`; missing directories on the way are made.

    The content is written beside the file and takes its name at the end, so the file keeps its mode, other hard links keep the old
    content, and readers see the old content or the new. Where the judge allows the file alone and nothing beside it, and where the
    file itself is pinned, it is written in place; then space is reserved first, and a file with a second hard link is refused.

    `swept` remembers directories in which what killed writers left beside their files was looked for: once in each.

    Raises `PathRefusedError` for a directory or anything that is not a regular file, `OSError`, and what the judge raises.
    """

    def use(place: Place) -> Writing:
        if place.directory:
            raise PathRefusedError(place.shown, "is written as a directory, not as a file")
        judge(place, Permission.WRITE)
        if place.info is not None:
            check_regular(place, place.info)
        for count in range(1, len(place.missing)):
            judge(attrs.evolve(place, path=place.path.rsplit("/", count)[0]), Permission.WRITE)
        parents = _Parents(root, place)
        try:
            parents.make(place.missing[:-1])
            return _begin(root, place, parents, judge, size, swept)
        except BaseException:
            parents.abandon()
            raise

    return root.walk(path, use, cwd=cwd)


@attrs.define(eq=False, repr=False)
class Writing:
    """A file being written: `write` everything, then `commit`; or `abandon`, and nothing has happened. One of the two is owed.

    `in_place` says that the file itself is changed by `write`: do not stop in the middle then.
    """

    place: Place
    in_place: bool
    _root: Root
    _fd: int
    _parents: _Parents
    _temporary: str | None
    _size: int
    _untouched: int | None = None

    def write(self, data: memoryview) -> None:
        """Write all of `data` after what was written before. Raises `OSError`."""
        self._untouched = None
        while data:
            data = data[os.write(self._fd, data) :]

    def commit(self, *, sync: bool = False) -> None:
        """Make it the file. With `sync` it is on the disk when this returns.

        Raises `PathRefusedError` when the directory was moved or the name was taken by a directory meanwhile, `OSError`. Whatever
        it raises, nothing of the attempt is left.
        """
        try:
            if self.in_place:
                os.ftruncate(self._fd, self._size)
            if sync:
                os.fsync(self._fd)
            if self._temporary is not None:
                self._check_parent()
                directory = self._parents.at
                try:
                    os.rename(self._temporary, self.place.name, src_dir_fd=directory, dst_dir_fd=directory)
                except IsADirectoryError as error:
                    raise PathRefusedError(self.place.shown, "is a directory") from error
                self._temporary = None
            if sync:
                self._parents.sync()
        except BaseException:
            self.abandon()
            raise
        os.close(self._fd)
        self._parents.keep()

    def abandon(self) -> None:
        """Leave everything as it was, directories made for it included (but not what was already written in place)."""
        if self._untouched is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._untouched)
        os.close(self._fd)
        if self._temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._parents.at)
        self._parents.abandon()

    def _check_parent(self) -> None:
        try:
            now = self._root.open_at(self.place.parent, O_LOOK | os.O_DIRECTORY)
        except ChangedError as error:
            raise PathRefusedError(self.place.shown, "its directory was moved while it was written") from error
        try:
            same = os.path.samestat(os.fstat(now), os.fstat(self._parents.at))
        finally:
            os.close(now)
        if not same:
            raise PathRefusedError(self.place.shown, "its directory was replaced while it was written")


@attrs.define(eq=False, repr=False)
class _Parents:
    """The directory a file is written in (`at`), and the directories made to get there."""

    _root: Root
    _place: Place
    at: int = -1
    _made: list[tuple[int, str]] = attrs.field(factory=list)

    def make(self, absent: tuple[str, ...]) -> None:
        """Open the directory, making what is absent one by one."""
        self.at = self._root.open_directory(self._place.path.rsplit("/", len(absent) + 1)[0] or "/")
        for name in absent:
            with surprised(FileExistsError, FileNotFoundError):
                os.mkdir(name, 0o777, dir_fd=self.at)
            self._made.append((self.at, name))
            parent, self.at = self.at, -1
            with surprised(OSError):
                self.at = os.open(name, O_STEP, dir_fd=parent)

    def sync(self) -> None:
        """Have the names in these directories on the disk."""
        for at in (*(parent for parent, _ in self._made), self.at):
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def keep(self) -> None:
        """The file is there: let go of the directories."""
        for fd in (self.at, *(parent for parent, _ in self._made)):
            if fd != -1:
                os.close(fd)
        self._made.clear()
        self.at = -1

    def abandon(self) -> None:
        """Remove what was made, where it is empty."""
        for parent, name in reversed(self._made):
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=parent)
        self.keep()


def _begin(root: Root, place: Place, parents: _Parents, judge: Judge, size: int, swept: set[str] | None) -> Writing:
    temporary = f".podkit-{new_incarnation()}.tmp"
    beside = attrs.evolve(
        place, path=f"{place.parent.rstrip('/')}/{temporary}", shown=f"{place.shown.rpartition('/')[0]}/{temporary}"
    )
    if root.is_target(place.path):  # a replacement would be another file than the one that was granted
        return _begin_in_place(root, place, parents, size)
    try:
        judge(beside, Permission.WRITE)
    except AccessDeniedError:
        return _begin_in_place(root, place, parents, size)
    if swept is not None and place.parent not in swept:
        if len(swept) >= _MAX_REMEMBERED:
            swept.clear()
        swept.add(place.parent)
        sweep(parents.at)
    # While it is filled nobody may read more of it than of the file it will be.
    mode = 0o666 if place.info is None else 0o600
    with surprised(FileNotFoundError):  # the directory itself was removed
        fd = os.open(temporary, _FRESH, mode, dir_fd=parents.at)
    writing = Writing(place, False, root, fd, parents, temporary, size)
    try:
        _claim(fd)
        if place.info is not None:
            _look_like(fd, place.info)
    except BaseException:
        writing.abandon()
        raise
    return writing


def _claim(fd: int) -> None:
    """Lock a temporary file for as long as it is open: by that others see that its writer lives. Where there are no such locks
    nothing is ever swept either. Raises `ChangedError` when a sweeper was quicker."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ChangedError from error
    except OSError:
        return
    if os.fstat(fd).st_nlink == 0:
        raise ChangedError


def sweep(at: int) -> None:
    """Remove from a directory the temporary files of writers that were killed: those that nobody holds locked any more."""
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=at)
    try:
        with os.scandir(fd) as entries:
            left = [entry.name for entry in islice(entries, _MAX_SWEPT) if _TEMPORARY.fullmatch(entry.name)]
        for name in left:
            with contextlib.suppress(OSError):
                _sweep(fd, name)
    finally:
        os.close(fd)


def _sweep(at: int, name: str) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
    try:
        info = os.fstat(fd)
        if stat.S_ISREG(info.st_mode):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(info, os.stat(name, dir_fd=at, follow_symlinks=False)):
                os.unlink(name, dir_fd=at)
    finally:
        os.close(fd)


def _begin_in_place(root: Root, place: Place, parents: _Parents, size: int) -> Writing:
    if place.info is None:
        with surprised(FileExistsError, FileNotFoundError):
            fd = os.open(place.name, _FRESH, 0o666, dir_fd=parents.at)
        # Until it is committed it is a temporary file that happens to have the right name.
        return Writing(place, True, root, fd, parents, place.name, size)
    fd = root.open_at(place.path, _IN_PLACE)
    try:
        info = os.fstat(fd)
        check_regular(place, info)
        if info.st_nlink > 1:
            raise PathRefusedError(place.shown, "has a second name (hard link), and would change under that too")
        _reserve(fd, info.st_size, size)
    except BaseException:
        os.close(fd)
        raise
    return Writing(place, True, root, fd, parents, None, size, info.st_size)


def _look_like(fd: int, old: os.stat_result) -> None:
    """Give a replacement the owner and the permission bits of the file it replaces (set-id bits are dropped, as by any write)."""
    new = os.fstat(fd)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):  # only root gives files away
            os.fchown(fd, old.st_uid, old.st_gid)
    os.fchmod(fd, stat.S_IMODE(old.st_mode) & 0o777)


def _reserve(fd: int, had: int, size: int) -> None:
    """See to it that a write in place cannot run out of space in the middle. Raises `OSError`, the file unchanged."""
    if size == 0:
        return
    try:
        os.posix_fallocate(fd, 0, size)  # holes too
    except OSError as error:
        os.ftruncate(fd, had)
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
    except AttributeError:  # a system without it
        return
