"""What is committed for what happened: events of a run as log entries. Pure."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from podkit.protocol import (
    AssistantItemEntry,
    ErrorCode,
    InvokeEntry,
    LlmUsageEntry,
    MessageItem,
    PausedTurnAbandonedEntry,
    ReasoningItem,
    RunCompletedEntry,
    RunErroredEntry,
    RunResult,
    TextDone,
    TextPart,
    ThinkingDone,
    ToolCallDone,
    ToolCallItem,
    ToolResult,
    ToolResultEntry,
    ToolResultItem,
    TurnEnd,
    TurnEndEntry,
    Usage,
    UserInputEntry,
    segments,
)

if TYPE_CHECKING:
    from podkit.errors import SessionError
    from podkit.logic import Commit
    from podkit.protocol import Event, LogEntry, Segment

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_RESULT = "no result: the run ended while this call was under way; what it did is not known, and it was not repeated"


def input_entries(commit: Commit, given: str | tuple[Segment, ...], ts: int) -> tuple[LogEntry, ...]:
    """What starts a run: why, and what was asked unless it is asked again."""
    invoke = InvokeEntry(ts=ts, trigger=commit.cause, run=commit.run)
    if commit.ask is None or commit.resumed:
        return (invoke,)
    return (invoke, UserInputEntry(ts=ts, segments=segments(given), run=commit.run))


def entry_of(event: Event, run: int, ts: int) -> LogEntry:
    """The entry of an event that is kept: finished text, thinking, tool calls, results, usage, ends of turns."""
    match event:
        case TextDone(text=text):
            return AssistantItemEntry(ts=ts, item=MessageItem("assistant", (TextPart(text),)), run=run)
        case ThinkingDone(text=text):
            return AssistantItemEntry(ts=ts, item=ReasoningItem(text=text), run=run)
        case ToolCallDone(id=call, name=name, arguments=arguments):
            return AssistantItemEntry(ts=ts, item=ToolCallItem(call_id=call, name=name, arguments=arguments), run=run)
        case ToolResult(id=call, summary=summary, output=output, is_error=is_error):
            return ToolResultEntry(ts=ts, item=ToolResultItem(call, summary, content=output, is_error=is_error), run=run)
        case Usage():
            return LlmUsageEntry(
                ts=ts,
                input_total_tokens=event.input_tokens,
                cache_read_tokens=event.cache_read_input_tokens,
                output_tokens=event.output_tokens,
                run=run,
            )
        case TurnEnd(turn=turn):
            return TurnEndEntry(ts=ts, turn_count=turn, run=run)
        case _:
            raise AssertionError(f"{type(event).__name__} is not kept")


def end_entry(run: int, result: RunResult, failure: tuple[ErrorCode, str] | None, ts: int) -> LogEntry:
    """The one end of a run."""
    if failure is not None:
        code, message = failure
        return RunErroredEntry(ts=ts, message=message, code=code, run=run)
    interrupted = result in (RunResult.PAUSED, RunResult.CANCELLED)
    return RunCompletedEntry(ts=ts, interrupted=interrupted, result=result, run=run)


def abandoned_entry(run: int, ts: int) -> LogEntry:
    """A paused run that will not be carried on."""
    return PausedTurnAbandonedEntry(ts=ts, run=run)


def lost_failure(error: SessionError) -> tuple[ErrorCode, str]:
    """How a run fails that could not be kept in the log."""
    code = ErrorCode.STORAGE_FULL if error.errno in _FULL else ErrorCode.INTERNAL
    return code, f"what the run did could not be kept in the log: {error}"
