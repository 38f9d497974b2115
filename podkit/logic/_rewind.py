"""Which user inputs of a log one could go back to. Going back itself is not done here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from podkit.errors import RemoteProtocolError
from podkit.protocol import RewindChoice, RewindTarget, RewindTargets, UserInputEntry, entry_from_data, flatten

MOST_TARGETS = 200
"""The newest are offered."""
_PREVIEW = 120  # characters


def rewind_targets(entries: Sequence[Any], *, segment_id: str, refusal: str | None = None) -> RewindTargets:
    """The newest user inputs of a segment (entries as JSON values), oldest first. `refusal`: why none may be gone back to.

    A target is cut off together with the entry that says that its run was accepted. What tools did after it is not undone, and each
    target says so.
    """
    inputs = [place for place, entry in enumerate(entries) if _kind(entry) == "user_input"][-MOST_TARGETS:]
    first = inputs[0] if inputs else len(entries)
    turns = sum(_kind(entry) == "turn_end" for entry in entries[:first])
    worked = max((place for place, entry in enumerate(entries) if _kind(entry) == "tool_result"), default=-1)
    choices: list[RewindChoice] = []
    for place in inputs:
        turns += sum(_kind(entry) == "turn_end" for entry in entries[first:place])
        first = place
        choice = _choice(entries, place, segment_id, turns, refusal, tools=worked > place)
        if choice is not None:
            choices.append(choice)
    return RewindTargets(len(entries), tuple(choices))


def _choice(
    entries: Sequence[Any], place: int, segment_id: str, turns: int, refusal: str | None, *, tools: bool
) -> RewindChoice | None:
    try:
        entry = cast(UserInputEntry, entry_from_data(entries[place]))  # its kind says so
    except RemoteProtocolError:
        return None
    begun = place > 0 and _kind(entries[place - 1]) == "invoke"
    return RewindChoice(
        RewindTarget(segment_id, place),
        len(entries),
        place - 1 if begun else place,
        turns,
        entry.ts,
        _preview(flatten(entry.segments)),
        refusal is None,
        disabled_reason=refusal,
        warning="what tools did since then is not undone" if tools else None,
    )


def _kind(entry: Any) -> Any:
    return entry.get("kind") if isinstance(entry, dict) else None


def _preview(text: str) -> str:
    line = " ".join(text[: _PREVIEW * 4].split())
    return line if len(line) <= _PREVIEW and len(text) <= _PREVIEW * 4 else line[: _PREVIEW - 1] + "…"
