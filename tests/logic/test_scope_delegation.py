"""Delegation never widens, however deep: what a pod may use and may hand out lies within what every pod above it may hand out."""

import pytest

from podkit.errors import NotSubsetError, WriteConflictError
from podkit.logic import Scope, Table, decide_adopt, decide_birth, decide_free, decide_root, fold_all
from podkit.protocol import Permission, ScopeRule

READ, WRITE = Permission.READ, Permission.WRITE
PERMISSIONS = tuple(Permission)
DEEPEST = 8

pytestmark = pytest.mark.proves("I2", "F23", "F26")


def made(lists):
    def rule(drawn):
        return ScopeRule("/" + "/".join(drawn[0]), PERMISSIONS[drawn[1]], recursive=drawn[2])

    return Scope(allow=map(rule, lists[0]), deny=map(rule, lists[1]))


def root(scope, grant=None):
    return fold_all(
        Table(),
        decide_root(Table(), name="p1", tree="t-1", incarnation="i1", scope=scope, grant=grant, address="memory://p1", since=0.0),
    )


def birth(table, parent, number, scope, grant=None):
    facts = decide_birth(
        table,
        parent=f"i{parent}",
        name=f"p{number}",
        incarnation=f"i{number}",
        scope=scope,
        grant=grant,
        address=f"memory://p{number}",
        since=0.0,
    )
    table = fold_all(table, facts)
    table = fold_all(table, decide_adopt(table, name=f"p{number}", incarnation=f"i{number}"))
    assert table.refused == 0
    return table


def narrowed(oracle, universe, chance, lists):
    """Rules that are often within those of `lists`: as they are with denies more, or others altogether."""
    if chance.random() < 0.15:
        return oracle.draw_rules(chance, universe, 3)
    allow, deny = lists
    denies = [oracle.draw_rule(chance, universe) for _ in range(chance.randint(0, 1))]
    kept = len(deny) - (bool(deny) and chance.random() < 0.1)
    return chance.sample(allow, chance.randint(1, len(allow))), chance.sample(deny, kept) + denies


def test_no_chain_of_births_widens_what_was_granted_at_its_top(oracle, universe):
    born = refused = deepest = 0
    for number, chance in oracle.seeds("chains", 400):
        lists = oracle.draw_rules(chance, universe, 6)
        if number % 2:
            lists = [((), oracle.WRITE, True)], [oracle.draw_rule(chance, universe)]
        use = oracle.draw_rules(chance, universe, 3)
        table, chain = root(made(use), made(lists)), [(universe.held(*use), universe.held(*lists))]
        for _ in range(3 * DEEPEST):
            depth = len(chain)
            if depth == DEEPEST:
                break
            use, hand = narrowed(oracle, universe, chance, lists), narrowed(oracle, universe, chance, lists)
            asked = universe.held(*use), universe.held(*hand)
            lawful = all(one.within(chain[-1][1]) for one in asked)
            # Everybody above but the giver keeps what it did not hand on.
            kept = [chain[i][0].less(chain[i + 1][0]) for i in range(depth - 1)]
            exclusive = not any(one.meets(asked[0]) for one in kept)
            try:
                table = birth(table, depth, depth + 1, made(use), made(hand))
            except NotSubsetError:
                assert not lawful, number
                refused += 1
            except WriteConflictError:
                assert lawful, number
                assert not exclusive, number
            else:
                assert lawful, number
                assert exclusive, number
                chain.append(asked)
                lists = hand
                born += 1
        rows = [table[f"i{i + 1}"] for i in range(len(chain))]
        deepest += len(chain) == DEEPEST
        for i, row in enumerate(rows[1:], 1):
            for above in rows[:i]:
                assert row.scope <= above.grant, number
                assert row.grant <= above.grant, number
    assert born > 1_000
    assert refused > 200
    assert deepest > 20


GRANT = Scope(allow=[ScopeRule("/w", WRITE)], deny=[ScopeRule("/w/.git", WRITE), ScopeRule("/w/secret", READ)])


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_denies_are_inherited_down_to_any_depth(depth):
    table = root(GRANT)
    for number in range(2, depth + 1):
        table = birth(table, number - 1, number, GRANT)
    for scope in (Scope.write("/w"), Scope.write("/w/.git"), Scope.read("/w/secret/x"), Scope.read("/w")):
        with pytest.raises(NotSubsetError) as caught:
            birth(table, depth, depth + 1, scope)
        assert caught.value.explanation.rule in GRANT.deny
        with pytest.raises(NotSubsetError):
            birth(table, depth, depth + 1, Scope.read("/w/a"), scope)
    table = birth(table, depth, depth + 1, Scope(allow=[ScopeRule("/w/a", WRITE), ScopeRule("/w/.git", READ)]))
    assert table.effective(f"i{depth}").at("/w/a/x") is READ
    assert table.effective(f"i{depth}").at("/w/b") is WRITE
    assert table.effective(f"i{depth + 1}").at("/w/secret") is Permission.NONE


def test_who_only_reads_may_hand_out_write_through_any_depth_and_two_never_get_the_same():
    table = root(Scope.read("/w"), Scope.write("/w"))
    for number in range(2, 5):
        handed = f"/w/{'/'.join('abc'[: number - 1])}"
        table = birth(table, number - 1, number, Scope.read(handed), Scope.write(handed))
    table = birth(table, 4, 5, Scope.write("/w/a/b/c/d"))
    assert [table.effective(f"i{number}").at("/w/a/b/c/d") for number in range(1, 6)] == [READ] * 4 + [WRITE]
    for giver in range(1, 5):
        with pytest.raises(WriteConflictError) as caught:
            birth(table, giver, 6, Scope.write("/w/a/b/c/d/e"))
        assert caught.value.holder == "p5"
    with pytest.raises(NotSubsetError):
        birth(table, 3, 6, Scope.write("/w/a"))
    table = fold_all(table, decide_free(table, incarnation="i5", author="witness"))
    assert birth(table, 1, 6, Scope.write("/w/a/b/c/d/e")).effective("i6").at("/w/a/b/c/d/e") is WRITE


def test_to_use_is_not_to_hand_out():
    table = root(Scope.write("/w"), Scope.read("/w"))
    with pytest.raises(NotSubsetError):
        birth(table, 1, 2, Scope.write("/w/a"))
    with pytest.raises(NotSubsetError):
        birth(table, 1, 2, Scope.read("/w/a"), Scope.write("/w/a"))
    table = birth(table, 1, 2, Scope.read("/w/a"))
    assert table.effective("i1").at("/w/a") is WRITE


def test_a_child_whose_middle_died_keeps_the_limits_it_was_born_with():
    table = birth(birth(root(Scope.write("/w")), 1, 2, Scope.write("/w/a")), 2, 3, Scope.write("/w/a/b"))
    table = fold_all(table, decide_free(table, incarnation="i2", author="witness"))
    assert table["i3"].parent == "i1"
    with pytest.raises(NotSubsetError):
        birth(table, 3, 4, Scope.write("/w/a"))
    assert table.effective("i1").at("/w/a/x") is WRITE
    assert table.effective("i1").at("/w/a/b") is READ
