"""Lending: what is taken is counted, named by its holder, and given back exactly once."""

import pytest

from podkit.errors import InvalidRuleError
from podkit.logic import Scope
from podkit.logic._scope import lend_all
from podkit.protocol import Permission, ScopeRule

NONE, READ, WRITE = Permission.NONE, Permission.READ, Permission.WRITE
W, A, B = Scope.write("/w"), Scope.write("/w/a"), Scope.write("/w/b")


def test_what_is_lent_stays_readable_and_comes_back():
    lent = W.lend(A, to="notes")
    assert lent.at("/w/a/x") is READ
    assert lent.at("/w/ax") is WRITE
    assert lent.whole("/w") is READ
    assert lent.whole("/w/b") is WRITE
    assert lent.given_back(A) is W


def test_a_loan_does_not_lift_a_deny_when_it_returns():
    base = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w/a/.git", WRITE)])
    back = (base - A).given_back(A)
    assert back.at("/w/a/.git/x") is READ
    assert back == base


def test_layers_are_counted():
    twice = (W - A) - A
    assert twice == W - A
    assert twice.layers == (A, A)
    once = twice.given_back(A)
    assert once.at("/w/a") is READ
    assert once.given_back(A) is W
    assert W.layers == ()
    assert W.base is W


def test_layers_come_back_in_any_order():
    both = W - A - B
    assert both.given_back(A) == W - B
    assert both.given_back(B) == W - A
    assert both.given_back(A).given_back(B) is W


def test_a_layer_is_found_by_what_it_means():
    spelled = Scope(allow=[ScopeRule("/w/a", WRITE), ScopeRule("/w/a/x", READ)])
    assert (W - A).given_back(spelled) is W


def test_a_loan_is_given_back_by_its_holder():
    lent = W.lend(A, to="one").lend(A, to="two")
    assert lent.explain("/w/a").holder == "one"
    rest = lent.given_back(A, to="one")
    assert rest.explain("/w/a").holder == "two"
    with pytest.raises(InvalidRuleError, match="one"):
        rest.given_back(A, to="one")
    assert rest.given_back(A, to="two") is W


def test_without_a_holder_the_layer_that_has_none_goes_first():
    lent = W.lend(A, to="one") - A
    rest = lent.given_back(A)
    assert rest.explain("/w/a").holder == "one"
    assert rest.given_back(A) is W


def test_what_was_not_taken_cannot_be_given_back():
    for scope in (W, W - A, W & A, Scope.none()):
        with pytest.raises(InvalidRuleError, match="no such layer"):
            scope.given_back(B)


@pytest.mark.parametrize("holder", ["", 3, b"x", ["notes"]])
def test_a_holder_has_a_name(holder):
    with pytest.raises(InvalidRuleError):
        W.lend(A, to=holder)


def test_what_is_derived_can_be_lent_and_lent_from():
    derived = W & Scope(allow=[ScopeRule("/", WRITE)], deny=[ScopeRule("/w/x", WRITE)])
    lent = derived - (A | B)
    assert lent.base is derived
    assert [lent.at(path) for path in ("/w", "/w/a", "/w/b", "/w/x")] == [WRITE, READ, READ, READ]
    assert lent.given_back(B | A) is derived


def test_taking_what_is_only_read_or_not_held_changes_nothing():
    assert Scope.read("/w") - W == Scope.read("/w")
    assert W - Scope.read("/w") == W
    assert A - Scope.write("/v") == A
    assert (W - W).at("/w/a") is READ


def test_many_loans_are_one_scope():
    loans = [Scope.write(f"/w/{i}") for i in range(300)]
    holes = [Scope(allow=[ScopeRule(f"/w/h{i}", WRITE)], deny=[ScopeRule(f"/w/h{i}/kept", WRITE)]) for i in range(25)]
    lent = W
    for i, loan in enumerate(loans + holes):
        lent = lent.lend(loan, to=f"pod-{i}")
    assert lent.at("/w/299/x") is READ
    assert lent.at("/w/300/x") is WRITE
    assert lent.at("/w/h24/x") is READ
    assert lent.at("/w/h24/kept/x") is WRITE
    assert lent.explain("/w/123/x").holder == "pod-123"
    for loan in loans + holes:
        lent = lent.given_back(loan)
    assert lent is W


def test_lending_to_many_at_once_is_lending_to_one_after_another():
    once = lend_all(W.lend(Scope.write("/w/c"), to="first"), [(A, "one"), (B, "two"), (A, "three")])
    each = W.lend(Scope.write("/w/c"), to="first").lend(A, to="one").lend(B, to="two").lend(A, to="three")
    assert once == each
    assert once.layers == each.layers
    assert str(once.explain("/w/b/x")) == str(each.explain("/w/b/x"))
    assert once.given_back(A, to="one").given_back(A, to="three") == Scope.write("/w").lend(B).lend(Scope.write("/w/c"))


def test_lending_to_nobody_changes_nothing():
    assert lend_all(W, []) is W
