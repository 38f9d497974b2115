"""What one pod holds: a row of the table."""

from __future__ import annotations

import enum
import re

import attrs

from podkit.errors import InvalidNameError, InvalidRuleError
from podkit.logic._scope import Scope
from podkit.protocol import check_name, check_path

MAX_NUMBER = 2**64 - 1  # of a device or an inode
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


def _target(_pin: Pin, _field: attrs.Attribute[str], value: object) -> None:
    check_path(value)


def _number(pin: Pin, field: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise InvalidRuleError(pin.target, f"the {field.name} of a pin is a number of the file system")


@attrs.frozen
class Pin:
    """What was at `target` when it was handed out: the numbers of its device and of its inode there.

    Raises `InvalidRuleError` for a target that is not an absolute normal path and for what are no such numbers.
    """

    target: str = attrs.field(validator=_target)
    device: int = attrs.field(validator=_number)
    inode: int = attrs.field(validator=_number)


@attrs.frozen(kw_only=True)
class Allocation:
    """One pod's row: who it is, what it may write and hand out, where it is reached.

    `scope` is what it may use as declared, `grant` what it may hand to children. `where` says `scope` once more in the
    coordinates of the file systems, `/<major:minor>/<path in that file system>`, in which a directory has one name however
    often it is mounted; None where that is not known. `pins` are what was found at the targets. `parent` is the incarnation of
    the row above it, None for a root or for a pod that outlived its root; then `outlived` is the root's incarnation. `since` is
    unix seconds. `started` is in clock ticks since boot and makes `pid` an identity. `born_of` is the session it belongs to, if
    any; of a pod that outlived its root it is the root's.
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
    where: Scope | None = None
    pins: tuple[Pin, ...] = ()
    outlived: str | None = None

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
