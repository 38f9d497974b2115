"""Explanations: which rule decides, who has the path, what would have to change."""

import pytest

from podkit.errors import AccessDeniedError, InvalidRuleError, shown
from podkit.logic import Explanation, Scope
from podkit.protocol import Permission, ScopeRule

NONE, READ, WRITE = Permission.NONE, Permission.READ, Permission.WRITE

allow_w, allow_r, allow_deep = ScopeRule("/w", WRITE), ScopeRule("/r", READ), ScopeRule("/w/a", WRITE)
deny_git, deny_all = ScopeRule("/w/.git", WRITE), ScopeRule("/w/.git/secret", READ)
SCOPE = Scope(allow=[allow_w, allow_r, allow_deep], deny=[deny_git, deny_all])


def test_what_is_allowed_names_the_nearest_rule_that_allows_it():
    told = SCOPE.explain("/w/a/x")
    assert told.allowed
    assert told.rules == (allow_deep, allow_w)
    assert told.rule == allow_deep
    assert (told.holder, told.remedy) == (None, "")
    assert str(told) == "write at /w/a/x is allowed by `allow write /w/a`, `allow write /w`"


def test_a_deny_is_named_and_so_is_what_it_leaves():
    told = SCOPE.explain("/w/.git/x")
    assert (told.allowed, told.granted, told.rules) == (False, READ, (deny_git,))
    assert (
        str(told) == "`deny write /w/.git` leaves only read at /w/.git/x; a deny always wins: write there needs a scope without it"
    )
    assert SCOPE.explain("/w/.git/x", asked=READ).rules == (allow_w,)


def test_the_deny_that_leaves_least_comes_first():
    told = SCOPE.explain("/w/.git/secret/x")
    assert (told.granted, told.rules) == (NONE, (deny_all, deny_git))
    assert str(told).startswith("`deny read /w/.git/secret`, `deny write /w/.git` leaves nothing at")
    assert SCOPE.explain("/w/.git/secret/x", asked=READ).rules == (deny_all,)


def test_a_deny_that_takes_nothing_is_not_named():
    scope = Scope(allow=[allow_r], deny=[ScopeRule("/", WRITE)])
    told = scope.explain("/r/x")
    assert told.rules == (allow_r,)
    assert str(told).startswith("`allow read /r` allows only read at /r/x; it takes a rule that allows write there")


def test_a_remedy_names_everything_that_would_have_to_change():
    scope = Scope(allow=[allow_r], deny=[ScopeRule("/", WRITE), ScopeRule("/r/s", READ)])
    assert scope.explain("/r/x").remedy == "it takes a rule that allows write there and a scope without `deny write /`"
    assert scope.explain("/x").remedy == "it takes a rule that allows write there and a scope without `deny write /`"
    assert scope.explain("/x", asked=READ).remedy == "it takes a rule that allows read there"
    both = scope.explain("/r/s")
    assert both.rules == (ScopeRule("/r/s", READ),)
    assert both.remedy == (
        "a deny always wins: write there needs a scope without it and a scope without `deny write /`, "
        "and a rule that allows write there"
    )
    assert scope.explain("/r/s", asked=READ).remedy == "a deny always wins: read there needs a scope without it"


def test_where_no_rule_speaks_none_is_named():
    told = SCOPE.explain("/elsewhere")
    assert (told.allowed, told.granted, told.rules, told.rule) == (False, NONE, (), None)
    assert str(told) == "no rule allows anything at /elsewhere; it takes a rule that allows write there"


def test_a_rule_of_the_root_and_one_of_direct_children_are_named():
    everything, near = ScopeRule("/", READ), ScopeRule("/w", WRITE, recursive=False)
    scope = Scope(allow=[everything, near])
    assert scope.explain("/w/x").rules == (near,)
    assert scope.explain("/w/x/y", asked=READ).rules == (everything,)
    assert scope.explain("/", asked=READ).rules == (everything,)
    assert "[non-recursive]" in str(scope.explain("/w"))


def test_neighbours_with_longer_names_are_not_named():
    scope = Scope(allow=[ScopeRule("/w?", WRITE), ScopeRule("/w-", WRITE), ScopeRule("/w/a", WRITE)])
    assert scope.explain("/w/x").rules == ()
    assert scope.explain("/w?/x").rules == (ScopeRule("/w?", WRITE),)
    assert scope.explain("/w/ab").rules == ()


def test_what_is_lent_names_the_holder_and_the_rule_of_the_loan():
    lent = SCOPE.lend(Scope.write("/w/a", "/w/b"), to="notes")
    told = lent.explain("/w/a/x")
    assert (told.allowed, told.granted, told.holder, told.rules) == (False, READ, "notes", (ScopeRule("/w/a", WRITE),))
    assert str(told) == "pod `notes` holds `write /w/a`, which leaves only read at /w/a/x; it comes back when pod `notes` ends"
    assert lent.explain("/w/a/x", asked=READ).holder is None
    assert lent.explain("/w/c").holder is None
    assert lent.explain("/w/.git").rules == (deny_git,)


def test_a_loan_without_a_holder_says_that_it_is_lent():
    told = (SCOPE - Scope.write("/w/a")).explain("/w/a/x")
    assert (told.holder, told.rules) == (None, (ScopeRule("/w/a", WRITE),))
    assert str(told) == "`write /w/a` is lent, which leaves only read at /w/a/x; it has to be given back first"


def test_every_loan_of_a_path_is_named_and_one_with_a_holder_is_told():
    lent = (SCOPE - Scope.write("/w/a/x")).lend(Scope.write("/w/a"), to="two")
    told = lent.explain("/w/a/x")
    assert told.holder == "two"
    assert set(told.rules) == {ScopeRule("/w/a/x", WRITE), ScopeRule("/w/a", WRITE)}
    assert "pod `two`" in str(told)


def test_what_a_loan_was_derived_from_is_told_as_the_loan():
    inner = Scope.write("/w").lend(Scope.write("/w/a/b"), to="grandchild")
    told = Scope.write("/w").lend(inner, to="child").explain("/w/x")
    assert (told.holder, told.rules) == ("child", (ScopeRule("/w", WRITE),))


def test_the_part_that_refuses_is_the_one_explained():
    shield = Scope(allow=[ScopeRule("/", WRITE)], deny=[ScopeRule("/w/.podkit", READ)])
    scope = SCOPE.lend(Scope.write("/w/a"), to="notes") & shield
    assert scope.explain("/w/.podkit/x").rules == (ScopeRule("/w/.podkit", READ),)
    assert scope.explain("/w/a/x").holder == "notes"
    assert scope.explain("/elsewhere").rules == ()
    assert scope.explain("/w/x").rules == (allow_w, ScopeRule("/", WRITE))


def test_of_two_parts_that_refuse_the_one_with_a_rule_is_told():
    both = Scope.write("/a") & Scope(allow=[ScopeRule("/", WRITE)], deny=[ScopeRule("/b", READ)])
    told = both.explain("/b/x")
    assert told.rules == (ScopeRule("/b", READ),)
    assert str(told).startswith("`deny read /b` leaves nothing")


def test_a_part_that_is_there_twice_hides_no_other():
    one, other = Scope.write("/a"), Scope.write("/")
    assert ((one & one) & other).explain("/a").rules == (allow_a := one.allow[0], *other.allow)
    assert (other & (one & one)).explain("/a").rules == (*other.allow, allow_a)


def test_of_two_scopes_joined_the_one_that_has_more_decides():
    joined = Scope.read("/a") | Scope.write("/a/b")
    assert joined.explain("/a/b/x").rules == (ScopeRule("/a/b", WRITE),)
    assert joined.explain("/a/x").rules == (ScopeRule("/a", READ),)
    assert joined.explain("/c").rules == ()


def test_only_read_and_write_can_be_asked_for():
    for asked in (NONE, 2, "write", None):
        with pytest.raises(InvalidRuleError, match=r"what is asked for is Permission\.READ or Permission\.WRITE$"):
            SCOPE.explain("/w", asked=asked)


def test_an_explanation_is_a_value_that_fits_an_error():
    told = SCOPE.explain("/w/.git")
    assert told == SCOPE.explain("/w/.git")
    assert isinstance(told, Explanation)
    with pytest.raises(AttributeError):
        told.path = "/x"
    assert str(told) in str(AccessDeniedError("/w/.git", WRITE, told, told.holder))


def test_an_explanation_can_be_made_of_what_is_known():
    told = Explanation("/w", WRITE, READ)
    assert (told.rules, told.holder, told.reason, told.remedy, told.allowed) == ((), None, "", "", False)
    with pytest.raises(TypeError):
        Explanation("/w", WRITE, READ, (allow_w,))


def test_hostile_names_are_escaped_and_long_ones_cut():
    target = "/w/\x1b[31m\n" + "x" * 3000
    told = Scope.read(target).lend(Scope.write("/v"), to="a\nb").explain(target + "/y")
    text = str(told)
    assert "\n" not in text
    assert "\x1b" not in text
    assert len(text) < 800


def test_of_what_is_long_two_hundred_characters_are_told():
    rule, path = ScopeRule("/w/" + "t" * 300, READ), "/w/" + "t" * 300 + "/" + "p" * 300
    said = f"`allow {shown(str(rule), 200)}` allows only read at {shown(path, 200)};"
    assert len(said) < 440
    assert str(Scope(allow=[rule]).explain(path)).startswith(said)


@pytest.mark.parametrize(("count", "more"), [(1, ""), (3, ""), (4, " and 1 more"), (10, " and 7 more")])
def test_three_rules_are_named_and_the_others_counted(count, more):
    rules = [ScopeRule("/w" + "/x" * i, READ) for i in range(count)]
    told = Scope(allow=rules).explain("/w" + "/x" * 10, asked=READ)
    assert len(told.rules) == count
    named = ", ".join(f"`allow {rule}`" for rule in sorted(rules, key=lambda rule: -len(rule.target))[:3])
    assert str(told) == f"read at {told.path} is allowed by {named}{more}"
