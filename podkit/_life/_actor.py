"""The actor: one pod's inbox. Inputs go through the table one after the other; each family of effects has one performer.

Everything here is synchronous. A method, a finished turn, a timer and a notice are all just inputs, and what several parties see
together happened together. Performing an effect may feed the next input; it waits its turn in the inbox.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, assert_never

from podkit.errors import LocalProtocolError, SessionError
from podkit.logic import (
    Abandon,
    Answer,
    AskCancel,
    AskJob,
    AskNotify,
    AskPause,
    AskResume,
    AskRun,
    AskShutdown,
    BackOff,
    BackoffOver,
    CancelJob,
    Commit,
    CommitFailed,
    Cut,
    EndRun,
    Input,
    Interrupt,
    JobDone,
    Leave,
    Life,
    Phase,
    Refill,
    Refilled,
    Return,
    Show,
    Start,
    StartJob,
    step,
)
from podkit.protocol import (
    Accepted,
    Cancel,
    Error,
    ErrorCode,
    Method,
    Notify,
    Pause,
    Resume,
    ShutdownMethod,
    Status,
    StatusEvent,
)
from podkit.protocol import Run as RunMethod

from ._plan_failure import refusal_of
from ._replies import Replies

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit._net import Ask, Hub
    from podkit.logic import Effect, Limits
    from podkit.protocol import PodEvent

    from ._notices import NoticeBox
    from ._turn import Turn

_log = logging.getLogger("podkit.actor")


class Actor:
    """Feeds the table and performs what it decides. `arm(seconds, then)` starts a timer, `leave()` begins the end, and
    `once_kept(then)` calls `then` when what was committed is as durable as the session says, with an error when it may not be."""

    life: Life
    replies: Replies

    def __init__(
        self,
        *,
        hub: Hub,
        notices: NoticeBox,
        turn: Turn,
        arm: Callable[[float, Callable[[], None]], None],
        leave: Callable[[], None],
        once_kept: Callable[[Callable[[SessionError | None], None]], None],
        limits: Limits,
    ) -> None:
        self.life = Life(room=limits.notices, wakes=limits.wakes, notices=notices.waiting())
        self._wake_seconds = limits.wake_seconds
        self.replies = Replies()
        self._hub, self._notices, self._turn = hub, notices, turn
        self._arm, self._leave, self._once_kept = arm, leave, once_kept
        self._inbox: deque[Input] = deque()
        self._busy = False
        self._work: Callable[[], bool] = bool

    @property
    def status(self) -> Status:
        return self.life.phase.status

    @property
    def performing(self) -> bool:
        """Whether a step is being performed right now: then `life` is already what it will be after it."""
        return self._busy

    @property
    def stopping(self) -> bool:
        return self.life.phase in (Phase.STOPPING, Phase.STOPPED)

    def submit(self, ask: Ask) -> None:
        """Take in one method of the lifecycle. It is answered exactly once, now or later."""
        method: Method = ask.method
        match method:
            case RunMethod():
                self.feed(AskRun(self.replies.open(ask)))
            case Notify(message=message, auto_run=wake):
                self.note(ask, message, wake=wake)
            case Resume():
                self.feed(AskResume(self.replies.open(ask)))
            case Cancel():
                self.feed(AskCancel(self.replies.open(ask), run=ask.run))
            case Pause():
                self.feed(AskPause(self.replies.open(ask), run=ask.run))
            case ShutdownMethod():
                self.feed(AskShutdown(self.replies.open(ask)))
            case _:
                ask.answer(Error(ErrorCode.INVALID_REQUEST, "this pod does not know that method"))

    def note(self, ask: Ask, message: str, *, wake: bool) -> None:
        """Queue what somebody told us. Accepted means that it is in the log."""
        child = None if ask.origin.child is None else ask.origin.child[0]
        notice = self._notices.draft(ask, message, wake=wake)
        token = self.replies.open(ask, notice=notice)
        self.feed(AskNotify(token, notice=notice, wake=wake, client=child is None, child=child))

    def news(self, ask: Ask, child: str, event: PodEvent, body: str, *, wake: bool, gone: bool = False) -> None:
        """Queue what happened to a child, in words that are safe to read. `gone`: it is about its end. `ask` is answered."""
        life, replaces = self.life, None
        if len(life.notices) < life.room:
            notice = self._notices.news(child, event, body, wake=wake)
        else:
            notice, replaces = self._notices.digest(child, event, wake=wake, gone=gone, fixed=life.committing)
        token = self.replies.open(ask, notice=notice)
        self.feed(AskNotify(token, notice=notice, wake=wake, client=False, child=child, news=True, replaces=replaces))

    def job(self, ask: Ask, job: str, work: Callable[[], bool]) -> None:
        """Rewrite the log, when the table allows it. `work` does it at once and says whether it was done."""
        self._work = work
        self.feed(AskJob(self.replies.open(ask), job))

    def feed(self, item: Input) -> None:
        """Put an input into the inbox and work until the inbox is empty."""
        self._inbox.append(item)
        if self._busy:
            return
        self._busy = True
        try:
            while self._inbox:
                item = self._inbox.popleft()
                life, effects = step(self.life, item)
                if isinstance(item, AskNotify) and item.notice in life.queued and not self._kept(item):
                    continue  # it is not in the log, so it never came: the step is not taken
                before, self.life = self.life, life
                for effect in effects:
                    self._contained(effect)
                if life.phase is before.phase and life.held != before.held:
                    # What is held is a part of the status, and changes without it when a notice comes that may not wake.
                    self._contained(Show(life.shown))
        finally:
            self._busy = False

    def _kept(self, said: AskNotify) -> bool:
        """Whether a notice that the table accepts is in the log. If it cannot be kept, its sender is told."""
        try:
            self._notices.keep(said.notice)
        except Exception as error:  # noqa: BLE001 - logged, and told to who sent it
            _log.exception("a notice could not be kept")
            self._notices.drop(said.notice)
            self._refuse(said.ask, error, "the notice could not be kept")
            return False
        return True

    def _refuse(self, token: int | None, error: Exception, said: str) -> None:
        """Tell who asked that what they said is not in the log: because of what it is, or because nothing can be kept."""
        ask, _ = self.replies.close(token) if token is not None else (None, None)
        if ask is not None:
            ask.answer(Error(*refusal_of(error, said)))

    def _contained(self, effect: Effect) -> None:
        """Perform one effect. What goes wrong in it must not lose the others: the table has decided on all of them."""
        try:
            self._perform(effect)
        except Exception:  # noqa: BLE001 - logged; what the table decided is done as far as it can be
            _log.exception("%s could not be performed", type(effect).__name__)
            if isinstance(effect, Commit):
                self.feed(CommitFailed(effect.run))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Answer():
                self._answer(effect)
            case Commit():
                self._commit(effect)
            case Start() | Interrupt() | Cut() | EndRun() | Abandon():
                self._turn.perform(effect)
            case Show(status=status):
                self._hub.publish(StatusEvent(status, held=self.life.held))
            case BackOff(token=token, seconds=seconds):
                self._arm(seconds, lambda: self.feed(BackoffOver(token)))
            case Refill(token=token):
                self._arm(self._wake_seconds, lambda: self.feed(Refilled(token)))
            case Return(notices=notices, reason=reason):
                self._notices.give_back(notices, reason)
            case StartJob(number=number):
                self.feed(JobDone(number, ok=self._work()))
            case CancelJob():
                pass  # no job takes any time
            case Leave():
                self._leave()
            case _:
                assert_never(effect)

    def _answer(self, effect: Answer) -> None:
        ask, notice = self.replies.close(effect.ask)
        if ask is None:
            return
        if effect.accepted:
            if isinstance(ask.method, RunMethod | Resume) and effect.run is not None:
                self._turn.started_by(effect.run, ask.origin)
            if isinstance(ask.method, Notify) and notice is not None:
                self._once_kept(partial(self._confirm, ask, notice))
            else:
                ask.answer(Accepted(run=effect.run))
            return
        if notice is not None:
            self._notices.drop(notice)
        ask.answer(Error(effect.code or ErrorCode.INTERNAL, effect.message))

    def _confirm(self, ask: Ask, notice: str, failure: SessionError | None) -> None:
        """Tell a sender what became of a notice that is in the queue. One that was given back meanwhile was not accepted."""
        if self._notices.gave_back(notice):
            ask.answer(Error(ErrorCode.STOPPING, "the pod ended, and gave the notice back"))
        elif failure is None:
            ask.answer(Accepted(notice=notice))
        else:
            ask.answer(Error(ErrorCode.STORAGE_FULL, f"the notice may not have been kept: {failure}"))

    def _commit(self, effect: Commit) -> None:
        asked = self.replies.peek(effect.ask) if effect.ask is not None else None
        given = asked.method.input if asked is not None and isinstance(asked.method, RunMethod) else None
        try:
            self._turn.prepare(effect, given)
        except SessionError as error:
            self._turn.alert(f"run {effect.run} was not started, since its input could not be kept: {error}")
            self.feed(CommitFailed(effect.run))
        except LocalProtocolError as error:
            self._refuse(effect.ask, error, "the input could not be kept")
            self.feed(CommitFailed(effect.run))
