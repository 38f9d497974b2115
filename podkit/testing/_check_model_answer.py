"""The grammar of a model's answer: what may come after what, as `podkit.abc.Model` has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.abc import Finish
from podkit.protocol import (
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallStart,
    Usage,
)

from ._check_transport_ground import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podkit.abc import ModelPart


def check_answer(parts: Sequence[ModelPart]) -> None:
    """Raise `AssertionError` when a whole answer is not made as one has to be."""
    require(parts and isinstance(parts[-1], Finish), f"the last part is {parts[-1:]!r} and not Finish")
    require(sum(isinstance(part, Finish) for part in parts) == 1, "there is more than one Finish")
    require(sum(isinstance(part, Usage) for part in parts) <= 1, "usage is told twice")
    open_text: str | None = None  # "text" or "thinking", while such a block is open
    said = ""
    calls: dict[str, str] = {}
    ended: set[str] = set()
    for part in parts:
        match part:
            case TextDelta(text=text):
                require(open_text in (None, "text"), "a text begins inside a thought")
                open_text, said = "text", said + text
            case ThinkingStart():
                require(open_text is None, "a thought begins inside a block")
                open_text, said = "thinking", ""
            case ThinkingDelta(text=text):
                require(open_text == "thinking", "a piece of a thought has no thought around it")
                said += text
            case TextDone(text=text) | ThinkingDone(text=text):
                kind = "text" if isinstance(part, TextDone) else "thinking"
                require(open_text in ((kind, None) if kind == "text" else (kind,)), f"the end of a {kind} is not in its place")
                require(said in ("", text), f"the pieces say {said!r}, and the end {text!r}")
                open_text, said = None, ""
            case ToolCallStart(id=call):
                require(call and call not in calls, f"the id {call!r} is empty or not new")
                calls[call] = ""
            case ToolCallArgsDelta(id=call, json=text):
                require(call in calls and call not in ended, f"arguments for {call!r}, which is not open")
                calls[call] += text
            case ToolCallDone(id=call, arguments=text):
                require(call in calls and call not in ended, f"the call {call!r} ends without a beginning, or twice")
                require(calls[call].strip() in ("", "null", text), f"the pieces of {call!r} say {calls[call]!r}, its end {text!r}")
                ended.add(call)
            case Usage() | Finish():
                require(open_text is None and ended == set(calls), f"{type(part).__name__} comes inside a block")
            case _:
                raise AssertionError(f"{part!r} is no part of an answer")
