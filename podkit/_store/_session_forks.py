"""Sessions that are open when the program forks: the original holds them, and the copy lets go of its files."""

from __future__ import annotations

import contextlib
import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Who holds files that a forked copy must not use."""

    def after_fork(self) -> None:
        """We are the copy."""
        ...


_live: weakref.WeakSet[Forkable] = weakref.WeakSet()


def forked(held: Forkable) -> None:
    """From here a forked copy tells it so."""
    _live.add(held)


def unforked(held: Forkable) -> None:
    """It holds nothing any more."""
    _live.discard(held)


def _let_go_after_fork() -> None:
    for held in tuple(_live):
        with contextlib.suppress(BaseException):  # whatever one of them says, the others are let go too
            held.after_fork()


os.register_at_fork(after_in_child=_let_go_after_fork)
