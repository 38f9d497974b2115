"""podkit's own directories and files: private, ours, and never reached through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from podkit._os._disk import DISK, Disk
from podkit.errors import PathRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

POD_FILES = ("sock", "key", "stderr.log")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_private_dir(path: str, *, disk: Disk = DISK) -> None:
    """See to it that `path` is a directory that only we can enter (mode 0700). Its parent must be there.

    One that exists is taken as it is. Raises `PathRefusedError` when it is a link, no directory, somebody else's, or open to
    others; `OSError` when it cannot be made.
    """
    made = False
    with contextlib.suppress(FileExistsError):
        disk.mkdir(path, 0o700)
        made = True
    fd = _open_own_dir(path, disk)
    try:
        if made:
            disk.chmod(fd, 0o700)  # whatever the umask took away
        elif disk.fstat(fd).st_mode & 0o077:
            raise PathRefusedError(path, "others may enter this directory; podkit's own have mode 0700")
    finally:
        disk.close(fd)


def remove_pod_dir(path: str, names: Sequence[str] = POD_FILES, *, disk: Disk = DISK) -> bool:
    """Remove the files `names` from directory `path`, and the directory when it is empty then. True when it is gone.

    Nothing else is removed, no link is followed and no directory inside is entered. Raises `PathRefusedError` when `path` is a link
    or somebody else's.
    """
    try:
        fd = _open_own_dir(path, disk)
    except FileNotFoundError:
        return True
    try:
        for name in names:
            if "/" in name or name in ("", ".", ".."):
                raise PathRefusedError(path, f"{name!r} is not the name of a file in it")
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
                disk.unlink(name, dir_fd=fd)
        return _remove_if_empty(path, fd, disk)
    finally:
        disk.close(fd)


def open_private_file(path: str, *, append: bool = False, disk: Disk = DISK) -> int:
    """Open `path` for writing and return the descriptor: a regular file of mode 0600 that is ours and has one name.

    It must be new; with `append` one that is there is continued. Raises `PathRefusedError` when it is a link or not such a file,
    `FileExistsError` when it should have been new.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_APPEND if append else os.O_EXCL)
    try:
        fd = disk.open(path, flags, 0o600)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        info = disk.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise PathRefusedError(path, "not a regular file")
        if info.st_uid != os.geteuid() or info.st_mode & 0o077 or info.st_nlink != 1:
            raise PathRefusedError(path, "not a private file of ours (mode 0600, one name)")
    except BaseException:
        disk.close(fd)
        raise
    return fd


def tail(path: str, limit: int = 4096, *, disk: Disk = DISK) -> str:
    """The last `limit` bytes of a file as text, from the start of a character; what is not UTF-8 is replaced.

    "" when the file is missing or is not a regular file. No link is followed.
    """
    try:
        fd = disk.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        info = disk.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return ""
        start = max(0, info.st_size - limit)
        data = disk.pread(fd, limit, start)
    finally:
        disk.close(fd)
    if start:
        inside = 0  # bytes of a character whose beginning was cut off
        while inside < min(3, len(data)) and data[inside] & 0xC0 == 0x80:
            inside += 1
        data = data[inside:]
    return data.decode("utf-8", "replace")


def _open_own_dir(path: str, disk: Disk) -> int:
    try:
        fd = disk.open(path, _DIRECTORY)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        if disk.fstat(fd).st_uid != os.geteuid():
            raise PathRefusedError(path, "belongs to another user")
    except BaseException:
        disk.close(fd)
        raise
    return fd


def _remove_if_empty(path: str, fd: int, disk: Disk) -> bool:
    head, name = os.path.split(path.rstrip("/"))
    parent = disk.open(head or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        there = disk.lstat(name, dir_fd=parent)
        if not os.path.samestat(there, disk.fstat(fd)):
            return False  # replaced meanwhile: not the directory that was looked at
        disk.rmdir(name, dir_fd=parent)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    finally:
        disk.close(parent)
    return True


def _refusal(path: str, error: OSError) -> Exception:
    """Links and wrong kinds are refusals; absence, permissions and the like stay what they are."""
    if error.errno == errno.ENOTDIR and os.path.islink(path):
        return PathRefusedError(path, "is a link")
    reasons = {
        errno.ELOOP: "is a link",
        errno.ENOTDIR: "not a directory",
        errno.EISDIR: "is a directory",
        errno.ENXIO: "not a regular file",
        errno.ENAMETOOLONG: "too long",
    }
    reason = reasons.get(error.errno or 0)
    return error if reason is None else PathRefusedError(path, reason)
