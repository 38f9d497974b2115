"""What one pod holds: a row of the table."""

from __future__ import annotations

import enum
import re

import attrs

from podkit.errors import InvalidNameError
from podkit.logic._scope import Scope
from podkit.protocol import check_name

_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}")


def check_id(value: object) -> str:
    """Return `value` when it may stand for a tree, an incarnation or an author, else raise `InvalidNameError`.

    These become parts of file names, so they follow the rule of names, with room for a tree's suffix.
    """
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise InvalidNameError(value, "an id is 1 to 80 characters of a-z, 0-9, _ and -, and starts with a letter or digit")
    return value


class State(enum.Enum):
    """How far a row is: kept for a pod that is being born, or taken by the pod itself."""

    RESERVED = "reserved"
    LIVE = "live"


@attrs.frozen(kw_only=True)
class Allocation:
    """One pod's row: who it is, what it may write and hand out, where it is reached.

    `scope` is what it may use as declared, `grant` what it may hand to children. `parent` is the incarnation of the row
    above it, None for a root or for a pod that outlived its root. `since` is unix seconds. `started` is in clock ticks
    since boot and makes `pid` an identity. `born_of` is the session it belongs to, if any.
    """

    name: str
    tree: str
    incarnation: str
    scope: Scope
    grant: Scope
    address: str
    parent: str | None = None
    parent_name: str | None = None
    run_dir: str | None = None
    state: State = State.RESERVED
    since: float = 0.0
    secret_sha256: str | None = attrs.field(default=None, repr=False)
    pid: int | None = None
    started: int | None = None
    born_of: str | None = None

    @property
    def key(self) -> str:
        """The key of the pod's lease, and the file name of it where leases are files."""
        return lease_key(self.name, self.incarnation)


def lease_key(name: str, incarnation: str) -> str:
    """The key of the lease of one incarnation of a pod. Raises `InvalidNameError`."""
    return f"{check_name(name)}.{check_id(incarnation)}"


def check_lease_key(key: object) -> str:
    """Return `key` when it is a lease's key, else raise `InvalidNameError`."""
    if not isinstance(key, str):
        raise InvalidNameError(key)
    name, _, incarnation = key.partition(".")
    return lease_key(name, incarnation)
