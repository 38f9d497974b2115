"""The tools of the probes."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import signal
import socket

from _kernel import _calls

_libc = ctypes.CDLL(None, use_errno=True)
TERMINAL = -1  # set by whoever runs the probes


def call(name, *args):
    """A system call by name or number."""
    if isinstance(name, int):
        if _libc.syscall(ctypes.c_long(name), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args]) == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return
    _calls.syscall(name, *args)


def read(path):
    with open(path) as file:
        return file.read()


def write(path, mode="w"):
    with open(path, mode) as file:
        file.write("z")


def with_open(path, action):
    fd = os.open(path, os.O_RDONLY)
    try:
        action(fd)
    finally:
        os.close(fd)


def opened(path, flags, **more):
    os.close(os.open(path, flags, 0o600, **more))


PLACE = ctypes.create_string_buffer(8)


def connect(kind, address):
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.connect(address)


def bind(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(path)


def pair_send(kind, address):
    one, two = socket.socketpair(socket.AF_UNIX, kind)
    with one, two:
        one.sendto(b"x", address)
        two.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # nothing came: it went to the address
            two.recv(1)
            raise OSError(errno.EISCONN, "the address was ignored")


def pair_connect(kind, address):
    one, two = socket.socketpair(socket.AF_UNIX, kind)
    two.close()
    with one:
        one.connect(address)


def run(path):
    in_child(lambda: os.execv(path, [path]))


def in_child(action):
    """Do it in a fork, and raise what it raised."""
    pid = os.fork()
    if pid == 0:
        code = 0
        try:
            action()
        except OSError as error:
            code = error.errno
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code:
        raise OSError(code, os.strerror(code))


def in_clone(flags):
    pid = _libc.syscall(
        ctypes.c_long(_calls.NUMBERS["clone"][_calls.COLUMN[_calls.machine()]]),
        ctypes.c_long(flags | signal.SIGCHLD),
        *[ctypes.c_long(0)] * 4,
    )
    if pid == 0:
        os._exit(0)
    if pid == -1:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(pid, 0)


def in_terminal(request):
    """An ioctl on a terminal that is ours."""

    def go():
        os.setsid()
        fcntl.ioctl(TERMINAL, 0x540E, 0)
        call("ioctl", TERMINAL, request, ctypes.create_string_buffer(b"xxxxxxxx"))

    in_child(go)


def foreign_getpid():
    """getpid as a 32-bit program asks for it: mov eax, 20; int 0x80; cdqe; ret."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\0\0\0\xcd\x80\x48\x98\xc3")
    function = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    result = function()
    if result < 0:
        raise OSError(-result, os.strerror(-result))
