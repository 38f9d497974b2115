"""The table, cell by cell, written out a second time as clients and the runtime see it; and the rules beside it."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
    Hold,
    Input,
    Interrupt,
    JobDeadline,
    JobDone,
    Leave,
    Life,
    NoticesSeen,
    Phase,
    Return,
    RunDone,
    Show,
    Start,
    StartJob,
    step,
)
from podkit.logic._lifecycle_actions import ACTIONS
from podkit.logic._lifecycle_table import TABLE, Action, InputKind
from podkit.logic._lifecycle_values import Attempt, Waiting
from podkit.protocol import ErrorCode, InvokeKind, RunResult, Status

ME, RUNNER, PAUSER = 1, 50, 60


def drive(*inputs: Input, life: Life | None = None) -> tuple[Life, list[Effect]]:
    life = life or Life()
    effects: list[Effect] = []
    for input_ in inputs:
        life, more = step(life, input_)
        effects.extend(more)
    return life, effects


def after(*inputs: Input) -> Life:
    return drive(*inputs)[0]


RUN = (AskRun(RUNNER), Committed(1))
STATES = {
    "IDLE": Life(),
    "STARTING": after(AskRun(RUNNER)),
    "STARTING with a pauser": after(AskRun(RUNNER), AskPause(PAUSER)),
    "STARTING from PAUSED": after(*RUN, RunDone(1, RunResult.PAUSED), AskResume(RUNNER)),
    "RUNNING": after(*RUN),
    "PAUSING": after(*RUN, AskPause(PAUSER)),
    "CANCELLING": after(*RUN, AskCancel(70)),
    "CANCELLING a commit": after(AskRun(RUNNER), AskCancel(70)),
    "CANCELLING a resume": after(*RUN, RunDone(1, RunResult.PAUSED), AskResume(RUNNER), AskCancel(70)),
    "BUSY": after(AskJob(70, "compact")),
    "PAUSED": after(*RUN, RunDone(1, RunResult.PAUSED)),
    "STOPPING": after(*RUN, AskShutdown(70)),
    "STOPPING a commit": after(AskRun(RUNNER), AskShutdown(70)),
    "STOPPING a job": after(AskJob(70, "compact"), AskShutdown(71)),
    "STOPPED": after(AskShutdown(70)),
}
METHODS: dict[str, Input] = {
    "run": AskRun(ME),
    "notify": AskNotify(ME, "n", wake=True, client=True),
    "notify quietly": AskNotify(ME, "n", wake=False, client=True),
    "resume": AskResume(ME),
    "cancel": AskCancel(ME),
    "cancel another": AskCancel(ME, run=99),
    "pause": AskPause(ME),
    "pause another": AskPause(ME, run=99),
    "shutdown": AskShutdown(ME),
    "compact": AskJob(ME, "compact"),
    "rewind": AskJob(ME, "rewind"),
}


def said(effect: Effect) -> str:
    who = {RUNNER: "runner ", PAUSER: "pauser "}
    match effect:
        case Answer(ask, True, None, "", run):
            return f"{who.get(ask, '')}accepted" + ("" if run is None else f"{{{run}}}")
        case Answer(ask, False, ErrorCode() as code, message, None) if message:
            return f"{who.get(ask, '')}{code.value}"
        case Commit(run, _, _, resumed, _):
            return f"commit {run}" + (" again" if resumed else "")
        case Show(status):
            return f"status {status.value}"
        case EndRun(run, result):
            return f"run_end {run} {result.value}"
        case Interrupt(run, deadline):
            return f"interrupt {run}" + (" soon" if deadline else "")
        case StartJob(number, job):
            return f"{job} {number}"
        case CancelJob(number, deadline):
            return f"cancel job {number}" + (" soon" if deadline else "")
        case BackOff(_, seconds):
            return f"back off {seconds:g}"
        case Return(notices, reason):
            return f"return {','.join(notices)} {reason}"
        case Start(run) | Cut(run) | Abandon(run):
            return f"{type(effect).__name__.lower()} {run}"
        case Leave():
            return "leave"
    raise AssertionError(effect)


def expect(state: str, input_: Input, cell: str) -> None:
    """`cell`: the next phase, a colon, the effects in order."""
    before = STATES[state]
    life, effects = step(before, input_)
    phase, _, done = cell.partition(":")
    assert life.phase is Phase[phase]
    assert [said(effect) for effect in effects] == [part.strip() for part in done.split(",") if part.strip()]
    if not effects and life.phase is before.phase and not isinstance(input_, AskPause):
        assert life == before


BUSY_ERROR = dict.fromkeys(("STARTING", "RUNNING", "PAUSING", "CANCELLING", "BUSY"), "already_running")
STOP_ERROR = dict.fromkeys(("STOPPING", "STOPPED"), "stopping")
EVERY = ("IDLE", "STARTING", "RUNNING", "PAUSING", "CANCELLING", "BUSY", "PAUSED", "STOPPING", "STOPPED")
ACCEPTED = dict.fromkeys(EVERY[:7], "accepted")
CELLS: dict[str, dict[str, str]] = {
    "run": {**BUSY_ERROR, **STOP_ERROR, "IDLE": "STARTING: commit 1", "PAUSED": "STARTING: commit 2"},
    "notify": {**ACCEPTED, **STOP_ERROR, "IDLE": "STARTING: accepted, commit 1"},
    "notify quietly": {**ACCEPTED, **STOP_ERROR},
    "resume": {**BUSY_ERROR, **STOP_ERROR, "IDLE": "not_paused", "PAUSED": "STARTING: commit 2 again"},
    "cancel": {
        **STOP_ERROR,
        "IDLE": "not_running",
        "STARTING": "CANCELLING: accepted{1}",
        "RUNNING": "CANCELLING: interrupt 1 soon, accepted{1}",
        "PAUSING": "CANCELLING: pauser not_running, interrupt 1 soon, accepted{1}",
        "CANCELLING": "accepted{1}",
        "BUSY": "cancel job 1, accepted",
        "PAUSED": "IDLE: accepted{1}, abandon 1, status idle",
        "STOPPING": "accepted{1}",
    },
    "cancel another": dict.fromkeys(EVERY, "not_running"),
    "pause": {
        **STOP_ERROR,
        "IDLE": "not_running",
        "STARTING": "",
        "RUNNING": "PAUSING: interrupt 1",
        "PAUSING": "",
        "CANCELLING": "not_running",
        "BUSY": "not_running",
        "PAUSED": "accepted{1}",
    },
    "pause another": dict.fromkeys(EVERY, "not_running"),
    "shutdown": {
        "IDLE": "STOPPED: accepted, leave",
        "STARTING": "STOPPING: accepted, interrupt 1 soon",
        "RUNNING": "STOPPING: accepted, interrupt 1 soon",
        "PAUSING": "STOPPING: accepted, pauser stopping, interrupt 1 soon",
        "CANCELLING": "STOPPING: accepted, interrupt 1 soon",
        "BUSY": "STOPPING: accepted, cancel job 1 soon",
        "PAUSED": "STOPPED: accepted, status idle, leave",
        "STOPPING": "accepted",
        "STOPPED": "stopping",
    },
}
for job in ("compact", "rewind"):
    CELLS[job] = {**BUSY_ERROR, **STOP_ERROR, "IDLE": f"BUSY: accepted, status running, {job} 1", "PAUSED": "invalid_request"}


@pytest.mark.parametrize("state", EVERY)
@pytest.mark.parametrize("method", CELLS)
def test_a_method_does_in_each_phase_what_its_cell_says(method: str, state: str) -> None:
    cell = CELLS[method][state]
    expect(state, METHODS[method], cell if ":" in cell else f"{state}: {cell}")


DONE = {result: RunDone(1, result) for result in RunResult}
COMPLETIONS: list[tuple[str, Input, str]] = [
    ("STARTING", Committed(1), "RUNNING: runner accepted{1}, status running, start 1"),
    (
        "STARTING with a pauser",
        Committed(1),
        "PAUSED: runner accepted{1}, status running, run_end 1 paused, status paused, pauser accepted{1}",
    ),
    ("STARTING from PAUSED", Committed(2), "RUNNING: runner accepted{2}, status running, start 2"),
    ("CANCELLING a commit", Committed(1), "IDLE: runner accepted{1}, status running, run_end 1 cancelled, status idle"),
    ("STOPPING a commit", Committed(1), "STOPPED: runner accepted{1}, status running, run_end 1 cancelled, status idle, leave"),
    ("STARTING", CommitFailed(1), "IDLE: runner storage_full, back off 1"),
    ("STARTING with a pauser", CommitFailed(1), "IDLE: runner storage_full, pauser not_running, back off 1"),
    ("STARTING from PAUSED", CommitFailed(2), "PAUSED: runner storage_full"),
    ("CANCELLING a commit", CommitFailed(1), "IDLE: runner storage_full"),
    ("CANCELLING a resume", CommitFailed(2), "IDLE: runner storage_full, abandon 1, status idle"),
    ("STOPPING a commit", CommitFailed(1), "STOPPED: runner storage_full, leave"),
    ("RUNNING", DONE[RunResult.FINISHED], "IDLE: run_end 1 finished, status idle"),
    ("RUNNING", DONE[RunResult.LIMIT_REACHED], "IDLE: run_end 1 limit_reached, status idle"),
    ("RUNNING", DONE[RunResult.FAILED], "IDLE: run_end 1 failed, status idle, back off 1"),
    ("RUNNING", DONE[RunResult.ROLLED_BACK], "IDLE: run_end 1 rolled_back, status idle"),
    ("RUNNING", DONE[RunResult.PAUSED], "PAUSED: run_end 1 paused, status paused"),
    ("RUNNING", DONE[RunResult.CANCELLED], "IDLE: run_end 1 cancelled, status idle"),
    ("PAUSING", DONE[RunResult.FINISHED], "IDLE: run_end 1 finished, status idle, pauser not_running"),
    ("PAUSING", DONE[RunResult.LIMIT_REACHED], "IDLE: run_end 1 limit_reached, status idle, pauser not_running"),
    ("PAUSING", DONE[RunResult.FAILED], "IDLE: run_end 1 failed, status idle, pauser not_running, back off 1"),
    ("PAUSING", DONE[RunResult.ROLLED_BACK], "IDLE: run_end 1 rolled_back, status idle, pauser not_running"),
    ("PAUSING", DONE[RunResult.PAUSED], "PAUSED: run_end 1 paused, status paused, pauser accepted{1}"),
    ("PAUSING", DONE[RunResult.CANCELLED], "PAUSED: run_end 1 paused, status paused, pauser accepted{1}"),
    ("CANCELLING", DONE[RunResult.FINISHED], "IDLE: run_end 1 finished, status idle"),
    ("CANCELLING", DONE[RunResult.LIMIT_REACHED], "IDLE: run_end 1 limit_reached, status idle"),
    ("CANCELLING", DONE[RunResult.FAILED], "IDLE: run_end 1 failed, status idle"),
    ("CANCELLING", DONE[RunResult.ROLLED_BACK], "IDLE: run_end 1 rolled_back, status idle"),
    ("CANCELLING", DONE[RunResult.PAUSED], "IDLE: run_end 1 cancelled, status idle"),
    ("CANCELLING", DONE[RunResult.CANCELLED], "IDLE: run_end 1 cancelled, status idle"),
    ("STOPPING", DONE[RunResult.FINISHED], "STOPPED: run_end 1 finished, status idle, leave"),
    ("STOPPING", DONE[RunResult.LIMIT_REACHED], "STOPPED: run_end 1 limit_reached, status idle, leave"),
    ("STOPPING", DONE[RunResult.FAILED], "STOPPED: run_end 1 failed, status idle, leave"),
    ("STOPPING", DONE[RunResult.ROLLED_BACK], "STOPPED: run_end 1 rolled_back, status idle, leave"),
    ("STOPPING", DONE[RunResult.PAUSED], "STOPPED: run_end 1 cancelled, status idle, leave"),
    ("STOPPING", DONE[RunResult.CANCELLED], "STOPPED: run_end 1 cancelled, status idle, leave"),
    ("RUNNING", Deadline(1), "RUNNING:"),
    ("PAUSING", Deadline(1), "PAUSING:"),
    ("CANCELLING", Deadline(1), "IDLE: cut 1, run_end 1 cancelled, status idle"),
    ("STOPPING", Deadline(1), "STOPPED: cut 1, run_end 1 cancelled, status idle, leave"),
    ("STOPPING a commit", Deadline(1), "STOPPED: cut 1, runner stopping, leave"),
    ("BUSY", JobDone(1), "IDLE: status idle"),
    ("BUSY", JobDone(1, ok=False), "IDLE: status idle"),
    ("BUSY", JobDeadline(1), "BUSY:"),
    ("STOPPING a job", JobDone(1), "STOPPED: status idle, leave"),
    ("STOPPING a job", JobDeadline(1), "STOPPED: status idle, leave"),
]


@pytest.mark.parametrize(("state", "input_", "cell"), COMPLETIONS, ids=lambda value: str(value))
def test_the_end_of_what_was_begun_does_what_its_cell_says(state: str, input_: Input, cell: str) -> None:
    expect(state, input_, cell)


STALE: tuple[Input, ...] = (Committed(0), Committed(7), CommitFailed(7), *(RunDone(7, result) for result in RunResult), Deadline(7))
STALE_TOO: tuple[Input, ...] = (JobDone(7), JobDeadline(7), BackoffOver(7), NoticesSeen(("unknown",)))


@pytest.mark.parametrize("state", STATES)
def test_a_late_or_unknown_completion_changes_nothing(state: str) -> None:
    for input_ in (*STALE, *STALE_TOO):
        assert step(STATES[state], input_) == (STATES[state], ())


@pytest.mark.parametrize("state", STATES)
def test_a_repeated_completion_changes_nothing(state: str) -> None:
    inputs: tuple[Input, ...] = (Committed(1), CommitFailed(1), *DONE.values(), Deadline(1), JobDone(1))
    for input_ in inputs:
        life, effects = step(STATES[state], input_)
        if effects and life.phase is not Phase.STARTING:
            assert step(life, input_) == (life, ())


def test_something_that_is_no_input_changes_nothing() -> None:
    assert step(Life(), object()) == (Life(), ())  # type: ignore[arg-type]


def test_the_table_is_total_and_every_action_is_there_and_used() -> None:
    assert set(TABLE) == {(kind, phase) for kind in InputKind for phase in Phase}
    assert set(ACTIONS) == set(Action) == {action for row in TABLE.values() for action in row.actions}
    assert all(TABLE[InputKind.STALE, phase].actions == () for phase in Phase)


def test_nothing_leads_out_of_the_last_phase() -> None:
    assert {TABLE[kind, Phase.STOPPED].next for kind in InputKind} == {None}
    assert {TABLE[kind, Phase.STOPPING].next for kind in InputKind} == {None, Phase.STOPPED}


def test_clients_see_three_states() -> None:
    shown = {phase: phase.status for phase in Phase}
    assert {phase for phase, status in shown.items() if status is Status.IDLE} == {Phase.IDLE, Phase.STOPPED}
    assert {phase for phase, status in shown.items() if status is Status.PAUSED} == {Phase.PAUSED}
    assert Life(phase=Phase.PAUSED).shown is Status.PAUSED


# Notices.

WAKE = AskNotify(ME, "n", wake=True, client=True)
HINT = AskNotify(None, "h", wake=True, client=False)
QUIET = AskNotify(ME, "q", wake=False, client=True)


def commits(effects: list[Effect]) -> list[Commit]:
    return [effect for effect in effects if isinstance(effect, Commit)]


def test_a_run_of_notices_takes_all_that_wait_when_it_is_committed() -> None:
    life, effects = drive(QUIET, HINT)
    assert commits(effects) == [Commit(1, None, InvokeKind.NOTIFY, False, ("q", "h"))]
    assert life.queued == ("q", "h")
    later = AskNotify(ME, "later", wake=False, client=True)
    assert drive(later, Committed(1), life=life)[0].queued == ("later",)
    assert drive(later, CommitFailed(1), life=life)[0].queued == ("q", "h", "later")


def test_the_first_notices_of_a_users_run_stay_until_they_are_seen() -> None:
    life, effects = drive(QUIET, AskRun(ME), Committed(1))
    assert commits(effects) == [Commit(1, ME, InvokeKind.USER_SEND, False, ("q",))]
    assert life.queued == ("q",)
    assert step(life, NoticesSeen(("q", "unknown")))[0].queued == ()


def test_a_notice_of_a_late_request_starts_exactly_one_more_run() -> None:
    life, effects = drive(*RUN, WAKE, HINT, RunDone(1, RunResult.FINISHED))
    assert [said(effect) for effect in effects[-3:]] == ["run_end 1 finished", "status idle", "commit 2"]
    life, effects = drive(Committed(2), RunDone(2, RunResult.FINISHED), life=life)
    assert life.phase is Phase.IDLE
    assert not commits(effects)


def test_a_quiet_notice_never_starts_a_run() -> None:
    life, effects = drive(QUIET, *RUN, RunDone(1, RunResult.FINISHED))
    assert life.phase is Phase.IDLE
    assert len(commits(effects)) == 1
    assert life.queued == ("q",)


@pytest.mark.parametrize("end", [RunDone(1, RunResult.CANCELLED), RunDone(1, RunResult.FINISHED), Deadline(1)], ids=str)
def test_after_a_cancel_waking_notices_are_held(end: Input) -> None:
    life = drive(WAKE, AskCancel(2), end, life=after(*RUN))[0]
    assert (life.phase, life.held, life.hold) == (Phase.IDLE, 1, Hold.ASKED)
    life = step(life, HINT)[0]
    assert (life.phase, life.held, life.queued) == (Phase.IDLE, 2, ("n", "h"))


def test_an_abandoned_pause_holds_notices_and_keeps_them_for_the_next_run() -> None:
    life = after(*RUN, WAKE, RunDone(1, RunResult.PAUSED), AskCancel(2))
    assert (life.phase, life.held) == (Phase.IDLE, 1)
    _, effects = step(life, AskRun(3))
    assert effects == (Commit(2, 3, InvokeKind.USER_SEND, False, ("n",)),)


def test_a_clients_notice_lifts_a_hold_and_a_pod_events_does_not() -> None:
    held = after(*RUN, HINT, AskCancel(2), RunDone(1, RunResult.CANCELLED))
    other = AskNotify(None, "other", wake=True, client=False)
    assert step(held, other)[0].phase is Phase.IDLE
    assert step(held, QUIET)[0].phase is Phase.IDLE
    life, effects = step(held, WAKE)
    assert life.phase is Phase.STARTING
    assert commits(list(effects))[0].notices == ("h", "n")


def test_a_clients_notice_during_a_job_lifts_the_hold_for_its_end() -> None:
    held = after(*RUN, HINT, AskCancel(2), RunDone(1, RunResult.CANCELLED), AskJob(3, "compact"))
    assert drive(JobDone(1), life=held)[0].phase is Phase.IDLE
    assert drive(WAKE, JobDone(1), life=held)[0].phase is Phase.STARTING


def test_a_failing_pod_backs_off_twice_as_long_each_time_up_to_a_minute() -> None:
    life, waits = after(HINT), []
    for _ in range(9):
        life, effects = step(life, CommitFailed(life.numbers))
        (pause,) = (effect for effect in effects if isinstance(effect, BackOff))
        waits.append(pause.seconds)
        assert (life.phase, life.held) == (Phase.IDLE, 1)
        assert step(life, BackoffOver(pause.token - 1)) == (life, ())
        life, effects = step(life, BackoffOver(pause.token))
        assert [type(effect) for effect in effects] == [Commit]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    life = drive(Committed(life.numbers), RunDone(life.numbers, RunResult.FINISHED), HINT, life=life)[0]
    assert step(life, CommitFailed(life.numbers))[1][-1] == BackOff(10, 1)


def test_a_pod_event_after_a_failed_run_waits_for_the_back_off() -> None:
    life, effects = drive(*RUN, RunDone(1, RunResult.FAILED), HINT)
    assert (life.phase, life.held) == (Phase.IDLE, 1)
    assert isinstance(effects[-1], BackOff)
    assert drive(BackoffOver(effects[-1].token), life=life)[0].phase is Phase.STARTING


def test_a_back_off_that_ends_during_a_job_counts_at_its_end() -> None:
    life = after(*RUN, RunDone(1, RunResult.FAILED), HINT, AskJob(2, "compact"))
    assert drive(JobDone(1), life=life)[0].phase is Phase.IDLE
    assert drive(BackoffOver(1), JobDone(1), life=life)[0].phase is Phase.STARTING


def test_a_full_queue_refuses_and_drops_nothing() -> None:
    life = drive(*RUN, WAKE, QUIET, life=Life(room=2))[0]
    assert [said(effect) for effect in step(life, AskNotify(9, "more", wake=True, client=True))[1]] == ["limit_exceeded"]
    assert step(life, HINT) == (life, (Return(("h",), "limit_exceeded"),))
    assert [said(effect) for effect in step(life, WAKE)[1]] == ["accepted"]
    assert step(life, WAKE)[0].queued == ("n", "q")


def test_a_stopped_pod_gives_back_what_nobody_saw() -> None:
    life, effects = drive(*RUN, WAKE, QUIET, AskShutdown(9), RunDone(1, RunResult.CANCELLED))
    assert effects[-3:] == [Return(("n", "q"), "stopping"), Show(Status.IDLE), Leave()]
    assert life.queued == ()
    assert step(life, HINT) == (life, (Return(("h",), "stopping"),))


def test_a_shutdown_of_our_own_is_answered_to_nobody() -> None:
    assert step(Life(), AskShutdown()) == (Life(phase=Phase.STOPPED), (Leave(),))
    stopped = Life(phase=Phase.STOPPED)
    assert step(stopped, AskShutdown()) == (stopped, ())


# Pauses, numbers.


def test_everybody_who_asked_for_the_pause_is_told_once() -> None:
    life, effects = drive(*RUN, AskPause(7), AskPause(8, run=1), RunDone(1, RunResult.CANCELLED), AskPause(9))
    assert life.phase is Phase.PAUSED
    assert effects[-3:] == [Answer(ask, True, None, "", 1) for ask in (7, 8, 9)]


def test_a_cancel_that_comes_late_does_not_hit_the_next_run() -> None:
    next_run = after(*RUN, RunDone(1, RunResult.FINISHED), AskRun(2), Committed(2))
    assert [said(effect) for effect in step(next_run, AskCancel(3, run=1))[1]] == ["not_running"]
    assert step(next_run, AskCancel(3, run=2))[0].phase is Phase.CANCELLING


def test_a_run_that_is_being_committed_can_be_named() -> None:
    assert step(STATES["STARTING"], AskCancel(3, run=1))[0].phase is Phase.CANCELLING
    assert step(STATES["STARTING from PAUSED"], AskPause(3, run=2))[0].pausers == (3,)


def test_a_number_whose_commit_failed_is_never_used_again() -> None:
    life, effects = drive(AskRun(1), CommitFailed(1), AskRun(2))
    assert [commit.run for commit in commits(effects)] == [1, 2]
    assert life.run == 0


def test_a_restored_pod_goes_on_counting() -> None:
    life, effects = step(Life(phase=Phase.PAUSED, run=7, cause=InvokeKind.NOTIFY), AskResume(ME))
    assert effects == (Commit(8, ME, InvokeKind.NOTIFY, True, ()),)
    life, effects = step(life, CommitFailed(8))
    assert (life.phase, life.current) == (Phase.PAUSED, 7)
    assert step(life, AskCancel(2, run=7))[1][1] == Abandon(7)


def test_the_repr_tells_what_differs_from_a_fresh_pod() -> None:
    assert repr(Life()) == "Life(IDLE)"
    assert repr(STATES["PAUSING"]) == "Life(PAUSING, run=1, numbers=1, pausers=(60,))"


# Total, whatever the state.

SMALL = st.integers(0, 3)
ATTEMPTS = st.builds(Attempt, SMALL, SMALL | st.none(), st.sampled_from(InvokeKind), st.just(()), st.sampled_from(Phase))
LIVES = st.builds(
    Life,
    phase=st.sampled_from(Phase),
    run=SMALL,
    numbers=SMALL,
    attempt=ATTEMPTS | st.none(),
    pausers=st.lists(SMALL, max_size=2).map(tuple),
    job=SMALL | st.none(),
    notices=st.lists(st.builds(Waiting, st.sampled_from("abc"), st.booleans()), max_size=3).map(tuple),
    room=SMALL,
    hold=st.sampled_from(Hold),
    timer=SMALL | st.none(),
    failures=st.integers(0, 10**6),
)
INPUTS = st.one_of(
    *(st.builds(asked, SMALL) for asked in (AskRun, AskResume, AskShutdown)),
    *(st.builds(asked, SMALL, SMALL | st.none()) for asked in (AskCancel, AskPause)),
    st.builds(AskNotify, SMALL | st.none(), st.sampled_from("abc"), st.booleans(), st.booleans()),
    st.builds(AskJob, SMALL, st.just("compact")),
    *(st.builds(done, SMALL) for done in (Committed, CommitFailed, JobDone, Deadline, JobDeadline, BackoffOver)),
    st.builds(RunDone, SMALL, st.sampled_from(RunResult) | st.just(RunResult("odd"))),
    st.builds(NoticesSeen, st.lists(st.sampled_from("abc")).map(tuple)),
)


@settings(max_examples=1500, deadline=None)
@given(LIVES, INPUTS)
@example(Life(phase=Phase.RUNNING, job=1), AskPause(ME))
@example(Life(phase=Phase.BUSY), AskCancel(ME))
def test_no_input_raises_in_any_state_however_odd(life: Life, input_: Input) -> None:
    after_, effects = step(life, input_)
    assert isinstance(after_, Life)
    assert isinstance(effects, tuple)
    assert attrs.evolve(after_) == after_
