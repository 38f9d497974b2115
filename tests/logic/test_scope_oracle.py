"""Scopes against a second oracle, with Hypothesis: fewer than in `test_scope_algebra.py`, nested deeper, and a failure is shrunk.

Rules speak of three names down to depth three. A path is then told from all others by the longest part of it made of these
names, and by whether nothing, one name or more follows: 40 places, each with one and two strange names below, are everything.
"""

from __future__ import annotations

import itertools

import hypothesis
import pytest
from hypothesis import strategies as st

from podkit.errors import NotSubsetError
from podkit.logic import Scope, check_subset, witness
from podkit.protocol import Permission, ScopeRule

READ, WRITE = Permission.READ, Permission.WRITE
PERMISSIONS = list(Permission)


def places(names, depth):
    return [parts for n in range(depth + 1) for parts in itertools.product(names, repeat=n)]


def spelled(parts):
    return "/" + "/".join(parts)


def parted(path):
    return tuple(part for part in path.split("/") if part)


def matches(rule, parts):
    target = parted(rule.target)
    if parts[: len(target)] != target:
        return False
    return rule.recursive or len(parts) - len(target) <= 1


def oracle(allow, deny, parts):
    granted = max((int(rule.permission) for rule in allow if matches(rule, parts)), default=0)
    left = min((int(rule.permission) - 1 for rule in deny if matches(rule, parts)), default=2)
    return Permission(min(granted, left))


class World:
    """A universe of paths, the rules over it, and what each scope of them has at each path."""

    def __init__(self, names, depth):
        named = places(names, depth)
        self.paths = [parts + tail for parts in named for tail in ((), ("?",), ("?", "?"))]
        self.strings = [spelled(parts) for parts in self.paths]
        self.below = [[j for j, other in enumerate(self.paths) if other[: len(parts)] == parts] for parts in self.paths]
        self.rules = [
            ScopeRule(spelled(parts), permission, recursive=recursive)
            for parts in named
            for permission in (READ, WRITE)
            for recursive in (True, False)
        ]

        self.matched = {rule: [matches(rule, parts) for parts in self.paths] for rule in self.rules}

    def said(self, allow, deny=()):
        """What `oracle` says at every path, with each rule matched against the universe only once."""
        granted, left = [0] * len(self.paths), [2] * len(self.paths)
        for rule in allow:
            granted = [max(x, rule.permission) if hit else x for x, hit in zip(granted, self.matched[rule], strict=True)]
        for rule in deny:
            left = [min(x, rule.permission - 1) if hit else x for x, hit in zip(left, self.matched[rule], strict=True)]
        return [PERMISSIONS[min(x, y)] for x, y in zip(granted, left, strict=True)]

    def has(self, scope):
        return [scope.at(path) for path in self.strings]


# The characters on both sides of the slash: names that sort between a path and what is below it.
WORLD = World(["a", "a-", "a0"], 3)


def less(x, y):
    return READ if x is y is WRITE else x


rules = st.sampled_from(WORLD.rules)
declared = st.tuples(st.lists(rules, min_size=1, max_size=6), st.lists(rules, max_size=3)).map(
    lambda lists: (lists[0], lists[1][: 6 - len(lists[0])])
)
many = hypothesis.settings(max_examples=400, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
some = hypothesis.settings(max_examples=150, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))


@many
@hypothesis.given(declared)
def test_a_declared_scope_has_what_its_rules_say_at_every_path(lists):
    allow, deny = lists
    scope, said = Scope(allow=allow, deny=deny), WORLD.said(allow, deny)
    assert WORLD.has(scope) == said
    assert [scope.whole(path) for path in WORLD.strings] == [min(said[j] for j in below) for below in WORLD.below]
    again = Scope.from_data(scope.to_data())
    assert (again.allow, again.deny) == (scope.allow, scope.deny)
    assert again == scope
    assert hash(again) == hash(scope)


@many
@hypothesis.given(declared, declared)
def test_two_scopes_are_compared_and_combined_exactly(one, two):
    a, b = (Scope(allow=allow, deny=deny) for allow, deny in (one, two))
    in_a, in_b = WORLD.said(*one), WORLD.said(*two)
    pairs = list(zip(in_a, in_b, strict=True))
    subset = all(x <= y for x, y in pairs)
    assert (a <= b, b >= a, a < b, b > a) == (subset, subset, subset and in_a != in_b, subset and in_a != in_b)
    assert (a == b) == (in_a == in_b)
    assert WORLD.has(a & b) == list(map(min, in_a, in_b))
    assert WORLD.has(a | b) == list(map(max, in_a, in_b))
    assert WORLD.has(a - b) == list(map(less, in_a, in_b))
    assert a.overlaps(b) == any(x is y is WRITE for x, y in pairs)
    shared = a.common_write(b)
    assert shared is None or oracle(*one, parted(shared)) is oracle(*two, parted(shared)) is WRITE
    path = witness(a, b)
    assert (path is None) == subset
    if path is None:
        check_subset(a, b)
    else:
        with pytest.raises(NotSubsetError) as caught:
            check_subset(a, b)
        error = caught.value
        assert (error.asked, error.held) == (oracle(*one, parted(path)), oracle(*two, parted(path)))
        assert error.asked > error.held
        assert error.explanation.granted == error.held


def combined(inner):
    pair = st.tuples(inner, inner)
    ops = [
        (lambda a, b: a & b, min),
        (lambda a, b: a | b, max),
        (lambda a, b: a - b, less),
        (lambda a, b: a.lend(b, to="notes"), less),
    ]
    return st.tuples(st.sampled_from(ops), pair).map(
        lambda drawn: (
            drawn[0][0](drawn[1][0][0], drawn[1][1][0]),
            list(map(drawn[0][1], drawn[1][0][1], drawn[1][1][1])),
        )
    )


leaf = declared.map(lambda lists: (Scope(allow=lists[0], deny=lists[1]), WORLD.said(*lists)))
expressions = st.recursive(leaf, combined, max_leaves=6)


@some
@hypothesis.given(expressions, expressions)
def test_derived_scopes_answer_like_declared_ones_however_they_are_nested(one, two):
    (a, in_a), (b, in_b) = one, two
    assert WORLD.has(a) == in_a
    assert (a <= b) == all(x <= y for x, y in zip(in_a, in_b, strict=True))
    assert a.overlaps(b) == any(x is y is WRITE for x, y in zip(in_a, in_b, strict=True))
    assert (a == b) == (in_a == in_b)
    assert [a.whole(path) for path in WORLD.strings] == [min(in_a[j] for j in below) for below in WORLD.below]
    targets = [parted(target) for target in a.write_targets()]
    for parts, said in zip(WORLD.paths, in_a, strict=True):
        assert said is not WRITE or any(parts[: len(target)] == target for target in targets)


@some
@hypothesis.given(expressions, st.sampled_from(WORLD.strings), st.sampled_from([READ, WRITE]))
def test_an_explanation_agrees_with_what_is_granted(one, path, asked):
    scope, _ = one
    told = scope.explain(path, asked=asked)
    assert (told.path, told.asked, told.granted) == (path, asked, scope.at(path))
    assert told.allowed == (scope.at(path) >= asked) == (told.remedy == "")
    assert told.rule is None or all(matches(rule, parted(path)) for rule in told.rules)
    assert not told.allowed or told.rules
    assert path in str(told)
    assert "\n" not in str(told)
    assert told.holder in (None, "notes")
