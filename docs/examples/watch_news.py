"""What happened in a pod, as lines for a log. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watch_tree import ended, item_lines

from podkit.logic import ToolUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    import podkit
    from podkit.logic import TranscriptRun


def news(before: podkit.Transcript, after: podkit.Transcript) -> list[str]:
    """What happened between two transcripts of one pod, as lines; what is streamed is not told before it is committed."""
    if before.greeting is None:
        return [] if after.greeting is None else [f"attached, {after.status}, {len(after.runs) + after.omitted} runs so far"]
    told = [f"status {after.status}"] if after.status != before.status else []
    known = {run.number: run for run in before.runs}
    for run in after.runs:
        told += _run_news(known.get(run.number), run)
    told += [f"alert ({alert.level.value}): {alert.message}" for alert in after.alerts if alert not in before.alerts]
    told += ["events were lost"] if before.complete and not after.complete else []
    return told + (["left"] if after.over and not before.over else [])


def _run_news(before: TranscriptRun | None, run: TranscriptRun) -> Iterable[str]:
    title = f"run {run.number}" if run.number is not None else "run"
    if before is None:
        yield f"{title} begins"
    seen, missing = (before.items, before.omitted) if before else ((), 0)
    for at, item in enumerate(run.items, run.omitted - missing):
        old = seen[at] if 0 <= at < len(seen) else None
        if old == item:
            continue
        lines = item_lines(item)
        if isinstance(item, ToolUse) and isinstance(old, ToolUse):
            lines = lines[-len(item.reply.summary.split("\n")) :] if item.reply else []
        yield from (line.text for line in lines)
    if run.result is not None and (before is None or before.result is None):
        yield f"{title} {ended(run)}"
