"""The whole algebra against brute force: all pairs of single rules, and many thousands of drawn scopes, declared and derived.

A failure names its number, and the same number draws the same again; `PODKIT_LONG=1` draws twenty-five times as many.
"""

import itertools
import os

import pytest

from podkit.errors import InvalidRuleError, NotSubsetError
from podkit.logic import Scope, check_subset, witness
from podkit.logic._scope_forms import listed_rules
from podkit.protocol import Permission, ScopeRule

LONG = os.environ.get("PODKIT_LONG") == "1"
DRAWN = int(os.environ.get("PODKIT_DRAWN", "500000" if LONG else "20000"))  # fewer are drawn to try many mutants
PERMISSIONS = tuple(Permission)

pytestmark = pytest.mark.proves("I2", "F24")


def rule(drawn):
    target, level, deep = drawn
    return ScopeRule("/" + "/".join(target), PERMISSIONS[level], recursive=deep)


def made(allow, deny=()):
    return Scope(allow=[rule(drawn) for drawn in allow], deny=[rule(drawn) for drawn in deny])


def found(scope, universe):
    """What a scope has everywhere, as the oracle writes it."""
    read = write = 0
    bit = 1
    for path in universe.strings:
        level = scope.at(path)
        if level:
            read |= bit
            if level is Permission.WRITE:
                write |= bit
        bit <<= 1
    return read, write


class Results:
    """Equal scopes have equal tables, so of many results that shall be equal only the first is asked: at every path, or in a
    short run at each fourth, another fourth each time."""

    def __init__(self, universe):
        self.universe = universe
        self.first = {}
        self.step = 1 if LONG else 4

    def check(self, scope, held, *told):
        first = self.first.get(held)
        if first is None:
            for index in range(len(self.first) % self.step, len(self.universe.strings), self.step):
                assert scope.at(self.universe.strings[index]) == held.at(index), told
            self.first[held] = scope
        else:
            assert scope == first, told
            assert hash(scope) == hash(first), told


def check_pair(universe, one, two, *told):
    """Every question about two scopes."""
    (a, in_a), (b, in_b) = one, two
    subset = in_a.within(in_b)
    assert (a <= b) == subset, told
    assert (a == b) == (in_a == in_b), told
    assert a != b or hash(a) == hash(b), told
    path = witness(a, b)
    if subset:
        assert path is None, told
    else:
        index = universe.kind(path)
        assert a.at(path) == in_a.at(index) > in_b.at(index) == b.at(path), told
    assert a.overlaps(b) == in_a.meets(in_b), told
    shared = a.common_write(b)
    assert (shared is not None) == in_a.meets(in_b), told
    assert shared is None or (in_a.write & in_b.write) >> universe.kind(shared) & 1, told


def test_the_oracle_agrees_with_itself(oracle, universe):
    """Its sets, and its one line for one path, are two ways to say the same."""
    for _, chance in oracle.seeds("itself", 200):
        allow, deny = oracle.draw_rules(chance, universe, 6)
        held = universe.held(allow, deny)
        for index, parts in enumerate(universe.paths):
            assert held.at(index) == oracle.effective(allow, deny, parts)
            assert universe.kind(universe.strings[index]) in (index, index - 1)
    assert oracle.effective([((), 2, True)], [(("x",), 2, True)], ("x", "y")) == 1
    assert oracle.effective([((), 2, True)], [(("x",), 1, True)], ("x", "y")) == 0


def test_every_pair_of_single_rules_is_compared_and_combined_exactly(oracle, universe):
    everything = ((), oracle.WRITE, True)
    lists = [([drawn], []) for drawn in universe.rules] + [([everything], [drawn]) for drawn in universe.rules]
    scopes = [(made(*one), universe.held(*one)) for one in lists]
    assert len(scopes) == 320
    for scope, held in scopes:
        assert found(scope, universe) == (held.read, held.write), scope
        for index, path in enumerate(universe.strings):
            assert scope.whole(path) == universe.least(held, index), (scope, path)
    results, pairs = Results(universe), 0
    for number, (one, two) in enumerate(itertools.product(scopes, repeat=2)):
        (a, in_a), (b, in_b) = one, two
        check_pair(universe, one, two, a, b)
        results.check(a - b, in_a.less(in_b), a, b)
        if number // 320 <= number % 320:
            results.check(a & b, in_a.both(in_b), a, b)
            results.check(a | b, in_a.either(in_b), a, b)
        pairs += 1
    assert pairs == 320**2
    assert len(results.first) > 30_000


def derived(chance, scopes):
    """One more scope from those there are, with what it shall have everywhere."""
    (a, in_a), (b, in_b) = chance.choice(scopes), chance.choice(scopes)
    match chance.randrange(5):
        case 0:
            return a & b, in_a.both(in_b)
        case 1:
            return a | b, in_a.either(in_b)
        case 2:
            return a - b, in_a.less(in_b)
        case 3:
            return a.lend(b, to="notes"), in_a.less(in_b)
        case _:
            parts = [chance.choice(scopes) for _ in range(chance.randint(1, 4))]
            back = chance.sample(range(len(parts)), chance.randint(0, len(parts)))
            lent, left = a, in_a
            for part, _ in parts:
                lent = lent.lend(part, to="notes") if chance.random() < 0.5 else lent - part
            for number in back:
                lent = lent.given_back(parts[number][0])
            for number, (_, in_part) in enumerate(parts):
                left = left if number in back else left.less(in_part)
            return lent, left


def check_one(oracle, universe, chance, scope, held, *told):
    """Every question about one scope."""
    assert found(scope, universe) == (held.read, held.write), told
    for index in chance.sample(range(len(universe.paths)), 6):
        path = universe.strings[index]
        assert scope.whole(path) == universe.least(held, index), (*told, path)
        asked = chance.choice(PERMISSIONS[1:])
        explained = scope.explain(path, asked=asked)
        assert (explained.path, explained.asked, explained.granted) == (path, asked, held.at(index)), told
        assert explained.allowed == (held.at(index) >= asked) == (not explained.remedy), told
        assert all(oracle.matches((oracle.parted(one.target), 0, one.recursive), universe.paths[index]) for one in explained.rules)
    assert scope <= scope, told
    listed = listed_rules(scope)
    assert scope <= Scope(allow=listed) if listed else scope == Scope.none(), told
    inside = [universe.index[oracle.parted(target)] for target in scope.write_targets()]
    assert not held.write & ~sum_of(universe.below[index] for index in inside), told


def sum_of(sets):
    whole = 0
    for one in sets:
        whole |= one
    return whole


def test_drawn_scopes_answer_every_question_exactly(oracle, universe):
    scopes = []
    checked = nested = 0
    for number, chance in oracle.seeds("drawn", DRAWN):
        if len(scopes) < 8 or chance.random() < 0.5:
            lists = oracle.draw_rules(chance, universe, 6)
            drawn = made(*lists), universe.held(*lists)
            again = Scope.from_data(drawn[0].to_data())
            assert (again.allow, again.deny) == (drawn[0].allow, drawn[0].deny), number
            assert again == drawn[0], number
            assert hash(again) == hash(drawn[0]), number
        else:
            drawn = derived(chance, scopes)
            nested += 1
        check_one(oracle, universe, chance, *drawn, number)
        if scopes:
            other = chance.choice(scopes)
            check_pair(universe, drawn, other, number)
            check_pair(universe, other, drawn, number)
            (a, in_a), (b, in_b) = drawn, other
            assert (a >= b) == in_b.within(in_a), number
            assert (a < b) == (b > a) == (in_a.within(in_b) and in_a != in_b), number
        scopes.append(drawn)
        if len(scopes) > 32:
            scopes.pop(chance.randrange(32))
        checked += 1
    assert checked == DRAWN
    assert nested > DRAWN // 3


def test_a_refusal_names_a_path_where_it_really_is_one(oracle, universe):
    refused = 0
    for number, chance in oracle.seeds("refused", 2_000):
        one, two = (oracle.draw_rules(chance, universe, 6) for _ in range(2))
        a, b = made(*one), made(*two)
        if universe.held(*one).within(universe.held(*two)):
            check_subset(a, b)
            continue
        with pytest.raises(NotSubsetError) as caught:
            check_subset(a, b)
        error = caught.value
        parts = oracle.parted(error.path)
        asked, held = oracle.effective(*one, parts), oracle.effective(*two, parts)
        assert (error.asked, error.held) == (asked, held), number
        assert asked > held, number
        assert (error.explanation.path, error.explanation.granted) == (error.path, held), number
        assert not error.explanation.allowed, number
        refused += 1
    assert refused > 1_000


def test_what_was_not_taken_is_not_given_back(oracle, universe):
    for number, chance in oracle.seeds("not taken", 500):
        lists = [oracle.draw_rules(chance, universe, 3) for _ in range(3)]
        (a, _), (b, in_b), (c, in_c) = ((made(*one), universe.held(*one)) for one in lists)
        if in_b == in_c:
            assert (a - b).given_back(c) is a, number
        else:
            with pytest.raises(InvalidRuleError, match="no such layer"):
                (a - b).given_back(c)
