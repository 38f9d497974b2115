"""Segments that continue another one: after going back to before an input, and in a session that is forked off.

A segment is never cut. Going back begins another one, which holds what came before the input, and leaves the old one as it was.
What a notice said stays seen, and run numbers go on: neither is history that could be taken back.

A fork is somebody else's beginning: what the model was told and said, and what else its worker needs to go on. Runs, notices that
wait, a pause and how much was used stay with the session they are of.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from podkit.protocol import (
    ExtensionEntry,
    LogEntry,
    LoggedItem,
    NoticeEntry,
    RewindSummary,
    RewindTarget,
    Segment,
    SegmentOrigin,
    SegmentStartEntry,
    ToolResultEntry,
    ToolResultItem,
    TurnEndEntry,
)

from ._replay import RUNS, SessionState, replay

FORKED = "this session was forked off while this call ran; what it did is not known here, and it was not run again"


@attrs.frozen(kw_only=True)
class RewindPlan:
    """The entries of the new segment, its beginning included, what was taken back, and what that came to."""

    entries: tuple[LogEntry, ...]
    input: tuple[Segment, ...]
    summary: RewindSummary


def segment_start(
    session: str,
    ts: int,
    *,
    before: SessionState | None = None,
    forked_from: SegmentOrigin | None = None,
    compacted_from: SegmentOrigin | None = None,
    history: Sequence[LoggedItem] = (),
) -> SegmentStartEntry:
    """The first entry of a segment. `before` is the state it continues: prompt and configuration are as they are there, word for
    word, whatever a program would say today."""
    start = None if before is None else before.start
    config = {} if before is None or before.config is None else before.config
    return SegmentStartEntry(
        ts=ts,
        session_id=session,
        system_prompt=None if start is None else start.system_prompt,
        config=config,
        history=tuple(history),
        forked_from=forked_from,
        compacted_from=compacted_from,
    )


def plan_rewind(
    entries: Sequence[LogEntry], *, target: RewindTarget, expected: int, segment: str, session: str, ts: int
) -> RewindPlan | str:
    """What going back to before `target` begins the new segment with; or, as text, why that cannot be done.

    `expected` is how many entries the log had when the target was chosen: when it has others now, the target may mean something
    else, and nothing is done.
    """
    if target.segment_id != segment:
        return "the log goes on in another segment since; list the targets again"
    if expected != len(entries):
        return f"the log has {len(entries)} entries by now, not {expected}; list the targets again"
    state = replay(entries)
    at = next((at for at in state.inputs if at.index == target.user_input_entry_index), None)
    if at is None:
        return "there is no user input at that place of the log"
    kept = replay(entries[: at.begin])
    waiting = {notice.id for notice in state.notices}
    seen = {notice.id for notice in kept.notices} - waiting
    late = waiting - {notice.id for notice in kept.notices}
    start = segment_start(
        session,
        ts,
        before=kept,
        forked_from=SegmentOrigin(segment, kept.turns),
        history=() if kept.start is None else kept.start.history,
    )
    cut = entries[at.begin :]
    before = [entry for entry in entries[: at.begin] if not isinstance(entry, SegmentStartEntry)]
    made: list[LogEntry] = [start, *(entry for entry in before if not (isinstance(entry, NoticeEntry) and entry.id in seen))]
    made += [entry for entry in cut if isinstance(entry, NoticeEntry) and entry.id in late]
    made.append(ExtensionEntry(ts=ts, domain=RUNS, payload={"run": state.run}))
    warned = any(isinstance(entry, ToolResultEntry) for entry in cut)
    return RewindPlan(entries=tuple(made), input=at.segments, summary=RewindSummary(len(made), len(cut), warned))


@attrs.frozen(kw_only=True)
class ForkPlan:
    """The entries that the first segment of the new session begins with, where they come from, and how many items were said."""

    entries: tuple[LogEntry, ...]
    origin: SegmentOrigin
    history: int


@attrs.frozen(kw_only=True)
class UnknownTurn:
    """No turn of that number has ended; there are `turns`."""

    turn: int
    turns: int


def plan_fork(entries: Sequence[LogEntry], *, at: int | None, segment: str, session: str, ts: int) -> ForkPlan | UnknownTurn:
    """What the new session `session` begins with: `entries` of `segment` up to the end of its turn number `at`, counted from 1.

    0 is what the segment began with, None everything there is. A call that has no result by then gets one, as no model is asked
    with a call that nothing answers.
    """
    begin = max((place for place, entry in enumerate(entries, start=1) if isinstance(entry, SegmentStartEntry)), default=0)
    ends = [place for place, entry in enumerate(entries, start=1) if place > begin and isinstance(entry, TurnEndEntry)]
    if at is not None and not 0 <= at <= len(ends):
        return UnknownTurn(turn=at, turns=len(ends))
    state = replay(entries if at is None else entries[: [begin, *ends][at]])
    origin = SegmentOrigin(segment, state.turns)
    results = tuple(ToolResultItem(call.call_id, FORKED, is_error=True) for call in state.orphans)
    start = segment_start(session, ts, before=state, forked_from=origin, history=(*state.history, *results))
    kept = (attrs.evolve(entry, run=None) for entry in state.extensions if entry.domain != RUNS)
    return ForkPlan(entries=(start, *kept), origin=origin, history=len(start.history))
