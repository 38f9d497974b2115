"""What a process does to itself before it becomes a program: fewer capabilities, fewer descriptors, no way back."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from ._calls import KernelError, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What the ordinary tools of a superuser need: change owners and modes, write what others own, become another user, signal,
# listen on low ports. Nothing in it mounts, traces, loads code, makes devices, opens by handle or enters a namespace.
CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE = 0, 1, 3, 4, 5, 6, 7, 10
KEEP_AS_ROOT = (CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE)

_SETPCAP = 8
_PDEATHSIG, _DUMPABLE, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 36, 38
_GET_DUMPABLE, _CAPBSET_DROP, _GET_SECUREBITS, _SET_SECUREBITS, _CAP_AMBIENT = 3, 24, 27, 28, 47
_AMBIENT_CLEAR_ALL = 4
_NOROOT_AND_LOCKED = 0b11
_VERSION_3 = 0x20080522
_NO_LIMIT = 0xFFFFFFFF


def _prctl(step: str, option: int, value: int = 0) -> int:
    try:
        return syscall("prctl", option, value, 0, 0, 0)
    except OSError as error:
        raise KernelError(step, error.errno or 0) from None


def no_new_privileges() -> None:
    """From here on no exec gives this thread more rights than it has: set-user-ID bits and file capabilities do nothing."""
    _prctl("no_new_privileges", _NO_NEW_PRIVS, 1)


def die_with_parent(sig: int = 9) -> None:
    """Be sent `sig` when the thread that forked us ends. Compare `os.getppid()` afterwards: the parent may be gone already.

    It lasts over exec, unless the program is set-user-ID, and not into children. A parent that Landlock keeps from signalling us
    (`scoped`, and we are outside) does not send it either.
    """
    _prctl("die_with_parent", _PDEATHSIG, sig)


def not_dumpable() -> None:
    """Keep other processes of the same user from tracing us or opening our /proc files. Children inherit it; exec ends it."""
    _prctl("not_dumpable", _DUMPABLE, 0)


def dumpable(value: bool) -> bool:
    """Set whether we may be traced by our own user, and say whether we could be before."""
    before = _prctl("dumpable", _GET_DUMPABLE) == 1
    _prctl("dumpable", _DUMPABLE, int(value))
    return before


def subreaper() -> None:
    """Become the parent of every orphan among our descendants, in place of the machine's first process. Not inherited."""
    _prctl("subreaper", _SUBREAPER, 1)


def close_others(keep: Iterable[int]) -> None:
    """Close every descriptor of this process except `keep`."""
    low = 0
    for fd in sorted({*keep}):
        if fd > low:
            _close_range(low, fd - 1)
        low = fd + 1
    _close_range(low, _NO_LIMIT)


def _close_range(low: int, high: int) -> None:
    try:
        syscall("close_range", low, high, 0)
    except OSError:  # before Linux 5.9, or a sandbox that does not know the call
        _close_listed(low, high)


def _close_listed(low: int, high: int) -> None:
    try:
        names = os.listdir("/proc/self/fd")
    except OSError as error:
        raise KernelError("close_others", error.errno or 0, "/proc/self/fd") from None
    for fd in map(int, names):
        if low <= fd <= high:
            try:
                os.close(fd)
            except OSError as error:
                if error.errno != errno.EBADF:  # the listing's own descriptor is gone by now
                    raise KernelError("close_others", error.errno or 0) from None


def drop_capabilities(keep: Iterable[int]) -> None:
    """Give up every capability but `keep` for good, in all five sets: what this thread lacks now no exec gives back.

    The bounding set is what a superuser's exec fills the others from, so it is cut to `keep` as well. `SECBIT_NOROOT`, which
    would take `keep` from every program that is started, is set only when nothing is kept. Who may not cut the bounding set
    (no CAP_SETPCAP) gets `no_new_privileges` instead, under which an exec gives nothing that was not held before.
    """
    kept = sum(1 << number for number in {*keep})
    effective, permitted, _ = _capabilities()
    if effective >> _SETPCAP & 1:
        for number in range(64):
            if not kept >> number & 1 and not _drop_from_bounding(number):
                break
        if not kept:
            _prctl("capabilities", _SET_SECUREBITS, _prctl("capabilities", _GET_SECUREBITS) | _NOROOT_AND_LOCKED)
    else:
        no_new_privileges()
    try:
        syscall("prctl", _CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
        low, high = permitted & kept & _NO_LIMIT, (permitted & kept) >> 32
        syscall("capset", *_headed(struct.pack("6I", low, low, 0, high, high, 0)))
    except OSError as error:
        raise KernelError("capabilities", error.errno or 0) from None


def _drop_from_bounding(number: int) -> bool:
    """False when the kernel knows no capability of that number, and so none beyond."""
    try:
        syscall("prctl", _CAPBSET_DROP, number, 0, 0, 0)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise KernelError("capabilities", error.errno or 0) from None
    return True


def _capabilities() -> tuple[int, int, int]:
    """This thread's effective, permitted and inheritable sets as bit masks."""
    header, data = _headed(bytes(24))
    try:
        syscall("capget", header, data)
    except OSError as error:
        raise KernelError("capabilities", error.errno or 0) from None
    words = struct.unpack("6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def _headed(data: bytes) -> tuple[ctypes.Array[ctypes.c_char], ctypes.Array[ctypes.c_char]]:
    header = struct.pack("Ii", _VERSION_3, 0)
    return ctypes.create_string_buffer(header, len(header)), ctypes.create_string_buffer(data, len(data))
