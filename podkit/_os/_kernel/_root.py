"""A root directory of one's own that holds what was granted and nothing else."""

from __future__ import annotations

import errno
import os
import stat

from ._calls import KernelError, open_path, syscall
from ._mounts import NO_DEVICES, NO_PROGRAMS, NO_SUID, READ_ONLY, attach, below, file_system, lay_out, limit, parts, put, take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_DETACH = 2
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"))


def private_root(binds: Iterable[tuple[str, bool]], devices: Sequence[str] = _DEVICES) -> None:
    """Exchange the root directory for one with nothing but `binds` (path, whether it can be written to); after `enter(mount=True)`.

    What is mounted below a path comes with it. A path inside another may differ from it. Besides there are the `devices` of /dev
    that this machine has, an empty /dev/shm to mount on, /proc as it is (the kernel gives `mount_proc` a new one only where an
    old one can be seen), and the links of the old root directory that lead to something granted (/bin to usr/bin). Nothing can
    be made in the new root itself, and the old one is out of reach, except through descriptors that were open before. The
    working directory is "/" afterwards. No link is followed on the way to a path.

    Raises `KernelError` with step "root".
    """
    wanted = sorted({(path, bool(writable)) for path, writable in binds})
    taken: dict[str, tuple[int, os.stat_result]] = {}
    at, root = "", -1
    try:
        for at, writable in wanted:
            parts(at)
            if at in taken:
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
            taken[at] = _take(at, NO_SUID | (0 if writable else READ_ONLY))
        if "/dev" not in taken:
            _take_devices(devices, taken)
        if "/proc" not in taken:
            at = "/proc"
            taken[at] = _take(at, NO_SUID | NO_PROGRAMS)
        at = "/"
        root = file_system("tmpfs", NO_SUID | NO_DEVICES, mode="0755")
        _furnish(root, taken)
        _put_on_top(root)
        for at, (tree, found) in sorted(taken.items()):
            inside = any(below(at, other) for other in taken)
            put(tree, at, found if inside else None, root=root)
        at = "/"
        limit(root, recursive=False)
        _move_in(root)
    except OSError as error:
        raise KernelError("root", error.errno or 0, at) from None
    finally:
        for fd in (root, *(tree for tree, _ in taken.values())):
            if fd != -1:
                os.close(fd)


def _take(path: str, attributes: int) -> tuple[int, os.stat_result]:
    tree, found = take(path)
    try:
        device = path == "/dev" or below(path, "/dev")
        limit(tree, attributes if device else attributes | NO_DEVICES)
    except OSError:
        os.close(tree)
        raise
    return tree, found


def _take_devices(devices: Sequence[str], taken: dict[str, tuple[int, os.stat_result]]) -> None:
    for name in devices:
        path = f"/dev/{name}"
        if path not in taken and os.path.exists(path):
            taken[path] = _take(path, NO_SUID | NO_PROGRAMS | READ_ONLY)  # a device can be written to all the same


def _furnish(root: int, taken: dict[str, tuple[int, os.stat_result]]) -> None:
    """Make what is mounted on, and the links, while the new root can still be written to."""
    for path, (_, found) in taken.items():
        if not any(below(path, other) for other in taken):
            lay_out(root, path, found, mode=0o755)
    if "/dev" not in taken:
        lay_out(root, "/dev/shm", os.stat("/"), mode=0o755)  # noqa: S108 - a directory to mount on, in a root nobody else has
        for name, target in _LINKS:
            os.symlink(target, f"dev/{name}", dir_fd=root)
    for name in os.listdir("/"):
        if stat.S_ISLNK(os.lstat(f"/{name}").st_mode):
            target = os.readlink(f"/{name}")
            place = os.path.normpath(os.path.join("/", target))
            if any(place == path or below(place, path) for path in taken):
                os.symlink(target, name, dir_fd=root)


def _put_on_top(root: int) -> None:
    top = open_path("/")
    try:
        attach(root, top)
    finally:
        os.close(top)


def _move_in(root: int) -> None:
    os.fchdir(root)
    # The old root goes on top of the new one, where the working directory still names it, and is taken off.
    syscall("pivot_root", b".", b".")
    syscall("umount2", b".", _DETACH)
    os.chdir("/")
