"""The targets of a scope, settled before anybody gets it: real paths, pinned to what is there, said in file-system coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from podkit._os import Target, find_target, make_target, mounts, network_filesystem, still_there, unmake_targets
from podkit.errors import PathRefusedError, shown
from podkit.logic import Pin, second_name, where
from podkit.protocol import Permission

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable

    from podkit._os import Pinned
    from podkit.logic import Scope


@attrs.frozen
class Settled:
    """A scope whose targets were looked at.

    `pins` say which object is at each target that is there. `where` is the scope in the coordinates of file systems (see
    `podkit.logic` on mounts), None on systems that do not tell. `made` are the directories that were made for it.
    """

    scope: Scope
    pins: tuple[Pin, ...]
    where: Scope | None
    made: tuple[Target, ...] = attrs.field(default=(), repr=False)

    def unmake(self) -> None:
        """Remove the directories that were made, where they are empty. For when nobody got the scope after all."""
        unmake_targets(self.made)


def settle_targets(scope: Scope, *, make: Callable[[str], bool] | None, lender: Scope | None = None) -> Settled:
    """Look at every target of a declared scope, without following any link.

    A target is a real path: a link on the way to it or at its end is refused, because it could lead elsewhere tomorrow. What is
    there is pinned. What may be written is not on another machine's file system, where nobody can promise to be the only writer.

    With `make`, a target that may be written and is missing is taken for a directory and made, with the directories on the way,
    where `make` answers True for each of their paths; where it does not, and for what may only be read, it stays missing.

    `lender` is what may be used by whoever hands this scope out. What they would go on reaching for writing under another name,
    by a mount, is refused.

    Raises `PathRefusedError`, `InvalidRuleError` for a scope too large to be said in coordinates of file systems, `OSError` for
    trouble of the system; nothing that was made is left then. Plain absence is no error.
    """
    writes = {rule.target for rule in scope.allow if rule.permission is Permission.WRITE}
    targets = dict.fromkeys(rule.target for rule in (*scope.allow, *scope.deny))
    allowed = {rule.target for rule in scope.allow}
    found = {target: _find(target, needed=target in writes) for target in targets}
    for target in writes:
        _check_local(found[target])
    made: list[Target] = []
    try:
        if make is not None:
            for target in sorted(writes):
                if found[target].info is None:
                    found[target], new = make_target(target, make)
                    made.extend(new)
        pins = tuple(_pin(target, one.info) for target, one in found.items() if target in allowed and one.info is not None)
        return Settled(scope, pins, _where(scope, lender), tuple(made))
    except BaseException:
        unmake_targets(made)
        raise


def check_pins(pins: Iterable[Pinned]) -> None:
    """Raise `PathRefusedError` ("replaced") when something else, or nothing, is at a target by now. `OSError` for other trouble."""
    for pin in pins:
        if not still_there(pin):
            raise PathRefusedError(pin.target, "replaced")


def _find(target: str, *, needed: bool) -> Target:
    try:
        return find_target(target)
    except PermissionError as error:
        if needed:
            raise PathRefusedError(target, "cannot be looked at by this user") from error
        return Target(target)  # nobody of ours can read there either


def _check_local(target: Target) -> None:
    there = target.path
    for _ in target.missing:
        there = there.rpartition("/")[0]
    kind = network_filesystem(there or "/")
    if kind is not None:
        raise PathRefusedError(target.path, f"on a network file system ({kind}), where another machine may write too")


def _where(scope: Scope, lender: Scope | None) -> Scope | None:
    try:
        seen = mounts()
    except ValueError as error:
        raise PathRefusedError("/", f"the table of mounts cannot be understood: {error}") from error
    if seen is None:
        return None
    try:
        second = second_name(scope, lender - scope, seen) if lender is not None else None
        there = where(scope, seen)
    except ValueError:  # in a changed root directory the kernel does not tell what shows it
        return None
    if second is not None:
        target, name = second
        raise PathRefusedError(target, f"is also called {shown(name, 200)}, by a mount, where the lender would still write")
    return there


def _pin(target: str, info: os.stat_result) -> Pin:
    return Pin(target=target, device=info.st_dev, inode=info.st_ino)
