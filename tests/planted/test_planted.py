"""The tests are tested: with a known mistake in podkit some suite that is not about it by name goes red."""

import os

import pytest

LONG = bool(os.environ.get("PODKIT_LONG"))
long = pytest.mark.skipif(not LONG, reason="a long run: set PODKIT_LONG=1")
LATEST = 34  # P01 to P34
SIMULATED = ("simulation", "simulation on disk", "restores", "promises", "sessions", "readers", "waiters", "copies")


def test_every_bug_that_systems_of_this_kind_had_is_there(bugs):
    assert sorted(bugs.BUGS) == [f"P{number:02}" for number in range(1, LATEST + 1)]


def test_what_is_claimed_names_suites_and_what_no_suite_notices_says_why(bugs, suites):
    for bug in bugs.BUGS.values():
        assert {said.rstrip("0123456789").strip() for said in bug.caught} <= set(suites), bug.id
        assert bool(bug.caught) != bool(bug.why), bug.id
    assert sum(bool(bug.caught) for bug in bugs.BUGS.values()) >= 34


def test_every_bug_can_be_planted_and_is_gone_afterwards(bugs):
    """When this fails, podkit has changed there: say the same mistake in terms of the new code."""
    for bug in bugs.BUGS.values():
        before = [bugs.function_at(edit.where).__code__ for edit in bug.edits]
        with bugs.plant(bug):
            during = [bugs.function_at(edit.where).__code__ for edit in bug.edits]
        assert all(one is not other for one, other in zip(before, during, strict=True))
        assert [bugs.function_at(edit.where).__code__ for edit in bug.edits] == before


def test_a_bug_is_caught_by_a_suite_that_is_not_about_it(trial, bugs, bug_id):
    verdict = trial(bug_id, bugs.BUGS[bug_id].caught[0])
    assert verdict.caught, f"podkit {bugs.BUGS[bug_id].says}, and nobody notices: {verdict.said}"


@pytest.mark.parametrize("suite", SIMULATED)
def test_without_a_bug_nothing_is_noticed(trial, suite):
    """For what runs here only; the other suites are tests of their own and green there."""
    verdict = trial("none", suite)
    assert not verdict.caught, verdict.said


@long
def test_the_other_suites_notice_it_too(trial, claim):
    verdict = trial(*claim)
    assert verdict.caught, verdict.said


@long
def test_without_a_bug_no_suite_notices_anything(trial, suites):
    for suite in suites:
        verdict = trial("none", suite)
        assert not verdict.caught, (suite, verdict.said)


@long
def test_what_is_said_to_go_unnoticed_does(trial, bugs, suites):
    """When this fails, a suite has become better: say so in the table."""
    for bug in bugs.BUGS.values():
        for suite in () if bug.caught else suites:
            assert not trial(bug.id, suite).caught, (bug.id, suite)
