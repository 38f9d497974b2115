"""From an order to a running program, inside the process that becomes it: mounts, directory, rights, rules, filter, exec.

Every step may fail and then the whole call has failed: what was asked for is never quietly left out. `become` therefore
either does not return, because this process is the program now, or raises `KernelError` and the program never ran.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket

from . import _calls, _landlock, _namespaces, _process, _seccomp
from ._calls import KernelError
from ._order import LIMIT, OrderError, read_order
from ._wire import failure, pack, receive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

READY, TRYING = b"ready", b"trying"
_SAMPLE = (
    b'{"argv":["x"],"env":{"A":"b"},"cwd":"/","level":"kernel","rules":[["/","read",[1,2]]],"mounts":[["/","ro"]],'
    b'"binds":[["/",true]],"unix_sockets":false,"network":true,"namespaces":true}'
)
_CAPBSET_DROP = 24
_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def wait_for_order(sock: socket.socket, *, namespaces: bool, confined: bool) -> None:
    """Be a tool that is not one yet: say `READY` on `sock`, wait there for a call and its output, and become what it orders.

    What can be done before the order is known is done before; `confined` says that its level will be one that confines. Says
    `TRYING` at the last moment, and why it came to nothing otherwise. Returns when it did, or when nobody calls any more.
    """
    try:
        os.setsid()
        calm_signals()
        if namespaces:
            _namespaces.mount_proc()
        _rehearse(confined=confined)
        if not _tell(sock, READY):
            return
        _, fds = receive(sock)
        if len(fds) == 4:
            call = socket.socket(fileno=fds[0])
            order = read_order(_read_block(call))
            call.close()
            for number, fd in enumerate(fds[1:]):
                os.dup2(fd, number)
            become(order, namespaces=namespaces, keep=(sock.fileno(),), trying=lambda: _tell(sock, TRYING))
    except KernelError as error:
        _tell(sock, pack(failure(error.step, error.error, error.path)))
    except OrderError as error:
        _tell(sock, pack(failure("order", errno.EINVAL, str(error))))
    except (OSError, MemoryError) as error:
        _tell(sock, pack(failure("tool", getattr(error, "errno", None) or errno.ENOMEM)))


def _tell(sock: socket.socket, data: bytes) -> bool:
    """Send a message to the ward. False when it is gone, which is no fault of ours: we go too."""
    try:
        sock.send(data, socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


def _rehearse(*, confined: bool) -> None:
    """Do once, without effect, what the order will ask for. A fresh copy of a process pays for every page it touches first."""
    read_order(_SAMPLE)
    pack(failure("", 0))
    if confined:
        _cut_capabilities()
        _landlock.abi()
        native = _calls.machine()
        if native is not None:
            _seccomp.program(native, unix_sockets=False, network=True, strict=False, attributes=False)
        os.close(_calls.open_path("/"))


def become(order: dict[str, Any], *, namespaces: bool, keep: tuple[int, ...] = (), trying: Callable[[], object] = int) -> NoReturn:
    """Confine this process as a checked `order` says and execute its program. Does not return.

    `namespaces` says whether this process has its own pid and mount namespace. `keep` are descriptors that stay open until the
    program runs and that it does not get; `trying` is called right before. Raises `KernelError`; its steps "cwd" and "exec" are
    about the program itself.
    """
    if namespaces:
        _mount(order)
    elif order["mounts"] or order["binds"]:
        raise KernelError("namespaces", errno.ENOSYS)
    try:
        os.chdir(order["cwd"])
    except OSError as error:
        raise KernelError("cwd", error.errno or 0, order["cwd"]) from None
    if order["level"] != "advisory":
        _confine(order, private=namespaces and bool(order["binds"]))
    _process.close_others((0, 1, 2, *keep))
    trying()
    _execute(order["argv"], order["env"])


def calm_signals() -> None:
    """What an interpreter and a nanny ignore means what it means by default again: a program expects to start like that."""
    for number in _IGNORED:
        signal.signal(number, signal.SIG_DFL)


def _capabilities() -> tuple[int, ...]:
    return _process.KEEP_AS_ROOT if os.geteuid() == 0 else ()


def _cut_capabilities() -> None:
    """Take out of the bounding set, which counts only for what an exec may give, all that is dropped later. As far as it goes."""
    kept = _capabilities()
    with contextlib.suppress(OSError):  # who may not has nothing to lose; and the numbers end somewhere
        for number in range(64):
            if number not in kept:
                _calls.syscall("prctl", _CAPBSET_DROP, number, 0, 0, 0)


def _mount(order: dict[str, Any]) -> None:
    if order["binds"]:
        _namespaces.private_root([(path, writable) for path, writable in order["binds"]])
    if order["mounts"]:
        _namespaces.mount_all([_namespaces.Mount(path, how) for path, how in order["mounts"]])


def _confine(order: dict[str, Any], *, private: bool) -> None:
    strict = order["level"] == "strict"
    rules = [_landlock.Rule(path, access, None if pin is None else (pin[0], pin[1])) for path, access, pin in order["rules"]]
    _process.drop_capabilities(_capabilities())
    _process.no_new_privileges()
    _landlock.restrict(rules, network=order["network"])
    _seccomp.install(
        unix_sockets=order["unix_sockets"],
        network=order["network"],
        strict=strict,
        attributes=strict and not private,  # where the root holds only what is granted, there is nothing else to change
    )


def _execute(argv: list[str], env: dict[str, str]) -> NoReturn:
    """Look the program up as a shell does, along the PATH of its own environment."""
    name = argv[0]
    places = [name] if "/" in name else [f"{at or '.'}/{name}" for at in env.get("PATH", os.defpath).split(":")]
    found = KernelError("exec", errno.ENOENT, name)
    for place in places:
        try:
            os.execve(place, argv, env)  # noqa: S606 - a list of arguments is what is wanted
        except OSError as error:
            number = error.errno or 0
            if number not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES) or len(places) == 1:
                raise KernelError("exec", number, name) from None
            if number == errno.EACCES:  # kept, unless a later place has it
                found = KernelError("exec", number, name)
    raise found


def _read_block(call: socket.socket) -> bytes:
    """Four bytes with the length, then that many. Raises `OrderError` for fewer, or for too many."""
    size = int.from_bytes(_read(call, 4), "big")
    if size > LIMIT:
        raise OrderError("an order is too long")
    return _read(call, size)


def _read(call: socket.socket, size: int) -> bytes:
    data = call.recv(size, socket.MSG_WAITALL) if size else b""
    if len(data) != size:
        raise OrderError("an order ended early")
    return data
