"""Probes on files, names, attributes, and what can be seen of what is outside: see attack.py."""

import errno
import os
import socket
import stat

from attack_kit import at, call, facts, listed, probe, read, write


@probe("K01", "write")
def _():
    write(at("w/d/new"))
    if read(at("w/d/new")) != b"pwned":
        raise OSError(errno.EIO, "not what was written")


@probe("K01", "read")
def _():
    read(at("r/a"))


@probe("K02", "write")
def _():
    write(at("r/a"), 0)


@probe("K02", "append")
def _():
    write(at("r/a"), os.O_APPEND)


@probe("K03", "open_truncate")
def _():
    read(at("r/a"), os.O_TRUNC)


@probe("K03", "truncate")
def _():
    os.truncate(at("r/a"), 0)


@probe("K04", "read")
def _():
    read(at("s/key"))


@probe("K04", "dots")
def _():
    read(at("w/../s/key"))


@probe("K05", "link")
def _():
    read(at("w/l"))


@probe("K05", "linked_directory")
def _():
    read(at("w/ld/key"))


@probe("K05", "dangling")
def _():
    write(at("w/dang"))


@probe("K06", "list")
def _():
    listed(at("s"))


@probe("K07", "self_root")
def _():
    read(f"/proc/self/root{at('s/key')}")


@probe("K07", "parent_root")
def _():
    read(f"/proc/{facts['parent']}/root{at('s/key')}")


@probe("K07", "other_root")
def _():
    read(f"/proc/{facts['victim']}/root{at('s/key')}")


@probe("K08", "new_link")
def _():
    os.symlink(at("s"), at("w/d/to_s"))
    listed(at("w/d/to_s"))


def leaked(kind):
    for fd in facts["leaked"]:
        if kind(os.fstat(fd).st_mode):
            return fd
    raise OSError(errno.EBADF, "nothing was left open")


@probe("K09", "leaked_directory")
def _():
    os.close(os.open("key", os.O_RDONLY, dir_fd=leaked(stat.S_ISDIR)))


@probe("K10", "leaked_file")
def _():
    os.pwrite(leaked(stat.S_ISREG), b"pwned", 0)


def received(kind):
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(5)
        end.connect(at("w/d/passed.sock"))
        _data, fds, _flags, _address = socket.recv_fds(end, 1, 4)
    for fd in fds:
        if kind(os.fstat(fd).st_mode):
            return fd
    raise OSError(errno.EBADF, "nothing came")


@probe("K11", "passed_file")
def _():
    os.pwrite(received(stat.S_ISREG), b"pwned", 0)


@probe("K12", "passed_directory")
def _():
    os.close(os.open("key", os.O_RDONLY, dir_fd=received(stat.S_ISDIR)))


@probe("K13", "reopen_path")
def _():
    fd = os.open(at("s/key"), os.O_PATH)
    read(f"/proc/self/fd/{fd}")


@probe("K14", "reopen_write")
def _():
    fd = os.open(at("r/a"), os.O_RDONLY)
    write(f"/proc/self/fd/{fd}", 0)


@probe("K15", "change_directory")
def _():
    os.chdir(at("s"))
    read("key")


# What can be seen, and attributes.


@probe("K16", "stat")
def _():
    os.stat(at("s/key"))


@probe("K16", "access")
def _():
    if not os.access(at("s/key"), os.F_OK):
        raise OSError(errno.EACCES, "access")


@probe("K16", "readlink")
def _():
    os.readlink(at("s/link"))


@probe("K16", "path_only")
def _():
    os.close(os.open(at("s/key"), os.O_PATH))


@probe("K16", "watch")
def _():
    fd = call("inotify_init1", 0)
    call("inotify_add_watch", fd, at("s").encode(), 0x100)


@probe("K17", "oracle")
def _():
    answers = []
    for name in ("s/key", "s/none"):
        try:
            os.stat(at(name))
            answers.append(0)
        except OSError as error:
            answers.append(error.errno)
    if answers[0] == answers[1]:
        raise OSError(answers[0], "the same answer for both")


@probe("K18", "chmod")
def _():
    os.chmod(at("s/attr"), 0o777)


@probe("K18", "chown")
def _():
    os.chown(at("s/attr"), os.getuid(), os.getgid())


@probe("K18", "utime")
def _():
    os.utime(at("s/attr"), (1, 1))


@probe("K18", "setxattr")
def _():
    os.setxattr(at("s/attr"), "user.pwned", b"1")


@probe("K19", "fchmod")
def _():
    os.fchmod(os.open(at("r/attr"), os.O_RDONLY), 0o777)


# Names.


@probe("K20", "outside_in")
def _():
    os.link(at("s/key"), at("w/d/h"))


@probe("K20", "earlier")
def _():
    read(at("w/d/earlier"))


@probe("K20", "readable_in")
def _():
    os.link(at("r/a"), at("w/d/h2"))


@probe("K21", "readable_in")
def _():
    os.rename(at("r/a"), at("w/d/ra"))


@probe("K21", "inside_out")
def _():
    write(at("w/d/x1"))
    os.rename(at("w/d/x1"), at("s/x1"))


@probe("K21", "outside_in")
def _():
    os.rename(at("s/key"), at("w/d/k"))


@probe("K22", "exchange")
def _():
    write(at("w/d/x2"))
    call("renameat2", -100, at("w/d/x2").encode(), -100, at("s/key").encode(), 2)


@probe("K23", "rename")
def _():
    write(at("w/d/mv"))
    os.rename(at("w/d/mv"), at("w/e/mv"))


@probe("K24", "rename_target")
def _():
    os.rename(at("w"), at("w9"))


@probe("K24", "sibling")
def _():
    write(at("w2/f"))


@probe("K25", "unlink")
def _():
    os.unlink(at("s/key"))


@probe("K25", "rmdir")
def _():
    os.rmdir(at("s/empty"))


@probe("K25", "mkdir")
def _():
    os.mkdir(at("s/nd"))


@probe("K26", "unnamed_outside")
def _():
    os.close(os.open(at("s"), os.O_TMPFILE | os.O_WRONLY, 0o600))


@probe("K26", "unnamed_linked_out")
def _():
    fd = os.open(at("w/d"), os.O_TMPFILE | os.O_WRONLY, 0o600)
    os.link(f"/proc/self/fd/{fd}", at("s/linked"), src_dir_fd=fd, follow_symlinks=True)  # with a directory it is linkat


@probe("K27", "character")
def _():
    os.mknod(at("w/d/char"), stat.S_IFCHR | 0o666, os.makedev(1, 3))


@probe("K27", "block")
def _():
    os.mknod(at("w/d/block"), stat.S_IFBLK | 0o666, os.makedev(7, 0))


@probe("K28", "fifo")
def _():
    os.mkfifo(at("w/d/fifo"))


@probe("K28", "socket")
def _():
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(at("w/d/sock"))


@probe("K29", "socket")
def _():
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(at("s/sock"))
