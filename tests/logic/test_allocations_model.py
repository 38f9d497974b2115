"""Random histories against a model that knows only rules and paths: nobody ever writes where another does."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from podkit.errors import PodkitError
from podkit.logic import (
    Adopted,
    Freed,
    Reserved,
    Scope,
    State,
    Table,
    decide_adopt,
    decide_birth,
    decide_free,
    decide_root,
    decode_fact,
    encode_fact,
    fold,
    fold_all,
    snapshot,
)
from podkit.protocol import Permission, ScopeRule

NAMES = ("a", "b")
PATHS = [
    "/",
    *(f"/{x}" for x in NAMES),
    *(f"/{x}/{y}" for x in NAMES for y in NAMES),
    *(f"/{x}/{y}/{z}" for x in NAMES for y in NAMES for z in NAMES),
]
FRESH = [*PATHS, *(path.rstrip("/") + "/new" for path in PATHS), *(path.rstrip("/") + "/new/er" for path in PATHS)]

rules = st.builds(
    ScopeRule,
    st.sampled_from(PATHS[:7]),
    st.sampled_from([Permission.READ, Permission.WRITE]),
    recursive=st.sampled_from([True, True, False]),
)
scopes = st.builds(
    lambda allow, deny: Scope(allow=allow, deny=deny), st.lists(rules, min_size=1, max_size=3), st.lists(rules, max_size=1)
)
operations = st.tuples(
    st.sampled_from(["root", "restore", "birth", "birth", "birth", "adopt", "free", "free root"]),
    st.integers(0, 7),
    scopes,
    st.none() | scopes,
)


def writes(scope, path):
    """The matching rules and nothing else."""

    def matches(rule):
        inside = path == rule.target or path.startswith(rule.target.rstrip("/") + "/")
        return inside and (rule.recursive or "/" not in path[len(rule.target) :].lstrip("/"))

    granted = any(matches(rule) and rule.permission is Permission.WRITE for rule in scope.allow)
    return granted and not any(matches(rule) for rule in scope.deny)


def writers(table, path):
    lent = {above.incarnation for row in table if writes(row.scope, path) for above in table.ancestors(row.incarnation)}
    return [row.incarnation for row in table if row.incarnation not in lent and writes(row.scope, path)]


def check_writers(table):
    for path in FRESH:
        found = writers(table, path)
        assert len(found) <= 1
        assert found == [row.incarnation for row in table if table.effective(row.incarnation).at(path) is Permission.WRITE]


def step(table, operation, number):
    kind, pick, scope, grant = operation
    rows = list(table)
    incarnation = f"i{number}"
    if kind in ("root", "restore"):
        more = {"grant": grant} if kind == "root" else {"born_of": "s", "takes_back": True, "grant": Scope.write("/")}
        return decide_root(
            table, name="root", tree=f"t{number}", incarnation=incarnation, scope=scope, address="a", since=0.0, **more
        )
    if not rows:
        return ()
    row = rows[pick % len(rows)]
    if kind == "birth":
        return decide_birth(
            table,
            parent=row.incarnation,
            name=f"p{number}",
            incarnation=incarnation,
            scope=scope,
            grant=grant,
            address="a",
            since=0.0,
            born_of=row.born_of,
        )
    if kind == "free root":
        row = table.roots()[0]
    if kind == "adopt":
        return decide_adopt(table, name=row.name, incarnation=row.incarnation)
    return decide_free(table, incarnation=row.incarnation, author="witness")


@settings(max_examples=250, deadline=None)
@given(st.lists(operations, max_size=14))
def test_at_most_one_pod_writes_a_path_whatever_happens(history):
    table, log = Table(), []
    for number, operation in enumerate(history):
        try:
            facts = step(table, operation, number)
        except PodkitError:
            continue
        log += [encode_fact(fact) for fact in facts]
        if operation[0] == "birth" and facts:  # most children live, so that trees grow deep
            facts = (*facts, Adopted(author=f"i{number}", incarnation=f"i{number}"))
            log.append(encode_fact(facts[-1]))
        table = fold_all(table, facts)
        assert table.refused == 0
        check_writers(table)
    for row in table:
        assert row.parent is None or row.grant <= table[row.parent].grant
        assert row.parent is None or row.scope <= table[row.parent].grant
    again = fold_all(Table(), map(decode_fact, log))
    assert list(again) == list(table)
    short = fold_all(table, snapshot(table, author="witness"))
    assert (short.refused, {row.incarnation: row for row in short}) == (0, {row.incarnation: row for row in table})


def test_however_often_a_root_is_restored_over_children_that_hand_out_meanwhile_a_path_has_one_writer():
    choose, everything = random.Random(7), Scope.write("/")
    kinds = ["restore", "birth", "birth", "free", "free root"]
    beyond = 0
    for _ in range(400):
        table = Table()
        for number in range(24):
            scope = Scope.write(*choose.sample(PATHS[1:], choose.randint(1, 2)))
            try:
                facts = step(table, (choose.choice(kinds), choose.randrange(8), scope, everything), number)
            except PodkitError:
                continue
            if facts and isinstance(facts[0], Reserved):
                facts = (facts[0], Adopted(author=f"i{number}", incarnation=f"i{number}"))
            table = fold_all(table, facts)
            beyond += sum(bool(table.beyond(row.incarnation)) for row in table)
            assert table.refused == 0
        check_writers(table)
        short = fold_all(table, snapshot(table, author="witness"))
        assert (short.refused, {row.incarnation: row for row in short}) == (0, {row.incarnation: row for row in table})
        for row in table:
            assert short.effective(row.incarnation) == table.effective(row.incarnation)
    assert beyond > 50


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=10), st.data())
def test_the_fold_keeps_the_law_against_facts_nobody_decided(history, data):
    table = Table()
    for number, (kind, pick, scope, grant) in enumerate(history):
        rows = [row.incarnation for row in table]
        who = rows[pick % len(rows)] if rows else "i0"
        if kind == "free":
            fact = Freed(author="w", incarnation=who)
        elif kind == "adopt":
            fact = Adopted(author=who, incarnation=who)
        else:
            parent = who if kind == "birth" else None
            author = data.draw(st.sampled_from([f"i{number}", who, "w"]))
            fact = Reserved(
                author=author,
                name=f"p{number}",
                tree="t",
                incarnation=f"i{number}",
                parent=parent,
                scope=scope,
                grant=grant or scope,
                address="a",
            )
        before = table
        table = fold(table, fact)
        assert table.sequence == before.sequence + 1
        if table.refused != before.refused:
            assert list(table) == list(before)
        elif isinstance(fact, Reserved):
            assert author == (f"i{number}" if fact.parent is None else fact.parent)
            assert fact.parent is None or before[fact.parent].state is State.LIVE
        assert all(len(writers(table, path)) <= 1 for path in FRESH)
