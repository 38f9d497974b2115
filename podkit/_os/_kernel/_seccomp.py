"""A seccomp filter: the kernel refuses system calls by number and by the values of their arguments.

It closes what Landlock leaves open. A filter sees numbers only, never the path or the structure behind a pointer, so it says
no to whole kinds of calls. It binds the calling thread and what it starts, is never undone, and several add up.

The filter is a classic BPF program written out here. It is a row of blocks, one for a call or for calls of one fate: a block
begins with the call's number in the accumulator, goes on to the next block when the number is another, and returns otherwise.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from ._calls import COLUMN, NUMBERS, KernelError, machine, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Step = tuple[int, int, int, int]  # what to do, jump if true, jump if false, operand

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_BITS, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # places in what the filter is shown
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NATIVE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000  # the bit that marks a call of the x32 kind, which has numbers of its own
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK, _AF_VSOCK = 1, 2, 10, 16, 40
_TYPE_MASK, _SOCK_DGRAM, _SOCK_RAW = 0xF, 2, 3
_MPTCP, _SMC = 262, 256
_MSG_FASTOPEN = 0x20000000
_NEW_NAMESPACES = 0x7E020080  # every CLONE_NEW*; in `clone` 0x80 belongs to the signal number
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_SET_FLAGS, _SET_FSX, _SET_VERSION, _SET_VERITY = 0x40086602, 0x401C5820, 0x40087602, 0x40806685

_RINGS = "io_uring_setup io_uring_enter io_uring_register"
_MACHINE = (
    "mount umount2 fsopen fsconfig fsmount fspick move_mount open_tree open_tree_attr mount_setattr pivot_root chroot setns "
    "open_by_handle_at swapon swapoff quotactl quotactl_fd fanotify_init "
    "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd kcmp move_pages migrate_pages "
    "userfaultfd perf_event_open bpf add_key request_key keyctl "
    "kexec_load kexec_file_load init_module finit_module delete_module reboot acct syslog vhangup iopl ioperm "
    "settimeofday clock_settime clock_adjtime sethostname setdomainname"
)
_ATTRIBUTES = (
    "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat "
    "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr"
)
_OF_ONESELF = "prlimit64 sched_setparam sched_setscheduler sched_setaffinity sched_setattr"  # the first argument: whose


def supported() -> bool:
    """Whether `install` can work: an architecture we know the numbers of, and a kernel with filters that answer by an error."""
    if machine() is None:
        return False
    action = ctypes.create_string_buffer(struct.pack("I", _ERRNO), 4)
    try:
        syscall("seccomp", _GET_ACTION_AVAIL, 0, action)
    except OSError:
        return False
    return True


def install(*, unix_sockets: bool, network: bool, strict: bool, attributes: bool) -> None:
    """Filter the system calls of this thread and of all it starts, irrevocably. `no_new_privileges` comes before.

    Always refused: calls of another architecture (ENOSYS), io_uring, which would do any of the others unseen (EPERM), typing
    into a terminal (EPERM), and, unless `unix_sockets`, sockets to other programs of this machine: Unix sockets and VSOCK
    (EACCES). Stream pairs made by socketpair keep working; datagram pairs go with the sockets, as they can be sent from to any
    address. `network=False` refuses sockets of every other family as well.

    `strict` refuses besides: protocols and flags that connect past Landlock's rules (MPTCP, SMC, TCP Fast Open), unusual socket
    families, mounts and namespaces, tracing and reading other processes, setting other processes' priorities and limits, keys,
    bpf and the rest of the machine's administration. `attributes` refuses every change of modes, owners, times, extended
    attributes and inode flags, anywhere: a filter cannot tell whose.

    Raises `KernelError` with step "seccomp".
    """
    native = machine()
    if native is None:
        raise KernelError("seccomp", errno.ENOSYS)
    code = program(native, unix_sockets=unix_sockets, network=network, strict=strict, attributes=attributes)
    instructions = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    try:
        syscall("seccomp", _SET_MODE_FILTER, 0, ctypes.create_string_buffer(header, len(header)))
    except OSError as error:
        raise KernelError("seccomp", error.errno or 0) from None


def program(native: str, *, unix_sockets: bool, network: bool, strict: bool, attributes: bool) -> bytes:
    """The filter's instructions, eight bytes each, for an architecture."""
    steps: list[Step] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _NATIVE[native]),
        _refuse(errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_ABOVE, 0, 1, _X32),
        _refuse(errno.ENOSYS),
    ]
    column = COLUMN[native]
    steps += _socket(column, unix_sockets, network, strict)
    steps += _socketpair(column, unix_sockets, network)
    steps += _listed(column, _RINGS, errno.EPERM)
    requests = (_TIOCSTI, _TIOCLINUX) + ((_SET_FLAGS, _SET_FSX, _SET_VERSION, _SET_VERITY) if attributes else ())
    steps += _block(column, "ioctl", (_argument(1), *_any_of(requests, errno.EPERM)))
    if strict:
        steps += _strict(column)
    if attributes:
        steps += _listed(column, _ATTRIBUTES, errno.EPERM)
    return b"".join(struct.pack("HBBI", *step) for step in [*steps, (_RETURN, 0, 0, _ALLOW)])


def _socket(column: int, unix_sockets: bool, network: bool, strict: bool) -> Iterable[Step]:
    body: list[Step] = [_argument(0)]
    local = (_AF_UNIX, _AF_VSOCK) if network else (_AF_UNIX,)
    if not unix_sockets:
        body += _any_of(local, errno.EACCES)
    else:
        for family in local:
            body += [(_JUMP_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    if not network:
        return _block(column, "socket", (*body, _refuse(errno.EACCES)))
    if strict:
        body += _unless_any_of((_AF_INET, _AF_INET6, _AF_NETLINK), errno.EACCES)
        body += [(_JUMP_EQUAL, 0, 1, _AF_NETLINK), (_RETURN, 0, 0, _ALLOW), _argument(2)]
        body += _any_of((_MPTCP, _SMC), errno.EPROTONOSUPPORT)
    return _block(column, "socket", body)


def _socketpair(column: int, unix_sockets: bool, network: bool) -> Iterable[Step]:
    body: list[Step] = [_argument(0)]
    if not network:
        body += _unless_any_of((_AF_UNIX,), errno.EACCES)
    if not unix_sockets:
        # Raw means datagram for Unix sockets.
        body += [(_JUMP_EQUAL, 1, 0, _AF_UNIX), (_RETURN, 0, 0, _ALLOW), _argument(1), (_AND, 0, 0, _TYPE_MASK)]
        body += _any_of((_SOCK_DGRAM, _SOCK_RAW), errno.EACCES)
    return _block(column, "socketpair", body)


def _strict(column: int) -> list[Step]:
    steps = _listed(column, _MACHINE, errno.EPERM)
    steps += _listed(column, "clone3", errno.ENOSYS)  # its flags are behind a pointer; the C library falls back to clone
    for name in ("clone", "unshare"):
        flags = _NEW_NAMESPACES if name == "unshare" else _NEW_NAMESPACES & ~0x80
        steps += _block(column, name, (_argument(0), (_JUMP_BITS, 0, 1, flags), _refuse(errno.EPERM)))
    for name, place in (("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)):
        steps += _block(column, name, (_argument(place), (_JUMP_BITS, 0, 1, _MSG_FASTOPEN), _refuse(errno.EOPNOTSUPP)))
    for name in _OF_ONESELF.split():
        steps += _block(column, name, (_argument(0), *_unless_any_of((0,), errno.EPERM)))
    for name, process in (("setpriority", 0), ("ioprio_set", 1)):  # a group or a user is always more than oneself
        whom = (*_unless_any_of((process,), errno.EPERM), _argument(1), *_unless_any_of((0,), errno.EPERM))
        steps += _block(column, name, (_argument(0), *whom))
    return steps


def _block(column: int, name: str, body: Iterable[Step]) -> list[Step]:
    """What becomes of the call of that name: `body`, and allowed at its end."""
    steps = [*body, (_RETURN, 0, 0, _ALLOW)]
    number = NUMBERS[name][column]
    return [] if number is None else [(_JUMP_EQUAL, 0, len(steps), number), *steps]


def _listed(column: int, names: str, error: int) -> list[Step]:
    """Refuse every call of these names that the architecture has, whatever its arguments."""
    numbers = [NUMBERS[name][column] for name in names.split()]
    return _any_of([number for number in numbers if number is not None], error)


def _any_of(values: Iterable[int], error: int) -> list[Step]:
    """Refuse when the accumulator holds one of `values`; go on, with the accumulator as it was, when it does not."""
    values = tuple(values)
    last = len(values) - 1
    tests = [(_JUMP_EQUAL, last - at, int(at == last), value) for at, value in enumerate(values)]
    return [*tests, _refuse(error)]


def _unless_any_of(values: Iterable[int], error: int) -> list[Step]:
    """Refuse when the accumulator holds none of `values`; go on when it does."""
    values = tuple(values)
    return [*((_JUMP_EQUAL, len(values) - at, 0, value) for at, value in enumerate(values)), _refuse(error)]


def _argument(place: int) -> Step:
    # The lower half: every argument that is tested here is an int to the kernel, which ignores the upper one as well.
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * place)


def _refuse(error: int) -> Step:
    return (_RETURN, 0, 0, _ERRNO | error)
