"""What a log says: `replay` of its entries answers the state of the session they tell of, and what a restore must add to them.

The rules:

1. A segment's first entry says everything that was before it. Entries are read in order; each is read once.
2. A run is under way from its invoke to its terminal record. An invoke that meets a run without one ends it as interrupted.
3. A call of a tool is open until its result; a result answers the oldest open call of its id. Ids may come again in later runs.
4. A notice is queued when it was accepted and neither seen nor returned.
5. Nothing is dropped: extensions are kept as they are, and entries of unknown kinds are kept and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from podkit.protocol import (
    AssistantItemEntry,
    ConfigChangedEntry,
    ErrorCode,
    ExtensionEntry,
    InvokeEntry,
    InvokeKind,
    LlmUsageEntry,
    LogEntry,
    LoggedItem,
    MessageItem,
    NoticeEntry,
    NoticeReturnedEntry,
    PausedTurnAbandonedEntry,
    RunCompletedEntry,
    RunErroredEntry,
    RunResult,
    Segment,
    SegmentStartEntry,
    SystemItemEntry,
    TextPart,
    ToolCallItem,
    ToolResultEntry,
    ToolResultItem,
    TurnEndEntry,
    UserInputEntry,
    flatten,
)

RUNS = "podkit.runs"
"""The domain of the extension that carries the last run number into a segment whose entries do not show it."""

CLIENT = "client"
"""The sender of a notice that came from a client, not from a pod."""

INTERRUPTED = "the pod ended while this run was under way"
NOT_FINISHED = "the pod ended while this call ran; it may have had effects, and it was not run again"


@attrs.frozen
class OpenCall:
    """A call of a tool that has no result, and its run."""

    call_id: str
    name: str
    run: int


@attrs.frozen
class InputAt:
    """A user input: the index of its entry in the segment, of the entry its run begins with, and how many turns were over."""

    index: int
    begin: int
    turns: int
    ts: int
    segments: tuple[Segment, ...]


@attrs.frozen(kw_only=True)
class SessionState:
    """What the entries of one segment come to."""

    start: SegmentStartEntry | None = None
    """The entry the segment begins with; None when there are no entries, or when the log is older than segments."""
    entries: int = 0
    history: tuple[LoggedItem, ...] = ()
    """What the model was told and said, system items by their body as users' messages."""
    turns: int = 0
    """How many turns ended in this segment. Workers number turns as they like; this counts their ends."""
    run: int = 0
    """The number of the last run."""
    cause: InvokeKind = InvokeKind.USER_SEND
    """Why that run was started."""
    under_way: int | None = None
    """The run that has no terminal record."""
    turn_open: bool = False
    """Whether something was said or called in that run since its last end of a turn."""
    last_turn: int = 0
    """The number of the turn that ended last in that run."""
    paused: int | None = None
    input: tuple[Segment, ...] = ()
    """What the last run was asked; for a run that was resumed, what was asked first."""
    held: bool = False
    """Whether the queue waits: a run was cancelled or given up, and no client has spoken since."""
    orphans: tuple[OpenCall, ...] = ()
    """The calls without a result, oldest first."""
    notices: tuple[NoticeEntry, ...] = ()
    """What was accepted and neither seen nor returned, oldest first."""
    reports: tuple[tuple[str, str], ...] = ()
    """Incarnation and id of every report of a child that was accepted, oldest first: none of them counts again."""
    inputs: tuple[InputAt, ...] = ()
    usage: tuple[LlmUsageEntry, ...] = ()
    config: object = None
    extensions: tuple[ExtensionEntry, ...] = ()
    unknown: int = 0
    """How many entries are of kinds this version does not know."""


@attrs.define
class _Reading:
    """A `SessionState` in the making, under the same names."""

    start: SegmentStartEntry | None = None
    entries: int = 0
    history: list[LoggedItem] = attrs.field(factory=list)
    turns: int = 0
    run: int = 0
    cause: InvokeKind = InvokeKind.USER_SEND
    under_way: int | None = None
    turn_open: bool = False
    last_turn: int = 0
    paused: int | None = None
    input: tuple[Segment, ...] = ()
    held: bool = False
    begin: int = 0
    orphans: list[OpenCall] = attrs.field(factory=list)
    notices: dict[str, NoticeEntry] = attrs.field(factory=dict)
    reports: list[tuple[str, str]] = attrs.field(factory=list)
    inputs: list[InputAt] = attrs.field(factory=list)
    usage: list[LlmUsageEntry] = attrs.field(factory=list)
    config: object = None
    extensions: list[ExtensionEntry] = attrs.field(factory=list)
    unknown: int = 0

    def read(self, entry: LogEntry) -> None:
        said = said_in(entry)
        if said is not None:
            self.history.append(said)
        match entry:
            case SegmentStartEntry():
                self._begin(entry)
            case InvokeEntry() | RunCompletedEntry() | RunErroredEntry() | PausedTurnAbandonedEntry():
                self._of_run(entry)
            case UserInputEntry():
                self.input = entry.segments
                self.inputs.append(InputAt(self.entries, self.begin, self.turns, entry.ts, entry.segments))
            case AssistantItemEntry(item=item) | ToolResultEntry(item=item):
                self._said(item)
            case SystemItemEntry(item=item):
                self.notices.pop(getattr(item, "notice", None) or "", None)
            case NoticeEntry(id=notice, event=event):
                self.notices[notice] = entry
                self.held = self.held and not (entry.wake and entry.sender == CLIENT)
                if event is not None and event.incarnation is not None and event.id is not None:
                    self.reports.append((event.incarnation, event.id))
            case NoticeReturnedEntry(id=notice):
                self.notices.pop(notice, None)
            case TurnEndEntry(turn_count=turns):
                self.turns, self.last_turn, self.turn_open = self.turns + 1, turns, False
            case LlmUsageEntry():
                self.usage.append(entry)
            case ConfigChangedEntry(config=config):
                self.config = config
            case ExtensionEntry():
                self._extend(entry)
            case _:  # UnknownEntry
                self.unknown += 1
        self.entries += 1

    def _begin(self, entry: SegmentStartEntry) -> None:
        count = self.entries
        self.__init__()  # type: ignore[misc]  # nothing of what was before counts any more
        self.start, self.config, self.entries = entry, entry.config, count
        self.history.extend(entry.history)

    def _of_run(self, entry: InvokeEntry | RunCompletedEntry | RunErroredEntry | PausedTurnAbandonedEntry) -> None:
        match entry:
            case InvokeEntry():
                self.run = self.run + 1 if entry.run is None else entry.run
                self.input = self.input if self.paused is not None else ()
                self.cause, self.under_way, self.paused = entry.trigger, self.run, None
                self.turn_open = self.held = False
                self.last_turn, self.begin = 0, self.entries
                return
            case RunCompletedEntry(result=RunResult.PAUSED):
                self.paused = self.run
            case RunCompletedEntry(result=result):
                self.held = result is RunResult.CANCELLED
            case PausedTurnAbandonedEntry():
                self.paused, self.held = None, True
        self.under_way, self.turn_open = None, False

    def _said(self, item: LoggedItem) -> None:
        self.turn_open = self.under_way is not None
        if isinstance(item, ToolCallItem):
            self.orphans.append(OpenCall(item.call_id, item.name, self.run))
        elif isinstance(item, ToolResultItem):
            answered = next((call for call in self.orphans if call.call_id == item.call_id), None)
            if answered is not None:
                self.orphans.remove(answered)

    def _extend(self, entry: ExtensionEntry) -> None:
        self.extensions.append(entry)
        if entry.domain == RUNS and isinstance(entry.payload, dict) and type(entry.payload.get("run")) is int:
            self.run = max(self.run, entry.payload["run"])

    def state(self) -> SessionState:
        made: dict[str, Any] = {}
        for field in attrs.fields(SessionState):
            value = self.notices.values() if field.name == "notices" else getattr(self, field.name)
            made[field.name] = tuple(value) if field.name in _MANY else value
        return SessionState(**made)


_MANY = ("history", "input", "orphans", "notices", "reports", "inputs", "usage", "extensions")


def replay(entries: Iterable[LogEntry]) -> SessionState:
    """The state that these entries of one segment come to. Total: no sequence of entries is refused."""
    reading = _Reading()
    for entry in entries:
        reading.read(entry)
    return reading.state()


def close_interrupted(state: SessionState, ts: int) -> tuple[LogEntry, ...]:
    """What a restore commits before anything else, so that no call lacks a result and no run its end. Nothing when all is closed.

    The tools are not run again: what they did is not known, and the model is told so. `ts` is in milliseconds since the epoch.
    """
    closed: list[LogEntry] = [result_of(call.call_id, NOT_FINISHED, call.run, ts) for call in state.orphans]
    if state.under_way is not None:
        if state.turn_open or state.orphans:
            closed.append(TurnEndEntry(ts=ts, turn_count=state.last_turn + 1, run=state.under_way))
        closed.append(RunErroredEntry(ts=ts, message=INTERRUPTED, interrupted=True, code=ErrorCode.INTERNAL, run=state.under_way))
    return tuple(closed)


def result_of(call_id: str, summary: str, run: int, ts: int) -> ToolResultEntry:
    """The result of a call that will not have another one."""
    return ToolResultEntry(ts=ts, item=ToolResultItem(call_id, summary, is_error=True), run=run or None)


def said_in(entry: LogEntry) -> LoggedItem | None:
    """What an entry adds to what the model was told and said; None for most. What a segment begins with is in its `history`."""
    match entry:
        case UserInputEntry():
            return as_user(flatten(entry.segments))
        case AssistantItemEntry(item=item) | ToolResultEntry(item=item):
            return item
        case SystemItemEntry(item=told):
            body = getattr(told, "body", None)
            return None if body is None else as_user(body)
        case _:
            return None


def as_user(text: str) -> MessageItem:
    """A text as the model is told it."""
    return MessageItem("user", (TextPart(text),))
