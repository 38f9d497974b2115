"""The few things that happen to a transcript, whether an event or an entry of the log says so. All of them keep its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import attrs

from podkit.protocol import Error, RunResult, Usage

from ._transcript import AssistantText, AssistantThinking, ToolReply, ToolUse, TranscriptRun, label, tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.protocol import ErrorCode, InvokeKind

    from ._transcript import StreamingItem, Transcript, TranscriptItem

_Prose = TypeVar("_Prose", AssistantText, AssistantThinking)


def begin(transcript: Transcript, number: int | None, cause: InvokeKind | None) -> Transcript:
    """A run begins. One with a number may be known already; one without is always another one."""
    if number is None:
        return _added(transcript, TranscriptRun(number=None, cause=cause))
    return change(transcript, number, lambda run: attrs.evolve(run, cause=cause, streaming=()))


def change(transcript: Transcript, number: int | None, how: Callable[[TranscriptRun], TranscriptRun]) -> Transcript:
    """Change the run of that number, which is there afterwards; None is the run that goes on, or a new one."""
    index = _index(transcript.runs, number)
    if index is None:
        return _added(transcript, how(TranscriptRun(number=number)))
    return _fitted(transcript, (*transcript.runs[:index], how(transcript.runs[index]), *transcript.runs[index + 1 :]))


def commit(transcript: Transcript, number: int | None, item: TranscriptItem) -> Transcript:
    """An item is in the log: it stands at the end of its run, and what was streamed of it is gone."""

    def place(run: TranscriptRun) -> TranscriptRun:
        return attrs.evolve(run, items=(*run.items, item), streaming=_without(run.streaming, item))

    return change(transcript, number, place)


def uncommitted(transcript: Transcript, number: int | None, item: StreamingItem) -> Transcript:
    """What was streamed so far of an item, instead of what was known of it."""

    def place(run: TranscriptRun) -> TranscriptRun:
        return attrs.evolve(run, streaming=(*_without(run.streaming, item), item)[-transcript.limits.streaming :])

    return change(transcript, number, place)


def more_prose(transcript: Transcript, number: int | None, cls: type[_Prose], text: str) -> Transcript:
    """More of what the model says or thinks. The two are streamed one passage at a time."""

    known = next((item for item in _streaming(transcript, number) if isinstance(item, cls)), None)
    if known is None:
        whole, omitted = tail(text, transcript.limits)
        return uncommitted(transcript, number, cls(whole, done=False, omitted=omitted))
    whole, omitted = tail(known.text + text, transcript.limits, omitted=known.omitted)
    return _regrown(transcript, number, known, cls(whole, done=False, omitted=omitted))


def more_arguments(transcript: Transcript, number: int | None, call: str, text: str) -> Transcript:
    """More of the arguments of a call."""
    call = label(call)
    known = next((item for item in _streaming(transcript, number) if isinstance(item, ToolUse) and item.id == call), None)
    if known is None:
        whole, omitted = tail(text, transcript.limits)
        return uncommitted(transcript, number, ToolUse(call, "", whole, done=False, omitted=omitted))
    whole, omitted = tail(known.arguments + text, transcript.limits, omitted=known.omitted)
    return _regrown(transcript, number, known, attrs.evolve(known, arguments=whole, omitted=omitted))


def answer(transcript: Transcript, number: int | None, call: str, reply: ToolReply) -> Transcript:
    """What a call gave: it stands with the last call of that id in its run, or alone where that is not here."""
    call = label(call)

    def place(run: TranscriptRun) -> TranscriptRun:
        alone = ToolUse(call, "", "", reply=reply)
        streaming = _without(run.streaming, alone)
        for at in range(len(run.items) - 1, -1, -1):
            item = run.items[at]
            if isinstance(item, ToolUse) and item.id == call:
                items = (*run.items[:at], attrs.evolve(item, reply=reply), *run.items[at + 1 :])
                return attrs.evolve(run, items=items, streaming=streaming)
        return attrs.evolve(run, items=(*run.items, alone), streaming=streaming)

    return change(transcript, number, place)


def reply_of(transcript: Transcript, summary: str, output: str | None, *, is_error: bool) -> ToolReply:
    """A reply within the limits."""
    short, before = tail(summary, transcript.limits)
    if output is None:
        return ToolReply(short, is_error=is_error, omitted=before)
    kept, omitted = tail(output, transcript.limits, omitted=before)
    return ToolReply(short, kept, is_error=is_error, omitted=omitted)


def spend(transcript: Transcript, number: int | None, usage: Usage) -> Transcript:
    """A model call used so much."""
    return change(transcript, number, lambda run: attrs.evolve(run, usage=_sum(run.usage, usage)))


def turn_over(transcript: Transcript, number: int | None, turn: int) -> Transcript:
    """So many turns are over."""
    return change(transcript, number, lambda run: attrs.evolve(run, turns=turn, streaming=()))


def fail(transcript: Transcript, number: int | None, code: ErrorCode, message: str) -> Transcript:
    """A run failed, for this reason."""
    error = Error(code, tail(message, transcript.limits)[0])
    return change(transcript, number, lambda run: attrs.evolve(run, error=error, result=RunResult.FAILED, streaming=()))


def end(transcript: Transcript, number: int | None, result: RunResult) -> Transcript:
    """A run is over. What it had not committed is not coming any more."""
    return change(transcript, number, lambda run: attrs.evolve(run, result=result, streaming=()))


def void(transcript: Transcript, number: int | None) -> Transcript:
    """The model begins its answer, for the first time or once more: what it had streamed before does not count."""
    if not _streaming(transcript, number):
        return transcript
    return change(transcript, number, lambda run: attrs.evolve(run, streaming=()))


def current(transcript: Transcript, number: int | None) -> TranscriptRun | None:
    """The run of that number, or for None the one that goes on; None where there is none."""
    index = _index(transcript.runs, number)
    return None if index is None else transcript.runs[index]


def _index(runs: tuple[TranscriptRun, ...], number: int | None) -> int | None:
    if number is None:
        return len(runs) - 1 if runs and runs[-1].result is None else None
    return next((at for at in range(len(runs) - 1, -1, -1) if runs[at].number == number), None)


def _added(transcript: Transcript, run: TranscriptRun) -> Transcript:
    return _fitted(transcript, (*transcript.runs, run))


def _fitted(transcript: Transcript, runs: tuple[TranscriptRun, ...]) -> Transcript:
    """With these runs, as far as they fit."""
    surplus = max(0, len(runs) - transcript.limits.runs)
    kept = list(runs[surplus:])
    extra = sum([len(run.items) for run in kept]) - transcript.limits.items
    at = 0
    while extra > 0:
        run = kept[at]
        if gone := min(extra, len(run.items)):
            kept[at] = attrs.evolve(run, items=run.items[gone:], omitted=run.omitted + gone)
        extra, at = extra - gone, at + 1
    return attrs.evolve(transcript, runs=tuple(kept), omitted=transcript.omitted + surplus)


def _streaming(transcript: Transcript, number: int | None) -> tuple[StreamingItem, ...]:
    run = current(transcript, number)
    return () if run is None else run.streaming


def _regrown(transcript: Transcript, number: int | None, known: StreamingItem, grown: StreamingItem) -> Transcript:
    def place(run: TranscriptRun) -> TranscriptRun:
        return attrs.evolve(run, streaming=tuple(grown if item is known else item for item in run.streaming))

    return change(transcript, number, place)


def _without(streaming: tuple[StreamingItem, ...], item: TranscriptItem) -> tuple[StreamingItem, ...]:
    """What is streamed but for that one item: a call by its id, text and thinking by what they are."""
    if isinstance(item, ToolUse):
        return tuple(other for other in streaming if not (isinstance(other, ToolUse) and other.id == item.id))
    return tuple(other for other in streaming if type(other) is not type(item))


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        input_tokens=_plus(one.input_tokens, other.input_tokens),
        output_tokens=_plus(one.output_tokens, other.output_tokens),
        cache_read_input_tokens=_plus(one.cache_read_input_tokens, other.cache_read_input_tokens),
    )


def _plus(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other
