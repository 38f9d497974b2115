"""Which events need not be bytes before somebody reads them, and how many bytes they can be at most. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.protocol import TextDelta, ThinkingDelta, ToolCallArgsDelta

from ._plan_lines import pieces_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podkit.protocol import Event

SHORT = 1024
"""Characters of a piece that may wait for the end of the turn."""

LONGEST = 2**26
"""Bytes of an event that every client reads."""

_FRAME = 128  # bytes beside what an event says: names, brackets, and two numbers of at most 19 digits
_MOST = 2**63 - 1  # the highest number of a run


def waits(event: Event) -> bool:
    """Whether `event` is a short piece of a stream: it is made of values that never change, and there are many of them."""
    kind = type(event)
    if kind is TextDelta or kind is ThinkingDelta:
        said = event.text  # type: ignore[union-attr]
    elif kind is ToolCallArgsDelta:
        said = event.json  # type: ignore[union-attr]
    else:
        return False
    return type(said) is str and len(said) <= SHORT


def most_bytes(event: Event) -> int | None:
    """An upper bound of the length of `event` as a frame with one number, in bytes.

    None when only encoding it can tell: also for what the wire may not be able to say. What has a bound can be said.
    """
    kind = type(event)
    if kind is TextDelta or kind is ThinkingDelta:
        said, run = event.text, event.run  # type: ignore[union-attr]
    elif kind is ToolCallArgsDelta:
        said, run = event.json, event.run  # type: ignore[union-attr]
        if type(event.id) is not str:  # type: ignore[union-attr]
            return None
        said = event.id + said if type(said) is str else said  # type: ignore[union-attr]
    else:
        return None
    if type(said) is not str or not said.isascii():
        return None
    if run is not None and (type(run) is not int or not 0 <= run <= _MOST):
        return None
    # What can be printed has at most a backslash before it; the rest is written by its number.
    most = _FRAME + (2 if said.isprintable() else 6) * len(said)
    return most if most <= LONGEST else None


def most_bytes_of(events: Sequence[Event]) -> int | None:
    """The same for several events that follow each other: None when there is one that only encoding can tell of."""
    said = pieces_of(events) if len(events) > 1 else None
    if said is not None:
        first, others = most_bytes(events[0]), "".join(said[1:])
        if first is None or not others.isascii():
            return None
        call = getattr(events[0], "id", "")
        most = first + (_FRAME + 6 * len(call)) * (len(events) - 1) + (2 if others.isprintable() else 6) * len(others)
        if most <= LONGEST:  # so each of them is
            return most
    sizes = [most_bytes(event) for event in events]
    return None if None in sizes else sum(sizes)  # type: ignore[arg-type]
