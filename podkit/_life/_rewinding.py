"""Going back in a pod's log: decided on what the log is at that very moment, and done by beginning another segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.errors import PodkitError, SessionError
from podkit.logic import Phase, RewindPlan, plan_rewind
from podkit.protocol import Alert, AlertLevel, AlertSource, Error, ErrorCode, RewindApplied, SegmentRotated

if TYPE_CHECKING:
    from podkit._net import Ask
    from podkit.protocol import RewindTo

    from ._pod import Pod


def take_rewind(pod: Pod, ask: Ask, method: RewindTo) -> None:
    """Answer a request to go back. What it names must be there still; whether the pod may do it now is for the table to say."""
    if pod.actor.life.phase is Phase.IDLE and not pod.actor.performing:
        refusal = _plan(pod, method)
        if isinstance(refusal, str):
            ask.answer(Error(ErrorCode.INVALID_REQUEST, refusal))
            return
    pod.actor.job(ask, "rewind", lambda: _rewind(pod, method))


def _plan(pod: Pod, method: RewindTo) -> RewindPlan | str:
    log = pod.log
    try:
        log.append()  # what is owed belongs to the segment that is left
    except SessionError as error:
        return str(error)
    return plan_rewind(
        log.entries(),
        target=method.target,
        expected=method.expected_head_entries,
        segment=log.segment,
        session=log.id,
        ts=log.now(),
    )


def _rewind(pod: Pod, method: RewindTo) -> bool:
    """Do it; whether it was done. Everybody who watches sees the new segment begin before they see what is in it."""
    plan = _plan(pod, method)
    if isinstance(plan, RewindPlan):
        try:
            pod.log.rotate(plan.entries)
        except PodkitError as error:
            plan = str(error)
    if isinstance(plan, str):
        said = f"the log was not taken back: {plan}"
        pod.hub.publish(Alert(AlertLevel.ERROR, AlertSource.POD, said, pod.log.now()))
        return False
    pod.hub.publish(SegmentRotated(pod.log.data[0]))
    pod.hub.publish(RewindApplied(tuple(pod.log.data), plan.input, plan.summary))
    return True
