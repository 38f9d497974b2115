"""What a run says: committed first where it is to be kept, then shown."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from podkit.errors import LocalProtocolError, SessionError
from podkit.logic import NoticesSeen
from podkit.protocol import (
    COMMITTED_EVENTS,
    WORKER_EVENTS,
    Alert,
    AlertLevel,
    AlertSource,
    InvokeStart,
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

from ._plan_entries import entry_of, lost_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podkit._net import Hub
    from podkit.abc import Notice
    from podkit.logic import Input
    from podkit.protocol import Event

    from ._current import Current
    from ._log import SessionLog
    from ._notices import NoticeBox

_WORKER_EVENTS = tuple(WORKER_EVENTS)
_KEPT_EVENTS = (*COMMITTED_EVENTS, TurnStart, TurnEnd)


class Saying:
    """Of one pod, whichever run it is about. What a run says and the log does not keep ends the run."""

    def __init__(self, *, hub: Hub, log: SessionLog, notices: NoticeBox, feed: Callable[[Input], None]) -> None:
        self._hub, self._session, self._notices, self._feed = hub, log, notices, feed

    def alert(self, message: str) -> None:
        """Tell whoever watches what went wrong, and who comes later as well."""
        self._hub.publish(Alert(AlertLevel.ERROR, AlertSource.POD, message, self._session.now()))

    def announce(self, current: Current) -> None:
        """Show that a run begins, what it was asked and what it is told."""
        current.announced, commit = True, current.commit
        self._hub.publish(InvokeStart(commit.cause, run=commit.run))
        if commit.ask is not None and not commit.resumed:
            self._hub.publish(UserMessage(segments(current.input), run=commit.run))
        for item in current.notices:
            self._hub.publish(SystemItemEvent(item, run=commit.run))

    def emit(self, current: Current, event: Event) -> None:
        """What a worker calls. Raises `LocalProtocolError` for what it may not say, and `SessionError` for what is not kept."""
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

    def poll(self, current: Current) -> tuple[Notice, ...]:
        """The notices that came since the last look, committed as seen."""
        if current.over or not self._notices:
            return ()
        seen = self._notices.queue.ids
        with self._keeping(current):
            items = self._notices.take(seen, current.number)
        self._feed(NoticesSeen(seen))
        for item in items:
            self._hub.publish(SystemItemEvent(item, run=current.number))
        return items

    async def durable(self, current: Current) -> None:
        """Return when everything said so far is as durable as the session promises."""
        with self._keeping(current):
            await self._session.sync()

    def _keep(self, current: Current, event: Event) -> None:
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
    def _keeping(self, current: Current) -> Iterator[None]:
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

    def _close_turn(self, current: Current, result: TurnResult) -> None:
        if current.turn is None:
            return
        end = TurnEnd(current.turn, result, run=current.number)
        current.turn = None
        self._session.append(entry_of(end, current.number, self._session.now()))
        self._hub.publish(end)
