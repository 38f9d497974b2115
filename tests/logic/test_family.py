"""One pod's children, and what their reports may and may not do to them."""

from __future__ import annotations

import attrs
import pytest

from podkit.errors import DuplicatePodError, InvalidNameError
from podkit.logic import ChildState, Family, Inform, PassUp, Probe, Scope, apply_pod_event
from podkit.logic._family import REMEMBERED_REPORTS
from podkit.protocol import PodErrored, PodEvent, PodScopeSubDelegated, PodShutDown, PodTurnEnded, ScopeRule

SCOPE = Scope.read("/w")
FAMILY = Family().add("a", "i1", SCOPE, "memory://a").add("b", "i2", SCOPE, "memory://b")
EVENTS: list[PodEvent] = [
    PodTurnEnded("a"),
    PodErrored("a", "no model"),
    PodShutDown("a"),
    PodScopeSubDelegated("a", "c", "memory://c", SCOPE.allow),
]


def test_a_family_is_a_mapping_that_never_changes() -> None:
    more = FAMILY.add("c", "i3", SCOPE, "memory://c", state=ChildState.LIVE)
    assert list(FAMILY) == ["a", "b"]
    assert list(more) == ["a", "b", "c"]
    assert (len(more), more["c"].state, more["a"].incarnation) == (3, ChildState.LIVE, "i1")
    assert Family(members=dict(FAMILY)) == FAMILY
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        FAMILY._members = {}  # type: ignore[misc]


def test_a_name_is_taken_as_long_as_its_child_lives() -> None:
    with pytest.raises(DuplicatePodError) as caught:
        FAMILY.add("a", "i9", SCOPE, "memory://a")
    assert caught.value.incarnation == "i1"
    again = FAMILY.mark("a", "i1", ChildState.GONE).add("a", "i9", SCOPE, "memory://a")
    assert again["a"].incarnation == "i9"
    assert again["a"].state is ChildState.BORN
    with pytest.raises(InvalidNameError):
        FAMILY.add("../a", "i9", SCOPE, "memory://a")


def test_nothing_hits_a_successor_of_the_same_name() -> None:
    successor = FAMILY.remove("a", "i1").add("a", "i9", SCOPE, "memory://a")
    assert successor.remove("a", "i1") is successor
    assert successor.mark("a", "i1", ChildState.GONE) is successor
    assert successor.remove("unknown", "i1") is successor
    for event in EVENTS:
        assert apply_pod_event(successor, attrs.evolve(event, incarnation="i1")) == (successor, ())


def test_a_childs_state_only_goes_forward() -> None:
    family = FAMILY
    for state in (ChildState.LIVE, ChildState.STOPPING, ChildState.GONE):
        family = family.mark("a", "i1", state)
        assert family["a"].state is state
        assert family.mark("a", "i1", ChildState.BORN) is family
        assert family.mark("a", "i1", state) is family
    assert family.living == ("b",)
    assert family["b"].state is ChildState.BORN


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.kind))
def test_a_report_never_removes_a_child_or_changes_where_it_is_reached(event: PodEvent) -> None:
    family, _ = apply_pod_event(FAMILY, event)
    assert list(family) == ["a", "b"]
    assert family["b"] == FAMILY["b"]
    assert attrs.evolve(family["a"], state=ChildState.BORN) == FAMILY["a"]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.kind))
def test_a_report_with_an_id_is_applied_once(event: PodEvent) -> None:
    event = attrs.evolve(event, id="e1", incarnation="i1")
    family, effects = apply_pod_event(FAMILY, event)
    assert effects
    assert apply_pod_event(family, event) == (family, ())
    assert len(apply_pod_event(family, attrs.evolve(event, id="e2"))[1]) == len(effects)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: str(event.kind))
def test_a_report_from_an_unknown_pod_or_one_that_is_gone_does_nothing(event: PodEvent) -> None:
    assert apply_pod_event(Family(), event) == (Family(), ())
    gone = FAMILY.mark("a", "i1", ChildState.GONE)
    assert apply_pod_event(gone, event) == (gone, ())


def test_ids_of_two_children_or_two_lives_are_different_ids() -> None:
    family, _ = apply_pod_event(FAMILY, PodTurnEnded("a", id="e1"))
    assert apply_pod_event(family, PodTurnEnded("b", id="e1"))[1]
    again = family.mark("a", "i1", ChildState.GONE).add("a", "i9", SCOPE, "memory://a")
    assert apply_pod_event(again, PodTurnEnded("a", id="e1"))[1]


def test_the_memory_of_reports_is_bounded() -> None:
    family = FAMILY
    for number in range(REMEMBERED_REPORTS + 1):
        family = family.heard("i1", f"e{number}")
    assert not family.knows("i1", "e0")
    assert family.knows("i1", "e1")
    assert family.knows("i1", f"e{REMEMBERED_REPORTS}")


def test_a_finished_or_failed_run_wakes_and_shows_that_the_child_lives() -> None:
    for event in EVENTS[:2]:
        family, effects = apply_pod_event(FAMILY, event)
        assert family["a"].state is ChildState.LIVE
        (told,) = effects
        assert isinstance(told, Inform)
        assert told.wake
        assert "`a`" in told.text


def test_a_child_that_says_it_leaves_is_looked_at() -> None:
    family, effects = apply_pod_event(FAMILY, PodShutDown("a"))
    assert family["a"].state is ChildState.STOPPING
    assert effects[0] == Probe("a", "i1")
    assert isinstance(effects[1], Inform)


def test_a_turn_that_ends_after_the_farewell_does_not_bring_a_child_back() -> None:
    family, _ = apply_pod_event(FAMILY, PodShutDown("a"))
    assert apply_pod_event(family, PodTurnEnded("a"))[0]["a"].state is ChildState.STOPPING


def test_a_scope_handed_on_is_passed_up_and_wakes_nobody() -> None:
    event = PodScopeSubDelegated("a", "c", "memory://c", (ScopeRule("/w/c", SCOPE.allow[0].permission),))
    assert apply_pod_event(FAMILY, event)[1] == (PassUp(event),)
