"""What a birth checks before it does anything, its steps, and what is taken back when one fails."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from podkit.errors import (
    AccessDeniedError,
    DuplicatePodError,
    InvalidNameError,
    InvalidRuleError,
    LimitExceededError,
    NotSubsetError,
)
from podkit.logic import BirthPlan, BirthRequest, BirthStep, BirthUndo, Limits, Scope, plan_birth

W = Scope.write("/w")


def plan(request: BirthRequest, **changes: Any) -> BirthPlan:
    around: dict[str, Any] = {
        "own_name": "root",
        "ancestors": (),
        "family": (),
        "grant": W,
        "depth": 1,
        "limits": Limits(),
    }
    return plan_birth(request, **{**around, **changes})


FULL = BirthRequest("notes", Scope.write("/w/notes"), task="take notes")


def test_the_lease_comes_before_the_row_and_the_row_before_everything_else() -> None:
    assert [step.text for step in plan(FULL).steps] == [
        "lease",
        "settle",
        "reserve",
        "revoke",
        "drain",
        "listen",
        "launch",
        "ready",
        "verify",
        "record",
        "deliver",
    ]


def test_a_reader_takes_nothing_from_its_parent_and_an_idle_child_has_no_task() -> None:
    steps = plan(BirthRequest("reader", Scope.read("/w"))).steps
    assert {BirthStep.REVOKE, BirthStep.DRAIN, BirthStep.DELIVER}.isdisjoint(steps)
    assert len(steps) == 8


def test_each_step_is_taken_back_and_write_comes_back_last() -> None:
    steps = plan(FULL).steps
    undone = [plan(FULL).undo(steps[:done]) for done in range(len(steps) + 1)]
    release, unmake, restore = BirthUndo.RELEASE, BirthUndo.UNMAKE, BirthUndo.RESTORE
    back = (release, unmake, BirthUndo.FREE, restore)
    assert undone[:6] == [(), (release,), (release, unmake), back[:3], back, back]
    assert undone[6] == (BirthUndo.CLOSE, *back)
    assert undone[7:10] == [(BirthUndo.END, BirthUndo.CLOSE, *back)] * 3


def test_a_child_that_is_recorded_lives_whatever_happens_then() -> None:
    steps = plan(FULL).steps
    assert plan(FULL).undo(steps) == plan(FULL).undo(steps[:10]) == ()


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "-a", "a" * 64, "a\n", "ä", None, 7])
def test_a_name_that_is_none_is_refused(name: Any) -> None:
    with pytest.raises(InvalidNameError):
        plan(attrs.evolve(FULL, name=name))


def test_a_child_is_neither_its_parent_nor_above_it() -> None:
    with pytest.raises(InvalidNameError, match="parent") as caught:
        plan(FULL, own_name="notes")
    assert caught.value.name == "notes"
    with pytest.raises(InvalidNameError, match="above"):
        plan(FULL, ancestors=("top", "notes"))
    assert plan(FULL, ancestors=("top", "note"))


def test_a_living_child_of_that_name_is_in_the_way() -> None:
    with pytest.raises(DuplicatePodError) as caught:
        plan(FULL, family=("a", "notes"))
    assert caught.value.name == "notes"


def test_an_empty_scope_is_refused() -> None:
    with pytest.raises(InvalidRuleError, match="at least one target"):
        plan(attrs.evolve(FULL, scope=Scope.none()))


def test_a_derived_scope_cannot_be_handed_over() -> None:
    derived = Scope.write("/w/notes") - Scope.write("/w/notes/x")
    with pytest.raises(InvalidRuleError, match="declared"):
        plan(attrs.evolve(FULL, scope=derived))
    with pytest.raises(InvalidRuleError, match="declared"):
        plan(attrs.evolve(FULL, grant=derived))


def test_more_than_the_parent_may_hand_out_is_refused_with_a_witness() -> None:
    with pytest.raises(NotSubsetError) as caught:
        plan(attrs.evolve(FULL, scope=Scope.write("/w/notes", "/etc")))
    assert caught.value.path.startswith("/etc")
    with pytest.raises(NotSubsetError):
        plan(FULL, grant=Scope.read("/w"))


def test_a_grant_is_measured_as_the_scope_is_and_may_be_nothing_or_more_than_the_use() -> None:
    with pytest.raises(NotSubsetError):
        plan(attrs.evolve(FULL, grant=Scope.write("/")))
    assert plan(attrs.evolve(FULL, grant=Scope.none()))
    assert plan(attrs.evolve(FULL, scope=Scope.read("/w"), grant=W))


@pytest.mark.parametrize("cwd", ["", "w", "/w/../etc", "/w/", "/w\0"])
def test_a_working_directory_is_an_absolute_normal_path(cwd: str) -> None:
    with pytest.raises(InvalidRuleError):
        plan(attrs.evolve(FULL, cwd=cwd))
    assert plan(attrs.evolve(FULL, cwd="/w/notes/sub"))


@pytest.mark.proves("F15")
@pytest.mark.parametrize("cwd", ["/w", "/", "/w/notes2"])
def test_a_child_does_not_start_where_it_may_not_read(cwd: str) -> None:
    with pytest.raises(AccessDeniedError, match="may not read") as caught:
        plan(attrs.evolve(FULL, cwd=cwd))
    assert caught.value.path == cwd


def test_depth_children_and_the_task_have_limits() -> None:
    limits = Limits(depth=3, children=2, method_bytes=12)
    assert plan(FULL, limits=limits, depth=2, family=("a",))
    for change, limit, allowed in (
        ({"depth": 3}, "generations of pods", 3),
        ({"family": ("a", "b")}, "living children", 2),
    ):
        with pytest.raises(LimitExceededError) as caught:
            plan(FULL, limits=limits, **change)
        assert (caught.value.name, caught.value.limit, caught.value.allowed) == ("notes", limit, allowed)
    with pytest.raises(LimitExceededError, match="bytes of a task"):
        plan(attrs.evolve(FULL, task="tåke notes\ud800"), limits=limits)


@pytest.mark.parametrize("field", [field.name for field in attrs.fields(Limits)])
def test_a_limit_is_positive_and_a_number(field: str) -> None:
    make: Any = Limits
    assert getattr(Limits(), field) > 0
    for value in (0, -1):
        with pytest.raises(ValueError, match=field):
            make(**{field: value})
    for odd in (True, "1", None):
        with pytest.raises(TypeError, match=field):
            make(**{field: odd})
    for number in (float("nan"), float("inf")):
        with pytest.raises((TypeError, ValueError), match=field):
            make(**{field: number})


def test_times_may_be_fractions_and_counts_may_not() -> None:
    assert Limits(drain=0.5, stop_grace=3).drain == 0.5
    with pytest.raises(TypeError):
        Limits(depth=1.5)  # type: ignore[arg-type]
