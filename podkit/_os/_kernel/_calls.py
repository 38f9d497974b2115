"""System calls by name, for those that the standard library does not have, and the one error of this package."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

# The numbers on x86-64 and on 64-bit ARM; None where the architecture never had the call. From 424 on all architectures agree.
NUMBERS: dict[str, tuple[int | None, int | None]] = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capget": (125, 90),
    "capset": (126, 91),
    "chmod": (90, None),
    "chown": (92, None),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "close_range": (436, 436),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
    "finit_module": (313, 273),
    "fremovexattr": (199, 16),
    "fsconfig": (431, 431),
    "fsetxattr": (190, 7),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "futimesat": (261, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "ioperm": (173, None),
    "iopl": (172, None),
    "ioprio_set": (251, 30),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "landlock_add_rule": (445, 445),
    "landlock_create_ruleset": (444, 444),
    "landlock_restrict_self": (446, 446),
    "lchown": (94, None),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "migrate_pages": (256, 238),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "openat2": (437, 437),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "removexattr": (197, 14),
    "removexattrat": (466, 466),
    "request_key": (249, 218),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "seccomp": (317, 277),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "settimeofday": (164, 170),
    "setxattr": (188, 5),
    "setxattrat": (463, 463),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
    "vhangup": (153, 58),
}
COLUMN = {"x86_64": 0, "aarch64": 1}
_NO_MAGICLINKS, _NO_SYMLINKS = 0x02, 0x04


class KernelError(Exception):
    """The kernel refused a step: `step` says which one, `error` is the errno, `path` the file it was about, if any."""

    def __init__(self, step: str, error: int, path: str = "") -> None:
        super().__init__(step, error, path)
        self.step = step
        self.error = error
        self.path = path

    def __str__(self) -> str:
        about = f" ({self.path!r})" if self.path else ""
        return f"{self.step}: {os.strerror(self.error)} [{errno.errorcode.get(self.error, self.error)}]{about}"


def machine() -> str | None:
    """The architecture this process runs on, "x86_64" or "aarch64"; None for any other, and for a 32-bit process."""
    name = os.uname().machine
    return name if name in COLUMN and struct.calcsize("P") == 8 else None


_machine = machine()
_call = ctypes.CDLL(None, use_errno=True).syscall
_call.restype = ctypes.c_long


def syscall(number_name: str, *args: object) -> int:
    """Make the system call of that name. Raises `OSError`; ENOSYS where this architecture is not known or lacks the call.

    Integers go as a full machine word (the default for variable arguments is 32 bits, which would truncate flags and
    pointers); bytes are paths and strings and may hold no NUL; None is a null pointer; anything else is handed to ctypes.
    """
    number = None if _machine is None else NUMBERS[number_name][COLUMN[_machine]]
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), number_name)
    result = int(_call(ctypes.c_long(number), *map(_word, args)))
    if result == -1:  # only then does errno mean anything
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), number_name)
    return result


def _word(value: object) -> object:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, bytes):
        if b"\0" in value:  # the kernel would stop there and act on another path
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return ctypes.c_char_p(value)
    return ctypes.c_void_p(None) if value is None else value


def open_path(path: str, *, flags: int = 0, dir_fd: int = -100, resolve: int = 0) -> int:
    """A close-on-exec O_PATH descriptor of `path`; no link is followed anywhere on the way. Raises `OSError`: ELOOP for a link.

    `path` is absolute unless `dir_fd` says where it starts.
    """
    if dir_fd == -100 and not path.startswith("/"):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
    how = struct.pack("QQQ", flags | os.O_PATH | os.O_CLOEXEC, 0, resolve | _NO_SYMLINKS | _NO_MAGICLINKS)
    return syscall("openat2", dir_fd, os.fsencode(path), ctypes.create_string_buffer(how, len(how)), len(how))
