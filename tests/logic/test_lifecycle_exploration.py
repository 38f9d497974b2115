"""Every sequence of inputs to depth 8, with a world that answers in every way it can, held to what must never happen.

The world keeps its own books (who waits, what runs, which notice went where) from the effects alone, so it shares nothing with the
table but the values. States that differ only in numbers are explored once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

import attrs
import pytest

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
    Committed,
    Cut,
    Deadline,
    Effect,
    EndRun,
    Input,
    Interrupt,
    JobDeadline,
    JobDone,
    Leave,
    Life,
    NoticesSeen,
    Phase,
    Refill,
    Refilled,
    Return,
    RunDone,
    Show,
    Start,
    StartJob,
)
from podkit.logic._lifecycle import advance
from podkit.logic._lifecycle_actions import ACTIONS, Act, Move
from podkit.logic._lifecycle_table import NOTHING, TABLE, Action, InputKind, Row, Table
from podkit.protocol import ErrorCode, RunResult, Status

DEPTH = 8
NOTICES = 3  # one more than there is room for
WAKES = 1  # so many runs a child may start in a row


class BrokenRuleError(AssertionError):
    """Something happened that must never happen."""


def rule(holds: object, what: str) -> None:
    if not holds:
        raise BrokenRuleError(what)


@attrs.define(slots=True)
class World:
    """What the outside knows: rebuilt from inputs and effects only."""

    asks: int = 0
    waiting: dict[int, str] = attrs.field(factory=dict)
    commit: Commit | None = None
    asker: int | None = None
    worker: int | None = None
    interrupted: bool = False
    deadline: int | None = None
    paused: int | None = None
    job: int | None = None
    job_cancelled: bool = False
    job_deadline: bool = False
    timer: int | None = None
    refill: int | None = None
    debts: int = 0
    """Runs that the child started and has not earned again."""
    damped: bool = True
    """How often a child may start a run is bounded."""
    quiet: set[str] = attrs.field(factory=set)
    """Notices that may not wake."""
    open_runs: set[int] = attrs.field(factory=set)
    accepted: int = 0
    ended: int = 0
    cancelled: set[int] = attrs.field(factory=set)
    shown: Status = Status.IDLE
    notices: dict[str, str] = attrs.field(factory=dict)
    gone: bool = False
    """It had left before this input."""
    left: bool = False
    stopping: bool = False
    must_cancel_job: bool = False
    failures: int = 0

    def copy(self) -> World:
        return attrs.evolve(
            self,
            waiting=dict(self.waiting),
            open_runs=set(self.open_runs),
            cancelled=set(self.cancelled),
            notices=dict(self.notices),
            quiet=set(self.quiet),
        )

    def key(self, life: Life) -> tuple[object, ...]:
        """This state with the numbers taken out."""
        attempt = life.attempt
        return (
            life.phase,
            life.cause,
            None if attempt is None else (attempt.ask is None, attempt.cause, attempt.origin, len(attempt.notices)),
            len(life.pausers),
            life.job is None,
            tuple((notice.wake, notice.child, self.notices.get(notice.id)) for notice in life.notices),
            (self.debts, self.refill is None, life.spent, life.refill is None),
            life.hold,
            life.timer is None,
            min(life.failures, 2),
            tuple(sorted(self.waiting.values())),
            self.commit is None,
            self.worker is None,
            self.interrupted,
            self.deadline is None,
            self.paused is None,
            (self.job is None, self.job_cancelled, self.job_deadline),
            self.timer is None,
            len(self.open_runs),
            min(self.accepted, 2),
            bool(self.cancelled & {self.worker, None if self.commit is None else self.commit.run}),
            self.shown,
            sum(state == "queued" for state in self.notices.values()),
            len(self.notices) >= NOTICES,
            self.left,
            min(self.failures, 2),
        )

    # What comes in.

    def hear(self, input_: Input, life: Life) -> None:
        self.gone = self.left
        ask = getattr(input_, "ask", None)
        if ask is not None:
            self.waiting[ask] = type(input_).__name__
        if isinstance(input_, AskNotify) and not input_.wake:
            self.quiet.add(input_.notice)
        if isinstance(input_, AskNotify) and ask is None:
            self.notices[input_.notice] = "queued"
            if input_.replaces is not None and not self.gone and not self.stopping:
                self.notices[input_.replaces] = "merged"
        if isinstance(input_, Committed | CommitFailed) and self.commit is not None and self.commit.run == input_.run:
            commit, self.commit = self.commit, None
            if isinstance(input_, Committed):
                self.open_runs.add(commit.run)
                self.accepted, self.paused = self.accepted + 1, None
                if commit.ask is None:
                    self.see(commit.notices)
        elif isinstance(input_, RunDone) and input_.run == self.worker:
            self.worker, self.interrupted, self.deadline = None, False, None
            if input_.result in (RunResult.FINISHED, RunResult.LIMIT_REACHED):
                self.failures = 0
        elif isinstance(input_, JobDone) and input_.number == self.job:
            self.job, self.job_cancelled, self.job_deadline, self.must_cancel_job = None, False, False, False
        elif isinstance(input_, BackoffOver) and input_.token == self.timer:
            self.timer = None
        elif isinstance(input_, Refilled) and input_.token == self.refill:
            self.refill, self.debts = None, max(0, self.debts - 1)
        elif isinstance(input_, NoticesSeen):
            self.see(input_.ids)

    def see(self, ids: tuple[str, ...]) -> None:
        for notice in ids:
            rule(self.notices.get(notice) == "queued", f"notice {notice} is seen although it is {self.notices.get(notice)}")
            self.notices[notice] = "seen"

    # What is to be done.

    def do(self, effect: Effect, input_: Input, life: Life) -> None:
        rule(not self.left or (self.gone and isinstance(effect, Answer | Return)), f"{effect} after the pod left")
        _DO[type(effect)](self, effect, input_, life)

    def answer(self, effect: Answer, input_: Input, life: Life) -> None:
        kind = self.waiting.pop(effect.ask, None)
        rule(kind is not None, f"{effect.ask} is answered twice, or never asked")
        rule(effect.accepted == (effect.code is None), "a refusal has a code and an acceptance has none")
        rule(effect.accepted or effect.message, "a refusal says why")
        if not effect.accepted:
            if isinstance(input_, CommitFailed) and kind in ("AskRun", "AskResume"):
                rule(effect.code is ErrorCode.STORAGE_FULL, "a failed commit is a storage_full")
            if isinstance(input_, RunDone):
                rule(self.left or self.shown is not Status.RUNNING, "who asked for a pause is told after the status")
            return
        if kind == "AskNotify":
            assert isinstance(input_, AskNotify)
            self.notices[input_.notice] = "queued"
        elif kind in ("AskRun", "AskResume"):
            rule(effect.run in self.open_runs, "accepted means committed")
        elif kind == "AskCancel" and effect.run is not None:
            self.cancelled.add(effect.run)
        elif kind == "AskCancel":
            self.must_cancel_job = True
        elif kind == "AskShutdown":
            self.stopping = True
        elif kind == "AskPause":
            rule(self.paused is not None and self.paused == effect.run, "accepted for a pause means paused")
            rule(self.shown is Status.PAUSED, "who asked for a pause is told after the status")

    def begin_commit(self, effect: Commit, input_: Input, life: Life) -> None:
        self.owns_nothing("a commit")
        rule(not self.open_runs, "a run is committed while another has not ended")
        rule(self.shown is not Status.RUNNING, "a run is committed before the end of the one before was shown")
        rule(effect.ask is None or effect.ask in self.waiting, "a commit for somebody who does not wait")
        rule(effect.ask is not None or effect.notices, "a run that nobody and no notice asked for")
        rule(all(self.notices.get(notice) == "queued" for notice in effect.notices), "a notice is handed over twice")
        self.commit, self.asker, self.timer = effect, effect.ask, None
        waking = [notice for notice in effect.notices if notice not in self.quiet]
        if effect.ask is None and all(notice.startswith("kid") for notice in waking):
            rule(waking, "a run that nothing woke")
            rule(self.debts < WAKES, "a child starts one run after the other")
            rule(self.refill is not None, "what a child has used up never comes back")
            self.debts += 1

    def owns_nothing(self, what: str) -> None:
        owners = (self.commit, self.worker, self.job)
        rule(all(owner is None for owner in owners), f"{what} while the log has an owner: {owners}")

    def show(self, effect: Show, input_: Input, life: Life) -> None:
        rule(effect.status is not self.shown, "a status is shown twice")
        self.shown = effect.status
        rule(effect.status is not Status.RUNNING or self.asker not in self.waiting, "running is shown before accepted")
        rule(not (isinstance(input_, AskJob) and input_.ask in self.waiting), "running is shown before accepted")

    def start(self, effect: Start, input_: Input, life: Life) -> None:
        self.owns_nothing("a start")
        rule(effect.run in self.open_runs, "a run is started that was not accepted, or has ended")
        rule(effect.run not in self.cancelled, "a cancelled run is started")
        rule(self.shown is Status.RUNNING, "a run is started before its status is shown")
        self.worker, self.interrupted = effect.run, False

    def interrupt(self, effect: Interrupt, input_: Input, life: Life) -> None:
        rule(effect.run in (self.worker, self.commit and self.commit.run), "an interrupt of a run that is not under way")
        self.interrupted = True
        if effect.deadline:
            self.deadline = effect.run

    def cut(self, effect: Cut, input_: Input, life: Life) -> None:
        rule(effect.run in (self.worker, self.commit and self.commit.run), "a cut of a run that is not under way")
        self.worker, self.commit, self.interrupted, self.deadline = None, None, False, None

    def end_run(self, effect: EndRun, input_: Input, life: Life) -> None:
        rule(effect.run in self.open_runs, f"run {effect.run} ends twice, or was never accepted")
        rule(self.shown is Status.RUNNING, "a run ends that was not shown as running")
        rule(self.worker is None, "a run ends while its worker works")
        rule(not (effect.run in self.cancelled and effect.result is RunResult.PAUSED), "a cancelled run is paused")
        self.open_runs.discard(effect.run)
        self.ended += 1
        self.paused = effect.run if effect.result is RunResult.PAUSED else None

    def abandon(self, effect: Abandon, input_: Input, life: Life) -> None:
        rule(self.paused == effect.run, "what is abandoned was not paused")
        self.paused = None

    def start_job(self, effect: StartJob, input_: Input, life: Life) -> None:
        self.owns_nothing("a job")
        rule(not self.open_runs, "a job while a run has not ended")
        rule(self.shown is Status.RUNNING, "a job is started before its status is shown")
        self.job = effect.number

    def cancel_job(self, effect: CancelJob, input_: Input, life: Life) -> None:
        rule(effect.number == self.job, "a job is cancelled that is not under way")
        self.job_cancelled, self.job_deadline = True, effect.deadline

    def back_off(self, effect: BackOff, input_: Input, life: Life) -> None:
        rule(effect.seconds == min(60, 2**self.failures), "a back-off doubles with each failure in a row")
        self.failures += 1
        self.timer = effect.token

    def arm_refill(self, effect: Refill, input_: Input, life: Life) -> None:
        rule(self.refill is None, "two timers count for the same")
        self.refill = effect.token

    def give_back(self, effect: Return, input_: Input, life: Life) -> None:
        for notice in effect.notices:
            rule(self.notices.get(notice) == "queued", f"notice {notice} is given back, but was not waiting")
            self.notices[notice] = "returned"

    def leave(self, effect: Leave, input_: Input, life: Life) -> None:
        self.left = True

    # What holds after every step.

    def check(self, life: Life) -> None:
        queued = [notice for notice, state in self.notices.items() if state == "queued"]
        rule(sorted(life.queued) == sorted(queued), f"the queue is {life.queued} and should be {queued}")
        rule(len(self.open_runs) <= 1, "two runs at once")
        rule(self.left == (life.phase is Phase.STOPPED), "who is stopped leaves, and nobody else")
        if self.left:
            rule(not self.waiting, f"nobody answers {self.waiting}")
            rule(not self.open_runs, "a run never ends")
            rule(self.worker is None, "a worker outlives its pod")
            rule(not queued, "a notice is lost with its pod")
            rule(life.attempt is None and life.job is None, "nothing is under way in a stopped pod")
        rule(not self.stopping or life.phase in (Phase.STOPPING, Phase.STOPPED), "a stop is under way for good")
        waiting_for_nothing = {"AskNotify", "AskShutdown", "AskCancel", "AskJob"} & set(self.waiting.values())
        rule(not waiting_for_nothing, f"not answered at once: {waiting_for_nothing}")
        if life.phase in (Phase.IDLE, Phase.PAUSED):
            self.owns_nothing(life.phase.value)
            rule(not self.waiting and not self.open_runs, "somebody waits, and nothing will happen")
            rule(self.shown is life.phase.status, "another status was shown")
            rule((life.phase is Phase.PAUSED) == (self.paused is not None), "paused is paused")
        if life.phase is Phase.IDLE and any(notice.wake for notice in life.notices):
            rule(life.held, "a waking notice waits, and nothing holds it")
            news = all(notice.child is not None for notice in life.notices if notice.wake)
            damped = news and self.debts >= WAKES and self.refill == life.refill is not None
            rule(life.hold.value != "none" or damped, "a waking notice waits for nothing")
            rule(life.hold.value != "backoff" or self.timer == life.timer, "held for a back-off that never ends")
        if life.phase in (Phase.RUNNING, Phase.PAUSING):
            rule(self.worker is not None, "running, and no worker works")
            rule(self.interrupted == (life.phase is Phase.PAUSING), "a pause under way was not passed on")
        if life.phase in (Phase.CANCELLING, Phase.STOPPING):
            rule("AskPause" not in self.waiting.values(), "a pause that cannot come is answered at once")
            rule(self.worker is None or self.deadline is not None, "a cancel without a deadline")
        if life.phase is Phase.STOPPING:
            rule(self.commit is None or self.deadline is not None, "a stop waits for a commit without a deadline")
            rule(self.job is None or self.job_deadline, "a stop waits for a job without a deadline")
        if life.phase is Phase.BUSY:
            rule(self.job_cancelled or not self.must_cancel_job, "an accepted cancel does not reach the job")

    # What may happen next.

    def next_inputs(self, life: Life) -> Iterator[Input]:
        ask = self.asks + 1
        yield from (AskRun(ask), AskResume(ask), AskCancel(ask), AskPause(ask), AskShutdown(ask), AskJob(ask, "compact"))
        if len(self.notices) < NOTICES:
            notice = f"n{len(self.notices)}"
            yield AskNotify(ask, notice, wake=True, client=True)
            yield AskNotify(ask, notice, wake=False, client=True)
            child = "kid" if self.damped else None
            news = f"kid{len(self.notices)}" if self.damped else notice
            crowded = len(life.notices) >= life.room
            free = [one.id for one in life.notices if one.id not in life.committing] if crowded else []
            last = free[-1] if free else None
            yield AskNotify(None, news, wake=True, client=False, child=child, news=True, replaces=last)
        yield from (AskCancel(ask, run=10_000), AskPause(ask, run=10_000))
        yield from self.completions(life)
        yield from self.stale(life)

    def completions(self, life: Life) -> Iterator[Input]:
        if self.commit is not None:
            yield from (Committed(self.commit.run), CommitFailed(self.commit.run))
            if self.commit.ask is not None and self.commit.notices and self.commit.notices[0] in life.queued:
                yield NoticesSeen(self.commit.notices)
        if self.worker is not None:
            yield from (RunDone(self.worker, result) for result in RunResult)
            if life.notices:
                yield NoticesSeen(life.queued)
        if self.job is not None:
            yield from (JobDone(self.job, True), JobDone(self.job, False))
            if self.job_deadline:
                yield JobDeadline(self.job)
        if self.deadline is not None:
            yield Deadline(self.deadline)
        if self.timer is not None:
            yield BackoffOver(self.timer)
        if self.refill is not None and not self.left:
            yield Refilled(self.refill)

    def stale(self, life: Life) -> Iterator[Input]:
        """What comes late, twice, or about something that never was."""
        last = life.run if self.worker is None and self.commit is None else life.run - 1
        yield from (Committed(life.run), CommitFailed(life.run), RunDone(life.numbers + 1, RunResult.FINISHED))
        if self.commit is None:
            yield from (Committed(life.numbers), CommitFailed(life.numbers))
        yield from (RunDone(last, RunResult.PAUSED), RunDone(last, RunResult.FINISHED), BackoffOver(life.timers + 1))
        if last != self.deadline:
            yield Deadline(last)
        yield JobDone(life.jobs + 1 if self.job is not None else life.jobs)
        yield JobDeadline(life.jobs + 1)
        yield Refilled(life.timers + 1)


_DO: dict[type, Callable[..., None]] = {
    Answer: World.answer,
    Commit: World.begin_commit,
    Show: World.show,
    Start: World.start,
    Interrupt: World.interrupt,
    Cut: World.cut,
    EndRun: World.end_run,
    Abandon: World.abandon,
    StartJob: World.start_job,
    CancelJob: World.cancel_job,
    BackOff: World.back_off,
    Refill: World.arm_refill,
    Return: World.give_back,
    Leave: World.leave,
}


@attrs.frozen
class Pod:
    """A table under test."""

    table: Table = TABLE
    actions: Mapping[Action, Act] = ACTIONS

    def step(self, life: Life, world: World, input_: Input) -> tuple[Life, World]:
        world = world.copy()
        if getattr(input_, "ask", None) is not None:
            world.asks += 1
        real = is_real(input_, world)
        world.hear(input_, life)
        after, effects = advance(life, input_, table=self.table, actions=self.actions)
        for effect in effects:
            world.do(effect, input_, after)
        rule(real or (after == life and not effects), f"{input_} changed something although it is stale")
        world.check(after)
        return after, world


def is_real(input_: Input, world: World) -> bool:
    """Whether a completion is about something that is under way."""
    match input_:
        case Committed(run) | CommitFailed(run):
            return world.commit is not None and world.commit.run == run
        case RunDone(run, _):
            return world.worker == run
        case JobDone(number, _):
            return world.job == number
        case JobDeadline(number):
            return world.job == number and world.job_deadline
        case Deadline(run):
            return world.deadline == run
        case BackoffOver(token):
            return world.timer == token
        case Refilled(token):
            return world.refill == token and not world.stopping
        case _:
            return True


def settle(pod: Pod, life: Life, world: World, *, well: bool, ends: RunResult) -> None:
    """Let everything that is under way end, all well or all badly; the pod must become quiet. Time passes last."""
    timers = 0
    for _ in range(30):
        if world.commit is not None:
            done: Input = Committed(world.commit.run) if well else CommitFailed(world.commit.run)
        elif world.worker is not None:
            done = RunDone(world.worker, ends if world.interrupted else RunResult.FINISHED if well else RunResult.FAILED)
        elif world.job is not None:
            done = JobDone(world.job, well)
        elif world.timer is not None and (well or timers < 3):
            timers, done = timers + 1, BackoffOver(world.timer)
        elif world.refill is not None and (well or timers < 3) and not world.stopping:
            timers, done = timers + 1, Refilled(world.refill)
        else:
            break
        life, world = pod.step(life, world, done)
    else:
        raise BrokenRuleError("the pod never becomes quiet")
    rule(life.phase in (Phase.IDLE, Phase.PAUSED, Phase.STOPPED), f"quiet in {life.phase}")
    rule(not world.waiting, f"never answered: {world.waiting}")
    rule(not well or life.phase is not Phase.IDLE or life.hold.value != "backoff", "a back-off never ends")
    rule(not well or life.phase is not Phase.IDLE or life.hold.value != "none" or not life.held, "a notice is damped for ever")


def explore(pod: Pod, *, depth: int = DEPTH, damped: bool = True) -> int:
    """Everything within `depth` inputs of a fresh pod; answers how many different states there are. Raises `BrokenRuleError`."""
    seen = set()
    queue: deque[tuple[Life, World, int]] = deque([(Life(room=NOTICES - 1, wakes=WAKES), World(damped=damped), 0)])
    while queue:
        life, world, steps = queue.popleft()
        for input_ in world.next_inputs(life):
            after, then = pod.step(life, world, input_)
            key = then.key(after)
            if key in seen:
                continue
            seen.add(key)
            settle(pod, after, then, well=True, ends=RunResult.CANCELLED)
            settle(pod, after, then, well=True, ends=RunResult.FINISHED)
            settle(pod, after, then, well=False, ends=RunResult.CANCELLED)
            if steps + 1 < depth:
                queue.append((after, then, steps + 1))
    return len(seen)


def test_no_sequence_of_inputs_breaks_a_rule() -> None:
    assert explore(Pod(), damped=False) > 1_000


@pytest.mark.proves("F55")
def test_nor_does_one_in_which_a_child_wakes_too_often() -> None:
    assert explore(Pod(), depth=DEPTH - 2) > 1_000


# Faults planted on purpose: each must turn the exploration red.

K, P, A = InputKind, Phase, Action


def _without(kind: InputKind, phase: Phase, action: Action) -> Table:
    row = TABLE[kind, phase]
    assert action in row.actions
    return {**TABLE, (kind, phase): Row(row.next, tuple(other for other in row.actions if other is not action))}


def _leading(kind: InputKind, phase: Phase, next_phase: Phase | None) -> Table:
    return {**TABLE, (kind, phase): Row(next_phase, TABLE[kind, phase].actions)}


def _swapped(kind: InputKind, phase: Phase, one: Action, other: Action) -> Table:
    swap = {one: other, other: one}
    row = TABLE[kind, phase]
    assert {one, other} <= set(row.actions)
    return {**TABLE, (kind, phase): Row(row.next, tuple(swap.get(action, action) for action in row.actions))}


def _swapped_for(kind: InputKind, phase: Phase, one: Action, other: Action) -> Table:
    row = TABLE[kind, phase]
    assert one in row.actions
    return {**TABLE, (kind, phase): Row(row.next, tuple(other if action is one else action for action in row.actions))}


ROW_FAULTS: dict[str, Table] = {
    "a run while one runs is not answered": {**TABLE, (K.RUN, P.RUNNING): NOTHING},
    "a run while one runs starts a second one": {**TABLE, (K.RUN, P.RUNNING): TABLE[K.RUN, P.IDLE]},
    "a run during a compaction is started": {**TABLE, (K.RUN, P.BUSY): TABLE[K.RUN, P.IDLE]},
    "a compaction during a run is started": {**TABLE, (K.JOB, P.RUNNING): TABLE[K.JOB, P.IDLE]},
    "a run is started before it is accepted": _swapped(K.COMMITTED, P.STARTING, A.CONFIRM, A.START),
    "running is shown before accepted": _swapped(K.COMMITTED, P.STARTING, A.CONFIRM, A.SHOW_RUNNING),
    "a run starts before running is shown": _swapped(K.COMMITTED, P.STARTING, A.START, A.SHOW_RUNNING),
    "a run that waited for a pause is started": {**TABLE, (K.COMMITTED_WITH_PAUSER, P.STARTING): TABLE[K.COMMITTED, P.STARTING]},
    "a cancelled commit starts its run": {**TABLE, (K.COMMITTED, P.CANCELLING): TABLE[K.COMMITTED, P.STARTING]},
    "a cancelled commit does not end its run": _without(K.COMMITTED, P.CANCELLING, A.END_CANCELLED),
    "a failed commit is not answered": _without(K.COMMIT_FAILED, P.STARTING, A.REFUSE_STORAGE),
    "a failed commit leaves its pauser": _without(K.COMMIT_FAILED, P.STARTING, A.PAUSERS_NOT_RUNNING),
    "a failed commit does not back off": _swapped_for(K.COMMIT_FAILED, P.STARTING, A.BACK_OFF, A.LEFT_OVERS),
    "a failed resume forgets the pause": _leading(K.COMMIT_FAILED_PAUSED, P.STARTING, P.IDLE),
    "a finished run strands its left-overs": _without(K.FINISHED, P.RUNNING, A.LEFT_OVERS),
    "a finished run ends after the status": _swapped(K.FINISHED, P.RUNNING, A.END_AS_IT_WAS, A.SHOW_IDLE),
    "a run that beat its pause leaves the pauser": _without(K.FINISHED, P.PAUSING, A.PAUSERS_NOT_RUNNING),
    "a finished run does not forget failures": _without(K.FINISHED, P.RUNNING, A.RESET),
    "a pause is answered at once": _swapped_for(K.PAUSE, P.RUNNING, A.JOIN, A.ACCEPT),
    "a pause is not passed on": _without(K.PAUSE, P.RUNNING, A.INTERRUPT_GENTLY),
    "a paused run does not end": _without(K.CANCELLED, P.PAUSING, A.END_PAUSED),
    "a cancel turns into a pause": {**TABLE, (K.CANCELLED, P.CANCELLING): TABLE[K.CANCELLED, P.PAUSING]},
    "a worker pauses a cancelled run": {**TABLE, (K.SELF_PAUSED, P.CANCELLING): TABLE[K.SELF_PAUSED, P.RUNNING]},
    "a cancel forgets the pauser": _without(K.CANCEL, P.PAUSING, A.PAUSERS_NOT_RUNNING),
    "a cancel has no deadline": _swapped_for(K.CANCEL, P.RUNNING, A.INTERRUPT, A.INTERRUPT_GENTLY),
    "a cancel of a paused pod keeps the pause on record": _without(K.CANCEL, P.PAUSED, A.ABANDON),
    "a cancel of a job does not reach it": _without(K.CANCEL, P.BUSY, A.CANCEL_JOB),
    "a deadline does not cut": _without(K.DEADLINE, P.CANCELLING, A.CUT),
    "a deadline of a stop ends a run that never was": {**TABLE, (K.COMMIT_DEADLINE, P.STOPPING): TABLE[K.DEADLINE, P.STOPPING]},
    "a stop of a job has no deadline": _swapped_for(K.SHUTDOWN, P.BUSY, A.CANCEL_JOB_SOON, A.CANCEL_JOB),
    "a stop is undone by the end of the run": _leading(K.FINISHED, P.STOPPING, P.IDLE),
    "a stopped pod does not leave": _without(K.FINISHED, P.STOPPING, A.LEAVE),
    "a shutdown in a shutdown is not answered": {**TABLE, (K.SHUTDOWN, P.STOPPING): NOTHING},
    "a child wakes as often as it likes": {**TABLE, (K.NOTIFY, P.IDLE): TABLE[K.WAKE, P.IDLE]},
    "what a child may not wake with now is forgotten": _without(K.REFILLED, P.IDLE, A.LEFT_OVERS),
    "a child never earns again": _without(K.REFILLED, P.RUNNING, A.EARN),
    "a full queue says nothing": {**TABLE, (K.OVERFLOW, P.RUNNING): NOTHING},
    "an accepted notice is not queued": _without(K.NOTIFY, P.RUNNING, A.QUEUE),
    "a seen notice stays": _without(K.NOTICES_SEEN, P.RUNNING, A.SEEN),
    "a late completion ends the run": {**TABLE, (K.STALE, P.RUNNING): TABLE[K.CANCELLED, P.RUNNING]},
    "a back-off never ends": _without(K.BACKOFF_OVER, P.IDLE, A.LEFT_OVERS),
    "a back-off in a job is forgotten": {**TABLE, (K.BACKOFF_OVER, P.BUSY): NOTHING},
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_a_fault_in_a_row_is_found(fault: str) -> None:
    with pytest.raises(BrokenRuleError):
        explore(Pod(ROW_FAULTS[fault]))


def _same_number(move: Move, life: Life) -> Life:
    return attrs.evolve(ACTIONS[A.COMMIT_INPUT](move, life), numbers=life.numbers)


ACTION_FAULTS: dict[str, dict[Action, Act]] = {
    "a run number is used again": {A.COMMIT_INPUT: _same_number},
    "a hold after a cancel is forgotten": {A.HOLD: lambda move, life: life},
    "a cancelled run's notices start one at once": {A.HOLD: ACTIONS[A.LEFT_OVERS]},
    "a back-off is armed and not kept": {A.BACK_OFF: lambda move, life: attrs.evolve(ACTIONS[A.BACK_OFF](move, life), timer=None)},
    "a notice that started a run stays in the queue": {
        A.CONFIRM: lambda move, life: attrs.evolve(ACTIONS[A.CONFIRM](move, life), notices=life.notices)
    },
    "left-overs start a run that nobody committed": {A.LEFT_OVERS: lambda move, life: attrs.evolve(life, phase=P.RUNNING)},
    "only one of two pausers is told": {
        A.PAUSERS_PAUSED: lambda move, life: ACTIONS[A.PAUSERS_PAUSED](move, attrs.evolve(life, pausers=life.pausers[:1]))
    },
    "a stopped pod keeps its notices": {
        A.LEAVE: lambda move, life: attrs.evolve(ACTIONS[A.LEAVE](move, attrs.evolve(life, notices=())), notices=life.notices)
    },
}


@pytest.mark.parametrize("fault", ACTION_FAULTS)
def test_a_fault_in_an_action_is_found(fault: str) -> None:
    with pytest.raises(BrokenRuleError):
        explore(Pod(actions={**ACTIONS, **ACTION_FAULTS[fault]}))
