"""The disk of a world as one program has it: files in memory behind podkit's own file module, which can be full or fail."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from podkit._os import Disk

from ._sim_files import Node, SimFiles

if TYPE_CHECKING:
    from ._sim_program import Program


@attrs.define(eq=False)
class Opened:
    """An open file. `disk` is whose descriptor it is."""

    node: Node
    disk: SimDisk
    append: bool


Trouble = Callable[["SimDisk", str], str | None]
"""Asked before each call of a disk, with its name: what goes wrong with it, if anything.

That is a name of `FAILURES`, "short" for a write of which only half gets there, "killed": then `kill` is called before it has any
effect, or "killed within" for a write: then it is called when half of it got there.
"""

FAILURES = {"full": errno.ENOSPC, "error": errno.EIO, "interrupted": errno.EINTR, "descriptors": errno.EMFILE}


class SimDisk(Disk):
    """The files as one program has them open. A program that is `dead` has none, and nothing it does reaches the disk."""

    may_wait = False
    files: SimFiles
    dead: bool
    trouble: Trouble | None

    def __init__(self, files: SimFiles) -> None:
        self.files, self.dead, self.trouble = files, False, None
        self.kill: Callable[[], None] = self.die
        self._opened: dict[int, Opened] = {}
        self._next = 100

    def __repr__(self) -> str:
        return f"<SimDisk with {len(self._opened)} open files{', dead' if self.dead else ''}>"

    def die(self) -> None:
        """What the kernel does for a program that is gone: close its files, and with them end its locks and claims."""
        for fd in tuple(self._opened):
            self._close(fd)
        self.dead = True

    # What podkit calls.

    def open(self, path: str, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        self._begin("open")
        path = self._path(path, dir_fd)
        node = self.files.names.get(path)
        if node is None:
            if not flags & os.O_CREAT:
                raise _error(errno.ENOENT, path)
            self._parent(path)
            node = self.files.new(path, stat.S_IFREG, mode)
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise _error(errno.EEXIST, path)
        elif flags & os.O_DIRECTORY and node.kind != stat.S_IFDIR:
            raise _error(errno.ENOTDIR, path)
        elif node.kind == stat.S_IFDIR and flags & (os.O_WRONLY | os.O_RDWR):
            raise _error(errno.EISDIR, path)
        elif flags & os.O_TRUNC:
            self.files.truncate(node, 0)
        self._next += 1
        self._opened[self._next] = Opened(node, self, bool(flags & os.O_APPEND))
        return self._next

    def close(self, fd: int) -> None:
        self._of(fd)
        self._close(fd)
        self._begin("close")

    def pread(self, fd: int, size: int, at: int) -> bytes:
        self._begin("pread")
        return bytes(self._of(fd).node.data[at : at + size])

    def write(self, fd: int, data: bytes) -> int:
        opened = self._of(fd)
        return self._write("write", opened.node, data, len(opened.node.data))

    def pwrite(self, fd: int, data: bytes, at: int) -> int:
        opened = self._of(fd)
        return self._write("pwrite", opened.node, data, len(opened.node.data) if opened.append else at)  # as Linux has it

    def truncate(self, fd: int, size: int) -> None:
        self._begin("truncate")
        self.files.truncate(self._of(fd).node, size)

    def sync(self, fd: int) -> None:
        self._begin("sync")
        self.files.sync(self._of(fd).node)

    def sync_dir(self, path: str) -> None:
        self._begin("sync_dir")
        self.files.sync(self._directory(path))

    def fstat(self, fd: int) -> os.stat_result:
        self._begin("fstat")
        return self._known(self._of(fd).node)

    def lstat(self, path: str, *, dir_fd: int | None = None) -> os.stat_result:
        self._begin("lstat")
        return self._known(self._node(self._path(path, dir_fd)))

    def listdir(self, path: str) -> list[str]:
        self._begin("listdir")
        above = self._directory(path)
        return [os.path.basename(name) for name in self.files.names if name != "/" and os.path.dirname(name) == above]

    def rename(self, old: str, new: str) -> None:
        self._begin("rename")
        self._node(old)
        self._parent(new)
        self.files.rename(old, new)

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        self._begin("unlink")
        path = self._path(path, dir_fd)
        if self._node(path).kind == stat.S_IFDIR:
            raise _error(errno.EISDIR, path)
        self.files.unname(path)

    def mkfifo(self, path: str, mode: int = 0o600) -> None:
        self._begin("mkfifo")
        self._make(path, stat.S_IFIFO, mode)

    def mkdir(self, path: str, mode: int = 0o700) -> None:
        self._begin("mkdir")
        self._make(path, stat.S_IFDIR, mode)

    def rmdir(self, path: str, *, dir_fd: int | None = None) -> None:
        self._begin("rmdir")
        path = self._path(path, dir_fd)
        if any(os.path.dirname(name) == path for name in self.files.names if name != "/"):
            raise _error(errno.ENOTEMPTY, path)
        self._directory(path)
        self.files.unname(path)

    def chmod(self, fd: int, mode: int) -> None:
        self._begin("chmod")
        self._of(fd).node.mode = mode

    def lock(self, fd: int) -> bool:
        self._begin("lock")
        opened = self._of(fd)
        if opened.node.locked_by not in (None, opened):
            return False
        opened.node.locked_by = opened
        return True

    def unlock(self, fd: int) -> None:
        opened = self._of(fd)
        if opened.node.locked_by is opened:
            opened.node.locked_by = None
        self._begin("unlock")

    def claim(self, fd: int, at: int) -> bool:
        self._begin("claim")
        opened = self._of(fd)
        return opened.node.claims.setdefault(at, opened) is opened

    def disclaim(self, fd: int, at: int) -> None:
        self._begin("disclaim")
        opened = self._of(fd)
        if opened.node.claims.get(at) is opened:
            del opened.node.claims[at]

    def first_claim(self, fd: int, start: int, end: int) -> int | None:
        self._begin("first_claim")
        opened = self._of(fd)
        return min((at for at, other in opened.node.claims.items() if start <= at < end and other is not opened), default=None)

    # How.

    def _begin(self, call: str) -> None:
        """Before a call has any effect. Raises what goes wrong with it."""
        self._goes_wrong(call)

    def _goes_wrong(self, call: str) -> str | None:
        if self.dead:
            raise _error(errno.EIO)
        failure = None if self.trouble is None else self.trouble(self, call)
        if failure == "killed":
            self.kill()
            raise _error(errno.EIO)
        if failure in FAILURES:
            raise _error(FAILURES[failure])
        return failure

    def _write(self, call: str, node: Node, data: bytes, at: int) -> int:
        failure = self._goes_wrong(call)
        if failure in ("short", "killed within"):
            data = data[: len(data) // 2]
        self.files.write(node, data, at)
        if failure == "killed within":
            self.kill()
            raise _error(errno.EIO)
        return len(data)

    def _close(self, fd: int) -> None:
        opened = self._opened.pop(fd)
        node = opened.node
        if node.locked_by is opened:
            node.locked_by = None
        node.claims = {at: other for at, other in node.claims.items() if other is not opened}

    def _of(self, fd: int) -> Opened:
        opened = self._opened.get(fd)
        if opened is None:
            raise _error(errno.EIO if self.dead else errno.EBADF)
        return opened

    def _path(self, path: str, dir_fd: int | None) -> str:
        if dir_fd is None or path.startswith("/"):
            return path
        above = self._of(dir_fd).node
        for name, node in self.files.names.items():
            if node is above:
                return os.path.join(name, path)
        raise _error(errno.ENOENT, path)

    def _node(self, path: str) -> Node:
        node = self.files.names.get(path)
        if node is None:
            raise _error(errno.ENOENT, path)
        return node

    def _directory(self, path: str) -> str:
        if self._node(path).kind != stat.S_IFDIR:
            raise _error(errno.ENOTDIR, path)
        return path

    def _parent(self, path: str) -> None:
        self._directory(os.path.dirname(path))

    def _make(self, path: str, kind: int, mode: int) -> None:
        self._parent(path)
        if path in self.files.names:
            raise _error(errno.EEXIST, path)
        self.files.new(path, kind, mode)

    def _known(self, node: Node) -> os.stat_result:
        now = int(self.files.time)
        links = int(any(other is node for other in self.files.names.values()))
        return os.stat_result(
            (node.kind | node.mode, node.number, 1, links, os.geteuid(), os.getegid(), len(node.data), now, now, now)
        )


def _error(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


def disk_of(files: SimFiles, program: Program | None, trouble: Callable[[Program, str], str | None]) -> SimDisk:
    """The files as that program has them open from now on; None is the test itself, on whose disk nothing goes wrong.

    `trouble(program, call)` says what goes wrong with a call. When the program is killed, the disk dies with it.
    """
    disk = SimDisk(files)
    if program is not None:
        disk.kill = program.kill
        disk.trouble = lambda _disk, call: trouble(program, call)
        program.disks.append(disk)
        if program.dead:
            disk.die()
    return disk
