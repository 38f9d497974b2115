"""Facts as bytes: what is written can be read, and nothing else is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.errors import CorruptRegistryError, LimitExceededError, LocalProtocolError
from podkit.logic import Adopted, Freed, Reserved, Restart, Scope, UnknownFact, decode_fact, encode_fact, secret_digest
from podkit.protocol import Permission, ScopeRule

SCOPE = Scope(
    allow=[ScopeRule("/w", Permission.WRITE), ScopeRule("/r", Permission.READ, recursive=False)],
    deny=[ScopeRule("/w/.git", Permission.WRITE)],
)
FULL = Reserved(
    author="i1",
    name="a",
    tree="t-1",
    incarnation="i2",
    scope=SCOPE,
    grant=Scope.write("/w"),
    address="unix:///run/x/sock",
    parent="i1",
    run_dir="/run/ü\n",
    since=1.5,
    secret_sha256=secret_digest("s"),
    born_of="session",
)
FACTS = [
    FULL,
    Reserved(author="i", name="a", tree="t", incarnation="i", scope=SCOPE, grant=SCOPE, address="memory://a"),
    Adopted(author="i", incarnation="i"),
    Adopted(author="i", incarnation="i", pid=0, started=2**40, address="tcp://x:1"),
    Freed(author="witness", incarnation="i"),
    Restart(author="witness", sequence=7),
]


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_fact_survives_being_written_and_read(fact):
    line = encode_fact(fact)
    assert b"\n" not in line
    assert b"\t" not in line
    again = decode_fact(line)
    assert again == fact
    if isinstance(fact, Reserved):
        assert again.scope.to_data() == fact.scope.to_data()
        assert again.grant.to_data() == fact.grant.to_data()


def data(whole, /, **changes):
    whole = json.loads(encode_fact(whole)) | changes
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        '{"fact":"ä"}'.encode(),
        b"[" * 5000,
        b'{"fact":"freed","format":1,"author":"w","incarnation":"i","incarnation":"j"}',
        b'{"fact":"restart","format":1,"author":"w","sequence":NaN}',
        b'{"fact":"restart","format":1,"author":"w","sequence":1' + b"0" * 5000 + b"}",
        b"x" * (2**20 + 1),
        data(FULL, fact=...),
        data(FULL, fact=7),
        data(FULL, fact=""),
        data(FULL, fact="x" * 41),
        data(FULL, format=...),
        data(FULL, format=0),
        data(FULL, format=True),
        data(FULL, format="1"),
        data(FULL, more=1),
        data(FULL, author=...),
        data(FULL, author="../x"),
        data(FULL, name="A"),
        data(FULL, tree=None),
        data(FULL, incarnation=5),
        data(FULL, incarnation=""),
        data(FULL, parent="a/b"),
        data(FULL, scope=...),
        data(FULL, scope=[]),
        data(FULL, scope={"allow": [], "more": 1}),
        data(FULL, scope={"allow": [{"target": "w", "permission": "write", "recursive": True}], "deny": []}),
        data(FULL, grant={}),
        data(FULL, address=...),
        data(FULL, address="x" * 4097),
        data(FULL, run_dir="a\0"),
        data(FULL, run_dir="\ud800"),
        data(FULL, since=...),
        data(FULL, since=1),
        data(FULL, since=-1.0),
        data(FULL, since=1e300),
        data(FULL, since="1"),
        data(FULL, secret_sha256="0" * 63),
        data(FULL, secret_sha256="G" * 64),
        data(FACTS[3], pid=-1),
        data(FACTS[3], pid=1.0),
        data(FACTS[3], pid=True),
        data(FACTS[3], started=2**53 + 1),
        data(FACTS[5], sequence=...),
    ],
)
def test_what_is_not_a_fact_is_refused(line):
    with pytest.raises(CorruptRegistryError):
        decode_fact(line)


def test_a_newer_fact_is_known_to_be_unknown():
    assert decode_fact(data(FULL, fact="shared")) == UnknownFact("shared", 1)
    assert decode_fact(data(FULL, format=2)) == UnknownFact("reserved", 2)
    with pytest.raises(TypeError):
        encode_fact(UnknownFact("shared", 1))


@pytest.mark.parametrize(
    "fact",
    [
        Freed(author="", incarnation="i"),
        Freed(author="w", incarnation="../../x"),
        Adopted(author="i", incarnation="i", pid=-5),
        Adopted(author="i", incarnation="i", address=""),
        Restart(author="w", sequence=-1),
    ],
)
def test_what_could_not_be_read_again_is_not_written(fact):
    with pytest.raises(LocalProtocolError):
        encode_fact(fact)


def test_a_scope_of_too_many_rules_is_refused_by_size():
    many = Scope.write(*(f"/{'x' * 250}/{'y' * 250}/{n}" for n in range(3000)))
    with pytest.raises(LimitExceededError) as caught:
        encode_fact(Reserved(author="i", name="big", tree="t", incarnation="i", scope=many, grant=many, address="a"))
    assert caught.value.name == "big"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_bytes_are_a_fact_or_are_refused(line):
    try:
        fact = decode_fact(line)
    except CorruptRegistryError:
        return
    assert isinstance(fact, UnknownFact) or decode_fact(encode_fact(fact)) == fact


@given(st.sampled_from(FACTS), st.sampled_from(sorted(json.loads(encode_fact(FULL)))), JSON)
def test_a_fact_with_one_member_replaced_is_read_or_refused(fact, member, value):
    try:
        again = decode_fact(data(fact, **{member: value}))
    except CorruptRegistryError:
        return
    assert isinstance(again, UnknownFact) or decode_fact(encode_fact(again)) == again
