"""`step`: one input into a pod's life, and out come the next state and what is to be done.

The rules beside the table:

1. `pause` is answered when it is decided: accepted means *paused*. `cancel` and `shutdown` are answered at once: under way.
2. A pod that becomes idle with waking notices in its queue starts a run for them in the same step, unless they are held: after a
   cancelled run or an abandoned pause until a run, a resume or a client's waking notice; after a failed run or commit for a
   back-off of 1 s, doubled with each failure in a row up to 60 s. Notices nobody saw are given back when the pod is stopped.
3. A cancel or a pause that names a run other than the current one is `not_running`, in every phase.
4. Whoever still waits when the pod is stopped is answered `stopping`.
5. A completion carries the number it completes. One that is late, repeated or unknown changes nothing.
6. Each run number that was accepted ends exactly once. A number whose commit failed is never used again.
7. A status is shown when it differs from the last one shown; `running` only after its run was accepted, before the run starts.
   It says how many notices are held; while it stays the same it is shown again when that number changes.
8. A full queue refuses a notice with `limit_exceeded`; nothing that was accepted is dropped. News of a child, which nobody could
   send again, is put together with other news in one place more.
9. A run that only children's words and news start costs each child that wanted it one of `wakes`, and every child gets one back
   each time `Refilled` comes. Of a child that has none left notices are still queued; they start a run as soon as it has one,
   and are seen with any run before that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from podkit.protocol import RunResult

from . import _lifecycle_inputs as v
from ._lifecycle_actions import ACTIONS, Act, Move
from ._lifecycle_effects import Effect
from ._lifecycle_inputs import Input
from ._lifecycle_table import TABLE, Action, InputKind, Table
from ._lifecycle_values import Hold, Life, Phase, changed


def step(life: Life, input: Input) -> tuple[Life, tuple[Effect, ...]]:
    """The next state of `life` when `input` happens, and the effects, to be done in their order. Total: never raises."""
    return advance(life, input)


def advance(
    life: Life, input_: object, *, table: Table = TABLE, actions: Mapping[Action, Act] = ACTIONS
) -> tuple[Life, tuple[Effect, ...]]:
    """`step` over any table, so that tests can plant faults into one."""
    row = table[classify(life, input_), life.phase]
    move = Move(life, input_)
    if row.next is not None and row.next is not life.phase:
        life = changed(life, phase=row.next)
    for action in row.actions:
        life = actions[action](move, life)
    return life, tuple(move.effects)


def classify(life: Life, input_: object) -> InputKind:
    """What an input comes to in this state: the row of the table that speaks about it. Anything unknown is `STALE`."""
    classifier = _CLASSIFIERS.get(type(input_))
    return InputKind.STALE if classifier is None else classifier(life, input_)


def _notify(life: Life, said: v.AskNotify) -> InputKind:
    if len(life.notices) >= life.room and not said.news and said.notice not in life.queued:
        return InputKind.OVERFLOW
    wakes = said.wake and (said.client or (life.hold is Hold.NONE and life.may_wake(said.child)))
    return InputKind.WAKE if wakes else InputKind.NOTIFY


def _of_run(kind: InputKind) -> Callable[[Life, Any], InputKind]:
    def classifier(life: Life, said: v.AskCancel | v.AskPause) -> InputKind:
        return kind if said.run is None or said.run == life.current else InputKind.OTHER_RUN

    return classifier


def _committed(life: Life, done: v.Committed) -> InputKind:
    if life.attempt is None or life.attempt.run != done.run:
        return InputKind.STALE
    pausing = life.pausers and life.phase is Phase.STARTING
    return InputKind.COMMITTED_WITH_PAUSER if pausing else InputKind.COMMITTED


def _commit_failed(life: Life, done: v.CommitFailed) -> InputKind:
    if life.attempt is None or life.attempt.run != done.run:
        return InputKind.STALE
    return InputKind.COMMIT_FAILED_PAUSED if life.attempt.origin is Phase.PAUSED else InputKind.COMMIT_FAILED


_RESULTS = {
    RunResult.FAILED: InputKind.FAILED,
    RunResult.ROLLED_BACK: InputKind.ROLLED_BACK,
    RunResult.PAUSED: InputKind.SELF_PAUSED,
    RunResult.CANCELLED: InputKind.CANCELLED,
}


def _run_done(life: Life, done: v.RunDone) -> InputKind:
    if not life.under_way or life.run != done.run:
        return InputKind.STALE
    return _RESULTS.get(done.result, InputKind.FINISHED)


def _deadline(life: Life, over: v.Deadline) -> InputKind:
    if life.current is None or over.run != life.current:
        return InputKind.STALE
    return InputKind.COMMIT_DEADLINE if life.attempt is not None else InputKind.DEADLINE


def _job(kind: InputKind) -> Callable[[Life, Any], InputKind]:
    def classifier(life: Life, over: v.JobDone | v.JobDeadline) -> InputKind:
        return InputKind.STALE if life.job is None or over.number != life.job else kind

    return classifier


def _backoff_over(life: Life, over: v.BackoffOver) -> InputKind:
    return InputKind.STALE if life.timer is None or over.token != life.timer else InputKind.BACKOFF_OVER


def _refilled(life: Life, over: v.Refilled) -> InputKind:
    return InputKind.STALE if life.refill is None or over.token != life.refill else InputKind.REFILLED


def _always(kind: InputKind) -> Callable[[Life, Any], InputKind]:
    def classifier(_life: Life, _input: object) -> InputKind:
        return kind

    return classifier


_CLASSIFIERS: dict[type, Callable[[Life, Any], InputKind]] = {
    v.AskRun: _always(InputKind.RUN),
    v.AskNotify: _notify,
    v.AskResume: _always(InputKind.RESUME),
    v.AskCancel: _of_run(InputKind.CANCEL),
    v.AskPause: _of_run(InputKind.PAUSE),
    v.AskShutdown: _always(InputKind.SHUTDOWN),
    v.AskJob: _always(InputKind.JOB),
    v.Committed: _committed,
    v.CommitFailed: _commit_failed,
    v.RunDone: _run_done,
    v.Deadline: _deadline,
    v.JobDone: _job(InputKind.JOB_DONE),
    v.JobDeadline: _job(InputKind.JOB_DEADLINE),
    v.BackoffOver: _backoff_over,
    v.Refilled: _refilled,
    v.NoticesSeen: _always(InputKind.NOTICES_SEEN),
}
