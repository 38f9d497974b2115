"""What happened to authority: the facts a registry keeps, in order. The table is what follows from them."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from podkit.logic._allocations import Pin
from podkit.logic._scope import Scope


@attrs.frozen(kw_only=True)
class Reserved:
    """A row was made for a pod: by itself when it is a root (`parent` None, `author` its own incarnation), else by its parent.

    `inherits` are pods that outlived an earlier root of the session `born_of`: with this fact they are children of this root.
    `outlived` marks such a pod in a log that dropped its past. The rest is as in `Allocation`.
    """

    author: str
    name: str
    tree: str
    incarnation: str
    scope: Scope
    grant: Scope
    address: str
    parent: str | None = None
    run_dir: str | None = None
    since: float = 0.0
    secret_sha256: str | None = attrs.field(default=None, repr=False)
    born_of: str | None = None
    where: Scope | None = None
    pins: tuple[Pin, ...] = ()
    inherits: tuple[str, ...] = ()
    outlived: str | None = None


@attrs.frozen(kw_only=True)
class Adopted:
    """The pod took its row and lives. `address` replaces the reserved one when listening told a better one."""

    author: str
    incarnation: str
    pid: int | None = None
    started: int | None = None
    address: str | None = None


@attrs.frozen(kw_only=True)
class Freed:
    """The row ended. Its children belong to its parent from here; `author` saw that nobody holds its lease, or is that pod."""

    author: str
    incarnation: str


@attrs.frozen(kw_only=True)
class Restart:
    """The facts before this one count no more; what is still true follows in the same transaction.

    `sequence` is the number of this fact, so that a log that drops its past goes on counting.
    """

    author: str
    sequence: int


@attrs.frozen
class UnknownFact:
    """A fact of a newer podkit. Who reads one grants nothing any more, because it may matter."""

    kind: str
    format: int


Fact: TypeAlias = Reserved | Adopted | Freed | Restart | UnknownFact
