"""Pieces of one block that follow each other, as lines: what they have in common is written once. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from podkit.protocol import TextDelta, ThinkingDelta, ToolCallArgsDelta, encode_event

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW = 4  # fewer pieces cost less one by one
_LONG = 256  # characters of an id that is too long to remember a line for

_encode_lines: Final = msgspec.json.Encoder().encode_lines


def pieces_of(events: Sequence[Any]) -> list[str] | None:
    """What `events` say, if they are pieces of one block that differ in nothing else and nothing about them is unusual."""
    kind = type(events[0])
    if set(map(type, events)) != {kind}:
        return None
    if kind is TextDelta or kind is ThinkingDelta:
        said = [event.text for event in events]
    elif kind is ToolCallArgsDelta and _same([event.id for event in events], str) and len(events[0].id) <= _LONG:
        said = [event.json for event in events]
    else:
        return None
    runs = [event.run for event in events]
    return said if set(map(type, said)) == {str} and (_same(runs, int) or _same(runs, type(None))) else None


def _same(values: list[Any], kind: type) -> bool:
    return set(map(type, values)) == {kind} and values.count(values[0]) == len(values)


def write_lines(events: Sequence[Any], seq: int) -> bytes:
    """`events` as lines, each with its line feed, the first of them with the number `seq`.

    The lines, and what is raised, are those of `encode_event`.
    """
    if len(events) == 1:
        return encode_event(events[0], seq=seq) + b"\n"
    said = pieces_of(events) if len(events) >= _FEW else None
    if said is not None:
        kind: Any = type(events[0])
        line = _line(kind, events[0].run, getattr(events[0], "id", ""))
        try:
            texts = _encode_lines(said).split(b"\n")
        except UnicodeEncodeError:  # a lone surrogate, which is refused below
            pass
        else:
            del texts[-1]
            return b"".join([line % pair for pair in zip(texts, range(seq, seq + len(said)), strict=True)])
    return b"".join([encode_event(event, seq=number) + b"\n" for number, event in enumerate(events, seq)])


@lru_cache(maxsize=16)
def _line(kind: type, run: int | None, call: str) -> bytes:
    """A line of that block, with a place for what is said and one for the number."""
    piece = ToolCallArgsDelta(id=call, json="", run=run) if kind is ToolCallArgsDelta else kind("", run=run)
    head, _, tail = encode_event(piece, seq=0).replace(b"%", b"%%").rpartition(b'""')
    return head + b"%b" + tail.removesuffix(b"0}") + b"%d}\n"
