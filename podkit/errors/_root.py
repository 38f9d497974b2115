"""What every error of podkit has: one root, fields, and text that is safe to show."""

from __future__ import annotations

from typing import TypeVar, dataclass_transform

import attrs

_E = TypeVar("_E", bound=BaseException)


@dataclass_transform(eq_default=False, field_specifiers=(attrs.field,))
def error(cls: type[_E]) -> type[_E]:
    """An error with fields: compared by identity, shown by its own `__str__`."""
    return attrs.define(eq=False, slots=False, repr=False, str=False)(cls)


def shown(value: object, limit: int = 80) -> str:
    """Text from outside, bounded and escaped, so that no error message can carry control characters or a flood."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > limit:
        text = text[:limit] + "…"
    return text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text


def where(file: str, line: int | None, offset: int | None) -> str:
    """A place in a file, as the beginning of a sentence."""
    place = file if line is None else f"{file}, line {line}"
    return (place if offset is None else f"{place}, offset {offset}") + ": "


class PodkitError(Exception):
    """The root of everything podkit raises on purpose."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"
