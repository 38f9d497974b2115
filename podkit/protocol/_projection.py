"""What clients of the two older generations are shown of a stream: only kinds and values they know.

Real clients of generation B ignore members they do not know, but stop reading at a kind or value they do not know. Each function
answers the event as that generation knows it, or None where there is nothing to show.
"""

from collections.abc import Iterable
from typing import Any, Final

import attrs

from podkit.errors import RemoteProtocolError

from ._entries import AssistantItemEntry, SegmentStartEntry, SystemItemEntry, ToolResultEntry, UserInputEntry
from ._entries_codec import entry_from_data, logged_item_to_data
from ._enums import AlertLevel, AlertSource, CompletionKind, ErrorCode, InvokeKind, RunResult, TurnResult
from ._events import Event
from ._events_pod import (
    Accepted,
    CompactFailed,
    CompactStart,
    CompletionsEvent,
    History,
    Lagged,
    Notification,
    Returned,
    Shutdown,
    Snapshot,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    StatusEvent,
    UnknownEvent,
    Welcome,
)
from ._events_run import (
    Alert,
    Error,
    InvokeStart,
    RunEnd,
    TextDelta,
    TextDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallStart,
    ToolResult,
    TurnEnd,
    TurnStart,
    Usage,
)
from ._items import LoggedItem, MessageItem, TextPart
from ._segments import flatten

_HIDDEN: Final = Welcome | Accepted | Lagged | Returned | SnapshotBegin | SnapshotChunk | SnapshotEnd | History | UnknownEvent
_CODES_A: Final = frozenset(
    {
        ErrorCode.ALREADY_RUNNING,
        ErrorCode.NOT_RUNNING,
        ErrorCode.NOT_PAUSED,
        ErrorCode.PROVIDER_ERROR,
        ErrorCode.TOOL_ERROR,
        ErrorCode.INTERNAL,
    }
)
_CODES_B: Final = _CODES_A | {ErrorCode.INVALID_REQUEST}
_COMPLETIONS_B: Final = frozenset({CompletionKind.FILE, CompletionKind.KNOWLEDGE, CompletionKind.WORKFLOW})
_RESULTS_A: Final = frozenset({RunResult.FINISHED, RunResult.PAUSED, RunResult.LIMIT_REACHED})
_RESULTS_B: Final = _RESULTS_A | {RunResult.ROLLED_BACK}
_KINDS_A: Final = (
    TurnStart
    | TextDelta
    | TextDone
    | ToolCallStart
    | ToolCallArgsDelta
    | ToolCallDone
    | ToolResult
    | Usage
    | Notification
    | History
    | CompactStart
    | CompactFailed
    | Shutdown
)


def project_b(event: Event) -> Event | None:
    """`event` for a plain client of generation B, or None."""
    match event:
        case ThinkingStart():
            return ThinkingStart()  # to B this kind has no data at all
        case RunEnd():
            return _run_end(event, _RESULTS_B)
        case Error():
            return _error(event, _CODES_B)
        case TurnEnd(result=result):
            return event if result.known else attrs.evolve(event, result=TurnResult.FINISHED)
        case InvokeStart(kind=kind):
            return event if kind.known else attrs.evolve(event, kind=InvokeKind.WAKEUP)
        case Alert():
            return _alert(event)
        case Notification():
            return _alert(Alert(event.level, event.source, event.message, event.timestamp_ms))
        case StatusEvent(status=value) | Snapshot(status=value) if not value.known:
            return None
        case CompletionsEvent(kind=kind) if kind not in _COMPLETIONS_B:
            return None
    return None if isinstance(event, _HIDDEN) else event


def project_a(event: Event) -> Event | None:
    """`event` for a plain client of generation A, or None."""
    match event:
        case RunEnd(result=RunResult.ROLLED_BACK):
            return attrs.evolve(event, result=RunResult.FINISHED)  # A knows no better word for a run that left nothing
        case RunEnd():
            return _run_end(event, _RESULTS_A)
        case Error():
            return _error(event, _CODES_A)
        case TurnEnd(result=result):
            return event if result.known else attrs.evolve(event, result=TurnResult.FINISHED)
        case Alert() | Notification():
            known = _alert(Alert(event.level, event.source, event.message, event.timestamp_ms))
            return Notification(known.level, known.source, known.message, known.timestamp_ms)
        case Snapshot():
            return History(history_items(event.entries), event.greeting)
    return event if isinstance(event, _KINDS_A) else None


def history_items(entries: Iterable[Any]) -> tuple[dict[str, Any], ...]:
    """What was said, from a log's entries as JSON values: items tagged by `type`, as `History` carries them.

    Entries that are unknown or damaged say nothing here.
    """
    made: list[dict[str, Any]] = []
    for data in entries:
        try:
            entry = entry_from_data(data)
        except RemoteProtocolError:
            continue
        match entry:
            case SegmentStartEntry():
                made = [_item(item) for item in entry.history]
            case UserInputEntry():
                made.append(_item(MessageItem("user", (TextPart(flatten(entry.segments)),))))
            case SystemItemEntry():
                body = getattr(entry.item, "body", None)
                made += [] if body is None else [_item(MessageItem("user", (TextPart(body),)))]
            case AssistantItemEntry() | ToolResultEntry():
                made.append(_item(entry.item))
    return tuple(made)


def said_text(entry: Any) -> str:
    """What an assistant said in one entry of a log, as a JSON value; "" for every other entry, also for a damaged one."""
    item = entry.get("item") if isinstance(entry, dict) and entry.get("kind") == "assistant_item" else None
    if not isinstance(item, dict) or item.get("kind") != "message" or item.get("role") != "assistant":
        return ""
    content = item.get("content")
    parts = content if isinstance(content, list | tuple) else ()
    texts = (part.get("text") for part in parts if isinstance(part, dict) and part.get("kind") == "text")
    return "".join(text for text in texts if isinstance(text, str))


def _item(item: LoggedItem) -> dict[str, Any]:
    data = logged_item_to_data(item)
    if isinstance(item, MessageItem):
        data["content"] = [_typed(part) for part in data["content"]]
    return _typed(data)


def _typed(data: dict[str, Any]) -> dict[str, Any]:
    """Tagged by `type` instead of `kind`. A `type` that something unknown brought with it must not pass for that."""
    return {"type": data["kind"], **{name: value for name, value in data.items() if name not in ("kind", "type")}}


def _run_end(event: RunEnd, results: frozenset[RunResult]) -> Event | None:
    if event.result is RunResult.CANCELLED:
        return Error(ErrorCode.INTERNAL, "Cancelled", run=event.run)
    return event if event.result in results else None  # a failed run has said so with its error


def _error(event: Error, codes: frozenset[ErrorCode]) -> Error:
    return event if event.code in codes else attrs.evolve(event, code=ErrorCode.INTERNAL)


def _alert(event: Alert) -> Alert:
    if event.level.known and event.source.known:
        return event
    level = event.level if event.level.known else AlertLevel.WARN
    return Alert(level, event.source if event.source.known else AlertSource.POD, event.message, event.timestamp_ms)
