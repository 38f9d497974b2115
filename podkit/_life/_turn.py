"""The performer of runs: commits their input, starts the worker, passes on what it says, and ends them exactly once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

import attrs
import trio

from podkit.abc import Run
from podkit.errors import LocalProtocolError, ModelError, ToolError
from podkit.logic import Abandon, Cut, Deadline, EndRun, Interrupt, NoticesSeen, RunDone, Start
from podkit.protocol import (
    COMMITTED_EVENTS,
    WORKER_EVENTS,
    Error,
    ErrorCode,
    InvokeStart,
    RunEnd,
    RunResult,
    SystemItemEvent,
    ToolCallDone,
    ToolResult,
    TurnEnd,
    TurnResult,
    TurnStart,
    UserMessage,
    segments,
    with_run,
)

from ._plan_entries import abandoned_entry, end_entry, entry_of, input_entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit._net import Hub, Origin
    from podkit.abc import Pod, Worker
    from podkit.logic import Commit, Input
    from podkit.protocol import Event, Segment, SystemItem

    from ._log import SessionLog
    from ._notices import NoticeBox

_log = logging.getLogger("podkit.run")
_WORKER_EVENTS = tuple(WORKER_EVENTS)
_COMMITTED_EVENTS = tuple(COMMITTED_EVENTS)
_NO_RESULT = "no result: the run ended while this call was under way; what it did is not known, and it was not repeated"
_MAX_TEXT = 16 * 1024  # characters
_RESULTS = (RunResult.FINISHED, RunResult.LIMIT_REACHED, RunResult.PAUSED)

RunEffect = Start | Interrupt | Cut | EndRun | Abandon


@attrs.define(eq=False)
class _Current:
    """The run that is committed, running or paused."""

    number: int
    input: str | tuple[Segment, ...]
    commit: Commit
    notices: tuple[SystemItem, ...]
    origin: Origin | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: bool = False
    turn: int | None = None
    failure: tuple[ErrorCode, str] | None = None
    calls: dict[str, None] = attrs.field(factory=dict)  # that have no result yet


class Turn:
    """One worker, one run at a time. `start(fn)` runs a task beside the pod, `ended(origin, event)` is told of every end."""

    def __init__(
        self,
        *,
        worker: Worker,
        pod: Pod,
        hub: Hub,
        log: SessionLog,
        notices: NoticeBox,
        feed: Callable[[Input], None],
        start: Callable[..., None],
        arm: Callable[[float, Callable[[], None]], None],
        cancel_grace: float,
        ended: Callable[[Origin | None, RunEnd, str], None],
    ) -> None:
        self._worker, self._pod, self._hub, self._session, self._notices = worker, pod, hub, log, notices
        self._feed, self._start, self._arm, self._cancel_grace, self._ended = feed, start, arm, cancel_grace, ended
        self._current: _Current | None = None

    def prepare(self, commit: Commit, given: str | tuple[Segment, ...] | None) -> None:
        """Commit the input of a run. A resumed run has the input of the one it continues."""
        before = self._current.input if commit.resumed and self._current is not None else ()
        current = _Current(commit.run, given if given is not None else before, commit, ())
        entries = tuple(input_entries(commit, current.input, self._session.now()))
        current.notices = self._notices.take(commit.notices, commit.run, after=entries)
        self._current = current

    def started_by(self, run: int, origin: Origin) -> None:
        """Remember who asked for the run: its parent is told how it ends."""
        if self._current is not None and self._current.number == run:
            self._current.origin = origin

    def perform(self, effect: RunEffect) -> None:
        current = self._current
        if current is None or current.number != effect.run:
            _log.error("no such run: %r", effect, extra={"incarnation": self._pod.incarnation})
            return
        match effect:
            case Start():
                self._announce(current)
                self._start(self._work, current)
            case Interrupt():
                current.scope.cancel()  # also before its task has taken a step
                if effect.deadline:
                    self._arm(self._cancel_grace, lambda: self._feed(Deadline(effect.run)))
            case Cut():
                current.over = True
            case EndRun():
                self._end(current, effect.result)
            case Abandon():
                self._session.append(abandoned_entry(current.number, self._session.now()))
            case _:
                assert_never(effect)

    def _announce(self, current: _Current) -> None:
        commit = current.commit
        self._hub.publish(InvokeStart(commit.cause, run=commit.run))
        if commit.ask is not None and not commit.resumed:
            self._hub.publish(UserMessage(segments(current.input), run=commit.run))
        for item in current.notices:
            self._hub.publish(SystemItemEvent(item, run=commit.run))

    @trio.lowlevel.enable_ki_protection
    async def _work(self, current: _Current) -> None:
        result = RunResult.FAILED
        try:
            with current.scope:
                result = await self._call(current)
        except Exception as error:  # noqa: BLE001 - whatever a worker raises fails its run and nothing else
            current.failure = _failure(error)
            where = {"incarnation": self._pod.incarnation, "run": current.number}
            _log.warning("run %d failed", current.number, exc_info=error, extra=where)
        else:
            if current.scope.cancelled_caught:
                result = RunResult.CANCELLED
        current.over = True
        self._feed(RunDone(current.number, result))

    async def _call(self, current: _Current) -> RunResult:
        run = Run(
            number=current.number,
            cause=current.commit.cause,
            input=current.input,
            resumed=current.commit.resumed,
            notices=current.notices,
            pod=self._pod,
            tools=dict(getattr(self._pod, "tools", {})),
            poll=lambda: self._poll(current),
            committed=trio.lowlevel.checkpoint_if_cancelled,
        )
        answer = await self._worker.work(run, lambda event: self._emit(current, event))
        if answer is None:
            return RunResult.FINISHED
        if answer not in _RESULTS:
            raise LocalProtocolError(f"a worker may return None, FINISHED, LIMIT_REACHED or PAUSED, not {answer!r}")
        return RunResult(answer)

    def _emit(self, current: _Current, event: Event) -> None:
        if current.over:
            raise LocalProtocolError("emit() works only while work() runs")
        if not isinstance(event, _WORKER_EVENTS):
            raise LocalProtocolError(f"a worker may not emit {type(event).__name__}")
        event = with_run(event, current.number)
        if isinstance(event, TurnStart):
            self._close_turn(current, TurnResult.FINISHED)
            current.turn = event.turn
        elif isinstance(event, TurnEnd):
            current.turn = None
        if isinstance(event, (*_COMMITTED_EVENTS, TurnEnd)):
            self._session.append(entry_of(event, current.number, self._session.now()))
        if isinstance(event, ToolCallDone):
            current.calls[event.id] = None
        elif isinstance(event, ToolResult):
            current.calls.pop(event.id, None)
        self._hub.publish(event)

    def _poll(self, current: _Current) -> tuple[SystemItem, ...]:
        if current.over or not self._notices:
            return ()
        seen = self._notices.queue.ids
        items = self._notices.take(seen, current.number)
        self._feed(NoticesSeen(seen))
        for item in items:
            self._hub.publish(SystemItemEvent(item, run=current.number))
        return items

    def _close_turn(self, current: _Current, result: TurnResult) -> None:
        if current.turn is None:
            return
        end = TurnEnd(current.turn, result, run=current.number)
        current.turn = None
        self._session.append(entry_of(end, current.number, self._session.now()))
        self._hub.publish(end)

    def _close_calls(self, current: _Current) -> None:
        """Give a result to every call that was left without one: no model is asked again with a call that nothing answers."""
        for call in tuple(current.calls):
            end = ToolResult(call, _NO_RESULT, is_error=True, run=current.number)
            del current.calls[call]
            self._session.append(entry_of(end, current.number, self._session.now()))
            self._hub.publish(end)

    def _end(self, current: _Current, result: RunResult) -> None:
        current.over = True
        self._close_calls(current)
        self._close_turn(current, TurnResult.PAUSED if result is RunResult.PAUSED else TurnResult.FINISHED)
        failure = None
        if result is RunResult.FAILED:
            failure = current.failure or (ErrorCode.INTERNAL, "the run failed")
        self._session.append(end_entry(current.number, result, failure, self._session.now()))
        if failure is not None:
            self._hub.publish(Error(*failure, run=current.number))
        end = RunEnd(result, run=current.number)
        self._hub.publish(end)
        self._ended(current.origin, end, failure[1] if failure else "")


def _sayable(error: BaseException) -> str:
    """An error's text, such that it can be logged and sent: bounded, and without lone surrogates."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception whose text cannot be had is known by its class
        text = ""
    return text[:_MAX_TEXT].encode("utf-8", "replace").decode() or type(error).__name__


def _failure(error: BaseException) -> tuple[ErrorCode, str]:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = _sayable(error)
    match error:
        case ToolError():
            return ErrorCode.TOOL_ERROR, text
        case ModelError():
            return ErrorCode.PROVIDER_ERROR, text
        case _:
            return ErrorCode.INTERNAL, f"{type(error).__name__}: {text}"
