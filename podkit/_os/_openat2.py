"""The system call `openat2` of Linux 5.6, which the standard library does not have: opening that the kernel keeps to a rule."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct
import sys

NO_XDEV = 0x01
NO_MAGICLINKS = 0x02
NO_SYMLINKS = 0x04
BENEATH = 0x08
_NUMBER = 437  # the same on every architecture
_SIZE = 24  # of the kernel's `struct open_how`


@functools.lru_cache(maxsize=256)
def _how(flags: int, mode: int, resolve: int) -> bytes:
    """The kernel's `struct open_how`, which it only reads."""
    return struct.pack("=QQQ", flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, resolve)


@functools.cache
def _syscall() -> ctypes._NamedFuncPointer:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    call.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
    return call


def openat2(path: str, flags: int, mode: int, *, resolve: int, dir_fd: int) -> int:
    """Open `path` beneath `dir_fd` as `os.open` does, under the rules `resolve`; close-on-exec. Raises `OSError`."""
    fd: int = _syscall()(_NUMBER, dir_fd, os.fsencode(path), _how(flags, mode, resolve), _SIZE)
    while fd == -1:
        error = ctypes.get_errno()
        if error != errno.EINTR:
            raise OSError(error, os.strerror(error), path)
        fd = _syscall()(_NUMBER, dir_fd, os.fsencode(path), _how(flags, mode, resolve), _SIZE)
    return fd


@functools.cache
def has_openat2() -> bool:
    """Whether this system has it and lets us use it (sandboxes may not). Asked once."""
    if sys.platform != "linux":
        return False
    try:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.close(openat2(".", os.O_PATH | os.O_DIRECTORY, 0, resolve=BENEATH | NO_SYMLINKS | NO_MAGICLINKS, dir_fd=root))
    except OSError:
        return False
    finally:
        os.close(root)
    return True
