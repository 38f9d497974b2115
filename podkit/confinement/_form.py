"""The kernel form of a scope as values, and what has to be known of a disk to work it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import attrs

from podkit.protocol import Permission

MAX_ENTRIES: Final = 4096  # of one directory that are granted one by one


@attrs.frozen
class Entry:
    """One entry of a directory: its name, and what it is: "dir", "file", "link" or "other"."""

    name: str
    kind: str


class Look(Protocol):
    """What the disk looks like, asked as little as possible."""

    def kind(self, path: str) -> str | None:
        """As in `Entry`; "link" also when there is a link on the way; None when nothing is there or nobody can tell."""
        ...

    def entries(self, path: str) -> Sequence[Entry]:
        """What is in a directory; of more than `MAX_ENTRIES` one more than that. Empty when it is none or cannot be listed."""
        ...


@attrs.frozen
class KernelRule:
    """`access` at `path`: "read" or "write" with everything below it, or "edit", a file in place. With `pin` it is meant for the
    object of that (device, inode) only."""

    path: str
    access: str
    pin: tuple[int, int] | None = None


@attrs.frozen
class KernelMount:
    """What is at `path`, bound onto itself, read-only ("ro") or as it is ("rw"); or covered by something that holds nothing but the
    way to deeper mounts ("hidden"), or by a new directory of the process tree's own ("empty")."""

    path: str
    how: str


@attrs.frozen
class Shortfall:
    """The scope allows `permission` here and tool processes do not have it.

    With `whole` that goes for everything below too; else for the directory itself, for its entries, and below those to come.
    """

    path: str
    permission: Permission
    why: str
    whole: bool = attrs.field(default=False, kw_only=True)

    def __str__(self) -> str:
        return f"no {self.permission} {'at' if self.whole else 'directly in'} {self.path}: {self.why}"


@attrs.frozen
class KernelForm:
    """A scope as the kernel is told it. `mounts` are sorted, parents first. `binds` are (path, writable), parents first: all that a
    root directory holds that has nothing else in it; empty where the root stays as it is."""

    rules: tuple[KernelRule, ...]
    mounts: tuple[KernelMount, ...] = ()
    shortfalls: tuple[Shortfall, ...] = ()
    binds: tuple[tuple[str, bool], ...] = ()
