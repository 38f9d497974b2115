"""Folding a log into a transcript: entries as a snapshot carries them, and the blocks that were in flight when it was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podkit.errors import RemoteProtocolError
from podkit.protocol import (
    AssistantItemEntry,
    ErrorCode,
    InvokeEntry,
    LlmUsageEntry,
    MessageItem,
    ReasoningItem,
    RunCompletedEntry,
    RunErroredEntry,
    SegmentStartEntry,
    SystemItemEntry,
    ToolCallItem,
    ToolResultEntry,
    ToolResultItem,
    TurnEndEntry,
    UnknownItem,
    Usage,
    UserInputEntry,
    entry_from_data,
    flatten,
)

from . import _transcript_changes as changes
from ._transcript import AssistantText, AssistantThinking, OtherItem, SystemNote, ToolUse, UserInput, label, tail

if TYPE_CHECKING:
    from podkit.protocol import LoggedItem, SystemItem

    from ._transcript import Transcript

_MOST = 2**63 - 1


def fold_entry(transcript: Transcript, data: Any) -> Transcript:
    """The transcript after one more entry of the log, as a JSON value. What is unknown or damaged changes nothing."""
    try:
        entry = entry_from_data(data)
    except RemoteProtocolError:
        return transcript
    match entry:
        case SegmentStartEntry(history=history):
            for item in history:
                transcript = _logged(transcript, None, item)
            return transcript
        case InvokeEntry(trigger=cause):
            return changes.begin(transcript, entry.run, cause)
        case UserInputEntry(segments=segments):
            text, omitted = tail(flatten(segments), transcript.limits)
            return changes.commit(transcript, entry.run, UserInput(text, omitted=omitted))
        case AssistantItemEntry(item=item) | ToolResultEntry(item=item):
            return _logged(transcript, entry.run, item)
        case SystemItemEntry(item=told):
            return changes.commit(transcript, entry.run, note(transcript, told))
        case TurnEndEntry(turn_count=turn):
            return changes.turn_over(transcript, entry.run, turn)
        case LlmUsageEntry():
            return changes.spend(transcript, entry.run, _usage(entry))
        case RunCompletedEntry(result=result):
            return changes.end(transcript, entry.run, result)
        case RunErroredEntry(message=message, code=code):
            return changes.fail(transcript, entry.run, code or ErrorCode.INTERNAL, message)
    return transcript


def fold_in_flight(transcript: Transcript, in_flight: Any) -> Transcript:
    """The transcript with what was streamed and not committed, as `Snapshot.in_flight` has it. What is damaged is left out."""
    blocks = in_flight.get("blocks") if isinstance(in_flight, dict) else None
    for block in blocks if isinstance(blocks, list | tuple) else ():
        if isinstance(block, dict):
            transcript = _block(transcript, _number(block.get("run")), block)
    return transcript


def said(transcript: Transcript, run: int | None, text: str) -> Transcript:
    """The model said something, committed."""
    whole, omitted = tail(text, transcript.limits)
    return changes.commit(transcript, run, AssistantText(whole, omitted=omitted))


def thought(transcript: Transcript, run: int | None, text: str) -> Transcript:
    """The model thought something, committed. A provider that keeps its thoughts to itself says that it thought, and not what."""
    whole, omitted = tail(text, transcript.limits)
    return changes.commit(transcript, run, AssistantThinking(whole, omitted=omitted))


def note(transcript: Transcript, item: SystemItem) -> SystemNote:
    """A system item: what the model was told."""
    body = item.data.get("body") if isinstance(item, UnknownItem) and isinstance(item.data, dict) else getattr(item, "body", "")
    text, omitted = tail(body if isinstance(body, str) else "", transcript.limits)
    return SystemNote(label(item.kind), text, omitted=omitted)


def _logged(transcript: Transcript, run: int | None, item: LoggedItem) -> Transcript:
    match item:
        case MessageItem(role=role, content=content):
            text = "".join("" if isinstance(part, UnknownItem) else part.text for part in content)
            if role == "assistant":
                return said(transcript, run, text)
            whole, omitted = tail(text, transcript.limits)
            made = UserInput(whole, omitted=omitted) if role == "user" else SystemNote(label(role), whole, omitted=omitted)
            return changes.commit(transcript, run, made)
        case ReasoningItem(text=text):
            return thought(transcript, run, text)
        case ToolCallItem(call_id=call, name=name, arguments=arguments):
            whole, omitted = tail(arguments, transcript.limits)
            return changes.commit(transcript, run, ToolUse(label(call), label(name), whole, omitted=omitted))
        case ToolResultItem(call_id=call, summary=summary, content=output, is_error=is_error):
            return changes.answer(transcript, run, call, changes.reply_of(transcript, summary, output, is_error=is_error))
    return changes.commit(transcript, run, OtherItem(label(item.kind)))


def _block(transcript: Transcript, run: int | None, block: dict[str, Any]) -> Transcript:
    known = changes.current(transcript, run)
    if known is not None and known.result is not None:
        return transcript  # what ended streams nothing
    before = _number(block.get("missing")) or 0
    match block:
        case {"kind": "text", "text": str(text)}:
            whole, omitted = tail(text, transcript.limits, omitted=before)
            return changes.uncommitted(transcript, run, AssistantText(whole, done=False, omitted=omitted))
        case {"kind": "thinking", "text": str(text)}:
            whole, omitted = tail(text, transcript.limits, omitted=before)
            return changes.uncommitted(transcript, run, AssistantThinking(whole, done=False, omitted=omitted))
        case {"kind": "tool_call", "id": str(call), "name": str(name), "arguments": str(arguments)}:
            whole, omitted = tail(arguments, transcript.limits, omitted=before)
            call, name = label(call), label(name)
            return changes.uncommitted(transcript, run, ToolUse(call, name, whole, done=False, omitted=omitted))
    return transcript


def _number(number: Any) -> int | None:
    return number if type(number) is int and 0 <= number <= _MOST else None


def _usage(entry: LlmUsageEntry) -> Usage:
    return Usage(
        input_tokens=entry.input_total_tokens,
        output_tokens=entry.output_tokens,
        cache_read_input_tokens=entry.cache_read_tokens,
    )
