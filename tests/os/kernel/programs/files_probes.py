"""What a confined process tries with files. A probe returns when it got what it wanted, and raises OSError when it was refused."""

import errno
import fcntl
import os
import socket
import struct

from _kernel import _calls
from tries import call, opened, read, run, with_open, write

OLD_UTIME = ("utimes",) if _calls.machine() == "x86_64" else ("utimensat", -100)


def list_by_new_link(yard):
    os.symlink(yard.s, f"{yard.w}/new{os.getpid()}")
    os.listdir(f"{yard.w}/new{os.getpid()}")


def open_in_received_directory(yard):
    yard.outside.line.send(b"x")
    _, (fd,), _, _ = socket.recv_fds(yard.outside.line, 1, 1)
    opened("key", os.O_RDONLY, dir_fd=fd)


def reopen_o_path(yard):
    fd = os.open("key", os.O_PATH, dir_fd=yard.outside.directory)
    read(f"/proc/self/fd/{fd}")


def open_after_fchdir(yard):
    here = os.open("/", os.O_PATH)
    os.fchdir(yard.outside.directory)
    try:
        read("key")
    finally:
        os.fchdir(here)


def tmpfile_linked_into_secret(yard):
    fd = os.open(yard.w, os.O_TMPFILE | os.O_WRONLY, 0o600)
    os.link(f"/proc/self/fd/{fd}", f"{yard.s}/tmp", follow_symlinks=True)


def gain_nothing_from_exec(yard):
    if "NoNewPrivs:\t1" not in read("/proc/self/status"):
        raise OSError(errno.EINVAL, "more rights after exec")


PROBES = {
    # Reading and writing.
    "write_in_write": lambda yard: write(f"{yard.w}/a"),
    "make_in_write": lambda yard: write(f"{yard.w}/sub/made"),
    "read_in_read": lambda yard: read(f"{yard.r}/a"),
    "write_in_read": lambda yard: write(f"{yard.r}/a", "r+"),
    "append_in_read": lambda yard: write(f"{yard.r}/a", "a"),
    "truncate_by_open": lambda yard: opened(f"{yard.r}/a", os.O_RDONLY | os.O_TRUNC),
    "truncate": lambda yard: os.truncate(f"{yard.r}/a", 0),
    "read_secret": lambda yard: read(f"{yard.s}/key"),
    "read_secret_dotdot": lambda yard: read(f"{yard.w}/../s/key"),
    "read_by_link": lambda yard: read(f"{yard.w}/l"),
    "read_by_linked_directory": lambda yard: read(f"{yard.w}/ld/key"),
    "write_by_dangling_link": lambda yard: write(f"{yard.w}/dang"),
    "list_secret": lambda yard: os.listdir(yard.s),
    "read_by_proc_self_root": lambda yard: read(f"/proc/self/root{yard.s}/key"),
    "read_by_proc_parent_root": lambda yard: read(f"/proc/{yard.outside.pid}/root{yard.s}/key"),
    "list_by_new_link": list_by_new_link,
    # Descriptors from outside.
    "open_in_leaked_directory": lambda yard: opened("key", os.O_RDONLY, dir_fd=yard.outside.directory),
    "open_in_received_directory": open_in_received_directory,
    "reopen_o_path": reopen_o_path,
    "reopen_for_writing": lambda yard: opened(f"/proc/self/fd/{yard.outside.read_only}", os.O_RDWR),
    "open_after_fchdir": open_after_fchdir,
    # Looking.
    "stat_secret": lambda yard: os.stat(f"{yard.s}/key"),
    "o_path_secret": lambda yard: opened(f"{yard.s}/key", os.O_PATH),
    "stat_missing_secret": lambda yard: os.stat(f"{yard.s}/nokey"),
    # Attributes.
    "chmod_secret": lambda yard: os.chmod(f"{yard.s}/key", 0o640),
    "chown_secret": lambda yard: os.chown(f"{yard.s}/key", os.getuid(), os.getgid()),
    "utime_secret": lambda yard: os.utime(f"{yard.s}/key"),
    "xattr_secret": lambda yard: os.setxattr(f"{yard.s}/key", "user.x", b"1"),
    "chmod_in_read": lambda yard: os.chmod(f"{yard.r}/a", 0o640),
    "utime_in_read": lambda yard: os.utime(f"{yard.r}/a"),
    "old_utimes_in_read": lambda yard: call(*OLD_UTIME, f"{yard.r}/a".encode(), None, 0),
    "xattr_in_read": lambda yard: os.setxattr(f"{yard.r}/a", "user.x", b"1"),
    "fchmod_leaked": lambda yard: os.fchmod(yard.outside.read_only, 0o640),
    "fchmod_in_read": lambda yard: with_open(f"{yard.r}/a", lambda fd: os.fchmod(fd, 0o640)),
    "fchmodat2_in_read": lambda yard: call("fchmodat2", -100, f"{yard.r}/a".encode(), 0o640, 0),
    "inode_flags_in_read": lambda yard: with_open(f"{yard.r}/a", lambda fd: fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x80))),
    "chmod_in_write": lambda yard: os.chmod(f"{yard.w}/a", 0o700),
    # Links and names.
    "link_secret": lambda yard: os.link(f"{yard.s}/key", f"{yard.w}/h"),
    "link_read": lambda yard: os.link(f"{yard.r}/a", f"{yard.w}/h2"),
    "rename_from_read": lambda yard: os.rename(f"{yard.r}/a", f"{yard.w}/got"),
    "rename_to_secret": lambda yard: os.rename(f"{yard.w}/x", f"{yard.s}/x"),
    "rename_from_secret": lambda yard: os.rename(f"{yard.s}/key", f"{yard.w}/key"),
    "exchange": lambda yard: call(
        {"x86_64": 316, "aarch64": 276}[_calls.machine()], -100, f"{yard.w}/x".encode(), -100, f"{yard.s}/key".encode(), 2
    ),
    "rename_in_write": lambda yard: os.rename(f"{yard.w}/sub/b", f"{yard.w}/b"),
    "rename_write_itself": lambda yard: os.rename(yard.w, f"{yard.d}/w2"),
    "unlink_secret": lambda yard: os.unlink(f"{yard.s}/key"),
    "rmdir_secret": lambda yard: os.rmdir(f"{yard.s}/dir"),
    "mkdir_secret": lambda yard: os.mkdir(f"{yard.s}/nd"),
    "tmpfile_in_secret": lambda yard: opened(yard.s, os.O_TMPFILE | os.O_WRONLY),
    "tmpfile_linked_into_secret": tmpfile_linked_into_secret,
    "make_character_device": lambda yard: os.mknod(f"{yard.w}/c", 0o20600, os.makedev(1, 3)),
    "make_block_device": lambda yard: os.mknod(f"{yard.w}/bl", 0o60600, os.makedev(254, 0)),
    "make_fifo": lambda yard: os.mkfifo(f"{yard.w}/fifo"),
    # Programs.
    "run_in_write": lambda yard: run(f"{yard.w}/exe"),
    "run_secret": lambda yard: run(f"{yard.s}/exe"),
    "gain_nothing_from_exec": gain_nothing_from_exec,
    # Elsewhere on the machine.
    "list_tmp": lambda yard: os.listdir("/tmp"),
    "write_tmp": lambda yard: write(f"/tmp/pk{os.getpid()}"),
    "write_shm": lambda yard: write(f"/dev/shm/pk{os.getpid()}"),
    "open_terminal": lambda yard: opened("/dev/tty", os.O_RDWR),
    "read_disk": lambda yard: opened(next(f"/dev/{name}" for name in (*os.listdir("/sys/block"), "vda")), os.O_RDONLY),
    "write_null": lambda yard: write("/dev/null"),
    "write_zero_by_rule_only": lambda yard: write("/dev/zero"),
}
