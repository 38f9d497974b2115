"""Landlock: the kernel checks every file this thread and its children open, by a list of what is allowed.

Rules hold for a file or for a directory and everything below it, they only ever allow, and several add up. A restriction binds
the calling thread and what it starts from then on, is never undone, and further ones only narrow it. What was open before
stays open.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections import namedtuple

from ._calls import KernelError, open_path, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NamedTuple

    class Rule(NamedTuple):
        path: str
        access: str
        pin: tuple[int, int] | None = None

else:
    # `typing` would double what this package costs to import.
    Rule = namedtuple("Rule", ("path", "access", "pin"), defaults=(None,))  # noqa: PYI024 - see above
    Rule.__doc__ = 'What one path allows: `access` is "read", "write" or "edit"; `pin` the (device, inode) it must have, if known.'

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO = 1 << 7, 1 << 8, 1 << 9, 1 << 10
_MAKE_SYM, _REFER, _TRUNCATE = 1 << 12, 1 << 13, 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_EDIT = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE
_CHANGE = _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM | _REFER
_ACCESS = {"read": _READ, "write": _READ | _EDIT | _CHANGE, "edit": _EDIT}  # never devices: making one, or talking to one
_KNOWN_BITS = {1: 13, 2: 14, 3: 15, 4: 15}  # rights by version; 16 from the fifth on
_BOTH_TCP, _BOTH_SCOPES = 3, 3
_CREATE_VERSION, _RULE_PATH_BENEATH = 1, 1


def abi() -> int:
    """The version of Landlock that this kernel offers us; 0 for none."""
    try:
        return syscall("landlock_create_ruleset", None, 0, _CREATE_VERSION)
    except OSError:  # not compiled in, not started with the kernel, or hidden by a sandbox: there is none for us
        return 0


def restrict(rules: Iterable[Rule], *, network: bool, scoped: bool = True) -> None:
    """Confine the calling thread, and all it starts, to `rules`; irrevocably. `no_new_privileges` comes before.

    "read" allows reading, listing and running; "write" also creating, changing, renaming and removing, devices apart; "edit" is
    for a file that is changed where it is. `network=False` denies TCP by bind and connect; `scoped` denies signals to, and
    abstract sockets of, processes outside. Links are not followed on the way to a rule's path.

    Raises `KernelError`. Step "landlock": the kernel has none, or too old a one for what was asked; "rule": a path that is
    missing, leads over a link, or does not suit its access; "pin": something else stands there by now; "depth": this thread is
    inside as many restrictions as the kernel allows (16); "restrict": anything else.
    """
    version = abi()
    if version == 0 or (version < 4 and not network) or (version < 6 and scoped):
        raise KernelError("landlock", errno.EOPNOTSUPP)
    handled = (1 << _KNOWN_BITS.get(version, 16)) - 1
    ruleset = _create(version, handled, 0 if network else _BOTH_TCP, _BOTH_SCOPES if scoped else 0)
    try:
        for path, access, pin in rules:
            _add(ruleset, path, access, pin, handled)
        syscall("landlock_restrict_self", ruleset, 0)
    except OSError as error:
        raise KernelError("depth" if error.errno == errno.E2BIG else "restrict", error.errno or 0) from None
    finally:
        os.close(ruleset)


def _create(version: int, handled: int, network: int, scopes: int) -> int:
    attributes = struct.pack("QQQ", handled, network, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    try:
        return syscall("landlock_create_ruleset", ctypes.create_string_buffer(attributes, len(attributes)), len(attributes), 0)
    except OSError as error:
        raise KernelError("landlock", error.errno or 0) from None


def _add(ruleset: int, path: str, access: str, pin: tuple[int, int] | None, handled: int) -> None:
    if access not in _ACCESS:
        raise KernelError("rule", errno.EINVAL, path)
    try:
        fd = open_path(path)
    except OSError as error:
        raise KernelError("rule", error.errno or 0, path) from None
    try:
        found = os.fstat(fd)
        if pin is not None and (found.st_dev, found.st_ino) != tuple(pin):
            raise KernelError("pin", errno.ESTALE, path)
        rights = _ACCESS[access] & handled
        if not stat.S_ISDIR(found.st_mode):
            rights &= _EDIT  # the others are about directories, and the kernel refuses them for anything else
        elif access == "edit":
            raise KernelError("rule", errno.EISDIR, path)
        rule = struct.pack("=Qi", rights, fd)
        syscall("landlock_add_rule", ruleset, _RULE_PATH_BENEATH, ctypes.create_string_buffer(rule, len(rule)), 0)
    except OSError as error:
        raise KernelError("rule", error.errno or 0, path) from None
    finally:
        os.close(fd)
