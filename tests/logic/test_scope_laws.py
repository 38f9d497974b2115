"""Laws of authority that hold whatever the rules are: an order with meets and joins, lending as the undoing of itself."""

import itertools
import os

import pytest

from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

PERMISSIONS = tuple(Permission)
EXAMPLES = min(1_000, int(os.environ.get("PODKIT_DRAWN", "1000")))  # fewer are drawn to try many mutants


def rule(drawn):
    target, level, deep = drawn
    return ScopeRule("/" + "/".join(target), PERMISSIONS[level], recursive=deep)


def made(lists):
    return Scope(allow=map(rule, lists[0]), deny=map(rule, lists[1]))


def drawn(oracle, universe, chance, count, *, most=4):
    return [made(oracle.draw_rules(chance, universe, most)) for _ in range(count)]


@pytest.fixture
def examples(oracle, universe):
    """`examples(name, count)` yields a generator of chance and so many scopes, a thousand times."""

    def give(name, count):
        for _, chance in oracle.seeds(name, EXAMPLES):
            yield chance, drawn(oracle, universe, chance, count)

    return give


def test_scopes_are_a_partial_order(examples):
    chains = 0
    for _, (a, b, c) in examples("order", 3):
        assert a <= a
        assert (a <= b and b <= a) == (a == b)
        assert not (a <= b and b <= c) or a <= c
        for low, high in itertools.permutations((a & b, a, a | b, a & b & c, a | b | c), 2):
            chains += low < high
            assert not low < high or not high <= low
        assert a & b & c <= a & b <= a <= a | b <= a | b | c
        assert Scope.none() <= a <= Scope.write("/")
    assert chains > EXAMPLES


def test_the_lesser_and_the_greater_of_two_are_a_lattice(examples):
    for _, (a, b, c) in examples("lattice", 3):
        assert (c <= a and c <= b) == (c <= (a & b))
        assert (a <= c and b <= c) == ((a | b) <= c)
        assert a & b == b & a
        assert a | b == b | a
        assert (a & b) & c == a & (b & c)
        assert (a | b) | c == a | (b | c)
        assert a & (a | b) == a == a | (a & b)
        assert a & (b | c) == (a & b) | (a & c)
        assert a | (b & c) == (a | b) & (a | c)


def test_taking_takes_write_and_nothing_else(examples):
    for _, (a, b, c) in examples("taking", 3):
        assert a - b <= a
        assert not (a - b).overlaps(b)
        assert (a - b) | (a & b) == a
        assert (a - b) - b == a - b
        assert a - b - c == a - c - b == a - (b | c)
        assert (a & c) - b == (a - b) & (c - b)
        assert (a | c) - b == (a - b) | (c - b)


@pytest.mark.proves("I3", "F20")
def test_what_is_lent_and_comes_back_in_any_order_leaves_what_was_there(examples):
    twice = 0
    for chance, (base, *parts) in examples("back", 4):
        taken = [chance.choice(parts) for _ in range(chance.randint(1, 6))]
        twice += len(set(map(id, taken))) < len(taken)
        holders = [chance.choice([None, "one", "two"]) for _ in taken]
        lent = base
        for part, holder in zip(taken, holders, strict=True):
            lent = lent.lend(part, to=holder) if holder else lent - part
        assert lent.layers == tuple(taken)
        order = list(range(len(taken)))
        chance.shuffle(order)
        for count, number in enumerate(order, 1):
            lent = lent.given_back(taken[number], to=holders[number])
            left = base
            for other in order[count:]:
                left = left - taken[other]
            assert lent == left
            assert len(lent.layers) == len(order) - count
        assert lent is base
        assert not base.declared or (lent.allow, lent.deny) == (base.allow, base.deny)
    assert twice > EXAMPLES // 4


def test_a_part_taken_twice_stays_away_until_it_came_back_twice(examples):
    for _, (base, part) in examples("twice", 2):
        once = (base - part - part).given_back(part)
        assert once == base - part
        assert once.given_back(part) is base


def test_the_order_and_the_number_of_rules_never_matter(oracle, universe):
    for _, chance in oracle.seeds("shuffled", EXAMPLES):
        allow, deny = oracle.draw_rules(chance, universe, 6)
        scope = made((allow, deny))
        again = made((chance.sample(allow * 2, len(allow) * 2), chance.sample(deny * 3, len(deny) * 3)))
        assert scope == again
        assert hash(scope) == hash(again)


def test_more_allow_never_takes_more_deny_never_gives_and_deny_wins(oracle, universe):
    for _, chance in oracle.seeds("monotone", EXAMPLES):
        allow, deny = oracle.draw_rules(chance, universe, 5)
        more = oracle.draw_rule(chance, universe)
        scope = made((allow, deny))
        assert scope <= made(([*allow, more], deny))
        denied = made((allow, [*deny, more]))
        assert denied <= scope
        target = rule(more).target.rstrip("/")
        left = Permission.NONE if more[1] == oracle.READ else Permission.READ
        assert denied.at(target or "/") <= left
        assert not more[2] or made(([*allow, (more[0], oracle.WRITE, True)], [*deny, more])).at(target + "/x") <= left


@pytest.mark.proves("I1")
def test_scopes_that_do_not_overlap_never_write_the_same_path(examples, universe):
    apart = 0
    for _, (a, b) in examples("apart", 2):
        both = [path for path in universe.strings if a.at(path) is b.at(path) is Permission.WRITE]
        assert a.overlaps(b) == b.overlaps(a) == bool(both)
        apart += not both
    assert apart > EXAMPLES // 4
