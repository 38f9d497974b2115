"""The table as it follows from the facts, and facts that break a law."""

import attrs
import pytest

from podkit.logic import (
    Adopted,
    Freed,
    Reserved,
    Restart,
    Scope,
    State,
    Table,
    UnknownFact,
    changes,
    fold,
    fold_all,
    snapshot,
)
from podkit.protocol import Permission


def reserved(name, parent=None, scope="/w", **more):
    fields = {
        "author": parent or f"i-{name}",
        "name": name,
        "tree": "t",
        "incarnation": f"i-{name}",
        "parent": parent,
        "scope": Scope.write(scope),
        "grant": Scope.write(scope),
        "address": f"memory://{name}",
    }
    return Reserved(**(fields | more))


def adopted(name, **more):
    return Adopted(**({"author": f"i-{name}", "incarnation": f"i-{name}"} | more))


def live(name, parent=None, scope="/w", **more):
    return (reserved(name, parent, scope, **more), adopted(name))


ROOT = fold_all(Table(), live("root"))
CHAIN = fold_all(ROOT, [*live("a", "i-root", "/w/a"), *live("b", "i-a", "/w/a/b"), *live("c", "i-b", "/w/a/b/c")])


@pytest.mark.parametrize(
    "fact",
    [
        reserved("a", "i-root", "/w/a", author="i-a"),  # a child that takes by itself
        reserved("a", "i-root", "/w/a", author="witness"),
        reserved("a", "i-none", "/w/a"),
        reserved("a", "i-root", "/v"),  # beyond the parent's grant
        reserved("a", "i-root", "/v", grant=Scope.write("/w/a")),
        reserved("a", "i-root", "/w/a", grant=Scope.write("/")),
        reserved("a", "i-root", "/w/a", tree="else"),
        reserved("root", "i-root", "/w/a", incarnation="new"),  # its name is taken
        reserved("x", "i-root", "/w/a", incarnation="i-root"),  # its incarnation is taken
        reserved("other", None, "/w/x", tree="t2"),  # somebody writes there
        reserved("other", None, "/v", author="i-root", tree="t2"),  # a root that somebody else makes
        adopted("root"),  # a second time
        adopted("none"),
        Freed(author="witness", incarnation="i-none"),
        Restart(author="witness", sequence=2),  # a number that is past
    ],
)
def test_a_fact_that_breaks_a_law_changes_nothing_and_is_counted(fact):
    after = fold(ROOT, fact)
    assert list(after) == list(ROOT)
    assert (after.refused, after.sequence) == (1, ROOT.sequence + 1)
    assert after.effective("i-root") == ROOT.effective("i-root")


def test_only_the_row_itself_adopts_it():
    table = fold(ROOT, reserved("a", "i-root", "/w/a"))
    assert fold(table, adopted("a", author="i-root")).refused == 1
    assert fold(table, adopted("a", author="witness")).refused == 1
    assert fold(table, adopted("a"))["i-a"].state is State.LIVE


def test_a_reserved_row_gives_nothing_away():
    table = fold(ROOT, reserved("a", "i-root", "/w/a"))
    assert fold(table, reserved("b", "i-a", "/w/a/b")).refused == 1


def test_a_fact_of_an_older_incarnation_does_not_touch_its_successor():
    table = fold(ROOT, Freed(author="witness", incarnation="i-root"))
    table = fold_all(table, live("root", incarnation="new", author="new")[:1])
    assert fold(table, Freed(author="i-root", incarnation="i-root")).refused == 1
    assert "new" in fold(table, Freed(author="i-root", incarnation="i-root"))


def test_when_the_middle_dies_its_children_are_its_parents():
    table = fold(CHAIN, Freed(author="witness", incarnation="i-a"))
    assert [row.name for row in table.children("i-root")] == ["b"]
    assert (table["i-b"].parent, table["i-b"].parent_name) == ("i-root", "root")
    assert table.effective("i-root").at("/w/a/x") is Permission.WRITE
    assert table.effective("i-root").at("/w/a/b/x") is Permission.READ
    assert table.effective("i-root").explain("/w/a/b/x").holder == "b"
    table = fold(table, Freed(author="witness", incarnation="i-b"))
    assert [row.name for row in table.children("i-root")] == ["c"]
    table = fold(table, Freed(author="witness", incarnation="i-c"))
    assert table.effective("i-root") == ROOT.effective("i-root")


def test_when_a_root_dies_its_children_stay_without_a_parent():
    table = fold(
        fold_all(Table(), [*live("root"), *live("a", "i-root", "/w/a", born_of="session")]), Freed(author="x", incarnation="i-root")
    )
    assert (table["i-a"].parent, table["i-a"].parent_name, table["i-a"].born_of) == (None, None, "session")
    assert table.roots() == (table["i-a"],)
    assert fold(table, reserved("other", None, "/w/a/x", tree="t2")).refused == 1
    assert fold(table, reserved("other", None, "/w/b", tree="t2")).refused == 0


def test_the_tree_can_be_asked_up_and_down():
    table = fold_all(CHAIN, live("d", "i-a", "/w/a/d"))
    names = [row.name for row in table.descendants("i-root")]
    assert sorted(names) == ["a", "b", "c", "d"]
    assert names.index("c") < names.index("b") < names.index("a")
    assert names.index("d") < names.index("a")
    assert [row.name for row in table.ancestors("i-c")] == ["b", "a", "root"]
    assert [table.depth(f"i-{name}") for name in ("root", "a", "b", "c")] == [1, 2, 3, 4]
    assert table.ancestors("none") == table.children("none") == table.descendants("none") == ()
    assert table.get("none") is table.get(None) is None


def test_a_pod_is_called_by_its_name_within_its_tree_only():
    row = CHAIN["i-a"]
    assert CHAIN.label(row, seen_from="t") == "a"
    assert CHAIN.label(row, seen_from="t2") == CHAIN.label(row) == "t/a"


def test_rows_are_found_by_name_and_by_tree_and_name():
    table = fold_all(CHAIN, live("a", None, "/v", tree="t2", incarnation="i-a2", author="i-a2")[:1])
    named = table.named()
    assert set(named) == {"root", "t/a", "t2/a", "b", "c"}
    assert len(named) == 5
    assert named["t/b"] == named["b"] == table["i-b"]
    assert named["t2/a"] == table["i-a2"]
    assert "a" not in named
    assert "t/a" in repr(named)


def test_effective_of_nobody_is_a_key_error():
    with pytest.raises(KeyError):
        Table().effective("none")


def test_an_unknown_fact_makes_the_table_foreign_for_good():
    table = fold(ROOT, UnknownFact("shared", 2))
    assert "shared" in table.foreign
    assert "shared" in fold_all(table, [UnknownFact("later", 9), *live("a", "i-root", "/w/a")]).foreign
    assert snapshot(table, author="w") == ()
    assert fold(table, Restart(author="w", sequence=99)).foreign is not None


def test_a_snapshot_says_the_same_in_fewer_facts():
    table = fold(fold(CHAIN, Freed(author="w", incarnation="i-a")), reserved("later", "i-root", "/w/z"))
    facts = snapshot(table, author="w")
    again = fold_all(table, facts)
    assert facts[0] == Restart(author="w", sequence=table.sequence + 1)
    assert list(again) == [table[i] for i in ("i-root", "i-b", "i-c", "i-later")]
    assert (again.refused, again.sequence) == (0, table.sequence + len(facts))
    assert fold_all(Table(), facts).sequence == again.sequence
    for row in table:
        assert again.effective(row.incarnation) == table.effective(row.incarnation)


def test_the_difference_of_two_tables_leads_from_one_to_the_other():
    before = fold(CHAIN, reserved("late", "i-root", "/w/late"))
    steps = [
        Freed(author="w", incarnation="i-c"),
        Freed(author="w", incarnation="i-b"),
        adopted("late"),
        *live("n", "i-a", "/w/a/n"),
    ]
    after = fold_all(before, steps)
    assert set(changes(before, after, author="w")) == set(steps)
    assert {row.incarnation: row for row in fold_all(before, changes(before, after, author="w"))} == {
        row.incarnation: row for row in after
    }
    assert changes(after, after, author="w") == ()


def test_tables_are_values():
    before = [attrs.asdict(row, recurse=False) for row in CHAIN]
    fold(CHAIN, Freed(author="w", incarnation="i-a"))
    fold(CHAIN, reserved("x", "i-root", "/w/x"))
    assert [attrs.asdict(row, recurse=False) for row in CHAIN] == before
    assert "4 rows" in repr(CHAIN)
