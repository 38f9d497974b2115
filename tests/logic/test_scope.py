"""What a scope is as a value: how it is made, what it refuses, what it says, how it travels."""

import copy
import itertools
import pickle

import pytest

from podkit.errors import InvalidRuleError, NotSubsetError, ScopeError
from podkit.logic import Scope, check_subset, witness
from podkit.protocol import Permission, ScopeRule

NONE, READ, WRITE = Permission.NONE, Permission.READ, Permission.WRITE

# A project with its history fixed, a private directory, a readable neighbour and a directory whose direct children may be written.
PARENT = Scope(
    allow=[ScopeRule("/d/w", WRITE), ScopeRule("/d/r", READ), ScopeRule("/d/n", WRITE, recursive=False)],
    deny=[ScopeRule("/d/w/.git", WRITE), ScopeRule("/d/w/priv", READ)],
)


def asks(target, permission=WRITE, *, recursive=True):
    return Scope(allow=[ScopeRule(target, permission, recursive=recursive)])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", NONE),
        ("/d", NONE),
        ("/d/w", WRITE),
        ("/d/w/x/y", WRITE),
        ("/d/w-evil", NONE),
        ("/d/w/.git", READ),
        ("/d/w/.git/hooks/x", READ),
        ("/d/w/.gitignore", WRITE),
        ("/d/w/priv", NONE),
        ("/d/w/priv/x", NONE),
        ("/d/r/x", READ),
        ("/d/n", WRITE),
        ("/d/n/f", WRITE),
        ("/d/n/k/f", NONE),
    ],
)
def test_what_a_project_scope_says(path, said):
    assert PARENT.at(path) is said


def test_the_root_can_be_a_target():
    everything = Scope.write("/")
    assert [everything.at(path) for path in ("/", "/a", "/a/b")] == [WRITE] * 3
    top = asks("/", READ, recursive=False)
    assert [top.at(path) for path in ("/", "/a", "/a/b")] == [READ, READ, NONE]
    assert top < everything
    assert everything.whole("/") is WRITE
    assert top.whole("/") is NONE
    assert top.whole("/a") is NONE


@pytest.mark.parametrize(
    "asked",
    [
        asks("/d/w/sub"),
        asks("/d/w/.gitignore"),
        asks("/d/r/x", READ),
        asks("/d/n", recursive=False),
        asks("/d/w/.git", READ),
        Scope.write("/d/w/a", "/d/w/a/b"),
    ],
    ids=str,
)
def test_what_lies_within_may_be_handed_out(asked):
    check_subset(asked, PARENT)
    assert asked <= PARENT


@pytest.mark.parametrize(
    ("asked", "held"),
    [
        (asks("/d/w"), READ),
        (asks("/d/w", READ), NONE),
        (asks("/d/r/x"), READ),
        (asks("/d/w-evil"), NONE),
        (asks("/d"), NONE),
        (asks("/"), NONE),
        (asks("/d/n"), NONE),
        (asks("/d/n/k", recursive=False), NONE),
        (asks("/d/w/.git"), READ),
        (asks("/d/w/.git/hooks"), READ),
        (asks("/d/w/priv", READ), NONE),
        (asks("/d/w/priv/deep", READ), NONE),
    ],
    ids=str,
)
def test_what_exceeds_anywhere_is_refused_with_a_path_where_it_does(asked, held):
    with pytest.raises(NotSubsetError) as caught:
        check_subset(asked, PARENT)
    error = caught.value
    assert error.held is held
    assert asked.at(error.path) is error.asked
    assert PARENT.at(error.path) is held
    assert error.path in str(error)


def test_a_union_covers_what_no_rule_of_it_covers_alone():
    pieces = Scope(allow=[ScopeRule("/a", WRITE, recursive=False), ScopeRule("/a/b", WRITE), ScopeRule("/a", READ)])
    assert asks("/a", recursive=False) <= pieces
    assert Scope(allow=[ScopeRule("/a/b", WRITE), ScopeRule("/a", READ)]) <= pieces
    assert not asks("/a") <= pieces


def test_neighbours_do_not_overlap_and_nested_targets_do():
    assert not Scope.write("/w/a").overlaps(Scope.write("/w/ab"))
    assert Scope.write("/w/a").overlaps(Scope.write("/w/a/b"))
    assert Scope.write("/w").overlaps(Scope.write("/w/a"))
    assert not Scope.write("/w/a").overlaps(Scope.read("/w/a"))
    assert not (Scope.write("/w") - Scope.write("/w/a")).overlaps(Scope.write("/w/a/b"))


def test_a_path_that_both_may_write_is_named():
    assert Scope.write("/w", "/v").common_write(Scope.write("/w/a")) == "/w/a"
    assert Scope.write("/w").common_write(Scope.write("/v")) is None
    assert Scope.write("/").common_write(Scope.write("/")) == "/"


def test_a_witness_is_found_below_targets_with_fresh_names():
    shallow = Scope(allow=[ScopeRule("/a", WRITE, recursive=False), ScopeRule("/a/x", READ)])
    path = witness(Scope.write("/a"), shallow)
    assert path is not None
    assert shallow.at(path) < WRITE
    assert witness(Scope.write("/a"), Scope(allow=[ScopeRule("/a", WRITE)], deny=[ScopeRule("/a/x", WRITE)])) == "/a/x"
    taken = Scope(allow=[ScopeRule("/a/x", WRITE), ScopeRule("/a/y/z", WRITE), ScopeRule("/a", WRITE, recursive=False)])
    path = witness(Scope.write("/a"), taken)
    assert path is not None
    assert taken.at(path) is NONE


@pytest.mark.parametrize(
    "path", ["", "w/sub", "/w/../s", "/w/./sub", "/w//sub", "/w/sub/", "//w", "/w\0", "/\ud800", None, 1, b"/w", "/" + "a" * 4095]
)
def test_what_is_not_an_absolute_normal_path_is_refused_everywhere(path):
    scope = Scope.write("/w")
    for ask in (scope.at, scope.whole, scope.explain, Scope.write, Scope.read):
        with pytest.raises(InvalidRuleError):
            ask(path)


def test_of_all_short_strings_exactly_the_absolute_normal_paths_are_taken():
    scope, taken = Scope.read("/"), 0
    for size in range(7):
        for letters in itertools.product("/.a\0é", repeat=size):
            path = "".join(letters)
            parts = path.split("/")
            normal = path == "/" or (parts[0] == "" and len(parts) > 1 and not {"", ".", ".."} & set(parts[1:]))
            try:
                scope.at(path)
            except InvalidRuleError:
                assert not normal or "\0" in path, path
            else:
                assert normal, path
                assert "\0" not in path
                taken += 1
    assert taken == 578


@pytest.mark.parametrize(("letter", "size"), [("a", 4095), ("é", 2048), ("😀", 1024)])
def test_a_path_has_at_most_4095_bytes_whatever_it_is_written_in(letter, size):
    whole = "/" + letter * (size - 1)
    assert Scope.read("/").at(whole) is READ
    with pytest.raises(InvalidRuleError, match="4095"):
        Scope.read("/").at(whole + letter)


def test_nothing_is_expanded_or_decoded():
    scope = Scope.write("/w/~", "/w/$HOME", "/w/%2e%2e")
    assert scope.at("/w/~/x") is WRITE
    assert scope.at("/w/$HOME") is WRITE
    assert scope.at("/w/%2e%2e/x") is WRITE
    assert scope.at("/w") is NONE
    assert Scope.write("/é").at("/e\u0301") is NONE


@pytest.mark.parametrize("rules", ["/w", ["/w"], [("/w", WRITE)], [None], None, 3, ScopeRule("/w", WRITE)], ids=repr)
def test_only_scope_rules_make_a_scope(rules):
    for lists in ({"allow": rules}, {"allow": [ScopeRule("/w", WRITE)], "deny": rules}):
        with pytest.raises(InvalidRuleError, match=r"allow and deny are lists of ScopeRule, not (of )?[a-zA-Z]+$"):
            Scope(**lists)


def test_a_scope_allows_something_or_is_none():
    with pytest.raises(InvalidRuleError, match="at least one"):
        Scope(allow=[])
    with pytest.raises(InvalidRuleError, match="at least one"):
        Scope.write()
    nothing = Scope.none()
    assert nothing.declared
    assert (nothing.allow, nothing.deny, nothing.write_targets()) == ((), (), ())
    assert nothing.at("/") is NONE
    assert nothing.whole("/a/b") is NONE
    assert nothing <= PARENT
    assert nothing == asks("/a") & asks("/b")
    assert nothing < asks("/a")
    assert repr(nothing) == "<Scope none>"


def test_targets_end_with_any_character():
    for odd in "?*.~ ":
        scope = Scope(allow=[ScopeRule("/w", WRITE), ScopeRule(f"/r{odd}", READ)], deny=[ScopeRule(f"/w/a{odd}", WRITE)])
        assert [scope.at(path) for path in (f"/w/a{odd}", f"/w/a{odd}/x", f"/r{odd}/x")] == [READ] * 3
        assert [scope.at(path) for path in ("/w/a", "/w/a/x", "/r/x")] == [WRITE, WRITE, NONE]


def test_a_scope_never_changes():
    scope = Scope.write("/w")
    with pytest.raises(AttributeError):
        scope.allow = ()
    with pytest.raises(AttributeError):
        scope.extra = 1
    with pytest.raises(AttributeError):
        del scope._form
    rules = [ScopeRule("/w", WRITE)]
    scope = Scope(allow=rules)
    rules.clear()
    assert scope.at("/w") is WRITE


def test_scopes_can_be_keys_copied_and_pickled():
    derived = Scope.write("/w", "/v").lend(Scope.write("/w/a"), to="notes")
    assert len({derived, Scope.write("/w", "/v") - Scope.write("/w/a"), Scope.write("/w")}) == 2
    assert hash(derived) == hash(derived)
    for again in (copy.copy(derived), copy.deepcopy(derived), pickle.loads(pickle.dumps(derived))):
        assert again == derived
        assert again.explain("/w/a").holder == "notes"


def test_scopes_compare_and_combine_with_scopes_only():
    scope = Scope.write("/w")
    assert scope != "/w"
    for operation in ("__le__", "__lt__", "__ge__", "__gt__", "__eq__", "__and__", "__or__", "__sub__"):
        assert getattr(scope, operation)("/w") is NotImplemented
    with pytest.raises(TypeError):
        assert scope <= "/w"


def test_equal_means_the_same_permission_at_every_path_however_it_is_spelled():
    plain = Scope.write("/w")
    spelled = Scope(
        allow=[ScopeRule("/w/a", READ), ScopeRule("/w", WRITE), ScopeRule("/w/b", WRITE), ScopeRule("/w", WRITE)],
        deny=[ScopeRule("/v", READ)],
    )
    assert plain == spelled
    assert hash(plain) == hash(spelled)
    assert plain.allow != spelled.allow


def test_a_derived_scope_has_no_rules_of_its_own():
    for derived in (
        Scope.write("/a") & Scope.write("/b"),
        Scope.write("/a") | Scope.write("/b"),
        Scope.write("/a") - Scope.write("/b"),
    ):
        assert not derived.declared
        for ask in (lambda s: s.allow, lambda s: s.deny, Scope.to_data):
            with pytest.raises(ScopeError, match="no rules of its own"):
                ask(derived)


def test_what_is_shown_is_short_and_escaped():
    many = Scope.write(*(f"/w/{i}" for i in range(100)))
    assert repr(many) == "<Scope allow write /w/0, allow write /w/1, allow write /w/2, allow write /w/3, 96 more>"
    assert repr(PARENT).endswith(", 1 more>")
    assert repr(Scope.write("/1", "/2", "/3", "/4")) == "<Scope allow write /1, allow write /2, allow write /3, allow write /4>"
    assert repr(Scope.write("/a") & Scope.read("/")) == "<Scope of allow read /a, derived>"
    assert repr(Scope.write("/a").lend(Scope.write("/a/b"), to="x") - Scope.write("/a/c")) == (
        "<Scope allow write /a less allow write /a/b to x, allow write /a/c>"
    )
    assert "\n" not in repr(Scope.write("/a\nb"))
    one, two = ScopeRule("/w", WRITE), ScopeRule("/w/a", READ)
    assert repr(Scope(allow=[one], deny=[two])) == "<Scope allow write /w, deny read /w/a>"


def test_a_summary_lists_targets_and_loans():
    assert (
        PARENT.summary() == "Readable:\n  - /d/w\n  - /d/r\n  - /d/n [non-recursive]\nWritable:\n  - /d/w\n  - /d/n [non-recursive]"
    )
    lent = PARENT.lend(Scope.write("/d/w/p"), to="notes") - Scope(
        allow=[ScopeRule("/d/n", WRITE, recursive=False), ScopeRule("/x", READ)]
    )
    assert lent.summary() == PARENT.summary() + "\nLent:\n  - /d/w/p (notes)\n  - /d/n [non-recursive]"
    assert Scope.read("/r").summary() == "Readable:\n  - /r"
    assert Scope.none().summary() == "Readable:"


def test_a_target_cannot_forge_lines_of_a_summary():
    assert Scope.read("/r\nWritable:\n  - /etc").summary().count("\n") == 1


def test_a_summary_of_two_scopes_together_lists_where_permission_begins():
    shield = Scope(allow=[ScopeRule("/", WRITE)], deny=[ScopeRule("/w/.podkit", READ)])
    lent = Scope.write("/w").lend(Scope.write("/w/p"), to="notes") & shield
    assert lent.summary() == "Readable:\n  - /w\nWritable:\n  - /w\nLent:\n  - /w/p (notes)"
    assert lent.write_targets() == ("/w",)
    mixed = Scope(allow=[ScopeRule("/a", WRITE, recursive=False), ScopeRule("/a", READ), ScopeRule("/b", READ, recursive=False)])
    assert (
        mixed & shield
    ).summary() == "Readable:\n  - /a [non-recursive]\n  - /a\n  - /b [non-recursive]\nWritable:\n  - /a [non-recursive]"
    inner = Scope(allow=[ScopeRule("/", READ), ScopeRule("/a/b", WRITE)])
    assert (inner & shield).summary() == "Readable:\n  - /\n  - /a/b\nWritable:\n  - /a/b"


def test_the_loans_of_scopes_together_are_all_listed_in_order():
    def lent(target, holder):
        return Scope.write("/w").lend(Scope.write(target), to=holder)

    one, two, plain = lent("/w/1", "one"), lent("/w/2", "two"), Scope.write("/w")
    both = ["Lent:", "  - /w/1 (one)", "  - /w/2 (two)"]
    for scope in (one & two, one | two, plain & one & two, one & plain & two, (one & one) & two, (one & plain) & (two & plain)):
        assert scope.summary().splitlines()[-3:] == both
    assert (two & one).summary().splitlines()[-2:] == both[:0:-1]
    assert (one - Scope.write("/w/3")).summary().splitlines()[-2:] == ["  - /w/1 (one)", "  - /w/3"]


def test_where_permission_begins_in_scopes_together_is_said_once():
    everything = Scope.write("/")
    near = asks("/w", recursive=False)
    both = Scope(allow=[ScopeRule("/w", READ), ScopeRule("/w", WRITE, recursive=False)])
    assert repr(Scope.write("/w") & everything) == "<Scope of allow write /w, derived>"
    assert repr(near & everything) == "<Scope of allow write /w [non-recursive], derived>"
    assert repr(both & everything) == "<Scope of allow write /w [non-recursive], allow read /w, derived>"
    assert repr(asks("/w", READ, recursive=False) & everything) == "<Scope of allow read /w [non-recursive], derived>"
    assert repr(everything & everything) == "<Scope of allow write /, derived>"
    holed = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w/a", WRITE, recursive=False)])
    beside = Scope(allow=[*near.allow, ScopeRule("/w/a", WRITE), ScopeRule("/w/b", READ)])
    assert repr(beside & everything) == ("<Scope of allow write /w [non-recursive], allow write /w/a, allow read /w/b, derived>")
    assert (beside & everything).summary() == (
        "Readable:\n  - /w [non-recursive]\n  - /w/a\n  - /w/b\nWritable:\n  - /w [non-recursive]\n  - /w/a"
    )
    assert (beside & everything).write_targets() == ("/w", "/w/a")
    assert repr(holed & everything) == "<Scope of allow write /w, derived>"


def test_write_targets_are_those_of_write_rules_each_once():
    scope = Scope(
        allow=[ScopeRule("/b", WRITE), ScopeRule("/a", READ), ScopeRule("/b", WRITE, recursive=False), ScopeRule("/a", WRITE)]
    )
    assert scope.write_targets() == ("/b", "/a")
    assert (scope - Scope.write("/b")).write_targets() == ("/b", "/a")


# As data.


def test_data_keeps_the_rules_and_their_order():
    data = PARENT.to_data()
    assert data["allow"][2] == {"target": "/d/n", "permission": "write", "recursive": False}
    again = Scope.from_data(data)
    assert (again.allow, again.deny) == (PARENT.allow, PARENT.deny)
    assert Scope.from_data({"allow": [{"target": "/w", "permission": "read"}]}).allow == (ScopeRule("/w", READ),)
    assert Scope.from_data(Scope.none().to_data()) == Scope.none()
    twice = [{"target": "/w", "permission": "read"}] * 2
    assert len(Scope.from_data({"allow": twice}).allow) == 2


RULE = {"target": "/w", "permission": "write", "recursive": True}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "x",
        {},
        {"deny": []},
        {"allow": {}},
        {"allow": None},
        {"allow": [RULE], "deny": None},
        {"allow": [RULE], "deny": {}},
        {"allow": [RULE], "extra": []},
        {"allow": [RULE], 3: []},
        {"allow": [], "deny": [RULE]},
        {"allow": [None]},
        {"allow": [[]]},
        {"allow": ["/w"]},
        {"allow": [{}]},
        {"allow": [{"target": "/w"}]},
        {"allow": [{"permission": "read"}]},
        *({"allow": [RULE | {"permission": value}]} for value in ("WRITE", "rw", "none", "", None, 1, 2, True, ["write"], {})),
        *({"allow": [RULE | {"recursive": value}]} for value in ("false", 0, 1, None, [], "")),
        *({"allow": [RULE | {"target": value}]} for value in ("w/sub", "", None, 1, [], "/w/..", "/w/", ["/w"])),
        {"allow": [RULE | {"recursiv": False}]},
        {"allow": [RULE], "deny": [RULE | {"x": 1}]},
        {"allow": [RULE] * 10_001},
        {"allow": [RULE] * 5_001, "deny": [RULE] * 5_000},
    ],
    ids=lambda data: repr(data)[:60],
)
def test_data_that_is_not_exactly_a_scope_is_refused(data):
    with pytest.raises(InvalidRuleError) as caught:
        Scope.from_data(data)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("data", "target", "why"),
    [
        (3, "", "a scope is an object with the lists allow and deny"),
        ({"x": 1}, "", "a scope has no member 'x'"),
        ({"allow": 3}, "", "allow and deny are lists of rules"),
        ({"allow": [3]}, "", "a rule is an object with target and permission"),
        ({"allow": [{"target": 3}]}, "", "the target of a rule is text"),
        ({"allow": [RULE | {"permission": "all"}]}, "/w", 'the permission of a rule is "read" or "write"'),
        ({"allow": [RULE | {"deep": 1}]}, "/w", "a rule has no member 'deep'"),
        ({"allow": [], "deny": [RULE]}, "", "a scope allows at least one target"),
        ({"allow": [RULE] * 10_001}, "", "a scope has at most 10000 rules"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_refusal_of_data_says_what_is_wrong_with_it(data, target, why):
    with pytest.raises(InvalidRuleError) as caught:
        Scope.from_data(data)
    assert caught.value.target == target
    assert str(caught.value) == f"invalid rule for {target!r}: {why}"


def test_different_scopes_are_told_apart_by_their_hashes():
    scopes = [Scope.write(f"/w/{number}") for number in range(100)] + [Scope.read(f"/w/{number}") for number in range(100)]
    assert len({hash(scope) for scope in scopes}) > 190


def test_what_falls_short_is_explained_for_what_was_asked():
    with pytest.raises(NotSubsetError) as caught:
        check_subset(Scope.read("/w/secret"), Scope.write("/v"))
    assert caught.value.explanation.asked is Permission.READ


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda scope: (scope - Scope.write("/w/a")).allow, "a derived scope has no rules of its own"),
        (lambda scope: setattr(scope, "_form", None), "a scope never changes: _form cannot be set"),
        (lambda scope: delattr(scope, "_form"), "a scope never changes: _form cannot be deleted"),
        (lambda scope: scope.given_back(Scope.write("/w/a")), "no such layer was taken"),
        (lambda scope: scope.given_back(Scope.write("/w/a"), to="kid"), "no such layer was lent to kid"),
        (lambda scope: scope.lend(Scope.write("/w/a"), to=""), "a holder is called by its name"),
    ],
)
def test_what_cannot_be_done_with_a_scope_is_said(wrong, says):
    with pytest.raises((AttributeError, ScopeError), match=f"{says}$"):
        wrong(Scope.write("/w"))
