"""How strongly a scope is enforced, and which level a pod gets."""

from __future__ import annotations

from enum import StrEnum

from podkit.errors import ConfinementError


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
    """The strongest level to be had here. This release has `ADVISORY`; the kernel's levels come with the next one."""
    return Level.ADVISORY


def choose(asked: str | None = None, require: str | None = None) -> Level:
    """The level a pod gets.

    `asked` is a wish: the level named, or the best there is below it; None wishes for `KERNEL`. `require` is a condition: the
    level is never below it. Raises `ConfinementError` when less than `require` is to be had, and for a name that is no level.
    """
    wish = Level.KERNEL if asked is None else _named(asked)
    least = Level.ADVISORY if require is None else _named(require)
    best = available()
    if least > best:
        raise ConfinementError(least.value, f"the strongest level to be had here is {best.value!r}")
    return min(max(wish, least), best)


def _named(name: object) -> Level:
    try:
        return Level(name)  # type: ignore[arg-type]  # anything may come in; what is no level is refused below
    except ValueError:
        names = ", ".join(repr(level.value) for level in Level)
        raise ConfinementError(str(name), f"there is no such level; levels are {names}") from None
