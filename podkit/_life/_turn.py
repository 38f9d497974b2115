"""The performer of runs: commits their input, starts the worker, passes on what it says, and ends them exactly once."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, assert_never

import attrs
import trio

from podkit.abc import Run
from podkit.errors import LocalProtocolError, SessionError
from podkit.logic import Abandon, Commit, CommitFailed, Committed, Cut, Deadline, EndRun, Interrupt, NoticesSeen, RunDone, Start
from podkit.protocol import (
    COMMITTED_EVENTS,
    WORKER_EVENTS,
    Alert,
    AlertLevel,
    AlertSource,
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

from ._plan_entries import NO_RESULT, abandoned_entry, end_entry, entry_of, input_entries, lost_failure
from ._plan_failure import failure_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podkit._net import Hub, Origin
    from podkit.abc import Notice, Pod, Worker
    from podkit.logic import Input, SessionState
    from podkit.protocol import Event, LogEntry, Segment

    from ._log import SessionLog
    from ._notices import NoticeBox

_log = logging.getLogger("podkit.run")
_WORKER_EVENTS = tuple(WORKER_EVENTS)
_KEPT_EVENTS = (*COMMITTED_EVENTS, TurnStart, TurnEnd)
_RESULTS = (RunResult.FINISHED, RunResult.LIMIT_REACHED, RunResult.PAUSED)

RunEffect = Start | Interrupt | Cut | EndRun | Abandon


@attrs.define(eq=False)
class _Current:
    """The run that is committed, running or paused."""

    number: int
    input: str | tuple[Segment, ...]
    commit: Commit
    notices: tuple[Notice, ...]
    origin: Origin | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: bool = False
    turn: int | None = None
    calls: list[str] = attrs.field(factory=list)  # calls of tools that have no result yet
    announced: bool = False  # whether it was shown that it began
    lost: SessionError | None = None  # why something of this run could not be kept; nothing of it counts from then on
    failure: tuple[ErrorCode, str] | None = None


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
        """Commit the input of a run, and feed what came of it. A resumed run has the input of the one it continues.

        Raises `SessionError` when it could not be kept; then nothing is fed, and the run before it is still the current one.
        """
        before = self._current
        again = before.input if commit.resumed and before is not None else ()
        current = _Current(commit.run, given if given is not None else again, commit, ())
        entries = tuple(input_entries(commit, current.input, self._session.now()))
        current.notices = self._notices.take(commit.notices, commit.run, after=entries)
        self._current = current
        if self._session.waits:
            self._start(self._until_kept, commit, before)
        else:
            self._kept(commit)

    async def _until_kept(self, commit: Commit, before: _Current | None) -> None:
        """A run is accepted when its input survives what the session promises to survive."""
        try:
            await self._session.sync()
        except SessionError as error:
            self._current = before
            self.alert(f"the input of run {commit.run} may not have been kept, so the run was not started: {error}")
            self._feed(CommitFailed(commit.run))
        else:
            self._kept(commit)

    def _kept(self, commit: Commit) -> None:
        if commit.ask is not None and commit.notices:
            self._feed(NoticesSeen(commit.notices))
        self._feed(Committed(commit.run))

    def restore(self, state: SessionState) -> None:
        """Stand where the log says: with a paused run, what it was asked is asked again when it is resumed."""
        if state.paused is not None:
            commit = Commit(state.paused, None, state.cause, resumed=False, notices=())
            self._current = _Current(state.paused, state.input, commit, (), over=True, announced=True)

    def alert(self, message: str) -> None:
        """Tell whoever watches what went wrong, and who comes later as well."""
        self._hub.publish(Alert(AlertLevel.ERROR, AlertSource.POD, message, self._session.now()))

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
                self._must(abandoned_entry(current.number, self._session.now()))
            case _:
                assert_never(effect)

    def _announce(self, current: _Current) -> None:
        current.announced, commit = True, current.commit
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
            current.failure = current.failure or failure_of(error)
            where = {"incarnation": self._pod.incarnation, "run": current.number}
            _log.warning("run %d failed", current.number, exc_info=error, extra=where)
        else:
            if current.scope.cancelled_caught:
                result = RunResult.CANCELLED
        if current.lost is not None:  # also when its worker went on as if nothing had happened
            result = RunResult.FAILED
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
            committed=lambda: self._durable(current),
            history=self._session.history,
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
        if isinstance(event, ToolResult) and event.id not in current.calls:
            raise LocalProtocolError(f"no call {event.id!r} waits for a result: each call has exactly one")
        event = with_run(event, current.number)
        if current.lost is not None or isinstance(event, _KEPT_EVENTS):
            self._keep(current, event)
        self._hub.publish(event)

    def _keep(self, current: _Current, event: Event) -> None:
        """Commit an event, and the end of a turn that it ends."""
        with self._keeping(current):
            if isinstance(event, TurnStart):
                self._close_turn(current, TurnResult.FINISHED)
            else:
                self._session.append(entry_of(event, current.number, self._session.now()))
        match event:
            case TurnStart(turn=turn):
                current.turn = turn
            case TurnEnd():
                current.turn = None
            case ToolCallDone(id=call):
                current.calls.append(call)
            case ToolResult(id=call):
                current.calls.remove(call)

    @contextmanager
    def _keeping(self, current: _Current) -> Iterator[None]:
        """What a run says and the log does not keep ends the run: nobody saw it, and nothing may follow from it."""
        if current.lost is not None:
            raise SessionError("this run is over: something of it could not be kept") from current.lost
        try:
            yield
        except SessionError as error:
            current.lost, current.failure = error, lost_failure(error)
            self.alert(f"run {current.number} ends: {current.failure[1]}")
            current.scope.cancel()
            raise

    async def _durable(self, current: _Current) -> None:
        with self._keeping(current):
            await self._session.sync()

    def _poll(self, current: _Current) -> tuple[Notice, ...]:
        if current.over or not self._notices:
            return ()
        seen = self._notices.queue.ids
        with self._keeping(current):
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

    def _end(self, current: _Current, result: RunResult) -> None:
        """End the run as the table says. What cannot be kept of that is kept later, and a run that finished counts as failed."""
        current.over = True
        if not current.announced:  # it was ended before its input was known to last
            self._announce(current)
        self._close_calls(current)
        if current.turn is not None:
            ended = TurnResult.PAUSED if result is RunResult.PAUSED else TurnResult.FINISHED
            self._tell(current, TurnEnd(current.turn, ended, run=current.number))
        current.turn = None
        if current.lost is not None and result not in (RunResult.PAUSED, RunResult.CANCELLED):
            result = RunResult.FAILED
        failure = None
        if result is RunResult.FAILED:
            failure = current.failure or (ErrorCode.INTERNAL, "the run failed")
        result, failure = self._put_on_record(current, result, failure)
        if failure is not None:
            self._hub.publish(Error(*failure, run=current.number))
        end = RunEnd(result, run=current.number)
        self._hub.publish(end)
        self._ended(current.origin, end, failure[1] if failure else "")

    def _put_on_record(
        self, current: _Current, result: RunResult, failure: tuple[ErrorCode, str] | None
    ) -> tuple[RunResult, tuple[ErrorCode, str] | None]:
        """Commit the end of a run, and answer how it ended: one that finished and cannot be kept has failed, for a restore too."""
        if failure is None and result not in (RunResult.PAUSED, RunResult.CANCELLED):
            try:
                self._session.append(end_entry(current.number, result, None, self._session.now()))
            except SessionError as error:
                result, failure = RunResult.FAILED, lost_failure(error)
                self.alert(f"run {current.number} counts as failed: {failure[1]}")
            else:
                return result, None
        self._must(end_entry(current.number, result, failure, self._session.now()))
        return result, failure

    def _close_calls(self, current: _Current) -> None:
        """Give a result to every call that was left without one: no model is asked again with a call that nothing answers."""
        calls, current.calls = current.calls, []
        for call in calls:
            self._tell(current, ToolResult(call, NO_RESULT, is_error=True, run=current.number))

    def _tell(self, current: _Current, event: Event) -> None:
        """Commit and show what ends a run from our side."""
        error = self._must(entry_of(event, current.number, self._session.now()))
        if error is not None and current.lost is None:
            current.lost, current.failure = error, lost_failure(error)
        self._hub.publish(event)

    def _must(self, entry: LogEntry) -> SessionError | None:
        """Commit what has happened anyway, now or later."""
        error = self._session.append_or_owe(entry)
        if error is not None:
            self.alert(f"the end of a run is not kept yet: {error}")
        return error
