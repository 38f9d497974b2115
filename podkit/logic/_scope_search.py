"""Looking for a path at which two folded scopes stand in some relation: who exceeds whom, who else writes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from podkit.protocol import Permission

from ._scope_fold import MAX_PATH, merged, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._scope_fold import Folded, Triple

# What a fresh name is made of: "x" when it is free, then letters and digits, then whatever a name may hold.
_LETTERS = "x" + "".join(sorted((chr(c) for c in range(1, 128) if chr(c) not in "x/."), key=lambda c: (not c.isalnum(), -ord(c))))


def exceeds(x: Permission, y: Permission) -> bool:
    """More than the other has."""
    return x > y


def both_write(x: Permission, y: Permission) -> bool:
    """Two writers."""
    return x is y is Permission.WRITE


def find(a: Folded, b: Folded, wrong: Callable[[Permission, Permission], bool]) -> str | None:
    """Some path p with `wrong(a.at(p), b.at(p))`, or None when there is none.

    `wrong` is `exceeds` or `both_write`: false where `a` has no permission, and false in a whole region when it is for the greatest
    of `a` there and both extremes of `b`. The answer is a key of either when one will do, else a fresh path below one.
    """
    for top in a.tops():
        low, high = b.span(top)
        most = a.span(top)[1]
        if not (wrong(most, low) or wrong(most, high)):
            continue
        first, row_a, row_b = top, a.rows[top], b.row(top)
        found = _wrong_at(a, b, first, row_a, row_b, wrong)
        if found is not None:
            return found
        keys = merged(a.order[slice(*a.below(top))], b.order[slice(*b.below(top))])
        for key, x, y in side_by_side(a, b, keys, (top + "/", row_a, row_b)):
            found = _wrong_at(a, b, key, x, y, wrong)
            if found is not None:
                return found
    return None


def _wrong_at(a: Folded, b: Folded, key: str, x: Triple, y: Triple, wrong: Callable[[Permission, Permission], bool]) -> str | None:
    if wrong(x[0], y[0]):
        return key or "/"
    child, deep = wrong(x[1], y[1]), wrong(x[2], y[2])
    if not (child or deep):
        return None
    tail = "" if child else "/x"
    name = _fresh_name(a, b, key, MAX_PATH - len(f"{key}/{tail}".encode()))
    return None if name is None else f"{key}/{name}{tail}"


def _fresh_name(a: Folded, b: Folded, key: str, room: int) -> str | None:
    """A name under `key` that neither table speaks of, at most `room` bytes long."""
    for size in range(1, room + 1):
        for letters in product(_LETTERS, repeat=size):
            path = f"{key}/{''.join(letters)}"
            if not any(path in table.rows or table.below(path)[0] < table.below(path)[1] for table in (a, b)):
                return path[len(key) + 1 :]
    return None
