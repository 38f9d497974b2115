"""What may be asked of the table: births, roots, adoptions, ends, and every refusal."""

import pytest

from podkit.errors import (
    AdoptionRefusedError,
    CorruptRegistryError,
    DuplicatePodError,
    InvalidNameError,
    InvalidRuleError,
    LimitExceededError,
    NotSubsetError,
    PodkitError,
    RegistryError,
    ScopeError,
    StaleIncarnationError,
    UnknownPodError,
    WriteConflictError,
)
from podkit.logic import (
    Scope,
    State,
    Table,
    UnknownFact,
    check_lease_key,
    decide_adopt,
    decide_birth,
    decide_free,
    decide_root,
    fold,
    fold_all,
    lease_key,
    secret_digest,
)
from podkit.logic._allocations import MAX_NUMBER, Pin
from podkit.protocol import Permission, ScopeRule


def root(table, name="root", *, incarnation=None, tree=None, scope=None, **more):
    asked = {
        "name": name,
        "tree": tree or f"{name}-1",
        "incarnation": incarnation or f"i-{name}",
        "scope": scope or Scope.write("/w"),
    }
    return fold_all(table, decide_root(table, address=f"memory://{name}", since=1.0, **asked, **more))


def birth(table, name, parent, scope, *, incarnation=None, live=True, **more):
    incarnation = incarnation or f"i-{name}"
    facts = decide_birth(
        table, parent=parent, name=name, incarnation=incarnation, scope=scope, address=f"memory://{name}", since=2.0, **more
    )
    table = fold_all(table, facts)
    if live:
        table = fold_all(table, decide_adopt(table, name=name, incarnation=incarnation))
    assert table.refused == 0
    return table


def free(table, incarnation, author="witness"):
    return fold_all(table, decide_free(table, incarnation=incarnation, author=author))


def test_a_root_holds_what_it_asked_for():
    table = root(Table(), pid=7, started=9)
    row = table["i-root"]
    assert (row.name, row.tree, row.parent, row.parent_name) == ("root", "root-1", None, None)
    assert (row.state, row.pid, row.started, row.since) == (State.LIVE, 7, 9, 1.0)
    assert row.grant == row.scope
    assert table.effective("i-root").at("/w/x") is Permission.WRITE
    assert row.key == lease_key("root", "i-root") == check_lease_key("root.i-root") == "root.i-root"


def test_a_root_may_be_reserved_first_and_adopt_with_the_address_it_found():
    table = root(Table(), live=False)
    assert table["i-root"].state is State.RESERVED
    table = fold_all(table, decide_adopt(table, name="root", incarnation="i-root", address="tcp://127.0.0.1:4711"))
    assert (table["i-root"].state, table["i-root"].address) == (State.LIVE, "tcp://127.0.0.1:4711")


def test_what_a_child_writes_leaves_its_parent_and_comes_back():
    before = root(Table())
    lent = birth(before, "notes", "i-root", Scope.write("/w/notes"))
    assert lent.effective("i-root").at("/w/notes/x") is Permission.READ
    assert lent.effective("i-root").at("/w/other") is Permission.WRITE
    assert lent.effective("i-notes").at("/w/notes/x") is Permission.WRITE
    assert lent.effective("i-root").explain("/w/notes/x").holder == "notes"
    back = free(lent, "i-notes")
    assert back.effective("i-root") == before.effective("i-root")
    assert before.children("i-root") == ()


def test_a_second_pod_of_the_same_name_in_a_tree_is_refused():
    table = birth(root(Table()), "a", "i-root", Scope.read("/w"))
    with pytest.raises(DuplicatePodError) as caught:
        birth(table, "a", "i-root", Scope.read("/w"), incarnation="other")
    assert (caught.value.name, caught.value.incarnation) == ("a", "i-a")
    with pytest.raises(DuplicatePodError):
        birth(table, "root", "i-root", Scope.read("/w"), incarnation="other")


def test_an_incarnation_is_there_once_whatever_the_name():
    with pytest.raises(DuplicatePodError) as caught:
        root(root(Table()), "other", incarnation="i-root", scope=Scope.write("/v"))
    assert caught.value.holder == "root-1/root"


def test_two_trees_may_have_pods_of_the_same_name():
    table = root(root(Table(), tree="t-1", incarnation="one"), tree="t-2", incarnation="two", scope=Scope.write("/v"))
    assert [row.tree for row in table] == ["t-1", "t-2"]
    assert table.by_name("t-2", "root") == table["two"]
    assert table.by_name("t-3", "root") is None


def test_a_root_may_not_write_where_any_pod_of_another_tree_writes():
    table = birth(root(Table()), "notes", "i-root", Scope.write("/w/notes"))
    with pytest.raises(WriteConflictError) as caught:
        root(table, "second", scope=Scope.write("/w/notes/deep"))
    assert (caught.value.path, caught.value.holder, caught.value.incarnation) == ("/w/notes/deep", "root-1/notes", "i-notes")
    with pytest.raises(WriteConflictError) as caught:
        root(table, "second", scope=Scope.write("/"))
    assert caught.value.holder == "root-1/root"


def test_reading_never_conflicts():
    table = root(root(Table()), "second", scope=Scope.read("/"))
    table = birth(table, "a", "i-root", Scope.read("/w"))
    table = birth(table, "b", "i-root", Scope.read("/w"))
    assert len(table) == 4


def test_a_path_that_a_sibling_holds_is_refused_with_the_deepest_holder():
    table = birth(root(Table()), "a", "i-root", Scope.write("/w/a"))
    table = birth(table, "deep", "i-a", Scope.write("/w/a/deep"))
    with pytest.raises(WriteConflictError) as caught:
        birth(table, "b", "i-root", Scope.write("/w/a/deep/x"))
    assert (caught.value.holder, caught.value.incarnation) == ("deep", "i-deep")
    with pytest.raises(WriteConflictError) as caught:
        birth(table, "b", "i-root", Scope.write("/w/a/other"))
    assert caught.value.holder == "a"


def test_a_child_gets_at_most_its_parents_grant():
    table = root(Table(), scope=Scope.write("/w"), grant=Scope.write("/w/part"))
    with pytest.raises(NotSubsetError) as caught:
        birth(table, "a", "i-root", Scope.write("/w/x"))
    assert (caught.value.path, caught.value.asked) == ("/w/x", Permission.WRITE)
    with pytest.raises(NotSubsetError):
        birth(table, "a", "i-root", Scope.write("/w/part/a"), grant=Scope.write("/w"))
    birth(table, "a", "i-root", Scope.write("/w/part/a"), grant=Scope.write("/w/part"))


def test_a_coordinator_may_hand_out_what_it_does_not_use():
    table = root(Table(), scope=Scope.read("/w"), grant=Scope.write("/w"))
    table = birth(table, "a", "i-root", Scope.write("/w/a"))
    table = root(table, "second", scope=Scope.write("/w/b"))
    with pytest.raises(WriteConflictError) as caught:
        birth(table, "b", "i-root", Scope.write("/w/b"))
    assert caught.value.holder == "second-1/second"


def test_a_parents_denies_bind_its_children():
    deny = ScopeRule("/w/.git", Permission.WRITE)
    table = root(Table(), scope=Scope(allow=[ScopeRule("/w", Permission.WRITE)], deny=[deny]))
    with pytest.raises(NotSubsetError) as caught:
        birth(table, "a", "i-root", Scope.write("/w/.git/x"))
    assert caught.value.held is Permission.READ


def test_what_a_grandparent_uses_is_not_its_grandchilds_to_take():
    table = root(Table())
    table = birth(table, "a", "i-root", Scope.write("/w/a"), grant=Scope.write("/w"))
    with pytest.raises(WriteConflictError) as caught:
        birth(table, "b", "i-a", Scope.write("/w/b"))
    assert caught.value.holder == "root"


def test_a_parent_that_is_not_there_has_no_children():
    with pytest.raises(UnknownPodError):
        birth(Table(), "a", "i-root", Scope.write("/w"))
    table = root(Table())
    with pytest.raises(StaleIncarnationError) as caught:
        birth(table, "a", "i-older", Scope.write("/w"), parent_name="root")
    assert (caught.value.name, caught.value.incarnation) == ("root", "i-older")
    with pytest.raises(StaleIncarnationError):
        birth(table, "a", "i-root", Scope.write("/w"), parent_name="else")


def test_a_pod_that_is_only_reserved_has_no_children():
    table = birth(root(Table()), "a", "i-root", Scope.write("/w/a"), live=False)
    with pytest.raises(RegistryError, match="not adopted"):
        birth(table, "b", "i-a", Scope.write("/w/a/b"))


@pytest.mark.parametrize("name", ["", "A", ".x", "a/b", "x" * 64, "-a", "ä", None])
def test_what_is_not_a_name_is_refused_before_anything_else(name):
    table = root(Table())
    with pytest.raises(InvalidNameError):
        decide_birth(table, parent="i-root", name=name, incarnation="x", scope=Scope.write("/w"), address="a", since=0)
    with pytest.raises(InvalidNameError):
        decide_root(table, name=name, tree="t", incarnation="x", scope=Scope.write("/v"), address="a", since=0)


@pytest.mark.parametrize("bad", ["", "../x", "A", "a b", "x" * 81, None])
def test_ids_are_held_to_the_rule_of_names(bad):
    said = "an id is 1 to 80 characters of a-z, 0-9, _ and -, and starts with a letter or digit$"
    with pytest.raises(InvalidNameError, match=said):
        decide_root(Table(), name="a", tree="t", incarnation=bad, scope=Scope.write("/v"), address="a", since=0)
    with pytest.raises(InvalidNameError):
        decide_root(Table(), name="a", tree=bad, incarnation="x", scope=Scope.write("/v"), address="a", since=0)
    with pytest.raises(InvalidNameError):
        decide_free(root(Table()), incarnation="i-root", author=bad)


@pytest.mark.parametrize("number", [-1, MAX_NUMBER + 1, 1.0, True, "1"])
@pytest.mark.parametrize("field", ["device", "inode"])
def test_a_pin_is_made_of_numbers_of_the_file_system(field, number):
    assert Pin("/w", device=0, inode=MAX_NUMBER).inode == MAX_NUMBER
    with pytest.raises(InvalidRuleError, match=rf"'/w': the {field} of a pin is a number of the file system$"):
        Pin("/w", **{"device": 1, "inode": 1, field: number})


@pytest.mark.parametrize("key", ["", "a", "a.", ".b", "a.b.c", "a/b.c", "../a.b", 7])
def test_what_is_not_a_leases_key_is_refused(key):
    with pytest.raises(InvalidNameError):
        check_lease_key(key)


def told(asked):
    """What whoever asks is told: the text of the error."""
    with pytest.raises(PodkitError) as caught:
        asked()
    return str(caught.value)


def test_every_refusal_is_a_sentence():
    secret = secret_digest("s" * 32)
    table = birth(root(Table()), "a", "i-root", Scope.write("/w/a"), live=False, secret_sha256=secret)
    newer = fold(table, UnknownFact("shared", 3))
    adopted = fold_all(table, decide_adopt(table, name="a", incarnation="i-a", secret="s" * 32))
    said = {
        told(lambda: birth(table, "b", "i-a", Scope.write("/w/a/b"))): (
            "pod `a` is reserved and not adopted yet, so it has no children"
        ),
        told(lambda: decide_adopt(table, name="b", incarnation="i-a")): "cannot become pod `b`: there is no such reservation",
        told(lambda: decide_adopt(table, name="a", incarnation="i-a", secret="t")): (
            "cannot become pod `a`: that is not the secret of its birth"
        ),
        told(lambda: decide_adopt(adopted, name="a", incarnation="i-a", secret="s" * 32)): (
            "cannot become pod `a`: it was adopted before"
        ),
        told(lambda: root(newer, "second", scope=Scope.write("/v"))): f"the registry: {newer.foreign}",
        told(lambda: root(table, "second", scope=Scope.write("/v") - Scope.write("/v/x"))): (
            "only a scope of rules can be held; a derived scope has none of its own"
        ),
        told(lambda: birth(table, "b", "i-root", Scope.read("/w"), max_depth=1)): (
            "pod `b`: over the limit of 1 generations of pods"
        ),
        told(lambda: birth(table, "b", "i-root", Scope.read("/w"), max_rows=2)): "pod `b`: over the limit of 2 pods",
    }
    assert list(said) == list(said.values())


def test_a_derived_scope_cannot_be_held():
    with pytest.raises(ScopeError):
        root(Table(), scope=Scope.write("/w") - Scope.write("/w/x"))
    with pytest.raises(ScopeError):
        root(Table(), grant=Scope.write("/w") & Scope.write("/w/x"))


def test_trees_have_a_bounded_depth():
    table = root(Table())
    for n in range(2, 9):
        table = birth(table, f"d{n}", "i-root" if n == 2 else f"i-d{n - 1}", Scope.read("/w"))
    with pytest.raises(LimitExceededError) as caught:
        birth(table, "d9", "i-d8", Scope.read("/w"))
    assert caught.value.allowed == 8
    with pytest.raises(LimitExceededError):
        birth(root(Table()), "a", "i-root", Scope.read("/w"), max_depth=1)


def test_the_number_of_pods_is_bounded():
    table = root(Table())
    for asking in (
        lambda: root(table, "b", scope=Scope.read("/"), max_rows=1),
        lambda: birth(table, "b", "i-root", Scope.read("/w"), max_rows=1),
    ):
        with pytest.raises(LimitExceededError) as caught:
            asking()
        assert (caught.value.limit, caught.value.allowed) == ("pods", 1)
    birth(table, "b", "i-root", Scope.read("/w"), max_rows=2)


def test_a_row_is_adopted_once_and_with_its_secret():
    table = birth(root(Table()), "a", "i-root", Scope.write("/w/a"), live=False, secret_sha256=secret_digest("open"))
    for secret in (None, "", "wrong", secret_digest("open")):
        with pytest.raises(AdoptionRefusedError, match="secret"):
            decide_adopt(table, name="a", incarnation="i-a", secret=secret)
    for name, incarnation in (("a", "i-root"), ("b", "i-a"), ("a", "i-older")):
        with pytest.raises(AdoptionRefusedError, match="no such"):
            decide_adopt(table, name=name, incarnation=incarnation, secret="open")
    table = fold_all(table, decide_adopt(table, name="a", incarnation="i-a", secret="open", pid=5, started=6))
    assert (table["i-a"].state, table["i-a"].pid, table["i-a"].started) == (State.LIVE, 5, 6)
    with pytest.raises(AdoptionRefusedError, match="before"):
        decide_adopt(table, name="a", incarnation="i-a", secret="open")


def test_a_secret_is_in_no_repr():
    table = birth(root(Table()), "a", "i-root", Scope.write("/w/a"), live=False, secret_sha256=secret_digest("open"))
    assert secret_digest("open") not in repr(table["i-a"]) + repr(table)


def test_ending_a_row_that_is_gone_is_harmless():
    assert decide_free(Table(), incarnation="i-root", author="witness") == ()
    assert len(free(root(Table()), "i-root")) == 0


def test_nothing_is_granted_where_a_newer_podkit_wrote():
    table = fold(root(Table()), UnknownFact("shared", 3))
    for asking in (
        lambda: root(table, "b", scope=Scope.write("/v")),
        lambda: birth(table, "b", "i-root", Scope.write("/w/b")),
        lambda: decide_adopt(table, name="root", incarnation="i-root"),
    ):
        with pytest.raises(CorruptRegistryError, match="newer"):
            asking()
    assert len(free(table, "i-root")) == 0


def test_a_decision_made_twice_is_the_same():
    table = root(Table())
    asked = {"name": "a", "incarnation": "i", "scope": Scope.write("/w/a"), "address": "memory://a", "since": 1.0}
    assert decide_birth(table, parent="i-root", **asked) == decide_birth(table, parent="i-root", **asked)


def test_a_common_path_is_one_that_both_write():
    one = Scope(allow=[ScopeRule("/w", Permission.WRITE)], deny=[ScopeRule("/w/x", Permission.WRITE)])
    path = one.common_write(Scope.write("/w/x", "/w/y"))
    assert path is not None
    assert one.at(path) is Scope.write("/w/x", "/w/y").at(path) is Permission.WRITE
    assert one.common_write(Scope.write("/w/x")) is None


def test_a_scope_denied_at_its_own_target_conflicts_where_it_really_writes():
    hole = ScopeRule("/w", Permission.WRITE, recursive=False)
    odd = Scope(allow=[ScopeRule("/w", Permission.WRITE)], deny=[hole])
    with pytest.raises(WriteConflictError) as caught:
        root(root(Table(), scope=odd), "second", scope=Scope.write("/w/a/b"))
    assert odd.at(caught.value.path) is Permission.WRITE
    root(root(Table(), scope=odd), "second", scope=Scope(allow=[hole]))
