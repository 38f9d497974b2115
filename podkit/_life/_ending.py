"""The end of a run: committed and shown exactly once, whatever can be kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.errors import SessionError
from podkit.protocol import Error, ErrorCode, RunEnd, RunResult, ToolResult, TurnEnd, TurnResult

from ._plan_entries import NO_RESULT, end_entry, entry_of, lost_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit._net import Hub, Origin
    from podkit.protocol import Event, LogEntry

    from ._current import Current
    from ._log import SessionLog
    from ._saying import Saying


class Ending:
    """Of one pod. `ended(origin, event, message)` is told of every end. What cannot be kept of one is kept later."""

    def __init__(self, *, hub: Hub, log: SessionLog, saying: Saying, ended: Callable[[Origin | None, RunEnd, str], None]) -> None:
        self._hub, self._session, self._saying, self._ended = hub, log, saying, ended

    def end(self, current: Current, result: RunResult) -> None:
        """End the run as the table says. What cannot be kept of that is kept later, and a run that finished counts as failed."""
        current.over = True
        if not current.announced:  # it was ended before its input was known to last
            self._saying.announce(current)
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

    def must(self, entry: LogEntry) -> SessionError | None:
        """Commit what has happened anyway, now or later."""
        error = self._session.append_or_owe(entry)
        if error is not None:
            self._saying.alert(f"the end of a run is not kept yet: {error}")
        return error

    def _put_on_record(
        self, current: Current, result: RunResult, failure: tuple[ErrorCode, str] | None
    ) -> tuple[RunResult, tuple[ErrorCode, str] | None]:
        """Commit the end of a run, and answer how it ended: one that finished and cannot be kept has failed, for a restore too."""
        if failure is None and result not in (RunResult.PAUSED, RunResult.CANCELLED):
            try:
                self._session.append(end_entry(current.number, result, None, self._session.now()))
            except SessionError as error:
                result, failure = RunResult.FAILED, lost_failure(error)
                self._saying.alert(f"run {current.number} counts as failed: {failure[1]}")
            else:
                return result, None
        self.must(end_entry(current.number, result, failure, self._session.now()))
        return result, failure

    def _close_calls(self, current: Current) -> None:
        """Give a result to every call that was left without one: no model is asked again with a call that nothing answers."""
        calls, current.calls = current.calls, []
        for call in calls:
            self._tell(current, ToolResult(call, NO_RESULT, is_error=True, run=current.number))

    def _tell(self, current: Current, event: Event) -> None:
        """Commit and show what ends a run from our side."""
        error = self.must(entry_of(event, current.number, self._session.now()))
        if error is not None and current.lost is None:
            current.lost, current.failure = error, lost_failure(error)
        self._hub.publish(event)
