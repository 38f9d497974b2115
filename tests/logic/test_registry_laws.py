"""The laws of the registry, each with the facts that try to break it."""

import itertools
import random

import attrs
import pytest

from podkit.errors import (
    AdoptionRefusedError,
    CorruptRegistryError,
    DuplicatePodError,
    InvalidRuleError,
    LimitExceededError,
    NotSubsetError,
    ScopeError,
    StaleIncarnationError,
    UnknownPodError,
    WriteConflictError,
)
from podkit.logic import (
    Adopted,
    Allocation,
    Freed,
    Pin,
    Reserved,
    Restart,
    Scope,
    State,
    Table,
    UnknownFact,
    changes,
    decide_adopt,
    decide_birth,
    decide_free,
    decide_root,
    find_conflict,
    fold,
    fold_all,
    secret_digest,
    snapshot,
)
from podkit.protocol import Permission, ScopeRule


def reserved(name, parent=None, *targets, **more):
    fields = {
        "author": parent or f"i-{name}",
        "name": name,
        "tree": "t",
        "incarnation": f"i-{name}",
        "parent": parent,
        "scope": Scope.write(*targets or ("/w",)),
        "address": f"memory://{name}",
    } | more
    return Reserved(**{"grant": fields["scope"]} | fields)


def adopted(name, **more):
    return Adopted(**{"author": f"i-{name}", "incarnation": f"i-{name}"} | more)


def freed(name, author="witness"):
    return Freed(author=author, incarnation=f"i-{name}")


def live(name, parent=None, *targets, **more):
    fact = reserved(name, parent, *targets, **more)
    return (fact, Adopted(author=fact.incarnation, incarnation=fact.incarnation))


def table_of(*families, base=None):
    table = fold_all(Table() if base is None else base, [fact for family in families for fact in family])
    assert table.refused == 0
    return table


def rows(table):
    return {row.incarnation: row for row in table}


def refuses(table, fact):
    """Whether the fold refuses the fact, as it must: counted, and nothing is otherwise than before."""
    after = fold(table, fact)
    assert after.sequence == table.sequence + 1
    if after.refused == table.refused:
        return False
    assert after.refused == table.refused + 1
    assert rows(after) == rows(table)
    return True


def check_sound(table):
    """What holds of every table, whatever facts it follows from."""
    held = rows(table)
    assert len({(row.tree, row.name) for row in held.values()}) == len(held) == len(table)
    for row in held.values():
        assert table.by_name(row.tree, row.name) == row
        assert row in (table.roots() if row.parent is None else table.children(row.parent))
        above = table.get(row.parent)
        assert (row.parent is None) == (above is None)
        if above is not None:
            assert (row.tree, row.parent_name, row.outlived) == (above.tree, above.name, None)
            assert row.scope <= above.grant
            assert row.grant <= above.grant
        assert table.depth(row.incarnation) <= len(table)
    for effective in (table.effective, table.effective_where):
        scopes = [(scope, row) for row in held.values() if (scope := effective(row.incarnation)) is not None]
        for n, (scope, row) in enumerate(scopes):
            for other, second in scopes[:n]:
                assert scope.common_write(other) is None, (row, second)
    serving = [row.born_of for row in table.roots() if row.born_of is not None and row.outlived is None]
    assert len(set(serving)) == len(serving)


def check_replays(table):
    """A log that drops its past says the same rows, to whoever read all of it before and to whoever reads it first."""
    facts = snapshot(table, author="w")
    for start in (Table(), table):
        again = fold_all(start, facts)
        assert again.refused == 0
        assert rows(again) == rows(table)
        assert all(again.children(row.incarnation) == table.children(row.incarnation) for row in table)


ROOT = table_of(live("root"))
FAMILY = table_of(live("root"), live("a", "i-root", "/w/a"), live("b", "i-a", "/w/a/b"))


# Only the holder gives away.


@pytest.mark.proves("I1", "I2")
@pytest.mark.parametrize("author", ["i-a", "witness", "i-thief", "i-root"])
def test_nobody_but_the_holder_makes_a_pod_that_takes_its_write(author):
    fact = reserved("thief", None, "/w/x", author=author, tree="t2", incarnation="i-thief")
    assert refuses(FAMILY, fact)
    fact = reserved("x", "i-root", "/w/x", author=author)
    assert refuses(FAMILY, fact) == (author != "i-root")


def test_a_child_does_not_give_away_what_its_parent_kept():
    assert refuses(table_of(live("c", "i-root", "/w/c", grant=Scope.write("/w")), base=ROOT), reserved("x", "i-c", "/w/x"))


def test_a_row_cannot_be_moved_below_another_parent():
    assert refuses(FAMILY, reserved("b", "i-root", "/w/a/b"))
    assert refuses(FAMILY, reserved("b", "i-root", "/w/a/b", incarnation="i-new"))
    thief = reserved("thief", None, "/v", tree="t2", born_of="s", inherits=("i-b",))
    assert refuses(FAMILY, thief)


@pytest.mark.parametrize("state", ["reserved", "live"])
def test_what_is_lent_is_not_lent_again(state):
    table = table_of(live("a", "i-root", "/w/a")[: 1 if state == "reserved" else 2], base=ROOT)
    assert refuses(table, reserved("x", "i-root", "/w/a/x"))
    assert refuses(table, reserved("x", "i-root", "/w"))
    assert not refuses(table, reserved("x", "i-root", "/w/b"))


# Rows end only by `freed`.


@pytest.mark.proves("I4")
def test_nothing_but_its_end_takes_a_row_away():
    for fact in (adopted("a"), adopted("a", author="i-root"), UnknownFact("freed", 2), reserved("a", "i-root", "/w/a")):
        assert rows(fold(FAMILY, fact)) == rows(FAMILY)
    assert set(rows(fold(FAMILY, freed("a")))) == {"i-root", "i-b"}


def test_a_restart_that_is_past_is_refused():
    for number in (0, FAMILY.sequence - 1, FAMILY.sequence):
        assert refuses(FAMILY, Restart(author="w", sequence=number))


# What a newer podkit wrote stops every grant.


@pytest.mark.proves("I8")
@pytest.mark.parametrize("unknown", [UnknownFact("shared", 1), UnknownFact("reserved", 2)])
def test_where_a_newer_podkit_wrote_nothing_is_granted_and_everything_may_end(unknown):
    table = fold(FAMILY, unknown)
    for ask in (
        lambda: decide_root(table, name="x", tree="x", incarnation="x", scope=Scope.read("/v"), address="a", since=0.0),
        lambda: decide_birth(table, parent="i-root", name="x", incarnation="x", scope=Scope.read("/w"), address="a", since=0.0),
        lambda: decide_adopt(table, name="a", incarnation="i-a"),
    ):
        with pytest.raises(CorruptRegistryError):
            ask()
    assert table.sequence == FAMILY.sequence + 1
    assert not refuses(table, *decide_free(table, incarnation="i-b", author="w"))
    assert fold(table, unknown).foreign == table.foreign


# A grant never widens.


@pytest.mark.proves("I2", "F23", "F24", "F26", "H2", "H33")
def test_a_grant_never_widens_through_any_depth_and_not_when_the_middle_died():
    deny = (ScopeRule("/w/.git", Permission.WRITE), ScopeRule("/w/secret", Permission.READ))
    top = Scope(allow=[ScopeRule("/w", Permission.WRITE)], deny=deny)
    table = table_of(live("p0", None, scope=Scope.read("/w"), grant=top))
    for n in range(1, 5):
        mine = Scope(allow=[ScopeRule("/w/" + "/".join("abcd"[:n]), Permission.WRITE)], deny=deny)
        table = table_of(live(f"p{n}", f"i-p{n - 1}", scope=Scope.read("/w/" + "/".join("abcd"[:n])), grant=mine), base=table)
    deepest = "/w/a/b/c/d"

    def asks(scope, grant=None):
        return decide_birth(
            table, parent="i-p4", name="x", incarnation="x", scope=scope, grant=grant, address="a", since=0.0, max_depth=9
        )

    for turn in range(3):
        for bad in (Scope.write("/w/a/b/c"), Scope.write("/w/.git"), Scope.read("/w/secret"), Scope.read("/"), Scope.write("/w")):
            with pytest.raises(NotSubsetError):
                asks(bad)
            with pytest.raises(NotSubsetError):
                asks(Scope.read(deepest), grant=bad)
            assert refuses(table, reserved("x", "i-p4", scope=bad, grant=Scope.read(deepest)))
            assert refuses(table, reserved("x", "i-p4", scope=Scope.read(deepest), grant=bad))
        assert not refuses(table, *asks(Scope.write(deepest + "/x"), grant=Scope.write(deepest)))
        table = fold(table, freed(f"p{turn + 1}"))
        check_sound(table)
        assert table["i-p4"].grant.at("/w/a/b/c/x") is Permission.NONE


@pytest.mark.proves("F24")
def test_a_non_recursive_grant_hands_out_nothing_deeper():
    flat = Scope(allow=[ScopeRule("/w", Permission.WRITE, recursive=False)])
    table = table_of(live("root", None, scope=flat))
    assert refuses(table, reserved("a", "i-root", "/w"))
    assert refuses(table, reserved("a", "i-root", "/w/a"))
    assert not refuses(table, reserved("a", "i-root", scope=flat))


@pytest.mark.proves("F28")
def test_a_single_file_is_lent_and_comes_back():
    todo = Scope(allow=[ScopeRule("/w/TODO", Permission.WRITE, recursive=False)])
    table = table_of(live("a", "i-root", scope=todo), base=ROOT)
    assert table.effective("i-root").at("/w/TODO") is Permission.READ
    assert table.effective("i-root").at("/w/TODO2") is Permission.WRITE
    assert fold(table, freed("a")).effective("i-root") == ROOT.effective("i-root")


@pytest.mark.proves("F20", "F21", "I3")
def test_fifty_loans_of_one_path_leave_no_trace():
    table = ROOT
    for n in range(50):
        table = table_of(live("a", "i-root", "/w/a", incarnation=f"i{n}", author="i-root"), base=table)
        table = fold(table, Freed(author="i-root", incarnation=f"i{n}"))
        assert decide_free(table, incarnation=f"i{n}", author="i-root") == ()
    assert table.effective("i-root") == ROOT.effective("i-root")
    assert rows(table) == rows(ROOT)
    assert (table._names, table._regions, table._tops) == (ROOT._names, ROOT._regions, ROOT._tops)
    for n in range(3):
        table = fold_all(
            table, live("x", None, "/v", tree="t2", born_of="s", incarnation=f"r{n}", author=f"r{n}", where=bound("/v"))
        )
        table = fold(table, Freed(author="w", incarnation=f"r{n}"))
    assert (table._names, table._regions, table._tops) == (ROOT._names, ROOT._regions, ROOT._tops)
    assert table._wheres == Table()._wheres


# Nothing acts on a successor.


@pytest.mark.proves("H3", "H25", "I5")
def test_what_was_meant_for_an_older_incarnation_does_not_touch_its_successor():
    table = table_of(live("a", "i-root", "/w/a", incarnation="old"), base=ROOT)
    table = table_of((Freed(author="w", incarnation="old"),), live("a", "i-root", "/w/a", incarnation="new"), base=table)
    for fact in (
        Freed(author="old", incarnation="old"),
        Adopted(author="old", incarnation="old"),
        Adopted(author="old", incarnation="new"),
        reserved("x", "old", "/w/a/x"),
        reserved("a", "i-root", "/w/b", incarnation="old"),
    ):
        assert refuses(table, fact)
    assert decide_free(table, incarnation="old", author="old") == ()
    with pytest.raises(StaleIncarnationError):
        decide_birth(
            table, parent="old", parent_name="a", name="x", incarnation="x", scope=Scope.read("/w"), address="a", since=0.0
        )
    with pytest.raises(AdoptionRefusedError):
        decide_adopt(table, name="a", incarnation="old")


# Adoption, once and by its secret.


@pytest.mark.proves("I6", "H7")
def test_of_two_that_would_adopt_one_row_the_second_is_refused_whatever_it_decided_on():
    table = table_of((reserved("a", "i-root", "/w/a", secret_sha256=secret_digest("s")),), base=ROOT)
    one = decide_adopt(table, name="a", incarnation="i-a", secret="s", pid=1)
    two = decide_adopt(table, name="a", incarnation="i-a", secret="s", pid=2)
    after = fold_all(table, one)
    assert refuses(after, *two)
    assert after["i-a"].pid == 1
    with pytest.raises(AdoptionRefusedError):
        decide_adopt(after, name="a", incarnation="i-a", secret="s")
    with pytest.raises(AdoptionRefusedError):
        decide_adopt(table, name="a", incarnation="i-a", secret="S")


@pytest.mark.proves("H4")
def test_a_birth_that_was_given_up_is_not_adopted_any_more_and_the_other_way_round_it_counts():
    table = table_of((reserved("a", "i-root", "/w/a"),), base=ROOT)
    adopting, giving_up = decide_adopt(table, name="a", incarnation="i-a"), decide_free(table, incarnation="i-a", author="i-root")
    gone = fold_all(table, giving_up)
    assert refuses(gone, *adopting)
    assert gone.effective("i-root") == ROOT.effective("i-root")
    assert "i-a" not in fold_all(fold_all(table, adopting), giving_up)


# When the middle dies.


@pytest.mark.proves("I3", "H32", "H35")
def test_what_a_dead_middle_had_reserved_is_its_parents_to_adopt_or_to_end():
    table = table_of((reserved("c", "i-a", "/w/a/c"),), base=FAMILY)
    check_replays(table)
    table = fold(table, freed("a"))
    assert {row.name for row in table.children("i-root")} == {"b", "c"}
    assert table.effective("i-root").at("/w/a/x") is Permission.WRITE
    assert table.effective("i-root").at("/w/a/c") is Permission.READ
    assert fold_all(table, decide_adopt(table, name="c", incarnation="i-c"))["i-c"].state is State.LIVE
    table = fold(table, freed("c"))
    assert table.effective("i-root").at("/w/a/c") is Permission.WRITE
    assert table.effective("i-root").explain("/w/a/b").holder == "b"


def test_a_child_keeps_its_session_when_the_middle_dies():
    table = table_of(live("a", "i-root", "/w/a", born_of="s-a"), live("b", "i-a", "/w/a/b", born_of="s-b"), base=ROOT)
    assert fold(table, freed("a"))["i-b"].born_of == "s-b"


@pytest.mark.proves("F22", "F26")
def test_a_middle_that_comes_back_does_not_get_what_its_children_hold_by_now():
    table = fold(FAMILY, freed("a"))
    asked = {"parent": "i-root", "name": "a", "incarnation": "again", "address": "a", "since": 0.0, "born_of": "s-a"}
    with pytest.raises(WriteConflictError) as caught:
        decide_birth(table, scope=Scope.write("/w/a"), **asked)
    assert (caught.value.holder, caught.value.path) == ("b", "/w/a/b")
    table = fold_all(table, decide_birth(table, scope=Scope.write("/w/a/other"), **asked))
    assert table["again"].born_of == "s-a"
    assert table.refused == 0


# What a restored root takes back.

OUTLIVED = fold(
    table_of(live("root", None, "/w", born_of="s"), live("a", "i-root", "/w/a"), live("b", "i-a", "/w/a/b")), freed("root")
)


def restored(table, *targets, name="root", tree="t2", incarnation="again", session="s", **more):
    asked = {"scope": Scope.write(*targets or ("/w",)), "takes_back": True} | more
    return decide_root(table, name=name, tree=tree, incarnation=incarnation, address="a", since=9.0, born_of=session, **asked)


def test_a_pod_that_outlives_its_root_is_born_of_its_session():
    assert (OUTLIVED["i-a"].born_of, OUTLIVED["i-a"].outlived, OUTLIVED["i-a"].parent) == ("s", "i-root", None)
    assert (OUTLIVED["i-b"].parent, OUTLIVED["i-b"].outlived) == ("i-a", None)
    later = fold(OUTLIVED, freed("a"))
    assert (later["i-b"].born_of, later["i-b"].outlived) == ("s", "i-a")
    nameless = fold(table_of(live("root"), live("a", "i-root", "/w/a", born_of="mine")), freed("root"))
    assert nameless["i-a"].born_of == "mine"


@pytest.mark.proves("F22", "H8", "H9", "I1")
def test_a_restored_root_has_its_children_again_and_not_what_they_write():
    facts = restored(OUTLIVED)
    table = fold_all(OUTLIVED, facts)
    assert table.refused == 0
    assert facts[0].inherits == ("i-a",)
    assert [(row.name, row.parent_name, row.outlived) for row in table.children("again")] == [("a", "root", None)]
    assert {row.tree for row in table} == {"t2"}
    assert table.by_name("t2", "b") == table["i-b"]
    assert table.by_name("t", "b") is None
    assert table.effective("again").at("/w/a/x") is Permission.READ
    assert table.effective("again").at("/w/x") is Permission.WRITE
    assert table.effective("again").explain("/w/a/x").holder == "a"
    assert table.roots() == (table["again"],)
    check_sound(table)
    check_replays(table)
    for name in ("a", "b"):
        table = fold(table, freed(name))
    assert table.effective("again") == Scope.write("/w")


def test_a_root_in_the_same_tree_takes_back_as_well():
    table = fold_all(OUTLIVED, restored(OUTLIVED, tree="t"))
    assert [row.name for row in table.children("again")] == ["a"]
    assert table.by_name("t", "a") == table["i-a"]


@pytest.mark.proves("F22")
def test_a_root_that_takes_nothing_back_claims_nothing_of_it():
    for more in ({"takes_back": False}, {"session": None}, {"session": "other"}):
        with pytest.raises(WriteConflictError) as caught:
            restored(OUTLIVED, **more)
        assert caught.value.holder == "t/a"
        table = fold_all(OUTLIVED, restored(OUTLIVED, "/w/free", **more))
        assert table.children("again") == ()
        assert set(table.roots()) == {table["again"], table["i-a"]}


def test_what_belongs_to_no_session_is_taken_back_by_nobody():
    table = fold(table_of(live("root"), live("a", "i-root", "/w/a")), freed("root"))
    assert (table["i-a"].born_of, table["i-a"].outlived) == (None, "i-root")
    with pytest.raises(WriteConflictError):
        restored(table, session=None)
    assert refuses(table, reserved("x", None, "/w", tree="t2", inherits=("i-a",)))
    assert not refuses(table, reserved("x", None, "/v", tree="t2"))
    assert not refuses(ROOT, reserved("x", None, "/v", tree="t2"))


# What was handed out while nobody was above: "deep" writes beyond what "a" writes, below a root that is dead.
ELSEWHERE = fold(
    table_of(
        live("root", None, "/w", born_of="s"),
        live("a", "i-root", "/w/a", born_of="s", grant=Scope.write("/w")),
        live("b", "i-root", "/w/b", born_of="s"),
    ),
    freed("root"),
)
ELSEWHERE = table_of(
    live("deep", "i-a", "/w/else", "/w/b2", born_of="s"), live("deeper", "i-deep", "/w/else/x", born_of="s"), base=ELSEWHERE
)


def check_exact(table, incarnation):
    """What the row may write is what it declares less what everybody below it declares, and somebody else has all of that."""
    row, below = table[incarnation], table.descendants(incarnation)
    left = row.scope
    for other in below:
        left -= other.scope
    assert table.effective(incarnation) == left
    assert set(table.beyond(incarnation)) <= set(below) - set(table.children(incarnation))


@pytest.mark.proves("H8", "H9", "F22", "I1")
def test_a_root_is_restored_whatever_a_living_child_handed_out_meanwhile():
    table = fold_all(ELSEWHERE, restored(ELSEWHERE))
    assert table.refused == 0
    assert [row.name for row in table.children("again")] == ["a", "b"]
    assert [row.name for row in table.beyond("again")] == ["deep"]
    effective = table.effective("again")
    assert [effective.at(path) for path in ("/w/x", "/w/a", "/w/else", "/w/else/x", "/w/b2")] == [
        Permission.WRITE,
        *[Permission.READ] * 4,
    ]
    assert effective.explain("/w/else/x").holder == "deep"
    check_exact(table, "again")
    check_sound(table)
    check_replays(table)
    with pytest.raises(WriteConflictError) as caught:
        decide_birth(table, parent="again", name="n", incarnation="n", scope=Scope.write("/w/b2"), address="a", since=0.0)
    assert (caught.value.holder, caught.value.path) == ("deep", "/w/b2")
    with pytest.raises(WriteConflictError) as caught:
        decide_birth(table, parent="i-a", name="n", incarnation="n", scope=Scope.write("/w/c"), address="a", since=0.0)
    assert caught.value.holder == "root"
    for target, holder in (("/w/else", "t2/deep"), ("/w/else/x", "t2/deeper"), ("/w/c", "t2/root")):
        with pytest.raises(WriteConflictError) as caught:
            restored(table, target, name="other", tree="t3", incarnation="t3", session=None)
        assert caught.value.holder == holder


@pytest.mark.proves("H8", "I1", "I3")
@pytest.mark.parametrize("live_root", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(("a", "b", "deep", "deeper"))))
def test_in_whatever_order_they_end_the_restored_root_has_it_all_again(order, live_root):
    table = fold_all(ELSEWHERE, restored(ELSEWHERE, live=live_root))
    before = [ELSEWHERE, table]
    for name in order:
        table = fold(table, freed(name))
        check_exact(table, "again")
        check_sound(table)
        check_replays(table)
        assert {row.born_of for row in table} == {"s"}
        for earlier in before:
            told = changes(earlier, table, author="w")
            assert (fold_all(earlier, told).refused, rows(fold_all(earlier, told))) == (0, rows(table))
        before.append(table)
    assert table.effective("again") == Scope.write("/w")
    assert table.beyond("again") == table.beyond("none") == ()


def test_children_born_after_the_restore_are_said_after_their_root():
    table = fold_all(ELSEWHERE, restored(ELSEWHERE))
    table = table_of(live("new", "again", "/w/new", tree="t2", born_of="another"), base=table)
    table = table_of(live("late", "i-a", "/w/a/late", tree="t2", born_of="another"), base=table)
    for name in (None, "a", "deep"):
        table = table if name is None else fold(table, freed(name))
        check_exact(table, "again")
        check_sound(table)
        check_replays(table)
    assert {row.name for row in table.children("again")} == {"b", "new", "late", "deeper"}


def test_what_ends_in_another_tree_changes_nothing_for_a_restored_root():
    table = table_of(live("other", None, "/v", tree="t3"), live("kid", "i-other", "/v/kid", tree="t3"), base=ELSEWHERE)
    table = fold(fold_all(table, restored(table)), freed("kid"))
    assert [row.name for row in table.beyond("again")] == ["deep"]
    assert table.effective("i-other") == Scope.write("/v")
    check_sound(table)
    check_replays(table)


def test_a_restored_root_that_dies_leaves_nothing_behind_of_it():
    table = fold(fold_all(ELSEWHERE, restored(ELSEWHERE)), Freed(author="w", incarnation="again"))
    assert [(row.name, row.outlived) for row in table.roots()] == [("a", "again"), ("b", "again")]
    check_replays(table)
    third = fold_all(table, restored(table, incarnation="third", tree="t3"))
    assert [row.name for row in third.beyond("third")] == ["deep"]
    check_exact(third, "third")
    check_sound(third)


def test_what_somebody_elses_grandchild_holds_is_still_in_the_way():
    for more in ({"takes_back": False}, {"session": "other"}):
        with pytest.raises(WriteConflictError) as caught:
            restored(ELSEWHERE, "/w/else", **more)
        assert caught.value.holder == "t/deep"
    beyond_grant = {"scope": Scope.write("/w/else"), "grant": Scope.write("/w/else", "/w/b")}
    with pytest.raises(WriteConflictError) as caught:
        restored(ELSEWHERE, **beyond_grant)
    assert caught.value.holder == "t/deep"
    assert refuses(ELSEWHERE, reserved("x", None, "/w", tree="t2", born_of="s", inherits=("i-b",)))
    assert not refuses(ELSEWHERE, reserved("x", None, "/w", tree="t2", born_of="s", inherits=("i-a", "i-b")))


@pytest.mark.proves("H8", "F25", "I1")
def test_what_a_grandchild_holds_by_another_name_is_not_the_restored_roots():
    table = table_of(
        live("root", None, "/w", where=bound("/data"), born_of="s", grant=Scope.write("/w", "/mnt")),
        live("a", "i-root", "/w/a", where=bound("/data/a"), born_of="s", grant=Scope.write("/w", "/mnt")),
        live("plain", "i-root", "/w/plain", born_of="s"),
    )
    table = fold(table, freed("root"))
    table = table_of(live("deep", "i-a", "/mnt", where=bound("/data/else")), live("bare", "i-a", "/w/bare"), base=table)
    asked = {"where": bound("/data"), "grant": Scope.write("/w", "/mnt")}
    table = fold_all(table, restored(table, **asked))
    assert {row.name for row in table.beyond("again")} == {"deep", "bare"}
    assert table.effective_where("again").at("/8:1/data/else") is Permission.READ
    assert table.effective_where("again").at("/8:1/data/x") is Permission.WRITE
    assert table.effective("again").at("/w/bare") is Permission.READ
    with pytest.raises(WriteConflictError) as caught:
        decide_birth(
            table,
            parent="again",
            name="n",
            incarnation="n",
            scope=Scope.write("/w/else"),
            where=bound("/data/else"),
            address="a",
            since=0.0,
        )
    assert caught.value.holder == "deep"
    check_sound(table)
    check_replays(table)
    for name in ("deep", "bare"):
        table = fold(table, freed(name))
        check_replays(table)
    assert table.beyond("again") == ()
    assert table.effective_where("again").at("/8:1/data/else") is Permission.WRITE


@pytest.mark.proves("H8")
def test_what_a_grandchild_holds_is_nobody_elses_after_the_restore():
    table = fold_all(OUTLIVED, restored(OUTLIVED))
    for target, holder in (("/w/a/b", "t2/b"), ("/w/a", "t2/a"), ("/w/x", "t2/root")):
        with pytest.raises(WriteConflictError) as caught:
            restored(table, target, name="other", tree="t3", incarnation="t3", session=None)
        assert caught.value.holder == holder
    decide_root(table, name="other", tree="t3", incarnation="t3", scope=Scope.read("/w"), address="a", since=0.0)


def test_a_pod_beyond_the_new_roots_grant_stays_where_it_is():
    table = fold(
        table_of(
            live("root", None, scope=Scope.read("/w"), grant=Scope.write("/w"), born_of="s"),
            live("a", "i-root", "/w/a"),
            live("b", "i-root", "/w/b", grant=Scope.write("/w/b", "/w/more")),
            live("c", "i-root", "/w/c"),
            live("d", "i-root", "/w/d", grant=Scope.write("/w/a")),
        ),
        freed("root"),
    )
    exact = fold_all(table, restored(table, scope=Scope.read("/w"), grant=Scope.write("/w/a")))
    assert [row.name for row in exact.children("again")] == ["a"]
    after = fold_all(table, restored(table, scope=Scope.read("/w"), grant=Scope.write("/w/a", "/w/b")))
    assert [row.name for row in after.children("again")] == ["a"]
    assert [row.name for row in after.roots()] == ["b", "c", "d", "root"]
    after = fold_all(table, restored(table, scope=Scope.read("/w"), grant=Scope.write("/w/b", "/w/c")))
    assert [row.name for row in after.children("again")] == ["c"]
    with pytest.raises(WriteConflictError) as caught:
        restored(table, scope=Scope.write("/w/c/x"), grant=Scope.write("/w/a"))
    assert caught.value.holder == "t/c"


def test_names_stay_unique_in_the_tree_that_takes_back():
    taken = table_of(live("b", None, "/v", tree="t2", incarnation="i-b2", author="i-b2"), base=OUTLIVED)
    kept = {"grant": Scope.write("/w")}
    after = fold_all(taken, restored(taken, "/w/free", **kept))
    assert after.children("again") == ()
    assert fold_all(OUTLIVED, restored(OUTLIVED, "/w/free", **kept)).children("again") != ()
    assert refuses(
        taken,
        reserved("root", None, "/w/free", tree="t2", incarnation="again", author="again", born_of="s", inherits=("i-a",), **kept),
    )
    own = fold(table_of(live("root", None, "/w", born_of="s"), live("a", "i-root", "/w/a")), freed("root"))
    assert fold_all(own, restored(own, "/w/free", name="a", **kept)).children("again") == ()
    assert fold_all(own, restored(own, "/w/free", name="b", **kept)).children("again") != ()
    two = fold(table_of(live("root", None, "/v", born_of="s", tree="t3", incarnation="r3", author="r3"), base=own), freed("none"))
    two = fold_all(two, live("a", "r3", "/v/a", tree="t3", incarnation="a3"))
    two = fold(two, Freed(author="w", incarnation="r3"))
    assert len(two.roots_of("s")) == 2
    after = fold_all(two, restored(two, "/w", "/v/b", tree="t4", grant=Scope.write("/w", "/v")))
    assert [row.incarnation for row in after.children("again")] == ["i-a"]
    check_sound(after)


@pytest.mark.proves("I5")
def test_a_session_has_one_root():
    table = table_of(live("root", None, "/w", born_of="s"))
    with pytest.raises(DuplicatePodError) as caught:
        restored(table, "/v")
    assert (caught.value.incarnation, caught.value.holder) == ("i-root", "t/root")
    with pytest.raises(DuplicatePodError) as caught:
        restored(table, "/v", tree="t", name="other")
    assert (caught.value.name, caught.value.holder) == ("root", "root")
    with pytest.raises(DuplicatePodError) as caught:
        restored(table, "/v", tree="t", session=None)
    assert (caught.value.name, caught.value.holder) == ("root", "root")
    assert refuses(table, reserved("x", None, "/v", tree="t2", born_of="s"))
    assert not refuses(table, reserved("x", None, "/v", tree="t2", born_of="s2"))
    assert not refuses(fold(table, freed("root")), reserved("x", None, "/w", tree="t2", born_of="s"))


def test_a_root_that_is_only_reserved_keeps_what_it_took_back():
    table = fold_all(OUTLIVED, restored(OUTLIVED, live=False))
    assert table["again"].state is State.RESERVED
    check_sound(table)
    check_replays(table)
    middle_gone = fold(table, freed("a"))
    assert [(row.name, row.born_of) for row in middle_gone.children("again")] == [("b", "s")]
    check_sound(middle_gone)
    check_replays(middle_gone)
    adopted_by_root = fold_all(middle_gone, decide_adopt(middle_gone, name="root", incarnation="again"))
    assert not refuses(adopted_by_root, reserved("n", "again", "/w/n", tree="t2"))
    ended = fold(table, Freed(author="w", incarnation="again"))
    assert [(row.name, row.born_of, row.outlived) for row in ended.roots()] == [("a", "s", "again")]


@pytest.mark.parametrize(
    "change",
    [
        {"inherits": ("i-b",)},  # somebody's child
        {"inherits": ("i-a", "i-b")},
        {"inherits": ("i-a", "i-none")},
        {"inherits": ("i-a", "i-x")},  # itself
        {"inherits": ("i-a", "i-a")},
        {"inherits": ("i-a", "i-other")},  # a root that lives
        {"born_of": None},
        {"born_of": "s2"},
        {"born_of": "s3"},
        {"author": "i-a"},
        {"author": "witness"},
        {"grant": Scope.write("/w/b")},
        {"name": "b"},
        {"outlived": "i-root"},
        {"parent": "i-other", "author": "i-other", "scope": Scope.read("/v/x"), "grant": Scope.write("/v")},
        {"inherits": ()},
        {"inherits": (), "outlived": "i-root"},
    ],
)
def test_an_inheritance_that_is_not_its_own_is_refused(change):
    table = table_of(live("other", None, "/v", tree="t2", born_of="s2"), base=OUTLIVED)
    fact = reserved("x", None, "/w", tree="t2", born_of="s", inherits=("i-a",))
    assert not refuses(table, fact)
    assert refuses(table, attrs.evolve(fact, **change))


@pytest.mark.parametrize("change", [{"inherits": ("i-a",)}, {"outlived": "i-root"}])
def test_who_has_a_parent_neither_inherits_nor_outlived_anybody(change):
    table = table_of(live("other", None, "/v", tree="t2"), base=OUTLIVED)
    fact = reserved("x", "i-other", "/v/x", tree="t2", born_of="s")
    assert not refuses(table, fact)
    assert refuses(table, attrs.evolve(fact, **change))


def test_the_difference_of_two_tables_tells_of_an_inheritance():
    family = table_of(live("root", None, "/w", born_of="s"), live("a", "i-root", "/w/a"), live("b", "i-a", "/w/a/b"))
    for live_root in (True, False):
        dead = fold(family, freed("root"))
        after = fold_all(dead, restored(dead, live=live_root))
        for before in (family, dead):
            told = changes(before, after, author="w")
            assert [type(fact).__name__ for fact in told if isinstance(fact, Reserved)] == ["Reserved"]
            again = fold_all(before, told)
            assert (again.refused, rows(again)) == (0, rows(after))
        between = fold(table_of(live("c", "i-root", "/w/c"), base=family), freed("root"))
        later = fold_all(between, restored(between, live=live_root))
        told = changes(family, later, author="w")
        assert (fold_all(family, told).refused, rows(fold_all(family, told))) == (0, rows(later))
        told = changes(Table(), after, author="w")
        assert (fold_all(Table(), told).refused, rows(fold_all(Table(), told))) == (0, rows(after))


# Two names of one directory.


def bound(*targets, at="8:1"):
    return Scope.write(*(f"/{at}{target}".rstrip("/") for target in targets))


@pytest.mark.proves("I1", "F25")
def test_two_names_of_one_directory_never_have_two_writers():
    table = table_of(live("one", None, "/w", where=bound("/data")))
    for scope, where, path in (
        (Scope.write("/mnt"), bound("/data"), "/mnt"),
        (Scope.write("/mnt/x"), bound("/data/x"), "/mnt/x"),
        (Scope.write("/all"), bound("/"), "/all/data"),
        (Scope.write("/v", "/mnt"), bound("/v", "/data/y"), "/mnt"),
        (Scope.write("/v", "/mnt?"), bound("/v", "/data/y?"), "/mnt?"),
        (Scope.write("/v", "/mnt?"), bound("/v", "/data/y"), "/mnt?"),
        (Scope.write("/v", "/mnt"), bound("/v", "/data/y?"), "/mnt"),
    ):
        with pytest.raises(WriteConflictError) as caught:
            decide_root(table, name="two", tree="t2", incarnation="two", scope=scope, where=where, address="a", since=0.0)
        assert (caught.value.path, caught.value.holder, caught.value.incarnation) == (path, "t/one", "i-one")
        assert refuses(table, reserved("two", None, tree="t2", scope=scope, where=where))
    assert not refuses(table, reserved("two", None, "/mnt", tree="t2", where=bound("/data", at="8:2")))
    assert not refuses(table, reserved("two", None, tree="t2", scope=Scope.read("/mnt"), where=Scope.read("/8:1/data")))


def test_a_mount_further_down_is_named_by_the_target_above_it():
    table = table_of(live("one", None, "/w", where=bound("/data")))
    where = Scope.write("/8:1/v", "/8:1/data/x")  # /v, and what is mounted below it
    conflict = find_conflict(table, Scope.write("/v"), where=where)
    assert (conflict.path, conflict.row.name) == ("/v", "one")
    assert find_conflict(table, Scope.write("/v")) is None
    odd = find_conflict(table, Scope.read("/v"), where=bound("/data"))
    assert odd.path == "/8:1/data"


def test_a_name_is_told_only_where_it_may_be_written():
    table = table_of(live("one", None, "/w", where=bound("/data")))
    scope = Scope(allow=[ScopeRule("/r", Permission.READ), ScopeRule("/mnt", Permission.WRITE)])
    where = Scope(allow=[ScopeRule("/8:1/data", Permission.READ), ScopeRule("/8:1/data", Permission.WRITE)])
    assert find_conflict(table, scope, where=where).path == "/mnt"
    scope, where = Scope.write("/x", "/mnt"), bound("/da", "/data")  # /8:1/da is not above /8:1/data
    assert find_conflict(table, scope, where=where).path == "/mnt"
    scope, where = Scope.write("/x", "/mnt", "/xta"), bound("/da", "/data", "/else")  # nor is /xta what it would be then
    assert find_conflict(table, scope, where=where).path == "/mnt"
    more, scope = (
        bound("/da", "/data", "/else"),
        Scope.write("/x", "/mnt"),
    )  # there is a mount further down, so rules do not go in pairs
    assert find_conflict(table, scope, where=more).path == "/x"
    whole = table_of(live("all", None, "/w", where=bound("/")))
    rest = Scope(allow=[ScopeRule("/", Permission.WRITE)], deny=[ScopeRule("/w", Permission.WRITE)])
    assert find_conflict(whole, rest, where=bound("/")).path == "/"


def test_the_lender_is_exempt_by_either_name():
    table = table_of(live("root", None, "/w", "/mnt", where=bound("/data", "/data")))
    for target in ("/w/x", "/mnt/x"):
        facts = decide_birth(
            table,
            parent="i-root",
            name="a",
            incarnation="a",
            scope=Scope.write(target),
            where=bound("/data/x"),
            address="a",
            since=0.0,
        )
        after = fold_all(table, facts)
        assert after.refused == 0
        assert after.effective_where("i-root").at("/8:1/data/x") is Permission.READ
        assert after.effective_where("i-root").at("/8:1/data/y") is Permission.WRITE
        assert after.effective_where("i-root").explain("/8:1/data/x").holder == "a"
        assert after.effective_where("a").at("/8:1/data/x") is Permission.WRITE
        other = "/mnt/x" if target == "/w/x" else "/w/x"
        with pytest.raises(WriteConflictError) as caught:
            decide_birth(
                after,
                parent="i-root",
                name="b",
                incarnation="b",
                scope=Scope.write(other + "/y"),
                where=bound("/data/x/y"),
                address="a",
                since=0.0,
            )
        assert (caught.value.holder, caught.value.path) == ("a", other + "/y")
        assert fold(after, Freed(author="w", incarnation="a")).effective_where("i-root") == bound("/data")


def test_a_row_that_does_not_say_where_is_met_as_it_is_written_down():
    table = table_of(live("one", None, "/w"), live("kid", "i-one", "/w/kid", where=bound("/data/kid")))
    assert table.effective_where("i-one") is None
    assert find_conflict(table, Scope.write("/mnt"), where=bound("/data")).row.name == "kid"
    assert find_conflict(table, Scope.write("/w/x"), where=bound("/else")).row.name == "one"
    table = table_of(live("one", None, "/w", where=bound("/data")), live("kid", "i-one", "/w/kid"))
    assert find_conflict(table, Scope.write("/mnt/kid"), where=bound("/data/kid")).row.name == "one"
    assert table.effective_where("i-one") == bound("/data")
    with pytest.raises(KeyError):
        table.effective_where("none")


def test_only_a_declared_scope_says_where():
    with pytest.raises(ScopeError):
        decide_root(
            Table(),
            name="a",
            tree="a",
            incarnation="a",
            scope=Scope.write("/w"),
            where=bound("/w") - bound("/w/x"),
            address="a",
            since=0.0,
        )


def test_a_restored_root_takes_back_by_either_name():
    table = table_of(
        live("root", None, "/w", where=bound("/data"), born_of="s"), live("a", "i-root", "/w/a", where=bound("/data/a"))
    )
    table = fold(table, freed("root"))
    after = fold_all(table, restored(table, "/w", where=bound("/data")))
    assert after.effective_where("again").at("/8:1/data/a") is Permission.READ
    check_sound(after)
    with pytest.raises(WriteConflictError):
        restored(table, "/mnt", where=bound("/data"))
    plain = fold_all(table, restored(table, "/w"))
    assert plain.effective_where("again") is None


@pytest.mark.proves("I1")
def test_with_bind_mounts_at_random_no_file_ever_has_two_writers():
    mounts = {"/a/m": "/b/x", "/b/n": "/a", "/c": "/b"}  # shown -> what is shown there, on one device
    names = ["/a", "/b", "/c", *(f"/{x}/{y}" for x in "abc" for y in ("x", "m", "n", "y"))]
    names += [f"{name}/{deep}" for name in names for deep in ("x", "y")]
    choose = random.Random(19)

    def place(name):
        above = max((point for point in mounts if name == point or name.startswith(point + "/")), key=len, default="")
        return mounts.get(above, "") + name[len(above) :]

    def where(target):
        below = [point for point in mounts if point.startswith(target + "/")]
        return Scope.write(*(f"/8:1{place(name)}" for name in (target, *below)))

    spots = {place(name): [other for other in names if place(other) == place(name)] for name in names}
    assert max(map(len, spots.values())) > 2
    granted = refused = 0
    for _ in range(120):
        table = Table()
        for n in range(8):
            target, parents = choose.choice(names), [row.incarnation for row in table if row.state is State.LIVE]
            parent = choose.choice([None, *parents])
            scope = Scope.write(target)
            everything = Scope.write("/")
            fact = Reserved(
                author=parent or f"i{n}",
                name=f"p{n}",
                tree=table[parent].tree if parent else f"t{n}",
                incarnation=f"i{n}",
                parent=parent,
                scope=scope,
                grant=everything,
                where=where(target),
                address="a",
            )
            after = fold_all(table, [fact, Adopted(author=f"i{n}", incarnation=f"i{n}")])
            granted, refused = granted + (after.refused == table.refused), refused + (after.refused > table.refused)
            table = after
            if choose.random() < 0.2 and len(table):
                table = fold(table, Freed(author="w", incarnation=choose.choice([row.incarnation for row in table])))
            lent = {row.incarnation: [kid.where for kid in table.children(row.incarnation)] for row in table}
            for spot, aliases in spots.items():
                at = f"/8:1{spot}"
                holders = [
                    row
                    for row in table
                    if any(row.scope.at(name) is Permission.WRITE for name in aliases)
                    and all(where.at(at) is not Permission.WRITE for where in lent[row.incarnation])
                ]
                assert len(holders) <= 1
                assert all(table.effective_where(row.incarnation).at(at) is Permission.WRITE for row in holders)
    assert granted > 200
    assert refused > 200


# What targets were.


@pytest.mark.parametrize("bad", [("w", 1, 1), ("/w/..", 1, 1), ("/w", -1, 1), ("/w", 1, 2**64), ("/w", True, 1), ("/w", 1, "1")])
def test_what_is_no_pin_is_refused(bad):
    with pytest.raises(InvalidRuleError):
        Pin(*bad)


def test_rows_and_facts_say_nothing_of_themselves_and_are_written_with_names():
    scope = Scope.read("/w")
    said = {"name": "a", "tree": "t", "incarnation": "i", "scope": scope, "grant": scope, "address": "x"}
    bare = attrs.asdict(Allocation(**said), recurse=False)
    rest = {name: value for name, value in bare.items() if name not in said}
    assert {name: value for name, value in rest.items() if value is not None} == {"state": State.RESERVED, "since": 0.0, "pins": ()}
    assert Reserved(author="i", **said).since == 0.0
    assert (State.RESERVED.value, State.LIVE.value) == ("reserved", "live")
    for kind, values in ((Allocation, said), (Reserved, {"author": "i"} | said), (Adopted, {"author": "i", "incarnation": "i"})):
        kind(**values)
        with pytest.raises(TypeError):
            kind(*values.values())
    with pytest.raises(TypeError):
        Freed("w", "i")
    with pytest.raises(TypeError):
        Restart("w", 1)
    assert (Table().sequence, Table().refused, Table().foreign) == (0, 0, None)
    assert Table() != Table()


def test_a_row_keeps_what_its_targets_were():
    pins = (Pin("/w", 2049, 2**64 - 1), Pin("/v", 0, 0))
    table = fold_all(
        Table(),
        decide_root(
            Table(), name="a", tree="t", incarnation="i-a", scope=Scope.write("/w", "/v"), pins=pins, address="a", since=0.0
        ),
    )
    facts = decide_birth(
        table, parent="i-a", name="b", incarnation="i-b", scope=Scope.write("/w"), pins=pins[:1], address="a", since=0.0
    )
    table = fold_all(table, facts)
    assert (table["i-a"].pins, table["i-b"].pins) == (pins, pins[:1])
    check_replays(table)


def test_a_decision_says_all_that_was_asked():
    asked = {
        "name": "a",
        "incarnation": "i-a",
        "scope": Scope.write("/w/a"),
        "grant": Scope.write("/w/a", "/w/b"),
        "address": "memory://x",
        "since": 7.5,
        "run_dir": "/run/x",
        "born_of": "s",
        "where": bound("/w/a"),
        "pins": (Pin("/w/a", 1, 2),),
    }
    root, adopting = decide_root(Table(), tree="t", pid=5, started=6, **asked)
    assert root == Reserved(author="i-a", tree="t", **asked)
    assert adopting == Adopted(author="i-a", incarnation="i-a", pid=5, started=6)
    assert decide_root(Table(), tree="t", live=False, **asked) == (root,)
    (child,) = decide_birth(ROOT, parent="i-root", secret_sha256="0" * 64, **asked)
    assert child == Reserved(author="i-root", tree="t", parent="i-root", secret_sha256="0" * 64, **asked)
    table = fold(ROOT, child)
    asked = {"pid": 7, "started": 8, "address": "tcp://127.0.0.1:1"}
    table = fold(
        table, attrs.evolve(child, name="plain", incarnation="i-plain", scope=Scope.read("/w"), where=None, secret_sha256=None)
    )
    assert decide_adopt(table, name="plain", incarnation="i-plain", **asked) == (adopted("plain", **asked),)


def test_what_was_not_asked_is_not_said():
    asked = {"name": "a", "incarnation": "i-a", "scope": Scope.write("/w/a"), "address": "memory://x", "since": 7.5}
    plain = Reserved(author="i-a", tree="t", grant=asked["scope"], **asked)
    assert decide_root(Table(), tree="t", **asked) == (plain, adopted("a"))
    facts = decide_birth(ROOT, parent="i-root", **asked)
    assert facts == (attrs.evolve(plain, author="i-root", parent="i-root"),)
    assert decide_adopt(fold_all(ROOT, facts), name="a", incarnation="i-a") == (adopted("a"),)
    again = asked | {"name": "root", "incarnation": "again", "scope": Scope.read("/w"), "born_of": "s"}
    assert decide_root(OUTLIVED, tree="t2", grant=Scope.write("/w"), **again)[0].inherits == ()
    assert decide_root(OUTLIVED, tree="t2", grant=Scope.write("/w"), takes_back=True, **again)[0].inherits == ("i-a",)


@pytest.mark.proves("I35")
def test_there_are_five_hundred_and_twelve_pods_and_eight_generations_unless_told_otherwise():
    table = table_of(live("p1", None, scope=Scope.read("/w")))
    for n in range(2, 513):
        table = table_of(live(f"p{n}", f"i-p{n - 1}" if n <= 8 else "i-p1", scope=Scope.read("/w")), base=table)
    asked = {"name": "x", "incarnation": "x", "scope": Scope.read("/w"), "address": "a", "since": 0.0}
    for ask in (lambda table: decide_root(table, tree="x", **asked), lambda table: decide_birth(table, parent="i-p1", **asked)):
        with pytest.raises(LimitExceededError) as caught:
            ask(table)
        assert (caught.value.limit, caught.value.allowed) == ("pods", 512)
        assert ask(fold(table, freed("p512")))
    with pytest.raises(LimitExceededError) as caught:
        decide_birth(fold(table, freed("p512")), parent="i-p8", **asked)
    assert (caught.value.allowed, caught.value.limit) == (8, "generations of pods")
    assert decide_birth(fold(table, freed("p512")), parent="i-p7", **asked)


def test_a_row_says_all_that_its_fact_said_and_goes_on_saying_it():
    fact = reserved(
        "a",
        "i-root",
        "/w/a",
        grant=Scope.write("/w/a", "/w/b"),
        run_dir="/run/x",
        since=7.5,
        secret_sha256=secret_digest("s"),
        born_of="s",
        where=bound("/w/a"),
        pins=(Pin("/w/a", 1, 2),),
    )
    table = table_of((fact,), base=ROOT)
    common = {field.name for field in attrs.fields(Reserved)} & {field.name for field in attrs.fields(type(table["i-a"]))}
    assert len(common) == 14
    assert {name: getattr(table["i-a"], name) for name in common} == {name: getattr(fact, name) for name in common}
    assert table["i-a"].parent_name == "root"
    table = fold(table, adopted("a", pid=5, started=6, address="memory://found"))
    told = (table["i-a"].pid, table["i-a"].started, table["i-a"].address, table["i-a"].state)
    assert told == (5, 6, "memory://found", State.LIVE)
    check_replays(table)


# Whatever is said, the table stays sound and nothing is raised.

TARGETS = ("/", "/a", "/a/b", "/a/b/c", "/b", "/b/a")
IDS = [f"i{n}" for n in range(7)]


def draw_scope(choose):
    rules = [
        ScopeRule(choose.choice(TARGETS), choose.choice((Permission.READ, Permission.WRITE)), recursive=choose.random() < 0.8)
        for _ in range(choose.choice((1, 1, 2)))
    ]
    deny = [ScopeRule(choose.choice(TARGETS), Permission.WRITE)] if choose.random() < 0.2 else []
    return Scope(allow=rules, deny=deny)


SCOPES = [draw_scope(random.Random(n)) for n in range(60)] + [Scope.none()]


def draw_fact(choose, table):
    here = [row.incarnation for row in table]
    who = choose.choice(here) if here and choose.random() < 0.8 else choose.choice([*IDS, "", "../x", "\ud800", "none"])
    kind = choose.random()
    if kind < 0.18:
        return Freed(author=choose.choice([who, "w", ""]), incarnation=who)
    if kind < 0.36:
        return Adopted(author=choose.choice([who, who, "w"]), incarnation=who, pid=-1, address=choose.choice([None, "", "b"]))
    if kind < 0.38:
        return Restart(author="w", sequence=choose.choice([-1, 0, table.sequence, table.sequence + 1, 2**60]))
    if kind < 0.39:
        return UnknownFact(choose.choice(["", "shared"]), 9)
    name, parent = choose.choice(IDS), choose.choice([None, who])
    scope = choose.choice(SCOPES)
    honest = choose.random() < 0.7
    heirs = [row.incarnation for row in table.roots() if honest is (row.outlived is not None)]
    sessions = [row.born_of for row in table.roots() if row.incarnation in heirs] or ["s"]
    inherits = tuple(choose.sample(heirs, min(len(heirs), 2))) if parent is None and choose.random() < 0.7 else ()
    return Reserved(
        author=(parent or name) if honest else choose.choice([name, who, "w"]),
        name=name if honest else choose.choice([name, "i0", "x"]),
        tree=table[parent].tree if honest and parent in table else choose.choice(["t", "t2", "t3"]),
        incarnation=name,
        parent=parent,
        scope=scope,
        grant=Scope.write("/") if inherits else choose.choice([scope, Scope.write("/"), choose.choice(SCOPES)]),
        address="a",
        born_of=sessions[0] if inherits else choose.choice([None, "s", ""]),
        where=choose.choice([None, None, scope, choose.choice(SCOPES)]),
        inherits=inherits,
        outlived=None if honest or choose.random() < 0.7 else "x",
    )


@pytest.mark.proves("I1", "I2", "I5")
def test_twenty_thousand_histories_of_facts_nobody_decided_leave_sound_tables():
    choose = random.Random(20_000)
    lawful = inherited = outlived = 0
    for number in range(20_000):
        table = Table()
        for _ in range(choose.randint(1, 12)):
            fact = draw_fact(choose, table)
            after = fold(table, fact)
            assert after.sequence > table.sequence
            if after.refused == table.refused:
                lawful += 1
                inherited += isinstance(fact, Reserved) and bool(fact.inherits)
            table = after
        outlived += any(row.outlived is not None for row in table)
        if number % 8 == 0:
            check_sound(table)
            if table.foreign is None:
                check_replays(table)
    assert lawful > 20_000
    assert inherited > 100
    assert outlived > 300


@pytest.mark.proves("I1", "I9")
def test_the_same_facts_lead_to_the_same_table_however_they_are_cut():
    choose = random.Random(5)
    for _ in range(60):
        table, facts = Table(), []
        for _ in range(15):
            facts.append(draw_fact(choose, table))
            table = fold(table, facts[-1])
        for cut in range(len(facts)):
            again = fold_all(fold_all(Table(), facts[:cut]), facts[cut:])
            assert (rows(again), again.sequence, again.refused) == (rows(table), table.sequence, table.refused)
            assert [row.incarnation for row in again] == [row.incarnation for row in table]


# What it costs.


def test_a_birth_asks_its_neighbours_however_many_pods_there_are():
    for n in (1, 400):
        table = table_of(live("root", None, "/w", where=bound("/w")))
        table = table_of(*(live(f"c{k}", "i-root", f"/w/c{k}", where=bound(f"/w/c{k}")) for k in range(n)), base=table)
        for scope, expected in ((Scope.write("/w/new"), ["root"]), (Scope.write("/w/c0/x"), ["root", "c0"])):
            assert [row.name for row in table.near(scope)] == expected
        assert [row.name for row in table.near_where(bound("/w/c0"))] == ["root", "c0"]
    assert len(table.near(Scope.write("/"))) == 401
    assert [row.name for row in table][:3] == ["root", "c0", "c1"]
    assert table.near(Scope.read("/w")) == table.near(Scope.write("/v")) == []


def test_nobody_below_an_unknown_parent():
    with pytest.raises(UnknownPodError):
        decide_birth(Table(), parent="x", name="a", incarnation="a", scope=Scope.read("/"), address="a", since=0.0)
