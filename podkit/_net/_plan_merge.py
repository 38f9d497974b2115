"""Several deltas of one block as one, for a reader that is behind. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.protocol import TextDelta, ThinkingDelta, ToolCallArgsDelta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podkit.protocol import Event


def same_block(first: Event, second: Event) -> bool:
    """Whether both are deltas, and of the same block when nothing stands between them."""
    if type(first) is not type(second):
        return False
    match first, second:
        case (TextDelta(run=run), TextDelta(run=other)) | (ThinkingDelta(run=run), ThinkingDelta(run=other)):
            return run == other
        case ToolCallArgsDelta(id=call, run=run), ToolCallArgsDelta(id=other_call, run=other):
            return (call, run) == (other_call, other)
    return False


def merge(deltas: Sequence[Event]) -> Event:
    """One delta that says what `deltas`, all of one block, say one after the other."""
    match deltas[0]:
        case TextDelta(run=run):
            return TextDelta("".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), run=run)
        case ThinkingDelta(run=run):
            return ThinkingDelta("".join(delta.text for delta in deltas if isinstance(delta, ThinkingDelta)), run=run)
        case ToolCallArgsDelta(id=call, run=run):
            said = "".join(delta.json for delta in deltas if isinstance(delta, ToolCallArgsDelta))
            return ToolCallArgsDelta(id=call, json=said, run=run)
        case other:
            raise AssertionError(f"{type(other).__name__} is no delta")
