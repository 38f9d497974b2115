"""What a child reports upwards when a run ends that its parent asked for, and what its parent finds out without it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import attrs

from podkit.protocol import PodErrored, PodTurnEnded, RunEnd, RunResult

if TYPE_CHECKING:
    from podkit.protocol import PodEvent


def parent_instance(secret_sha256: str) -> str:
    """What the parent of a child calls itself to it, so that the child reports what was asked for under that name.

    It follows from what the child's row keeps of its birth's secret. So who inherits the child is known to it as its parent, and
    nobody is who cannot read the registry.
    """
    return hashlib.sha256(f"parent of {secret_sha256}".encode()).hexdigest()[:32]


def speaks_for_parent(instance: str | None, parent: str | None) -> bool:
    """Whether who calls itself `instance` is the parent that the birth said: each of its connections adds to that name."""
    return parent is not None and instance is not None and instance.split(".")[0] == parent


def report_of(name: str, incarnation: str, end: RunEnd, message: str) -> PodEvent:
    """A failed or cancelled run is reported as such, so that the parent never waits for a turn that will not end."""
    event_id = report_id(incarnation, end.run)
    if end.result is RunResult.FAILED:
        return PodErrored(name, message, id=event_id, incarnation=incarnation)
    if end.result is RunResult.CANCELLED:
        return PodErrored(name, "its run was cancelled", id=event_id, incarnation=incarnation)
    return PodTurnEnded(name, id=event_id, incarnation=incarnation)


def report_id(incarnation: str, run: int | None) -> str:
    """The id of the report of that run's end. It is the same wherever it is found out, so that it counts once."""
    return f"{incarnation}.run.{run}"


@attrs.frozen
class Missed:
    """The reports that should have come and the runs they are about, and all the runs that are over."""

    reports: tuple[PodEvent, ...]
    reported: frozenset[int]
    over: frozenset[int]


def missed_reports(name: str, incarnation: str, entries: Iterable[Any], runs: Collection[int], *, idle: bool) -> Missed:
    """What the log of a child (JSON values, as it sent them) says about the ends of these runs.

    A pause is never reported. Of an idle child, a run that its log does not mention any more is over too: the log was compacted.
    """
    reports: dict[int, PodEvent] = {}
    begun: set[int] = set()
    over: set[int] = set()
    for entry in entries:
        run = entry.get("run") if isinstance(entry, dict) else None
        if type(run) is not int or run not in runs or run in over:
            continue
        match entry.get("kind"):
            case "invoke":
                begun.add(run)
            case "run_errored":
                over.add(run)
                reports[run] = report_of(name, incarnation, RunEnd(RunResult.FAILED, run=run), str(entry.get("message", "")))
            case "run_completed":
                over.add(run)
                if entry.get("result") != RunResult.PAUSED:
                    reports[run] = report_of(name, incarnation, RunEnd(RunResult(str(entry.get("result"))), run=run), "")
    gone = sorted(set(runs) - begun - over) if idle else []
    reports |= {run: report_of(name, incarnation, RunEnd(RunResult.FINISHED, run=run), "") for run in gone}
    return Missed(tuple(reports.values()), frozenset(reports), frozenset(over.union(gone)))
