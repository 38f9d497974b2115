"""What a pod's log and stream promise: commit before effect, one end for each run, every notice once (I21, I23 to I27)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from podkit.protocol import (
    Error,
    InvokeStart,
    RunEnd,
    Shutdown,
    StatusEvent,
    TextDone,
    ThinkingDone,
    ToolCallDone,
    ToolResult,
    TurnEnd,
    Usage,
    UserMessage,
)

from ._trace import short
from ._watch_log import LogCheck
from ._watch_writes import QueueWatch

if TYPE_CHECKING:
    from podkit._life import Pod

Complain = Callable[[str, str], None]

_KEPT = {
    InvokeStart: ("invoke", "system_item", "user_input"),
    UserMessage: ("user_input", "system_item"),
    TextDone: ("assistant_item",),
    ThinkingDone: ("assistant_item",),
    ToolCallDone: ("assistant_item",),
    ToolResult: ("tool_result",),
    Usage: ("llm_usage",),
    TurnEnd: ("turn_end",),
    RunEnd: ("run_completed", "run_errored"),
}

_ASIDE = ("notice", "notice_returned")  # may come at any time, also while a run waits until its input lasts


def _last(pod: Pod) -> str:
    """What was committed last, or what is owed since: the end of a run is shown also when the session has no room for it."""
    log = pod.log
    if log.owed:
        return log.owed[-1].kind
    said = (str(entry["kind"]) for entry in reversed(log.data) if entry["kind"] not in _ASIDE)
    return next(said, "nothing")


class PodWatch:
    """Subscribes to one pod from inside. `complain(invariant, what)` is told what must never be."""

    def __init__(self, pod: Pod, complain: Complain, note: Callable[[str], None], log: LogCheck | None = None) -> None:
        """`log` has read the log of this pod so far, when there was a pod of that session before."""
        self._pod, self._complain, self._note = pod, complain, note
        self._seq = pod.hub.seq
        self._run: int | None = None
        self._log = LogCheck(pod.name, complain) if log is None else log
        self._queues = QueueWatch(pod, complain)
        self._queue()

    def offer(self, record: Any) -> None:
        """One event, before anybody else acts on it."""
        pod, event = self._pod, record.event
        self._note(f"{pod.name}: {record.seq} {type(event).__name__}{_of(event)}")
        if record.seq != self._seq + 1:
            self._complain("I15", f"{pod.name} publishes {record.seq} after {self._seq}")
        self._seq = record.seq
        self._queues.look()
        kinds = _KEPT.get(type(event))
        if kinds is not None:
            last = _last(pod)
            if last not in kinds:
                self._complain("I27", f"{pod.name} shows {type(event).__name__}, and the last thing in its log is {last}")
        self._order(event)
        self._log.read(pod.log.segment, pod.log.data)
        self._queue()

    def _queue(self) -> None:
        """What the pod holds in its queue is what its log says is in it: nothing else, and in that order."""
        pod, life = self._pod, self._pod.actor.life
        self._compare("queue", pod.notices.queue.ids, ())
        if pod.actor.stopping and pod.log.refused is not None:
            return  # what it gives back stays in the log, for a restore, when the disk does not take that
        if not pod.actor.performing:  # in the middle of a step the table is ahead of what is done about it
            self._compare("table", life.queued, life.committing)

    def _compare(self, where: str, held: tuple[str, ...], moving: tuple[str, ...]) -> None:
        """Without those in `moving`, which are being committed as seen: the table has them until that is known to be done."""
        if held == self._log.waiting:
            return
        logged, held = (tuple(notice for notice in ids if notice not in moving) for ids in (self._log.waiting, held))
        if logged != held:
            said, has = (", ".join(ids) or "nothing" for ids in (logged, held))
            self._complain("I26", f"in the log of {self._pod.name} {said} waits, and in its {where} {has}")

    def _order(self, event: Any) -> None:
        run, pod = getattr(event, "run", None), self._pod
        match event:
            case InvokeStart():
                if self._run is not None:
                    self._complain("I23", f"{pod.name} starts run {run} in run {self._run}")
                self._run = run
            case RunEnd():
                if self._run != run:
                    self._complain("I24", f"{pod.name} ends run {run} in run {self._run}")
                self._run = None
            case StatusEvent() if event.status != "running" and self._run is not None:
                self._complain("I23", f"{pod.name} is {event.status.value} in run {self._run}")
            case Shutdown() if self._run is not None:
                self._complain("I24", f"{pod.name} leaves in run {self._run}")
            case _ if run is not None and run != self._run:
                self._complain("I23", f"{pod.name} shows {type(event).__name__} of run {run} in run {self._run}")

    def hub_closed(self) -> None:
        """The pod is over, in order or not."""

    def end(self) -> None:
        """The pod ended in order: nothing may be open."""
        log = self._pod.log
        self._log.read(log.segment, log.data)
        self._queue()
        self._log.end(owed=bool(log.owed), refused=log.refused is not None)


_TELLING: dict[type, Callable[[Any], object]] = {
    TextDone: lambda event: repr(short(event.text[:200], 40)),
    ToolCallDone: lambda event: event.name,
    ToolResult: lambda event: repr(short(event.summary[:200], 40)),
    RunEnd: lambda event: event.result.value,
    StatusEvent: lambda event: event.status.value,
    Error: lambda event: f"{event.code.value} {short(event.message[:200], 80)}",
}


def _of(event: Any) -> str:
    """What else there is to say of an event, for whoever reads the trace."""
    run, more = getattr(event, "run", None), _TELLING.get(type(event))
    said = "" if run is None else f" run {run}"
    return said if more is None else f"{said} {more(event)}"
