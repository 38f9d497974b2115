"""What the probes of attack.py are made of: their register, raw system calls, and the ground they stand on."""

import ctypes
import errno
import os
import platform

LIBC = ctypes.CDLL(None, use_errno=True)
CALLS = {  # x86_64, aarch64
    "mount": (165, 40),
    "unshare": (272, 97),
    "pivot_root": (155, 41),
    "setns": (308, 268),
    "chroot": (161, 51),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "open_by_handle_at": (304, 265),
    "renameat2": (316, 276),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "setpriority": (141, 140),
    "sethostname": (170, 161),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "inotify_add_watch": (254, 27),
    "inotify_init1": (294, 26),
}
PROBES = {}
facts = {}  # what the attacker was told; `top` is the directory it is let loose on


def probe(row, name):
    def keep(function):
        PROBES[row, name] = function
        return function

    return keep


def at(name):
    return f"{facts['top']}/{name}"


def call(name, *arguments):
    number = CALLS[name][platform.machine() == "aarch64"]
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = LIBC.syscall(ctypes.c_long(number), *given)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def read(path, flags=0):
    fd = os.open(path, os.O_RDONLY | flags)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def write(path, flags=os.O_CREAT, data=b"pwned"):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def listed(path):
    names = os.listdir(path)
    if not names:
        raise PermissionError(errno.EACCES, "empty")
