"""Strategies for wire values, made from the annotations of the classes."""

import string
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import attrs
import hypothesis.strategies as st
import pytest

from podkit import protocol
from podkit.protocol import Permission, ScopeRule, UnknownEntry, UnknownEvent, UnknownItem

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PATHS = st.lists(st.text(string.ascii_letters + " .-_☃", min_size=1, max_size=5).filter(lambda p: p not in (".", "..")), max_size=4)
RULES = st.builds(
    lambda parts, permission, recursive: ScopeRule("/" + "/".join(parts), permission, recursive=recursive),
    PATHS,
    st.sampled_from([Permission.READ, Permission.WRITE]),
    st.booleans(),
)
FOREIGN = st.text(string.ascii_lowercase, min_size=1, max_size=5).map(lambda s: "x_" + s)


def values(hint: Any, *, lax: bool) -> Any:
    """A strategy for the values of an annotation; `lax` makes unknown enum values too."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return JSON
    if hint is str:
        return TEXT
    if hint is bool:
        return st.booleans()
    if hint is ScopeRule:
        return RULES
    if origin is Annotated:
        return marked(args, lax=lax)
    if origin is tuple:
        return st.lists(values(args[0], lax=lax), max_size=3).map(tuple)
    if origin in (Union, types.UnionType):
        return st.one_of([values(arg, lax=lax) for arg in args])
    if hint is type(None):
        return st.none()
    if issubclass(hint, str):
        known = st.sampled_from(list(hint))
        return known | FOREIGN.map(hint) if lax else known
    return instances(hint, lax=lax)


def marked(args: tuple[Any, ...], *, lax: bool) -> Any:
    for mark in args[1:]:
        if type(mark).__name__ == "Range":
            return st.integers(mark.low, mark.high) | st.sampled_from([mark.low, mark.high])
        if type(mark).__name__ == "Uuid":
            return st.uuids().map(str)
    return values(args[0], lax=lax)


def instances(cls: Any, *, lax: bool) -> Any:
    """A strategy for values of a wire class."""
    if cls in (UnknownItem, UnknownEntry):
        return st.builds(lambda kind, data: cls(kind, data | {"kind": kind}), FOREIGN, st.dictionaries(TEXT, JSON, max_size=3))
    if cls is UnknownEvent:
        return st.builds(UnknownEvent, FOREIGN, JSON)
    hints = get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{field.name: values(hints[field.name], lax=lax) for field in attrs.fields(cls)})


METHODS = st.one_of([instances(cls, lax=False) for cls in get_args(protocol.Method)])
EVENTS = st.one_of([instances(cls, lax=True) for cls in get_args(protocol.Event)])
ENTRIES = st.one_of([instances(cls, lax=True) for cls in get_args(protocol.LogEntry)])
IDS = st.none() | st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=64)
COUNTS = st.none() | st.integers(0, 2**63 - 1)


@pytest.fixture(scope="session")
def wire():
    """The strategies, for tests (which cannot import from one another)."""
    return types.SimpleNamespace(
        methods=METHODS, events=EVENTS, entries=ENTRIES, ids=IDS, counts=COUNTS, json=JSON, text=TEXT, instances=instances
    )
