"""Going back in a session: which inputs there are to go back to, and the segment that begins when one of them is taken back.

A segment is never cut. Going back begins another one, which holds what came before the input, and leaves the old one as it was.
What a notice said stays seen, and run numbers go on: neither is history that could be taken back.
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
)

from ._replay import RUNS, SessionState, replay


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
