"""What a child reports upwards when a run ends that its parent asked for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.protocol import PodErrored, PodTurnEnded, RunResult

if TYPE_CHECKING:
    from podkit.protocol import PodEvent, RunEnd


def report_of(name: str, incarnation: str, end: RunEnd, message: str) -> PodEvent:
    """A failed or cancelled run is reported as such, so that the parent never waits for a turn that will not end."""
    event_id = f"{incarnation}.run.{end.run}"
    if end.result is RunResult.FAILED:
        return PodErrored(name, message, id=event_id, incarnation=incarnation)
    if end.result is RunResult.CANCELLED:
        return PodErrored(name, "its run was cancelled", id=event_id, incarnation=incarnation)
    return PodTurnEnded(name, id=event_id, incarnation=incarnation)
