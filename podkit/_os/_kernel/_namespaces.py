"""Namespaces: a process tree with process ids and mounts of its own, so that what is lent can be read-only for it alone."""

from __future__ import annotations

import errno
import os
import resource
from collections import namedtuple

from ._calls import KernelError, open_path, syscall
from ._mounts import NO_DEVICES, NO_PROGRAMS, NO_SUID, below, clone, file_system, lay_out, limit, parts, put, take
from ._process import dumpable
from ._root import private_root as private_root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple

    class Mount(NamedTuple):
        path: str
        how: str

else:
    # `typing` would double what this package costs to import.
    Mount = namedtuple("Mount", ("path", "how"))  # noqa: PYI024 - see above
    Mount.__doc__ = 'A path, and how the tree shall see it: "ro" (read-only), "rw" (as it is), "hidden", "empty" (a new one).'

_NEW_MOUNTS, _NEW_USER, _NEW_PIDS, _NEW_NETWORK = 0x00020000, 0x10000000, 0x20000000, 0x40000000
_RECURSIVE, _PRIVATE = 0x4000, 1 << 18


def enter(*, user: bool, pid: bool = True, mount: bool = True, network: bool = False) -> None:
    """Move this process into new namespaces; with `pid` its next child is process 1 of one and takes the others along when it ends.

    `user=True` is for who may not do this otherwise: a user namespace in which our user and group are what they were and nobody
    else exists. With CAP_SYS_ADMIN, `user=False`. With `mount`, what is mounted from here on is seen by nobody outside, and what
    others mount is not seen here. `network` leaves no network at all.

    For a process with one thread. Raises `KernelError` with step "namespaces".
    """
    uid, gid = os.geteuid(), os.getegid()
    wanted = {_NEW_USER: user, _NEW_PIDS: pid, _NEW_MOUNTS: mount, _NEW_NETWORK: network}
    try:
        syscall("unshare", sum(flag for flag, on in wanted.items() if on))
        if user:
            _map_ids(uid, gid)
        if mount:
            syscall("mount", None, b"/", None, _RECURSIVE | _PRIVATE, None)
    except OSError as error:
        raise KernelError("namespaces", error.errno or 0) from None


def _map_ids(uid: int, gid: int) -> None:
    before = dumpable(True)  # or these files would belong to the superuser
    try:
        # Groups are given up for good first: a group may be what denies a file.
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
    finally:
        dumpable(before)


def mount_all(mounts: Iterable[Mount]) -> None:
    """Give each path the look it is to have, for this process and what it starts; after `enter(mount=True)`.

    Every path becomes a mount of its own, so that it cannot be renamed or removed, nor a file be renamed or linked across its
    edge. "ro" is read-only with all that is mounted below it; a deeper "rw" is as it was before any of this; "hidden" is an empty
    directory or file that cannot be changed, with nothing but the way to deeper entries in it; "empty" is a new directory in
    memory, for whoever has a rule for it, and ends with the last process that sees it (/dev/shm). Order does not matter. "/" can be
    "ro" only. Links are not followed. A working directory or a descriptor from before still sees things as they were.

    Raises `KernelError` with step "mount": ENOENT for a path that is gone, ELOOP for one that leads over a link, and others.
    """
    wanted = sorted({(path, how) for path, how in mounts})
    taken: dict[str, tuple[int, os.stat_result]] = {}
    at, store = "", -1
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual[1], usual[1]))  # one descriptor an entry
    try:
        # All are taken before any is put: a copy knows nothing of what happens to the entries above it.
        for at, how in wanted:
            taken[at] = _take(at, how, again=at in taken)
        hidden = [path for path, how in wanted if how == "hidden"]
        if hidden:
            store = file_system("tmpfs", NO_SUID | NO_DEVICES | NO_PROGRAMS, mode="0755")
        for number, at in enumerate(hidden):
            _hide(at, str(number), store, taken)
        for at, (tree, found) in taken.items():
            if at == "/":
                limit(tree)
            else:
                put(tree, at, None if any(below(at, path) for path in hidden) else found)
    except OSError as error:
        raise KernelError("mount", error.errno or 0, at) from None
    finally:
        for fd in (store, *(tree for tree, _ in taken.values())):
            if fd != -1:
                os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def _take(path: str, how: str, *, again: bool) -> tuple[int, os.stat_result]:
    if how not in ("ro", "rw", "hidden", "empty") or again or (path == "/" and how != "ro"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    if path == "/":  # nothing can be put on it, it is limited where it is
        return open_path(path), os.stat(path)
    parts(path)
    tree, found = take(path)
    try:
        if how == "ro":
            limit(tree)
        elif how == "empty":
            new = file_system("tmpfs", NO_SUID | NO_DEVICES, mode="1777")
            os.close(tree)
            tree = new
    except OSError:
        os.close(tree)
        raise
    return tree, found


def _hide(path: str, name: str, store: int, taken: dict[str, tuple[int, os.stat_result]]) -> None:
    """Replace what was taken of `path` by something empty, which is made in the file system `store` under `name`."""
    tree, found = taken[path]
    inner = [(f"/{name}{other[len(path) :]}", kind) for other, (_, kind) in taken.items() if below(other, path)]
    for place, kind in ((f"/{name}", found), *inner):
        lay_out(store, place, kind, mode=0o111 if inner else 0)
    fd = open_path(name, dir_fd=store)
    try:
        empty = clone(fd)
    finally:
        os.close(fd)
    os.close(tree)
    taken[path] = (empty, found)
    limit(empty)


def mount_proc() -> bool:
    """Make /proc show the process ids of our namespace: for process 1 of one. False where the kernel refuses; the old one stays.

    It does so in containers that hide parts of /proc. Raises `KernelError` with step "proc" for anything else.
    """
    try:
        fd = file_system("proc", NO_SUID | NO_DEVICES | NO_PROGRAMS)
        try:
            put(fd, "/proc", None)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return False
        raise KernelError("proc", error.errno or 0, "/proc") from None
    return True


def available(*, user: bool) -> bool:
    """Whether `enter(user=user)`, `mount_all` and a process 1 work here, found out by doing it all in a forked child.

    For a process with one thread; 10 ms.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            enter(user=user)
            mount_all((Mount("/dev/null", "ro"), Mount("/proc", "hidden")))
            first = os.fork()
            if first == 0:
                os._exit(0)
            status = os.waitpid(first, 0)[1]
        finally:
            os._exit(int(status != 0))
    return os.waitpid(pid, 0)[1] == 0
