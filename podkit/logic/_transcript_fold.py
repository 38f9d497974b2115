"""Folding events into a transcript. Pure: the same events give the same transcript, whoever folds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from podkit.protocol import (
    Alert,
    Error,
    ErrorCode,
    InvokeStart,
    Lagged,
    LlmRetry,
    Notification,
    RewindApplied,
    RunEnd,
    SegmentRotated,
    Shutdown,
    Snapshot,
    StatusEvent,
    SystemItemEvent,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallStart,
    ToolResult,
    TurnEnd,
    TurnStart,
    Usage,
    UserMessage,
    flatten,
)

from . import _transcript_changes as changes
from ._transcript import AssistantText, AssistantThinking, ToolUse, UserInput, label, tail
from ._transcript_log import fold_entry, fold_in_flight, note, said, thought

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podkit.protocol import Event

    from ._transcript import Transcript


def fold_transcript(transcript: Transcript, event: Event) -> Transcript:
    """The transcript after one more event of a pod's stream: what `async for event in client` yields, from the first on.

    A `Snapshot` replaces all that it speaks of, so a snapshot taken at any moment and the events after it give the same
    transcript as all events from the beginning (as long as no run streams more at once than is kept); only alerts are not in a
    snapshot: those that were heard stay. Events and entries of unknown kinds, damaged entries, and events that no transcript
    shows change nothing. Never raises.
    """
    match event:
        case Snapshot():
            return _snapshot(transcript, event)
        case SegmentRotated(entry=entry):
            return fold_entry(attrs.evolve(transcript, runs=(), omitted=0), entry)
        case RewindApplied(entries=entries):
            return _entries(attrs.evolve(transcript, runs=(), omitted=0), entries)
        case StatusEvent(status=status, held=held):
            return attrs.evolve(transcript, status=status, held=held)
        case Alert() | Notification():
            return _alert(transcript, Alert(event.level, event.source, event.message, event.timestamp_ms))
        case Lagged():
            return attrs.evolve(transcript, complete=False)
        case Shutdown():
            return attrs.evolve(transcript, over=True)
        case TextDelta() | ThinkingStart() | ThinkingDelta() | ToolCallStart() | ToolCallArgsDelta():
            return _stream(transcript, event)
        case TurnStart() | LlmRetry():
            return changes.void(transcript, event.run)
        case InvokeStart(kind=kind):
            return changes.begin(transcript, event.run, kind)
        case RunEnd(result=result):
            return changes.end(transcript, event.run, result)
        case Error(code=code, message=message):
            return _error(transcript, event.run, code, message)
        case TurnEnd(turn=turn):
            return changes.turn_over(transcript, event.run, turn)
        case Usage():
            return changes.spend(transcript, event.run, event)
    return _committed(transcript, event)


def _snapshot(transcript: Transcript, event: Snapshot) -> Transcript:
    fresh = attrs.evolve(
        transcript,
        greeting=event.greeting,
        status=event.status,
        held=event.greeting.held,
        runs=(),
        complete=True,
        over=False,
        omitted=0,
    )
    return fold_in_flight(_entries(fresh, event.entries), event.in_flight)


def _entries(transcript: Transcript, entries: Iterable[Any]) -> Transcript:
    for entry in entries:
        transcript = fold_entry(transcript, entry)
    return transcript


def _committed(transcript: Transcript, event: Event) -> Transcript:
    """What is in the log once it is said. Everything else changes nothing."""
    match event:
        case UserMessage(segments=segments):
            text, omitted = tail(flatten(segments), transcript.limits)
            return changes.commit(transcript, event.run, UserInput(text, omitted=omitted))
        case SystemItemEvent(item=item):
            return changes.commit(transcript, event.run, note(transcript, item))
        case TextDone(text=text):
            return said(transcript, event.run, text)
        case ThinkingDone(text=text):
            return thought(transcript, event.run, text)
        case ToolCallDone(id=call, name=name, arguments=arguments):
            whole, omitted = tail(arguments, transcript.limits)
            return changes.commit(transcript, event.run, ToolUse(label(call), label(name), whole, omitted=omitted))
        case ToolResult(id=call, summary=summary, output=output, is_error=is_error):
            return changes.answer(transcript, event.run, call, changes.reply_of(transcript, summary, output, is_error=is_error))
    return transcript


def _stream(
    transcript: Transcript,
    event: TextDelta | ThinkingStart | ThinkingDelta | ToolCallStart | ToolCallArgsDelta,
) -> Transcript:
    match event:
        case TextDelta(text=text):
            return changes.more_prose(transcript, event.run, AssistantText, text)
        case ThinkingStart():
            return changes.uncommitted(transcript, event.run, AssistantThinking("", done=False))
        case ThinkingDelta(text=text):
            return changes.more_prose(transcript, event.run, AssistantThinking, text)
        case ToolCallStart(id=call, name=name):
            return changes.uncommitted(transcript, event.run, ToolUse(label(call), label(name), "", done=False))
    return changes.more_arguments(transcript, event.run, event.id, event.json)


def _error(transcript: Transcript, run: int | None, code: ErrorCode, message: str) -> Transcript:
    """A run failed; or, without a number and with nothing running, a method of somebody was refused, which is not shown."""
    if run is None and changes.current(transcript, None) is None:
        return transcript
    return changes.fail(transcript, run, code, message)


def _alert(transcript: Transcript, alert: Alert) -> Transcript:
    """An alert is shown once, also where a pod repeats the last ones to who comes again."""
    alert = attrs.evolve(alert, message=tail(alert.message, transcript.limits)[0])
    if alert in transcript.alerts:
        return transcript
    return attrs.evolve(transcript, alerts=(*transcript.alerts, alert)[-transcript.limits.alerts :])
