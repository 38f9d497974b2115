"""An order is checked before anything is done with it: where it is made for what no program can be given, in the ward for all."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit._os._kernel._order import LIMIT, OrderError, read_order
from podkit._os._wards import Order

GOOD = json.loads(Order(argv=["x"], env={"A": "b"}, cwd="/").to_bytes())
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
PATHS = TEXTS.map(lambda text: f"/{text}")
PINS = st.none() | st.tuples(st.integers(0, 2**64), st.integers(0, 2**64))
ORDERS = st.builds(
    Order,
    argv=st.lists(TEXTS, max_size=3).map(lambda rest: ["x", *rest]),
    env=st.dictionaries(TEXTS.filter(lambda name: name and "=" not in name), TEXTS, max_size=3),
    cwd=PATHS,
    level=st.sampled_from(["advisory", "kernel", "strict"]),
    rules=st.lists(st.tuples(PATHS, st.sampled_from(["read", "write", "edit"]), PINS), max_size=3),
    mounts=st.lists(st.tuples(PATHS, st.sampled_from(["ro", "rw", "hidden"])), max_size=3),
    binds=st.lists(st.tuples(PATHS, st.booleans()), max_size=3),
    unix_sockets=st.booleans(),
    network=st.booleans(),
    namespaces=st.booleans(),
)


@given(ORDERS)
def test_an_order_is_read_as_it_was_given(order):
    read = read_order(order.to_bytes())
    assert read["argv"] == list(order.argv)
    assert read["env"] == dict(order.env)
    assert [tuple(row[:2]) for row in read["rules"]] == [row[:2] for row in order.rules]
    assert [row[2] and tuple(row[2]) for row in read["rules"]] == [row[2] for row in order.rules]
    assert [tuple(row) for row in read["mounts"]] == list(order.mounts)
    assert [tuple(row) for row in read["binds"]] == list(order.binds)
    for name in ("cwd", "level", "unix_sockets", "network", "namespaces"):
        assert read[name] == getattr(order, name)


BAD = [
    {"argv": []},
    {"argv": "x"},
    {"argv": [1]},
    {"argv": [""]},
    {"argv": ["x", "a\0b"]},
    {"env": []},
    {"env": {"A": 1}},
    {"env": {"": "x"}},
    {"env": {"A=B": "x"}},
    {"env": {"A\0": "x"}},
    {"env": {"A": "\0"}},
    {"cwd": "relative"},
    {"cwd": ""},
    {"cwd": None},
    {"cwd": "/\0"},
    {"level": "none"},
    {"level": ["kernel"]},
    {"rules": {}},
    {"rules": ["/x"]},
    {"rules": [["/x", "read"]]},
    {"rules": [["x", "read", None]]},
    {"rules": [["/x", "exec", None]]},
    {"rules": [["/x", ["read"], None]]},
    {"rules": [["/x", "read", [1]]]},
    {"rules": [["/x", "read", [1, -1]]]},
    {"rules": [["/x", "read", [True, 1]]]},
    {"rules": [["/x", "read", "1:2"]]},
    {"rules": [["/x\0", "read", None]]},
    {"mounts": [["/x", "rx"]]},
    {"mounts": [["x", "ro"]]},
    {"mounts": [["/x", "ro", 1]]},
    {"mounts": None},
    {"binds": [["/x", 1]]},
    {"binds": [["x", True]]},
    {"unix_sockets": 1},
    {"network": None},
    {"namespaces": "true"},
    {"more": 1},
]


@pytest.mark.parametrize("change", BAD, ids=json.dumps)
def test_what_is_not_quite_an_order_is_refused(change):
    with pytest.raises(OrderError):
        read_order(json.dumps(GOOD | change).encode())


@pytest.mark.parametrize("member", sorted(GOOD))
def test_every_member_has_to_be_there_once(member):
    short = {name: value for name, value in GOOD.items() if name != member}
    twice = json.dumps(GOOD)[:-1] + f', "{member}": {json.dumps(GOOD[member])}}}'
    for data in (json.dumps(short), twice):
        with pytest.raises(OrderError):
            read_order(data.encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"argv": NaN}', b" " * (LIMIT + 1), json.dumps(GOOD).encode("utf-16")],
    ids=lambda data: repr(data[:8]),
)
def test_bytes_that_are_no_order_are_refused(data):
    with pytest.raises(OrderError):
        read_order(data)


def test_a_constant_that_json_does_not_have_is_refused():
    text = json.dumps(GOOD | {"rules": [["/x", "read", [1, 2]]]}).replace("[1, 2]", "[1, Infinity]")
    with pytest.raises(OrderError):
        read_order(text.encode())


@given(st.binary(max_size=64))
def test_no_bytes_do_anything_but_be_refused(data):
    with pytest.raises(OrderError):
        read_order(data)


def test_paths_are_checked_before_they_are_sent():
    for rest in ({"cwd": "x"}, {"rules": [("x", "read", None)]}, {"mounts": [("/\0", "ro")]}, {"binds": [("", True)]}):
        with pytest.raises(ValueError, match="absolute"):
            Order(**{"argv": ["x"], "env": {}, "cwd": "/", **rest}).to_bytes()
