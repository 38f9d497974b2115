"""Entries of a session log. Every entry has `ts`, in milliseconds since the epoch; entries of a run carry its number."""

from typing import ClassVar, TypeAlias

import attrs

from ._enums import ErrorCode, InvokeKind, RunResult
from ._items import LoggedItem, SystemItem
from ._marks import I64, OMIT, U64, Count, Json, as_tuple, named
from ._pod_events import PodEvent
from ._segments import Segment, segments


@attrs.frozen
class SegmentOrigin:
    """Where a segment continues from: another segment, at a turn of it."""

    segment_id: str
    at_turn_index: U64


@attrs.frozen
class SegmentStartEntry:
    """The first entry of a segment: everything needed to go on from here without what was before."""

    kind: ClassVar[str] = "segment_start"
    ts: I64
    session_id: str
    system_prompt: str | None
    config: Json
    history: tuple[LoggedItem, ...] = attrs.field(converter=as_tuple)
    forked_from: SegmentOrigin | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    compacted_from: SegmentOrigin | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class InvokeEntry:
    """A run was accepted."""

    kind: ClassVar[str] = "invoke"
    ts: I64
    trigger: InvokeKind
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class UserInputEntry:
    """What the user said (text is kept as one `Text`)."""

    kind: ClassVar[str] = "user_input"
    ts: I64
    segments: tuple[Segment, ...] = attrs.field(converter=segments)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class AssistantItemEntry:
    """One message, thought or tool call of the model."""

    kind: ClassVar[str] = "assistant_item"
    ts: I64
    item: LoggedItem
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ToolResultEntry:
    """One result of a tool."""

    kind: ClassVar[str] = "tool_result"
    ts: I64
    item: LoggedItem
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class SystemItemEntry:
    """Something the model is told beside the user's words."""

    kind: ClassVar[str] = "system_item"
    ts: I64
    item: SystemItem
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class TurnEndEntry:
    """A turn ended; `turn_count` turns are over."""

    kind: ClassVar[str] = "turn_end"
    ts: I64
    turn_count: U64
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class RunCompletedEntry:
    """A run ended without failing. `interrupted`: somebody ended it."""

    kind: ClassVar[str] = "run_completed"
    ts: I64
    result: RunResult
    interrupted: bool = attrs.field(default=False, kw_only=True)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class RunErroredEntry:
    """A run failed. `code` is what clients were told."""

    kind: ClassVar[str] = "run_errored"
    ts: I64
    message: str
    interrupted: bool = attrs.field(default=False, kw_only=True)
    code: ErrorCode | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ConfigChangedEntry:
    """The model or its configuration changed."""

    kind: ClassVar[str] = "config_changed"
    ts: I64
    config: Json


@attrs.frozen
class LlmUsageEntry:
    """What one model call used: the length of the history it saw, and tokens; None where the provider does not say."""

    kind: ClassVar[str] = "llm_usage"
    ts: I64
    history_len: U64 | None = attrs.field(default=None, kw_only=True)
    input_total_tokens: U64 | None = attrs.field(default=None, kw_only=True)
    cache_read_tokens: U64 | None = attrs.field(default=None, kw_only=True)
    cache_write_tokens: U64 | None = attrs.field(default=None, kw_only=True)
    output_tokens: U64 | None = attrs.field(default=None, kw_only=True)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ExtensionEntry:
    """Anything else, by `domain`."""

    kind: ClassVar[str] = "extension"
    ts: I64
    domain: str
    payload: Json
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class PausedTurnAbandonedEntry:
    """A paused run was given up."""

    kind: ClassVar[str] = "paused_turn_abandoned"
    ts: I64
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class NoticeEntry:
    """A notice was accepted into the queue. `sender` says whose it is (`from` on the wire); `wake`, whether it may start a run.

    `event` is what happened, when it is news of a child: what the model will see follows from this entry alone.
    """

    kind: ClassVar[str] = "notice"
    ts: I64
    id: str
    sender: str = attrs.field(metadata=named("from"))
    body: str
    wake: bool = attrs.field(default=True, kw_only=True, metadata=OMIT)
    event: PodEvent | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class NoticeReturnedEntry:
    """A notice was given back unseen, because the pod ended in order.

    `into` is the later notice that says what this one said, when news of children was put together because the queue was full.
    """

    kind: ClassVar[str] = "notice_returned"
    ts: I64
    id: str
    into: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class UnknownEntry:
    """An entry of a kind this version does not know; `data` is the whole JSON object."""

    fallback: ClassVar[bool] = True
    kind: str
    data: Json

    @property
    def ts(self) -> int:
        """Milliseconds since the epoch, 0 when the entry does not say."""
        ts = self.data.get("ts")
        return ts if type(ts) is int else 0


LogEntry: TypeAlias = (
    SegmentStartEntry
    | InvokeEntry
    | UserInputEntry
    | AssistantItemEntry
    | ToolResultEntry
    | SystemItemEntry
    | TurnEndEntry
    | RunCompletedEntry
    | RunErroredEntry
    | ConfigChangedEntry
    | LlmUsageEntry
    | ExtensionEntry
    | PausedTurnAbandonedEntry
    | NoticeEntry
    | NoticeReturnedEntry
    | UnknownEntry
)
