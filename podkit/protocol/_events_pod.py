"""Events of a pod: its state, answers to queries, and what only admitted connections hear."""

from typing import ClassVar

import attrs

from ._enums import AlertLevel, AlertSource, CompletionKind, Role, Status
from ._marks import I64, OMIT, U32, U64, Count, Json, UuidText, as_tuple
from ._methods import RewindTarget
from ._segments import Segment, segments


@attrs.frozen
class Greeting:
    """Who the pod is and what it works with. `confinement` is the level in force, `exclusive` what its write is exclusive
    within, `held` the number of notices that wait without waking it, `grant_summary` what it may hand out, when that is not what it
    may use."""

    pod_name: str
    cwd: str
    provider: str
    model: str
    scope_summary: str
    tools: tuple[str, ...] = attrs.field(converter=as_tuple)
    context_window: U64 = attrs.field(default=0, kw_only=True)
    context_tokens: U64 = attrs.field(default=0, kw_only=True)
    confinement: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    exclusive: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    held: Count = attrs.field(default=0, kw_only=True, metadata=OMIT)
    grant_summary: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class Snapshot:
    """Everything up to here: the log's entries as JSON values, who the pod is, and what is under way.

    `in_flight` is what the current run has streamed and not committed: None for nothing, else `{"blocks": [...]}` in the order in
    which the blocks began. A block is `{"kind": "text" | "thinking", "text": ...}` or `{"kind": "tool_call", "id": ...,
    "name": ..., "arguments": ...}`, with the number of its `run`, and with `missing` when so many characters of its beginning are
    left out. The deltas that follow the snapshot continue these blocks.
    """

    event: ClassVar[str] = "snapshot"
    entries: tuple[Json, ...] = attrs.field(converter=as_tuple)
    greeting: Greeting
    status: Status = attrs.field(default=Status.IDLE, kw_only=True)
    in_flight: Json | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class SegmentRotated:
    """The log goes on in a new segment that starts with `entry`, a JSON value; what was before is in it."""

    event: ClassVar[str] = "segment_rotated"
    entry: Json


@attrs.frozen
class StatusEvent:
    """The pod's state. `held` is the number of notices that wait without waking it."""

    event: ClassVar[str] = "status"
    status: Status
    held: Count = attrs.field(default=0, kw_only=True, metadata=OMIT)


@attrs.frozen
class Completion:
    """One completion; `is_dir` when it can be completed further."""

    value: str
    is_dir: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class CompletionsEvent:
    """Answers `ListCompletions`."""

    event: ClassVar[str] = "completions"
    kind: CompletionKind
    entries: tuple[Completion, ...] = attrs.field(converter=as_tuple)


@attrs.frozen
class RewindChoice:
    """A user input that can be gone back to, or why it cannot."""

    id: RewindTarget
    expected_head_entries: U64
    truncate_entries: U64
    turn_index: U64
    timestamp_ms: I64 | None
    preview: str
    eligible: bool
    disabled_reason: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    warning: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class RewindTargets:
    """Answers `ListRewindTargets`; `head_entries` is the length of the log they are valid for."""

    event: ClassVar[str] = "rewind_targets"
    head_entries: U64
    targets: tuple[RewindChoice, ...] = attrs.field(converter=as_tuple)


@attrs.frozen
class RewindSummary:
    """What going back did to the log, and whether tools may have left effects behind."""

    truncated_to_entries: U64
    discarded_entries: U64
    tool_side_effect_warning: bool


@attrs.frozen
class RewindApplied:
    """The log was cut: what is left, and the input that was taken back."""

    event: ClassVar[str] = "rewind_applied"
    entries: tuple[Json, ...] = attrs.field(converter=as_tuple)
    input: tuple[Segment, ...] = attrs.field(converter=segments)
    summary: RewindSummary


@attrs.frozen
class VisiblePods:
    """Answers `ListVisiblePods` with a JSON value."""

    event: ClassVar[str] = "visible_pods"
    pods: Json


@attrs.frozen
class PodInspection:
    """Answers `InspectPod` with a JSON value."""

    event: ClassVar[str] = "pod_inspection"
    pod: Json


@attrs.frozen
class PodAttachRestore:
    """Answers `AttachOrRestorePod` with a JSON value."""

    event: ClassVar[str] = "pod_attach_restore"
    result: Json


@attrs.frozen
class Notification:
    """`Alert` as clients of generation A know it."""

    event: ClassVar[str] = "notification"
    level: AlertLevel
    source: AlertSource
    message: str
    timestamp_ms: I64


@attrs.frozen
class History:
    """Answers `GetHistory`: what was said so far as JSON values, and who the pod is."""

    event: ClassVar[str] = "history"
    items: tuple[Json, ...] = attrs.field(converter=as_tuple)
    greeting: Greeting


@attrs.frozen
class MemoryWorker:
    """Progress of the memory worker, for people to look at."""

    event: ClassVar[str] = "memory_worker"
    worker: str
    status: str
    run_id: str
    trigger: str
    reason: str
    message: str
    timestamp_ms: I64


@attrs.frozen
class CompactStart:
    """Compaction begins."""

    event: ClassVar[str] = "compact_start"


@attrs.frozen
class CompactDone:
    """Compaction is over; the log goes on in a new segment."""

    event: ClassVar[str] = "compact_done"
    new_segment_id: UuidText


@attrs.frozen
class CompactFailed:
    """Compaction failed; the log is as it was."""

    event: ClassVar[str] = "compact_failed"
    error: str


@attrs.frozen
class Shutdown:
    """The last event: the pod leaves."""

    event: ClassVar[str] = "shutdown"


@attrs.frozen
class Welcome:
    """Answers `Hello`: the protocol version chosen, which pod this is, where its stream stands, and as what we were admitted."""

    event: ClassVar[str] = "welcome"
    protocol: U32
    pod_name: str
    incarnation: str
    seq: Count
    status: Status
    role: Role
    confinement: str
    resumed: bool
    features: tuple[str, ...] = attrs.field(converter=as_tuple)


@attrs.frozen
class Accepted:
    """The method was accepted; `run` is the run it started or acts on, `notice` the id that a notice got in the queue."""

    event: ClassVar[str] = "accepted"
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    notice: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class Lagged:
    """We fell behind and the events from `first` to `last` are not coming; a snapshot follows."""

    event: ClassVar[str] = "lagged"
    first: Count
    last: Count


@attrs.frozen
class Returned:
    """A notice we sent was not seen and will not be. `id` is what `Accepted.notice` said, `reason` the text of an error code."""

    event: ClassVar[str] = "returned"
    id: str
    reason: str


@attrs.frozen
class SnapshotBegin:
    """A snapshot follows in pieces: `entries` entries in all, taken at `seq`. The rest is as in `Snapshot`."""

    event: ClassVar[str] = "snapshot_begin"
    seq: Count
    entries: Count
    greeting: Greeting | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    status: Status = attrs.field(default=Status.IDLE, kw_only=True)
    in_flight: Json | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class SnapshotChunk:
    """The next entries of a snapshot."""

    event: ClassVar[str] = "snapshot_chunk"
    entries: tuple[Json, ...] = attrs.field(converter=as_tuple)


@attrs.frozen
class SnapshotEnd:
    """The snapshot of `seq` is complete."""

    event: ClassVar[str] = "snapshot_end"
    seq: Count


@attrs.frozen
class UnknownEvent:
    """An event of a kind this version does not know, with its JSON data."""

    event: str
    data: Json = None
