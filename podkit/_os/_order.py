"""What is to run in a ward and how it is confined, and what this system lets a ward do: plain values."""

from __future__ import annotations

import itertools
import json
import os
from typing import TYPE_CHECKING

import attrs

from podkit._os._process import _checked_argv, _checked_env

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TOTAL = 2 * 2**20  # bytes of arguments and environment together, with the NUL that ends each


@attrs.frozen(kw_only=True)
class WardFacts:
    """What this system lets a nanny do."""

    namespaces: bool  # wards have pid and mount namespaces of their own
    cgroup: bool  # wards without them have a control group
    abi: int  # the version of Landlock, 0 for none
    seccomp: bool  # there is a system call filter
    pid: int  # the nanny

    @property
    def tree(self) -> str:
        """How a call's processes are ended together: "namespace" (by the kernel, at once), "cgroup" or "best-effort"."""
        return "namespace" if self.namespaces else "cgroup" if self.cgroup else "best-effort"


@attrs.frozen(kw_only=True, repr=False)
class Order:
    """What is to run, and how it is confined. Paths are absolute; see `_kernel/_order.py` for the bytes."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    level: str = "advisory"  # "advisory" | "kernel" | "strict"
    rules: Sequence[tuple[str, str, tuple[int, int] | None]] = ()  # path, "read" | "write" | "edit", (device, inode) it must have
    mounts: Sequence[tuple[str, str]] = ()  # path, "ro" | "rw" | "hidden"
    binds: Sequence[tuple[str, bool]] = ()  # path, writable: all there is in a root of its own; empty for the root of this machine
    unix_sockets: bool = False
    network: bool = True
    namespaces: bool = True

    def __repr__(self) -> str:  # neither the arguments nor the environment: they may hold what is nobody's business
        return f"<Order {self.argv[0] if self.argv else None!r} {self.level} in {self.cwd}>"

    def to_bytes(self) -> bytes:
        """The order as the ward reads it. Raises `ValueError` for what no program can be given."""
        argv, env = _checked_argv(self.argv), _checked_env(self.env)
        if not argv[0]:
            raise ValueError("a program has a name")
        strings = itertools.chain(argv, (f"{name}={value}" for name, value in env.items()))
        if sum(len(os.fsencode(text)) + 1 for text in strings) > _TOTAL:
            raise ValueError(f"the arguments and the environment have more than {_TOTAL} bytes together")
        paths = [self.cwd, *(row[0] for rows in (self.rules, self.mounts, self.binds) for row in rows)]
        if not all(isinstance(path, str) and path.startswith("/") and "\0" not in path for path in paths):
            raise ValueError("a path in an order is absolute and has no NUL character")
        order = attrs.asdict(self, recurse=False)
        order.update(argv=argv, env=env)
        order.update({name: list(order[name]) for name in ("rules", "mounts", "binds")})
        return json.dumps(order).encode()
