"""Explanations do not only sound right: what they name decides, and what they advise changes the answer."""

import re

import pytest

from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

READ, WRITE = Permission.READ, Permission.WRITE
PERMISSIONS = tuple(Permission)


def rule(drawn):
    target, level, deep = drawn
    return ScopeRule("/" + "/".join(target), PERMISSIONS[level], recursive=deep)


def without(rules, named):
    return [one for one in rules if one not in named]


def changed(scope, **lists):
    """The scope with other rules; without any that allows, nothing is allowed."""
    allow, deny = lists.get("allow", scope.allow), lists.get("deny", scope.deny)
    return Scope(allow=allow, deny=deny) if allow else Scope.none()


def check_remedy(scope, told):
    """Take an explanation of declared rules at its word."""
    path, asked = told.path, told.asked
    if told.allowed:
        assert set(told.rules) <= set(scope.allow)
        assert changed(scope, allow=told.rules[:1]).at(path) >= asked
        assert changed(scope, allow=without(scope.allow, told.rules)).at(path) < asked
        return "allow"
    # Everything the remedy says is done: granted. Anything of it left undone: refused.
    named = [one for one in scope.deny if f"`deny {one}`" in str(told)]
    allows = f"a rule that allows {asked} there" in told.remedy
    allow = [*scope.allow, ScopeRule(path, asked)] if allows else scope.allow
    assert changed(scope, allow=allow, deny=without(scope.deny, named)).at(path) >= asked
    assert not allows or changed(scope, deny=without(scope.deny, named)).at(path) < asked
    for one in named:
        assert changed(scope, allow=allow, deny=[one]).at(path) < asked
    if told.remedy.startswith("a deny always wins"):
        assert set(told.rules) <= set(named)
        assert changed(scope, deny=told.rules).at(path) is told.granted
        assert changed(scope, deny=without(scope.deny, told.rules)).at(path) > told.granted
        return "deny"
    assert set(told.rules) <= set(scope.allow)
    assert all(one.permission is told.granted for one in told.rules)
    assert bool(told.rules) == (told.granted is READ)
    assert changed(scope, deny=()).at(path) is told.granted
    return "less" if told.rules else "none"


def test_what_an_explanation_names_decides_and_its_remedy_helps(oracle, universe):
    kinds = {}
    for number, chance in oracle.seeds("remedies", 6_000):
        allow, deny = oracle.draw_rules(chance, universe, 6)
        scope = Scope(allow=map(rule, allow), deny=map(rule, deny[:3]))  # more than three are counted and not named
        told = scope.explain(chance.choice(universe.strings), asked=chance.choice([READ, WRITE]))
        try:
            kind = check_remedy(scope, told)
        except AssertionError as error:
            raise AssertionError(f"number {number}: {scope.to_data()}: {told}") from error
        kinds[kind] = kinds.get(kind, 0) + 1
    assert set(kinds) == {"allow", "deny", "less", "none"}
    assert min(kinds.values()) > 200


@pytest.mark.proves("F21")
def test_the_holder_an_explanation_names_has_it_and_when_all_gave_back_it_is_granted(oracle, universe):
    lent_paths = named = 0
    for number, chance in oracle.seeds("holders", 3_000):
        lists = [oracle.draw_rules(chance, universe, 4) for _ in range(chance.randint(2, 4))]
        base, *parts = (Scope(allow=map(rule, allow), deny=map(rule, deny)) for allow, deny in lists)
        base = Scope(allow=[*base.allow, ScopeRule("/", WRITE)], deny=base.deny) if chance.random() < 0.5 else base
        path = chance.choice(universe.strings)
        loans = [(part, chance.choice([None, "one", "two"])) for part in parts]
        scope = base
        for part, holder in loans:
            scope = scope.lend(part, to=holder)
        told = scope.explain(path)
        away = [(part, holder) for part, holder in loans if part.at(path) is WRITE]
        if base.at(path) is not WRITE or not away:
            assert told == base.explain(path), number
            continue
        lent_paths += 1
        assert told.granted is READ, number
        holders = {holder for _, holder in away if holder}
        assert (told.holder in holders) if holders else (told.holder is None), number
        assert set(told.rules) <= {one for part, _ in away for one in part.allow}, number
        assert {one for part, _ in away for one in part.explain(path).rules} == set(told.rules), number
        assert str(told).endswith(
            f"it comes back when pod `{told.holder}` ends" if told.holder else "it has to be given back first"
        )
        named += told.holder is not None
        for part, holder in away[:-1]:
            scope = scope.given_back(part, to=holder)
            assert scope.at(path) is READ, number
        part, holder = away[-1]
        scope = scope.given_back(part, to=holder)
        assert scope.explain(path).allowed, number
        assert scope.explain(path) == base.explain(path), number
    assert lent_paths > 200
    assert named > 100


def test_of_two_scopes_together_only_the_deciding_ones_are_told(oracle, universe):
    for number, chance in oracle.seeds("together", 3_000):
        lists = [oracle.draw_rules(chance, universe, 4) for _ in range(2)]
        a, b = (Scope(allow=map(rule, allow), deny=map(rule, deny)) for allow, deny in lists)
        path, asked = chance.choice(universe.strings), chance.choice([READ, WRITE])
        in_a, in_b = a.explain(path, asked=asked), b.explain(path, asked=asked)
        least = (a & b).explain(path, asked=asked)
        deciding = [one for one in (in_a, in_b) if one.granted is least.granted or (least.allowed and one.allowed)]
        assert set(least.rules) == {one for part in deciding for one in part.rules}, number
        assert (least.reason, least.remedy) in [(part.reason, part.remedy) for part in deciding] or least.allowed, number
        most = (a | b).explain(path, asked=asked)
        deciding = [one for one in (in_a, in_b) if one.granted is most.granted or one.allowed]
        assert set(most.rules) == {one for part in deciding for one in part.rules}, number
        assert not re.search(r"[\x00-\x1f]", str(most))
