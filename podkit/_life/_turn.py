"""The performer of runs: commits their input, starts the worker, interrupts it, and sees each run to its one end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, assert_never

import trio

from podkit.abc import Run
from podkit.errors import LocalProtocolError, SessionError
from podkit.logic import Abandon, Commit, CommitFailed, Committed, Cut, Deadline, EndRun, Interrupt, NoticesSeen, RunDone, Start
from podkit.protocol import RunResult

from ._current import Current
from ._ending import Ending
from ._plan_entries import abandoned_entry, input_entries
from ._plan_failure import failure_of
from ._saying import Saying

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit._net import Hub, Origin
    from podkit.abc import Pod, Worker
    from podkit.logic import Input, SessionState
    from podkit.protocol import RunEnd, Segment

    from ._log import SessionLog
    from ._notices import NoticeBox

_log = logging.getLogger("podkit.run")
_RESULTS = (RunResult.FINISHED, RunResult.LIMIT_REACHED, RunResult.PAUSED)

RunEffect = Start | Interrupt | Cut | EndRun | Abandon


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
        self._worker, self._pod, self._session, self._notices = worker, pod, log, notices
        self._feed, self._start, self._arm, self._cancel_grace = feed, start, arm, cancel_grace
        self._saying = Saying(hub=hub, log=log, notices=notices, feed=feed)
        self._ending = Ending(hub=hub, log=log, saying=self._saying, ended=ended)
        self._current: Current | None = None

    def prepare(self, commit: Commit, given: str | tuple[Segment, ...] | None) -> None:
        """Commit the input of a run, and feed what came of it. A resumed run has the input of the one it continues.

        Raises `SessionError` when it could not be kept; then nothing is fed, and the run before it is still the current one.
        """
        before = self._current
        again = before.input if commit.resumed and before is not None else ()
        current = Current(commit.run, given if given is not None else again, commit, ())
        entries = tuple(input_entries(commit, current.input, self._session.now()))
        current.notices = self._notices.take(commit.notices, commit.run, after=entries)
        self._current = current
        if self._session.waits:
            self._start(self._until_kept, commit, before)
        else:
            self._kept(commit)

    async def _until_kept(self, commit: Commit, before: Current | None) -> None:
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
            self._current = Current(state.paused, state.input, commit, (), over=True, announced=True)

    def alert(self, message: str) -> None:
        """Tell whoever watches what went wrong, and who comes later as well."""
        self._saying.alert(message)

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
                self._saying.announce(current)
                self._start(self._work, current)
            case Interrupt():
                current.scope.cancel()  # also before its task has taken a step
                if effect.deadline:
                    self._arm(self._cancel_grace, lambda: self._feed(Deadline(effect.run)))
            case Cut():
                current.over = True
            case EndRun():
                self._ending.end(current, effect.result)
            case Abandon():
                self._ending.must(abandoned_entry(current.number, self._session.now()))
            case _:
                assert_never(effect)

    @trio.lowlevel.enable_ki_protection
    async def _work(self, current: Current) -> None:
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

    async def _call(self, current: Current) -> RunResult:
        run = Run(
            number=current.number,
            cause=current.commit.cause,
            input=current.input,
            resumed=current.commit.resumed,
            notices=current.notices,
            pod=self._pod,
            tools=dict(getattr(self._pod, "tools", {})),
            poll=lambda: self._saying.poll(current),
            committed=lambda: self._saying.durable(current),
            history=self._session.history,
        )
        answer = await self._worker.work(run, lambda event: self._saying.emit(current, event))
        if answer is None:
            return RunResult.FINISHED
        if answer not in _RESULTS:
            raise LocalProtocolError(f"a worker may return None, FINISHED, LIMIT_REACHED or PAUSED, not {answer!r}")
        return RunResult(answer)
