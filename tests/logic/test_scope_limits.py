"""Size and depth: as many rules, as long and as deep as can be, stay quick and never recurse."""

import itertools
import time

import pytest

from podkit.errors import InvalidRuleError
from podkit.logic import Scope, witness
from podkit.protocol import Permission, ScopeRule

NONE, READ, WRITE = Permission.NONE, Permission.READ, Permission.WRITE


@pytest.fixture
def quick():
    """Whatever a test does takes a second or two of processor; what grows with the square of its rules takes minutes."""
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 20


def test_at_most_ten_thousand_rules(quick):
    rule = ScopeRule("/w", WRITE)
    assert Scope(allow=[rule] * 9_000, deny=[rule] * 1_000).at("/w") is READ
    with pytest.raises(InvalidRuleError, match="10000"):
        Scope(allow=[rule] * 9_000, deny=[rule] * 1_001)
    with pytest.raises(InvalidRuleError, match="10000"):
        Scope(allow=itertools.repeat(rule))


def test_ten_thousand_deep_rules_are_folded_compared_and_combined(quick):
    head = "/d" * 198
    scope = Scope(allow=[ScopeRule(f"{head}/{i % 100}/{i}", WRITE) for i in range(9_000)])
    other = Scope(allow=[ScopeRule(head, WRITE)], deny=[ScopeRule(f"{head}/{i % 100}/{i}/x", READ) for i in range(9_000)])
    assert scope.at(f"{head}/7/8907/x") is WRITE
    assert not scope <= other
    assert scope.overlaps(other)
    both = scope & other
    assert both.at(f"{head}/7/8907/x") is NONE
    assert both.at(f"{head}/7/8907/y") is WRITE
    assert both <= scope
    assert both.whole(f"{head}/7/8907") is NONE
    assert scope.whole(head) is NONE


def test_a_path_as_deep_as_a_path_can_be(quick):
    deepest = "/a" * 2047
    chain = Scope(allow=[ScopeRule("/a" * depth, READ if depth % 2 else WRITE, recursive=False) for depth in range(1, 2048)])
    assert chain.at(deepest) is WRITE
    assert Scope.write("/a").at(deepest) is WRITE
    assert Scope.write("/b").at(deepest) is NONE
    assert Scope.write("/b/c").at(deepest) is NONE
    assert Scope.write(deepest) <= Scope.write("/a")
    assert Scope.write("/a").whole(deepest) is WRITE
    assert chain.whole("/a") is NONE
    assert chain <= Scope.write("/a")
    assert not Scope.write("/a") <= chain
    assert chain.explain(deepest).allowed


def test_below_the_longest_paths_there_is_nothing(quick):
    for size, below in ((4095, 0), (4094, 0), (4093, 1), (4092, 1), (4091, 2)):
        target = ("/" + "x" * 250) * 16
        target += "/" + "y" * (size - len(target) - 1)
        assert len(target) == size
        near, deep = (Scope(allow=[ScopeRule(target, WRITE, recursive=recursive)]) for recursive in (False, True))
        assert near <= deep
        assert (deep <= near) == (near == deep) == (below < 2)
        path = witness(deep, near)
        assert path is None or (len(path) <= 4095 and deep.at(path) > near.at(path))
        around = ScopeRule(target[: target.rfind("/")], WRITE, recursive=False)
        assert (Scope(allow=[around]) == Scope(allow=[around, ScopeRule(target, WRITE)])) == (below == 0)
        assert Scope(allow=[around]).whole(target) is near.whole(target) or below > 0
        assert near.whole(target) is (WRITE if below < 2 else NONE)
        assert (Scope(allow=[around]) | Scope.write(target)).whole(target) is WRITE
        alone = Scope(allow=[ScopeRule(target[: target.rfind("/")], READ), ScopeRule(target, WRITE)])
        assert not deep <= Scope(allow=alone.allow, deny=[ScopeRule(target, WRITE)])


def test_a_fresh_name_is_found_where_the_short_ones_are_taken(quick):
    names = [chr(i) for i in range(33, 127) if chr(i) not in "/."]
    base = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w", WRITE, recursive=False)])
    taken = Scope(allow=[ScopeRule("/w", READ), *(ScopeRule(f"/w/{name}", WRITE) for name in names)])
    path = witness(Scope.write("/w") - Scope.none(), taken)
    assert path == "/w"
    rest = Scope(allow=[*taken.allow, ScopeRule("/w", WRITE, recursive=False)])
    path = witness(base, rest)
    assert path is not None
    assert base.at(path) > rest.at(path)


def test_a_fresh_name_is_found_below_names_that_are_themselves_not_named(quick):
    holes = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w", WRITE, recursive=False)])
    for other in (Scope(allow=[ScopeRule("/w", READ), ScopeRule("/w/x/x", WRITE)]), Scope.read("/w") | Scope.write("/w/x/x")):
        path = witness(holes, other)
        assert path is not None
        assert holes.at(path) is WRITE
        assert other.at(path) is READ


def test_a_fresh_name_is_made_of_letters_and_digits_while_there_are_any(quick):
    holes = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w", WRITE, recursive=False)])
    names = []
    for _ in range(62):
        path = witness(holes, Scope(allow=[ScopeRule("/w", READ), *(ScopeRule(f"/w/{name}", WRITE) for name in names)]))
        assert path is not None
        names.append(path.split("/")[2])
    assert names[0] == "x"
    assert len(set(names)) == 62
    assert all(len(name) == 1 and name.isalnum() for name in names)


LONGEST = ("/" + "x" * 250) * 16


def test_no_fresh_name_exists_when_all_that_fit_are_taken(quick):
    target = LONGEST + "/" + "y" * 76
    assert len(target) == 4093
    names = [chr(i) for i in range(1, 128) if chr(i) not in "/."]
    near = ScopeRule(LONGEST, WRITE, recursive=False)
    every = Scope.write(target)
    assert every <= Scope(allow=[near, *(ScopeRule(f"{target}/{name}", WRITE) for name in names)])
    for left in names:
        rest = Scope(allow=[near, *(ScopeRule(f"{target}/{name}", WRITE) for name in names if name != left)])
        assert witness(every, rest) == f"{target}/{left}"


def test_a_name_of_two_letters_is_found_where_no_other_fits(quick):
    target = LONGEST + "/" + "y" * 75
    assert len(target) == 4092
    names = [chr(i) for i in range(1, 128) if chr(i) not in "/."]
    every = Scope.write(target)
    one = [ScopeRule(f"{target}/{name}", WRITE) for name in names]
    rest = Scope(allow=[ScopeRule(LONGEST, WRITE, recursive=False), *one])
    path = witness(every, rest)
    assert path is not None
    assert len(path) == 4095
    assert every.at(path) > rest.at(path)


def test_scopes_derived_from_scopes_derived_from_scopes_do_not_recurse(quick):
    scope, everything = Scope.write("/w"), Scope.write("/")
    for i in range(3_000):
        scope = (scope - Scope.write(f"/w/{i % 7}")) & everything if i % 2 else scope | Scope.read("/r")
    assert scope.at("/w/x") is WRITE
    assert scope.at("/w/1") is READ
    assert scope.explain("/w/1/y").rules == (ScopeRule("/w/1", WRITE),)
    assert scope.explain("/w/x").allowed
    assert len(repr(scope)) < 500
    assert "/w/1" in scope.summary()
    assert scope == (Scope.write("/w") | Scope.read("/r")) - Scope.write(*(f"/w/{i}" for i in (1, 3, 5, 0, 2, 4, 6)))


def test_a_scope_shared_many_times_over_is_explained_once(quick):
    scope = Scope.write("/w")
    for _ in range(200):
        scope = scope & scope
    assert scope.at("/w") is WRITE
    assert scope.explain("/w").rules == (ScopeRule("/w", WRITE),)
    assert scope.explain("/v").rules == ()
    assert scope.summary() == "Readable:\n  - /w\nWritable:\n  - /w"
