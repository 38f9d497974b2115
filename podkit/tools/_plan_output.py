"""What is new in a pod's log since somebody last looked: the assistant's text after a cursor. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from podkit.protocol import said_text


@attrs.frozen
class Cursor:
    """How far somebody has read: a number of entries in the log of one segment, and of characters in the entry after them."""

    entries: int = 0
    characters: int = 0


def new_text(entries: Sequence[Mapping[str, Any]], cursor: Cursor, limit: int) -> tuple[str, Cursor]:
    """The text said after `cursor`, at most `limit` characters, and where to go on. Nothing is skipped: the rest comes next."""
    start = cursor if cursor.entries <= len(entries) else Cursor()
    parts: list[str] = []
    room = limit
    for index in range(start.entries, len(entries)):
        text = said_text(entries[index])
        offset = start.characters if index == start.entries else 0
        rest = text[offset:]
        if len(rest) > room:
            parts.append(rest[:room])
            return "\n\n".join(parts), Cursor(index, offset + room)
        if rest:
            parts.append(rest)
            room -= len(rest)
    return "\n\n".join(parts), Cursor(len(entries))
