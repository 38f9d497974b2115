"""How often a child may start runs of its parent: bounded, nothing lost, delivered later."""

from __future__ import annotations

import pytest

from podkit.logic import (
    AskCancel,
    AskNotify,
    AskRun,
    Commit,
    Committed,
    Effect,
    Input,
    Life,
    NoticesSeen,
    Phase,
    Refill,
    Refilled,
    RunDone,
    step,
)
from podkit.protocol import RunResult


def drive(life: Life, *inputs: Input) -> tuple[Life, list[Effect]]:
    effects: list[Effect] = []
    for item in inputs:
        life, more = step(life, item)
        effects += more
    return life, effects


def news(notice: str, child: str = "kid", *, wake: bool = True) -> AskNotify:
    return AskNotify(None, notice, wake=wake, client=False, child=child, news=True)


def one_run(life: Life) -> Life:
    """The run that is being committed begins and ends."""
    assert life.attempt is not None
    return drive(life, Committed(life.attempt.run), RunDone(life.attempt.run, RunResult.FINISHED))[0]


def exhausted(*, wakes: int = 2) -> Life:
    life = Life(wakes=wakes)
    for number in range(wakes):
        life = one_run(step(life, news(f"n{number}"))[0])
    return life


@pytest.mark.proves("F55")
def test_a_child_that_woke_its_parent_too_often_waits_and_is_heard_when_it_may() -> None:
    life, effects = step(exhausted(), news("late"))
    assert (life.phase, life.queued, life.held, life.waking) == (Phase.IDLE, ("late",), 1, False)
    assert effects == ()
    assert life.refill is not None
    life, effects = step(life, Refilled(life.refill))
    assert life.phase is Phase.STARTING
    assert [type(effect) for effect in effects] == [Refill, Commit]
    assert life.held == 0
    assert life.attempt is not None
    assert life.attempt.notices == ("late",)


@pytest.mark.proves("F55")
def test_two_pods_that_wake_each_other_for_ever_start_no_more_runs_than_are_earned() -> None:
    life, runs, timers = Life(wakes=3), 0, 0
    for number in range(200):  # each run of ours makes the child report once more, at once
        life = step(life, news(f"n{number}"))[0]
        if life.phase is not Phase.STARTING:
            assert life.refill is not None
            life, timers = step(life, Refilled(life.refill))[0], timers + 1
        life, runs = one_run(life), runs + 1
        assert life.queued == ()
        assert runs <= 3 + timers
    assert timers >= 190


def test_one_child_that_waits_does_not_make_another_wait() -> None:
    life = step(exhausted(), news("late"))[0]
    life = step(life, news("other", "sibling"))[0]
    assert life.attempt is not None
    assert life.attempt.notices == ("late", "other")
    assert dict(life.spent) == {"kid": 2, "sibling": 1}


def test_whoever_asks_for_a_run_sees_what_waits_and_pays_nothing() -> None:
    waiting = step(exhausted(), news("late"))[0]
    life, effects = step(waiting, AskRun(9))
    (commit,) = (effect for effect in effects if isinstance(effect, Commit))
    assert commit.notices == ("late",)
    assert life.spent == waiting.spent
    life, effects = step(waiting, AskNotify(9, "words", wake=True, client=True))
    assert life.phase is Phase.STARTING
    assert life.spent == waiting.spent


def test_what_comes_while_a_run_goes_on_is_seen_in_it_and_costs_nothing() -> None:
    life = drive(Life(wakes=1), AskRun(1), Committed(1), news("a"), news("b"), NoticesSeen(("a", "b")))[0]
    life = drive(life, RunDone(1, RunResult.FINISHED))[0]
    assert (life.phase, life.spent) == (Phase.IDLE, ())


def test_the_timer_counts_only_while_something_is_spent() -> None:
    life = exhausted(wakes=2)
    assert life.refill is not None
    life, effects = step(life, Refilled(life.refill))
    assert dict(life.spent) == {"kid": 1}
    assert [type(effect) for effect in effects] == [Refill]
    assert life.refill is not None
    life, effects = step(life, Refilled(life.refill))
    assert (life.spent, life.refill, effects) == ((), None, ())


def test_a_hold_is_not_lifted_by_what_a_child_has_earned() -> None:
    life = drive(exhausted(), AskRun(1))[0]
    assert life.attempt is not None
    run = life.attempt.run
    life = drive(life, Committed(run), AskCancel(2), RunDone(run, RunResult.CANCELLED), news("late"))[0]
    assert life.refill is not None
    life = step(life, Refilled(life.refill))[0]
    assert (life.phase, life.held) == (Phase.IDLE, 1)


def test_news_has_a_place_in_a_full_queue_by_taking_that_of_older_news() -> None:
    life = drive(Life(room=1), AskRun(1), Committed(1), AskNotify(2, "words", wake=False, client=True), news("a", wake=True))[0]
    assert life.queued == ("words", "a")
    both = AskNotify(None, "ab", wake=False, client=False, child="kid", news=True, replaces="a")
    life = step(life, both)[0]
    assert life.queued == ("words", "ab")
    assert life.notices[1].wake
    assert step(life, both)[0] == life


def test_news_that_is_being_committed_is_not_taken_out_again() -> None:
    life = drive(Life(), news("a"))[0]
    assert life.committing == ("a",)
    life = step(life, AskNotify(None, "ab", wake=True, client=False, child="kid", news=True, replaces="a"))[0]
    assert life.queued == ("a", "ab")
    assert drive(life, Committed(1))[0].queued == ("ab",)
