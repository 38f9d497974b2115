"""Mounts as descriptors: a copy of a tree is taken, changed while nobody can see it, and only then put into its place."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from ._calls import open_path, syscall

READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS = 1, 2, 4, 8
_BENEATH = 0x08
_EMPTY_PATH, _RECURSIVE = 0x1000, 0x8000
_CLONE, _FROM_FD, _TO_FD = 0x01, 0x04, 0x40
_SET_STRING, _CREATE = 1, 6


def clone(fd: int) -> int:
    """A copy of what is mounted at the O_PATH descriptor `fd` and below it, not yet anywhere. Raises `OSError`."""
    return syscall("open_tree", fd, b"", _CLONE | _RECURSIVE | _EMPTY_PATH | os.O_CLOEXEC)


def limit(tree: int, attributes: int = READ_ONLY, *, recursive: bool = True) -> None:
    """Add `attributes` to the mount of `tree`, and to those below it with `recursive`. Raises `OSError`."""
    wanted = struct.pack("QQQQ", attributes, 0, 0, 0)
    flags = _EMPTY_PATH | (_RECURSIVE if recursive else 0)
    syscall("mount_setattr", tree, b"", flags, ctypes.create_string_buffer(wanted, len(wanted)), len(wanted))


def attach(tree: int, target: int) -> None:
    """Mount `tree`, which is not mounted yet, on the O_PATH descriptor `target`. Raises `OSError`."""
    syscall("move_mount", tree, b"", target, b"", _FROM_FD | _TO_FD)


def file_system(kind: str, attributes: int = 0, **options: str) -> int:
    """A new file system of that kind, mounted nowhere yet. Its descriptor can be worked in as a directory. Raises `OSError`."""
    context = syscall("fsopen", kind.encode(), 1)
    try:
        for name, value in options.items():
            syscall("fsconfig", context, _SET_STRING, name.encode(), value.encode(), 0)
        syscall("fsconfig", context, _CREATE, None, None, 0)
        return syscall("fsmount", context, 1, attributes)
    finally:
        os.close(context)


def take(path: str) -> tuple[int, os.stat_result]:
    """A copy of what is mounted at `path`, not yet anywhere, and what it is. No link is followed. Raises `OSError`."""
    fd = open_path(path)
    try:
        return clone(fd), os.fstat(fd)
    finally:
        os.close(fd)


def put(tree: int, path: str, found: os.stat_result | None, *, root: int = -1) -> None:
    """Mount `tree` on `path`, below the directory `root` if given. Raises `OSError`: ESTALE when it is not `found` any more."""
    fd = open_path(path) if root == -1 else open_path(path.lstrip("/"), dir_fd=root, resolve=_BENEATH)
    try:
        if found is not None and not os.path.samestat(found, os.fstat(fd)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        attach(tree, fd)
    finally:
        os.close(fd)


def lay_out(root: int, path: str, kind: os.stat_result, *, mode: int) -> None:
    """Make an empty thing to mount on at `path` below `root`: a directory if `kind` is one, else a file; and what leads to it.

    Directories get `mode`, files as much of it as is about reading. What is there already stays. Raises `OSError`.
    """
    *before, last = parts(path)
    mask = os.umask(0)
    at = os.dup(root)
    try:
        for name in before:
            at = _step(at, name, mode)
        if stat.S_ISDIR(kind.st_mode):
            at = _step(at, last, mode)
        else:
            os.close(os.open(last, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o444, dir_fd=at))
    finally:
        os.close(at)
        os.umask(mask)


def _step(at: int, name: str, mode: int) -> int:
    """Exchange the descriptor `at` for one of the directory `name` in it, which is made if need be."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        inner = os.open(name, flags, dir_fd=at)
    except FileNotFoundError:
        os.mkdir(name, mode, dir_fd=at)
        inner = os.open(name, flags, dir_fd=at)
    os.close(at)
    return inner


def parts(path: str) -> list[str]:
    """The names in an absolute path. Raises `OSError` (EINVAL) when it is not absolute and normal, and for "/", which has none."""
    names = path.split("/")[1:]
    if not path.startswith("/") or not all(names) or {".", ".."} & {*names}:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    return names


def below(path: str, parent: str) -> bool:
    """Whether `path` lies somewhere below `parent`."""
    return path.startswith(parent.rstrip("/") + "/") and path != parent
