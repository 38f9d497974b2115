"""What a front end shows of one pod, as values: runs, what was said in them, alerts. `fold_transcript` makes them from events."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from podkit.protocol import Alert, Error, Greeting, InvokeKind, RunResult, Status, Usage

_MAX_LABEL = 256  # characters of an id, a name or a kind


def _count(_limits: TranscriptLimits, field: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int:
        raise TypeError(f"{field.name} is a whole number")
    if value < 1:
        raise ValueError(f"{field.name} is at least 1, not {value}")


@attrs.frozen(kw_only=True)
class TranscriptLimits:
    """How much of a transcript is kept: the last `runs`, the last `items` of all of them together, the last `alerts`, of each text
    its last `text` characters, and of what a run streams at the same time the last `streaming`.

    Raises `TypeError` and `ValueError` for what is not a whole number from 1.
    """

    runs: int = attrs.field(default=100, validator=_count)
    items: int = attrs.field(default=1000, validator=_count)
    text: int = attrs.field(default=32 * 1024, validator=_count)
    alerts: int = attrs.field(default=100, validator=_count)
    streaming: int = attrs.field(default=64, validator=_count)


# What a run is made of. Of every text the last is kept; `omitted` says how many characters came before what is here.


@attrs.frozen
class UserInput:
    """What the user said."""

    text: str
    omitted: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class AssistantText:
    """What the model says: so far, or whole and committed when it is `done`."""

    text: str
    done: bool = attrs.field(default=True, kw_only=True)
    omitted: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class AssistantThinking:
    """What the model thinks: so far, or whole and committed when it is `done`."""

    text: str
    done: bool = attrs.field(default=True, kw_only=True)
    omitted: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class ToolReply:
    """What a tool call gave: a line for people, and the output when there is more."""

    summary: str
    output: str | None = None
    is_error: bool = attrs.field(default=False, kw_only=True)
    omitted: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class ToolUse:
    """A tool call and, once there is one, its `reply`. `arguments` is the JSON text as far as the model wrote it; all of it, and
    committed, when the call is `done`. The name is empty where the call itself was not seen."""

    id: str
    name: str
    arguments: str
    done: bool = attrs.field(default=True, kw_only=True)
    reply: ToolReply | None = attrs.field(default=None, kw_only=True)
    omitted: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class SystemNote:
    """What the model was told beside the user's words: a notification, news of a child, a file. `kind` is its kind on the wire."""

    kind: str
    text: str
    omitted: int = attrs.field(default=0, kw_only=True)


@attrs.frozen
class OtherItem:
    """Something of a `kind` that this version cannot show."""

    kind: str


StreamingItem: TypeAlias = AssistantText | AssistantThinking | ToolUse
TranscriptItem: TypeAlias = UserInput | StreamingItem | SystemNote | OtherItem


@attrs.frozen(kw_only=True)
class TranscriptRun:
    """One run. `items` are committed, in the order of the log; `streaming` is what the model is writing and has not committed.

    `number` and `cause` are None where nobody said them, as for what a compacted log says of earlier runs. `turns` counts the
    model exchanges that are over, `usage` is the sum over all model calls. `result` is None until the run ended, `error` says why
    it failed. `omitted` is how many items came before those that are kept.
    """

    number: int | None
    cause: InvokeKind | None = None
    items: tuple[TranscriptItem, ...] = ()
    streaming: tuple[StreamingItem, ...] = ()
    turns: int = 0
    usage: Usage = attrs.field(factory=Usage)
    result: RunResult | None = None
    error: Error | None = None
    omitted: int = 0


@attrs.frozen(kw_only=True)
class Transcript:
    """What is known of one pod from its events. `Transcript()` is nothing yet; `fold_transcript` takes in one event.

    `greeting` is as of the last snapshot; `status` and `held` (notices that wait without waking the pod) are kept up to date.
    `complete` says that nothing is missing: true from a snapshot on, until events are lost (`Lagged`). `over` says that the pod
    has left. `omitted` is how many runs came before those that are kept, within `limits`.
    """

    limits: TranscriptLimits = attrs.field(factory=TranscriptLimits)
    greeting: Greeting | None = None
    status: Status | None = None
    held: int = 0
    runs: tuple[TranscriptRun, ...] = ()
    alerts: tuple[Alert, ...] = ()
    complete: bool = False
    over: bool = False
    omitted: int = 0


def label(text: str) -> str:
    """An id, a name or a kind, bounded."""
    return text[:_MAX_LABEL]


def tail(text: str, limits: TranscriptLimits, *, omitted: int = 0) -> tuple[str, int]:
    """The last of a text, and how many characters came before that; `omitted` of them before `text` already."""
    extra = len(text) - limits.text
    return (text[extra:], omitted + extra) if extra > 0 else (text, omitted)
