"""The model port: one request, and the answer as it comes."""

from __future__ import annotations

import enum
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import attrs
import trio

from podkit.errors import ModelError
from podkit.protocol import (
    LoggedItem,
    MessageItem,
    ReasoningItem,
    SystemItem,
    TextDelta,
    TextDone,
    TextPart,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallItem,
    ToolCallStart,
    ToolResultItem,
    UnknownItem,
    Usage,
)

_REFUSED = 400  # the status with which providers refuse a request


@attrs.frozen
class ToolSpec:
    """A tool as a model is told of it. Every `Tool` has these three, so a worker may pass `ToolSpec.of(tool)`."""

    name: str
    description: str
    input_schema: Mapping[str, Any]

    @classmethod
    def of(cls, tool: Any) -> ToolSpec:
        """What of a `Tool` the model is told."""
        return cls(tool.name, tool.description, tool.input_schema)


@attrs.frozen(kw_only=True)
class ModelSettings:
    """How to answer. None leaves it to the model. `thinking` is "low", "medium" or "high", `extra` what only one provider knows."""

    max_tokens: int | None = None
    temperature: float | None = None
    thinking: str | None = None
    extra: Mapping[str, Any] = attrs.field(factory=dict)


HistoryItem: TypeAlias = LoggedItem | SystemItem
"""What a history is made of. A system item is told to the model by its `body`, at the place where it stands."""


def _history(items: Iterable[HistoryItem]) -> tuple[HistoryItem, ...]:
    return tuple(items)


def _specs(tools: Iterable[ToolSpec]) -> tuple[ToolSpec, ...]:
    return tuple(tools)


def _logged(items: Iterable[LoggedItem]) -> tuple[LoggedItem, ...]:
    return tuple(items)


@attrs.frozen(kw_only=True)
class ModelRequest:
    """Everything that one answer depends on; nothing is remembered from one request to the next.

    `history` is in the order of the log. What a model is asked is its last user message, its last tool results or its last
    system item. An `UnknownItem` is left out by whoever cannot read it.
    """

    history: tuple[HistoryItem, ...] = attrs.field(converter=_history)
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = attrs.field(default=(), converter=_specs)
    settings: ModelSettings = ModelSettings()

    @classmethod
    def say(cls, text: str, **more: Any) -> ModelRequest:
        """A request that begins a conversation with `text`; `more` are the other fields."""
        return cls(history=(MessageItem("user", (TextPart(text),)),), **more)


class FinishReason(enum.StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The model had nothing to add, and calls no tool."""
    TOOL_CALLS = "tool_calls"
    """It waits for the results of its calls, of which there is at least one."""
    LENGTH = "length"
    """It was cut off at its limit of tokens."""
    REFUSAL = "refusal"
    """It, or a filter behind it, would not answer."""


@attrs.frozen
class Finish:
    """The last part of every answer that came to its end.

    `items` is the answer as it belongs into the history of the next request, for a provider that wants something back which the
    other parts do not say, such as the signature of a thought; empty when they say it all.
    """

    reason: FinishReason
    items: tuple[LoggedItem, ...] = attrs.field(default=(), kw_only=True, converter=_logged)


ModelPart: TypeAlias = (
    TextDelta
    | TextDone
    | ThinkingStart
    | ThinkingDelta
    | ThinkingDone
    | ToolCallStart
    | ToolCallArgsDelta
    | ToolCallDone
    | Usage
    | Finish
)
"""A piece of an answer. All but `Finish` are events a worker may emit just as they come."""


class Model(ABC):
    """A language model. Write `stream`, and hold the result to `podkit.testing.check_model`.

    **Parts.** Text, thoughts and calls are blocks. A text is any number of `TextDelta` and then one `TextDone` with all of it; a
    thought is a `ThinkingStart`, any number of `ThinkingDelta`, and one `ThinkingDone`; a call is a `ToolCallStart`, any number of
    `ToolCallArgsDelta` and one `ToolCallDone`, told from other calls by its id. Calls may be told side by side, texts and thoughts
    one after the other. Where a block has deltas they add up to what its end says; they may be missing altogether. A call's id is
    not empty and is used once in an answer; its arguments are JSON text as the model wrote it, `{}` where it wrote nothing or
    `null`, and may be wrong. `Usage` comes at most once, and before the end.

    **End.** The last part is `Finish`, and then the channel ends. An answer that fails raises `ModelError` instead, also when
    the connection is lost or ends too early: an answer without `Finish` is never an end. What came before it counts.
    The reason is `TOOL_CALLS` exactly when there are calls, unless the answer was cut off or refused.

    **Time.** Whoever asks sets the deadlines: `trio.Cancelled` goes through wherever it comes. Whoever asks tries again, too.
    """

    provider: str = ""
    """Who serves it, for the greeting of pods and for logs."""
    name: str = ""
    """Which model it is there."""

    @abstractmethod
    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[ModelPart]]:
        """Ask, and read the answer: `async with model.stream(request) as parts: async for part in parts: …`.

        Nothing happens before the block is entered. Leaving it, early or not, ends the request; then nothing of it is left, and
        the channel is closed. Any number of requests may be under way. Raises `ModelError`, with the provider's `status` and the
        `retry_after` (seconds) it asks for, on entering or while reading.
        """


def answer_items(parts: Iterable[ModelPart]) -> tuple[LoggedItem, ...]:
    """The answer as items of the history, in the order in which its blocks ended. Pure.

    Of an answer that broke off these are the blocks that were complete, without calls: nobody will ever know what they would
    have been, and a call without a result is refused in the next request.
    """
    items: list[LoggedItem] = []
    for part in parts:
        match part:
            case TextDone(text=text) if text:
                items.append(MessageItem("assistant", (TextPart(text),)))
            case ThinkingDone(text=text) if text:
                items.append(ReasoningItem(text))
            case ToolCallDone():
                items.append(ToolCallItem(part.id, part.name, part.arguments))
            case Finish(items=own):
                return own or tuple(items)
            case _:  # a delta says nothing that its block's end does not, and usage is nothing the model reads
                continue
    return tuple(item for item in items if not isinstance(item, ToolCallItem))


def check_request(request: ModelRequest) -> None:
    """Raise `ModelError` with status 400 for what providers refuse, each in its own words and some only much later. Pure.

    Refused are an empty history; a call whose id was used before, whose arguments are no JSON object, or that has not exactly one
    result before anything else is said; a result without its call; two tools of one name, and a schema that is not an object's.
    """
    faults = [*_tool_faults(request.tools), *_history_faults(request.history)]
    if faults:
        raise ModelError(f"the request is refused: {'; '.join(faults)}", status=_REFUSED)


def _tool_faults(tools: tuple[ToolSpec, ...]) -> Iterable[str]:
    names = [tool.name for tool in tools]
    for tool in tools:
        if not tool.name or names.count(tool.name) > 1:
            yield f"the tool {tool.name!r} cannot be told apart"
        if tool.input_schema.get("type") != "object":
            yield f"the schema of the tool {tool.name!r} is not an object's"


def _history_faults(history: tuple[HistoryItem, ...]) -> Iterable[str]:
    if all(isinstance(item, UnknownItem) for item in history):
        yield "there is nothing to answer"
    seen: set[str] = set()
    waiting: list[str] = []
    for item in history:
        match item:
            case ToolCallItem(call_id=call):
                if not call or call in seen:
                    yield f"the call {call!r} has no id of its own"
                if not _is_object(item.arguments):
                    yield f"the arguments of the call {call!r} are no JSON object"
                seen.add(call)
                waiting.append(call)
            case ToolResultItem(call_id=call):
                if call not in waiting:
                    yield f"the result {call!r} answers no call"
                else:
                    waiting.remove(call)
            case ReasoningItem() | UnknownItem() | MessageItem(role="assistant"):
                continue
            case _:
                yield from _unanswered(waiting)
                waiting.clear()
    yield from _unanswered(waiting)


def _unanswered(calls: list[str]) -> Iterable[str]:
    return (f"the call {call!r} has no result before what follows" for call in calls)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
