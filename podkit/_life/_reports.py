"""What a pod makes of the news of its children: from a child itself, from its log, or from its end. Each counts once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._net import Ask, Origin
from podkit.logic import ChildState, Inform, PassUp, from_other, one_line
from podkit.protocol import Accepted, Error, ErrorCode, PodErrored, PodEventMethod, PodShutDown, Role, Status

from ._plan_reports import missed_reports, report_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podkit.protocol import Event, PodEvent, PodScopeSubDelegated, Snapshot

    from ._child import Child
    from ._pod import Pod

_log = logging.getLogger("podkit.reports")
_RETRY = 1.0
_LONGEST_ID = 256


def take_report(pod: Pod, ask: Ask, event: PodEvent, speaker: tuple[str, str]) -> None:
    """A report of the child `speaker` (name and incarnation): it wakes and informs; it frees nothing and opens no connection.

    It counts when it is in the log. If it cannot be kept, it was not heard, and may come again.
    """
    # Who speaks was proved; what it calls itself in the report does not count.
    if event.incarnation != speaker[1]:
        event = attrs.evolve(event, incarnation=speaker[1])
    if isinstance(event, PodErrored):
        event = attrs.evolve(event, message=one_line(event.message, pod.limits.event_text))
    if event.id is not None and len(event.id) > _LONGEST_ID:
        ask.answer(Error(ErrorCode.INVALID_REQUEST, f"the id of a report has at most {_LONGEST_ID} characters"))
        return
    family, effects = pod.children.judge(event)
    told = next((effect for effect in effects if isinstance(effect, Inform)), None)

    def answer(reply: Event) -> None:
        if isinstance(reply, Accepted):
            pod.children.heard(family, event if effects else None)
            _pass_up(pod, [effect.event for effect in effects if isinstance(effect, PassUp)])
        ask.answer(reply)

    if told is None or _expected(pod, speaker[0]):
        answer(Accepted())
    else:
        pod.actor.news(attrs.evolve(ask, answer=answer), speaker[0], event, told.text, wake=told.wake)


def _pass_up(pod: Pod, events: list[PodScopeSubDelegated]) -> None:
    upward = pod.setting.upward
    for event in events:
        if upward is not None:
            upward.tell(attrs.evolve(event, parent_pod=pod.name, incarnation=pod.incarnation))


def _expected(pod: Pod, name: str) -> bool:
    """Whether we are stopping that child ourselves: then its end is no news."""
    child = pod.children.get(name)
    return child is not None and child.stopping.locked()


def catch_up(child: Child, asked: Iterable[int], snapshot: Snapshot) -> None:
    """What a child's log says about runs of ours is news, when no report of it came: reports may be lost or late.

    `asked` are those that the child had accepted before the snapshot was asked for. What cannot be kept is looked for again.
    """
    pod = child.parent
    if pod.actor.stopping or child.gone.is_set():
        return
    idle = snapshot.status is Status.IDLE
    found = missed_reports(child.name, child.incarnation, snapshot.entries, set(asked) - _heard(child), idle=idle)
    for event in found.reports:
        ask = Ask(PodEventMethod(event), None, _speaker(child), lambda _reply: None)
        take_report(pod, ask, event, (child.name, child.incarnation))
    for run in (found.over - found.reported) | _heard(child):
        child.asked.pop(run, None)


def _heard(child: Child) -> set[int]:
    """The runs of ours whose ends we know."""
    family, incarnation = child.parent.children.family, child.incarnation
    return {run for run in child.asked if family.knows(incarnation, report_id(incarnation, run))}


def _speaker(child: Child) -> Origin:
    return Origin(Role.CHILD, None, (child.name, child.incarnation), local=True)


async def tell_of_end(pod: Pod, child: Child, status: int | None, state: ChildState) -> None:
    """A child is gone that nobody stopped. Its parent's model hears how, unless the child took leave itself and ended well.

    Kept as soon as that is possible: nobody else will say it again.
    """
    if child.stopping.locked() or (state is ChildState.STOPPING and status in (0, None)):
        return
    event, body = _obituary(pod, child, status)
    replies: list[Event] = []
    while True:
        ask = Ask(PodEventMethod(event), None, _speaker(child), replies.append)
        pod.actor.news(ask, child.name, event, body, wake=True, gone=True)
        reply = replies.pop()
        if not isinstance(reply, Error) or reply.code is ErrorCode.STOPPING:
            return
        _log.error("the end of pod %s cannot be kept yet: %s", child.name, reply.message, extra={"incarnation": pod.incarnation})
        await trio.sleep(_RETRY)


def _obituary(pod: Pod, child: Child, status: int | None) -> tuple[PodEvent, str]:
    yours = "what it held is yours again"
    if status in (0, None):
        event = PodShutDown(child.name, id=f"{child.incarnation}.shut_down", incarnation=child.incarnation)
        return event, f"pod `{child.name}` is gone and said nothing; {yours}"
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit status {status}"
    body = f"pod `{child.name}` {how} and is gone; {yours}"
    tail = child.process.stderr_tail().strip() if child.process is not None else ""
    if tail:
        body += "\n" + from_other(tail, child.name, limit=pod.limits.event_text)
    return PodErrored(child.name, how, id=f"{child.incarnation}.death", incarnation=child.incarnation), body
