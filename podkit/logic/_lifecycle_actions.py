"""What each named action of the table does to the state, and the effects it asks for. Pure, one small function an action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from podkit.protocol import ErrorCode, InvokeKind, RunResult, Status

from . import _lifecycle_effects as do
from . import _lifecycle_inputs as said
from ._lifecycle_table import Action
from ._lifecycle_values import Ask, Attempt, Hold, Life, Phase, Waiting, changed

LONGEST_BACK_OFF = 60.0
"""Seconds. The first back-off takes one second, and each further failure in a row doubles it."""


@attrs.frozen
class Move:
    """One step under way: the state before it, what came in, and the effects so far."""

    was: Life
    input: Any
    effects: list[do.Effect] = attrs.field(factory=list)

    @property
    def ask(self) -> Ask | None:
        return getattr(self.input, "ask", None)

    def answer(self, ask: Ask | None, code: ErrorCode | None = None, message: str = "", *, run: int | None = None) -> None:
        if ask is not None:
            self.effects.append(do.Answer(ask, code is None, code, message, run))


Act = Callable[[Move, Life], Life]


def _refuse(code: ErrorCode, message: str) -> Act:
    def act(move: Move, life: Life) -> Life:
        move.answer(move.ask, code, message)
        if isinstance(move.input, said.AskNotify) and move.ask is None:
            move.effects.append(do.Return((move.input.notice,), code.value))
        return life

    return act


def _accept(move: Move, life: Life) -> Life:
    run = move.was.current if isinstance(move.input, said.AskCancel | said.AskPause) else None
    move.answer(move.ask, run=run)
    return life


def _commit(move: Move, life: Life, cause: InvokeKind, *, resumed: bool = False, ask: Ask | None = None) -> Life:
    number = max(life.numbers, life.run) + 1
    origin = Phase.PAUSED if move.was.phase is Phase.PAUSED else Phase.IDLE
    attempt = Attempt(number, ask, cause, life.queued, origin)
    move.effects.append(do.Commit(number, ask, cause, resumed, attempt.notices))
    return changed(_lift(move, life), phase=Phase.STARTING, numbers=number, attempt=attempt)


def _commit_input(move: Move, life: Life) -> Life:
    return _commit(move, life, InvokeKind.USER_SEND, ask=move.ask)


def _commit_resume(move: Move, life: Life) -> Life:
    return _commit(move, life, life.cause, resumed=True, ask=move.ask)


def _commit_notices(move: Move, life: Life) -> Life:
    return _commit(move, _pay(move, life), InvokeKind.NOTIFY)


def _pay(move: Move, life: Life) -> Life:
    """Whoever had the run started pays for it: nobody when a client did, else each child whose waking notice is in the queue."""
    payers = {notice.child for notice in life.notices if notice.wake and life.may_wake(notice.child)}
    if None in payers:
        return life
    spent = dict(life.spent)
    spent.update((child, spent.get(child, 0) + 1) for child in sorted(filter(None, payers)))
    life = changed(life, spent=tuple(spent.items()))
    return life if life.refill is not None else _arm_refill(move, life)


def _arm_refill(move: Move, life: Life) -> Life:
    token = life.timers + 1
    move.effects.append(do.Refill(token))
    return changed(life, refill=token, timers=token)


def _earn(move: Move, life: Life) -> Life:
    spent = tuple((child, used - 1) for child, used in life.spent if used > 1)
    life = changed(life, spent=spent, refill=None)
    return _arm_refill(move, life) if spent else life


def _left_overs(move: Move, life: Life) -> Life:
    return _commit_notices(move, life) if life.waking and life.hold is Hold.NONE else life


def _confirm(move: Move, life: Life) -> Life:
    attempt: Any = life.attempt  # there is one: without it nothing is classified as its completion
    move.answer(attempt.ask, run=attempt.run)
    life = changed(life, attempt=None, run=attempt.run, cause=attempt.cause)
    return _without(life, attempt.notices) if attempt.ask is None else life


def _refuse_storage(move: Move, life: Life) -> Life:
    attempt: Any = life.attempt
    move.answer(attempt.ask, ErrorCode.STORAGE_FULL, "the input could not be kept, so the run was not started")
    return changed(life, attempt=None)


def _start(move: Move, life: Life) -> Life:
    move.effects.append(do.Start(life.run))
    return life


def _interrupt(*, deadline: bool) -> Act:
    def act(move: Move, life: Life) -> Life:
        if move.was.current is not None:
            move.effects.append(do.Interrupt(move.was.current, deadline))
        return life

    return act


def _cut(move: Move, life: Life) -> Life:
    move.effects.append(do.Cut(move.input.run))
    return life


def _end(result: RunResult | None) -> Act:
    def act(move: Move, life: Life) -> Life:
        move.effects.append(do.EndRun(life.run, move.input.result if result is None else result))
        return life

    return act


def _abandon(move: Move, life: Life) -> Life:
    move.effects.append(do.Abandon(life.run))
    return life


def _show(status: Status) -> Act:
    def act(move: Move, life: Life) -> Life:
        if life.shown == status:
            return life
        move.effects.append(do.Show(status))
        return changed(life, shown=status)

    return act


def _join(move: Move, life: Life) -> Life:
    return changed(life, pausers=(*life.pausers, move.input.ask))


def _pausers(code: ErrorCode | None, message: str = "") -> Act:
    def act(move: Move, life: Life) -> Life:
        for ask in life.pausers:
            move.answer(ask, code, message, run=life.run if code is None else None)
        return changed(life, pausers=()) if life.pausers else life

    return act


def _start_job(move: Move, life: Life) -> Life:
    move.effects.append(do.StartJob(life.jobs + 1, move.input.job))
    return changed(life, job=life.jobs + 1, jobs=life.jobs + 1)


def _cancel_job(*, deadline: bool) -> Act:
    def act(move: Move, life: Life) -> Life:
        if life.job is not None:
            move.effects.append(do.CancelJob(life.job, deadline))
        return life

    return act


def _job_over(_move: Move, life: Life) -> Life:
    return changed(life, job=None)


def _queue(move: Move, life: Life) -> Life:
    notice: said.AskNotify = move.input
    if notice.notice in life.queued:
        return life
    replaced = next((other for other in life.notices if other.id == notice.replaces and other.id not in life.committing), None)
    kept = tuple(other for other in life.notices if other is not replaced)
    wake = notice.wake or (replaced is not None and replaced.wake)
    return changed(life, notices=(*kept, Waiting(notice.notice, wake, notice.child)))


def _seen(move: Move, life: Life) -> Life:
    return _without(life, move.input.ids)


def _hold(_move: Move, life: Life) -> Life:
    return changed(life, hold=Hold.ASKED, timer=None)


def _back_off(move: Move, life: Life) -> Life:
    token, failures = life.timers + 1, life.failures + 1
    move.effects.append(do.BackOff(token, min(LONGEST_BACK_OFF, 2.0 ** min(failures - 1, 10))))
    return changed(life, hold=Hold.BACKOFF, timer=token, timers=token, failures=failures)


def _lift(_move: Move, life: Life) -> Life:
    return life if life.hold is Hold.NONE and life.timer is None else changed(life, hold=Hold.NONE, timer=None)


def _reset(_move: Move, life: Life) -> Life:
    return changed(life, failures=0) if life.failures else life


def _leave(move: Move, life: Life) -> Life:
    asks = life.pausers if life.attempt is None else (life.attempt.ask, *life.pausers)
    for ask in asks:
        move.answer(ask, ErrorCode.STOPPING, _STOPPING)
    if life.notices:
        move.effects.append(do.Return(life.queued, ErrorCode.STOPPING.value))
    life = _show(Status.IDLE)(move, life)
    move.effects.append(do.Leave())
    return changed(life, attempt=None, pausers=(), notices=(), hold=Hold.NONE, timer=None, spent=(), refill=None)


def _without(life: Life, ids: tuple[str, ...]) -> Life:
    if not ids:
        return life
    gone = frozenset(ids)
    return changed(life, notices=tuple(notice for notice in life.notices if notice.id not in gone))


_STOPPING = "the pod is stopping"
_NOT_RUNNING = "no such run is under way"

ACTIONS: dict[Action, Act] = {
    Action.ACCEPT: _accept,
    Action.REFUSE_ALREADY_RUNNING: _refuse(ErrorCode.ALREADY_RUNNING, "the pod is busy with a run; wait for its end or cancel it"),
    Action.REFUSE_NOT_RUNNING: _refuse(ErrorCode.NOT_RUNNING, _NOT_RUNNING),
    Action.REFUSE_NOT_PAUSED: _refuse(ErrorCode.NOT_PAUSED, "the pod is not paused"),
    Action.REFUSE_INVALID: _refuse(ErrorCode.INVALID_REQUEST, "not while a run is paused; resume or cancel it first"),
    Action.REFUSE_STOPPING: _refuse(ErrorCode.STOPPING, _STOPPING),
    Action.REFUSE_FULL: _refuse(ErrorCode.LIMIT_EXCEEDED, "too many notices wait; try again when some were seen"),
    Action.COMMIT_INPUT: _commit_input,
    Action.COMMIT_RESUME: _commit_resume,
    Action.COMMIT_NOTICES: _commit_notices,
    Action.CONFIRM: _confirm,
    Action.REFUSE_STORAGE: _refuse_storage,
    Action.START: _start,
    Action.INTERRUPT: _interrupt(deadline=True),
    Action.INTERRUPT_GENTLY: _interrupt(deadline=False),
    Action.CUT: _cut,
    Action.END_AS_IT_WAS: _end(None),
    Action.END_CANCELLED: _end(RunResult.CANCELLED),
    Action.END_PAUSED: _end(RunResult.PAUSED),
    Action.ABANDON: _abandon,
    Action.SHOW_RUNNING: _show(Status.RUNNING),
    Action.SHOW_IDLE: _show(Status.IDLE),
    Action.SHOW_PAUSED: _show(Status.PAUSED),
    Action.JOIN: _join,
    Action.PAUSERS_PAUSED: _pausers(None),
    Action.PAUSERS_NOT_RUNNING: _pausers(ErrorCode.NOT_RUNNING, _NOT_RUNNING),
    Action.PAUSERS_STOPPING: _pausers(ErrorCode.STOPPING, _STOPPING),
    Action.START_JOB: _start_job,
    Action.CANCEL_JOB: _cancel_job(deadline=False),
    Action.CANCEL_JOB_SOON: _cancel_job(deadline=True),
    Action.JOB_OVER: _job_over,
    Action.QUEUE: _queue,
    Action.SEEN: _seen,
    Action.HOLD: _hold,
    Action.BACK_OFF: _back_off,
    Action.LIFT: _lift,
    Action.EARN: _earn,
    Action.RESET: _reset,
    Action.LEFT_OVERS: _left_overs,
    Action.LEAVE: _leave,
}
