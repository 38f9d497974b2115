"""How strongly a scope is enforced, and which level a pod gets."""

from __future__ import annotations

import platform
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from podkit._os import kernel_offers
from podkit.errors import ConfinementError

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYERS: Final = "PODKIT_LAYERS"
MAX_LAYERS: Final = 12
MIN_LANDLOCK: Final = 6  # from here on it keeps signals and abstract sockets in
_DIGITS = 4


class Level(StrEnum):
    """Levels of confinement, weakest first; they compare by strength.

    ADVISORY: podkit's own file operations and tools keep to the scope. KERNEL: so does every process started for a tool, because
    the kernel makes it. STRICT: and those cannot change modes, times or attributes elsewhere either.
    """

    ADVISORY = "advisory"
    KERNEL = "kernel"
    STRICT = "strict"

    @property
    def rank(self) -> int:
        """0 for the weakest."""
        return list(Level).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < other.rank if isinstance(other, Level) else NotImplemented

    def __le__(self, other: str) -> bool:
        return self.rank <= other.rank if isinstance(other, Level) else NotImplemented

    def __gt__(self, other: str) -> bool:
        return self.rank > other.rank if isinstance(other, Level) else NotImplemented

    def __ge__(self, other: str) -> bool:
        return self.rank >= other.rank if isinstance(other, Level) else NotImplemented


def available() -> Level:
    """The strongest level to be had here: STRICT with Landlock of version 6 and our system call filter, else ADVISORY."""
    return Level.ADVISORY if _lacking() else Level.STRICT


def choose(asked: str | None = None, require: str | None = None) -> Level:
    """The level a pod gets.

    `asked` is a wish: the level named, or the best there is below it; None wishes for `KERNEL`. `require` is a condition: the
    level is never below it. Raises `ConfinementError` when less than `require` is to be had, and for a name that is no level.
    """
    wish = Level.KERNEL if asked is None else _named(asked)
    least = Level.ADVISORY if require is None else _named(require)
    best = available()
    if least > best:
        why = f": {lacking}" if (lacking := _lacking()) else ""
        raise ConfinementError(least.value, f"the strongest level to be had here is {best.value!r}{why}")
    return min(max(wish, least), best)


def in_force(level: Level, *, unix_sockets: bool) -> str:
    """What to call the level of a process. With `unix_sockets` a confined one may connect to them, and ask others to act for it."""
    return f"{level.value}+sockets" if unix_sockets and level > Level.ADVISORY else level.value


def check_depth(env: Mapping[str, str]) -> int:
    """How many layers of confinement a process started from environment `env` is in, for `LAYERS` in its own environment.

    The kernel stacks 16, and lets nothing through in silence beyond; we stop where others may still have some of their own. Raises
    `ConfinementError` beyond 12, and when what `env` says is no such number.
    """
    said = env.get(LAYERS, "0")
    if not (said.isascii() and said.isdecimal() and len(said) < _DIGITS):
        raise ConfinementError(Level.KERNEL.value, f"{LAYERS} in the environment is not a number of layers")
    layers = int(said) + 1
    if layers > MAX_LAYERS:
        raise ConfinementError(
            Level.KERNEL.value, f"this would be layer {layers} of confinement in one another, of at most {MAX_LAYERS}"
        )
    return layers


def _lacking() -> str:
    """What keeps processes from being confined here; empty when nothing does."""
    version, filters = kernel_offers()
    if version < MIN_LANDLOCK:
        what = f"has Landlock {version}" if version else "has no Landlock, or does not let us use it"
        return f"this system {what}, and {MIN_LANDLOCK} is needed"
    return "" if filters else f"system calls cannot be filtered here ({sys.platform}, {platform.machine()})"


def _named(name: object) -> Level:
    try:
        return Level(name)  # type: ignore[arg-type]  # anything may come in; what is no level is refused below
    except ValueError:
        names = ", ".join(repr(level.value) for level in Level)
        raise ConfinementError(str(name), f"there is no such level; levels are {names}") from None
