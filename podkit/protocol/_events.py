"""All events: the union, and the classes of it that may be said by whom."""

from typing import Final, TypeAlias

from ._events_pod import (
    Accepted,
    CompactDone,
    CompactFailed,
    CompactStart,
    CompletionsEvent,
    History,
    Lagged,
    MemoryWorker,
    Notification,
    PodAttachRestore,
    PodInspection,
    Returned,
    RewindApplied,
    RewindTargets,
    SegmentRotated,
    Shutdown,
    Snapshot,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    StatusEvent,
    UnknownEvent,
    VisiblePods,
    Welcome,
)
from ._events_run import (
    Alert,
    Error,
    InvokeStart,
    LlmCallEnd,
    LlmCallStart,
    LlmContinuation,
    LlmRetry,
    RunEnd,
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
)

RunEvent: TypeAlias = (
    UserMessage
    | SystemItemEvent
    | InvokeStart
    | TurnStart
    | TurnEnd
    | LlmCallStart
    | LlmCallEnd
    | LlmRetry
    | LlmContinuation
    | TextDelta
    | TextDone
    | ThinkingStart
    | ThinkingDelta
    | ThinkingDone
    | ToolCallStart
    | ToolCallArgsDelta
    | ToolCallDone
    | ToolResult
    | Usage
    | RunEnd
    | Error
)
KnownEvent: TypeAlias = (
    RunEvent
    | Snapshot
    | SegmentRotated
    | StatusEvent
    | CompletionsEvent
    | RewindTargets
    | RewindApplied
    | VisiblePods
    | PodInspection
    | PodAttachRestore
    | Alert
    | Notification
    | History
    | MemoryWorker
    | CompactStart
    | CompactDone
    | CompactFailed
    | Shutdown
    | Welcome
    | Accepted
    | Lagged
    | Returned
    | SnapshotBegin
    | SnapshotChunk
    | SnapshotEnd
)
Event: TypeAlias = KnownEvent | UnknownEvent

# Events that belong to a run and carry its number.
RUN_EVENTS: Final[frozenset[type]] = frozenset(RunEvent.__args__)

# What a worker may emit.
WORKER_EVENTS: Final[frozenset[type]] = frozenset(
    {
        TurnStart,
        TurnEnd,
        TextDelta,
        TextDone,
        ThinkingStart,
        ThinkingDelta,
        ThinkingDone,
        ToolCallStart,
        ToolCallArgsDelta,
        ToolCallDone,
        ToolResult,
        Usage,
        LlmCallStart,
        LlmCallEnd,
        LlmRetry,
        LlmContinuation,
        Alert,
    }
)

# What of it is kept in the log before anyone sees it.
COMMITTED_EVENTS: Final[frozenset[type]] = frozenset({TextDone, ThinkingDone, ToolCallDone, ToolResult, Usage})
