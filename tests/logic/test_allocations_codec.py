"""Facts as bytes: what is written can be read, and nothing else is."""

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.errors import CorruptRegistryError, LimitExceededError, LocalProtocolError, ScopeError
from podkit.logic import Adopted, Freed, Pin, Reserved, Restart, Scope, UnknownFact, decode_fact, encode_fact, secret_digest
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
    where=Scope.write("/8:1/w"),
    pins=(Pin("/w", 2049, 2**64 - 1), Pin("/r", 0, 0)),
)
FACTS = [
    FULL,
    Reserved(author="i", name="a", tree="t", incarnation="i", scope=SCOPE, grant=SCOPE, address="memory://a"),
    Reserved(
        author="i", name="a", tree="t", incarnation="i", scope=SCOPE, grant=SCOPE, address="a", born_of="s", inherits=("i2", "i3")
    ),
    Reserved(author="i", name="a", tree="t", incarnation="i", scope=Scope.none(), grant=SCOPE, address="a", outlived="i2"),
    Adopted(author="i", incarnation="i"),
    Adopted(author="i", incarnation="i", pid=0, started=2**40, address="tcp://x:1"),
    Freed(author="witness", incarnation="i"),
    Restart(author="witness", sequence=7),
]
PID = FACTS[-3]


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
        assert (again.where is None) == (fact.where is None)


def test_what_is_not_said_takes_no_room_and_a_line_of_an_earlier_time_is_read():
    plain = Reserved(author="i", name="a", tree="t", incarnation="i", scope=SCOPE, grant=SCOPE, address="a", since=1.0)
    said = {"fact", "format", "author", "name", "tree", "incarnation", "scope", "address", "since"}
    assert set(json.loads(encode_fact(plain))) == said
    assert json.loads(encode_fact(FULL))["pins"] == [["/w", 2049, 2**64 - 1], ["/r", 0, 0]]
    equal = Scope(allow=SCOPE.allow, deny=SCOPE.deny)
    assert encode_fact(attrs.evolve(plain, grant=equal)) == encode_fact(plain)
    assert "grant" in json.loads(encode_fact(attrs.evolve(plain, grant=Scope(allow=SCOPE.allow))))


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
        data(FULL, since=float(2**53) + 2),
        data(FULL, where={}),
        data(FULL, where="/w"),
        data(FULL, pins=[]),
        data(FULL, pins={}),
        data(FULL, pins=[["/w", 1]]),
        data(FULL, pins=[["/w", 1, 2, 3]]),
        data(FULL, pins=["/w1"]),
        data(FULL, pins=[["w", 1, 2]]),
        data(FULL, pins=[["/w", 1.0, 2]]),
        data(FULL, pins=[["/w", 1, -2]]),
        data(FULL, inherits=[]),
        data(FULL, inherits="ab"),
        data(FULL, inherits=["../x"]),
        data(FULL, inherits=[7]),
        data(FULL, outlived=""),
        data(FULL, outlived="a/b"),
        data(PID, pid=-1),
        data(PID, pid=1.0),
        data(PID, pid=True),
        data(PID, started=2**53 + 1),
        data(FACTS[-1], sequence=...),
        data(FACTS[-1], sequence=-1),
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
        attrs.evolve(FULL, born_of=""),
        attrs.evolve(FULL, run_dir="x" * 4097),
        attrs.evolve(FULL, name="../x"),
        attrs.evolve(FULL, since=float("nan")),
        attrs.evolve(FULL, since=float("inf")),
        attrs.evolve(FULL, secret_sha256="s"),
        attrs.evolve(FULL, inherits=("",)),
        attrs.evolve(FULL, outlived="/"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(fact):
    with pytest.raises(LocalProtocolError, match=r"not a fact to keep: .+"):
        encode_fact(fact)


@pytest.mark.parametrize("member", ["scope", "grant", "where"])
def test_a_derived_scope_is_not_written(member):
    with pytest.raises(ScopeError):
        encode_fact(attrs.evolve(FULL, **{member: SCOPE - SCOPE}))


def test_the_longest_of_everything_is_written_and_read():
    longest = attrs.evolve(
        FULL, address="x" * 4096, run_dir="􏿿" * 4096, since=float(2**53), inherits=("a" * 80,) * 1000, outlived="b" * 80
    )
    assert decode_fact(encode_fact(longest)) == longest
    counted = Adopted(author="i", incarnation="i", pid=2**53, started=0)
    assert decode_fact(encode_fact(counted)) == counted
    line = encode_fact(FULL)
    assert decode_fact(line + b" " * (2**20 - len(line))) == FULL
    with pytest.raises(CorruptRegistryError, match="longer"):
        decode_fact(line + b" " * (2**20 - len(line) + 1))
    assert decode_fact(data(FULL, fact="x" * 40)) == UnknownFact("x" * 40, 1)


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
