"""Facts as bytes and back: compact JSON on one line. Reading is strict, because what is read here gives authority."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from podkit.errors import CorruptRegistryError, InvalidNameError, LimitExceededError, LocalProtocolError, ScopeError
from podkit.logic._allocations import Pin, check_id
from podkit.logic._facts import Adopted, Fact, Freed, Reserved, Restart, UnknownFact
from podkit.logic._scope import Scope
from podkit.protocol import check_name

FORMAT = 1
MAX_FACT = 2**20
_MAX_TEXT = 4096
_MAX_INT = 2**53
_UNFIT = re.compile("[\\x00\ud800-\udfff]")


def encode_fact(fact: Fact) -> bytes:
    """One fact as one line without its end.

    Raises `LimitExceededError` for a scope with more rules than a line may carry, and `LocalProtocolError` for a fact that
    could not be read again: nothing may enter a log that would stop everybody who reads it.
    """
    data = _fact_data(fact)
    kind = type(fact).__name__.lower()
    try:
        _READERS[kind](_Fields(dict(data)))
    except (CorruptRegistryError, InvalidNameError, ScopeError) as error:
        raise LocalProtocolError(f"not a fact to keep: {getattr(error, 'reason', error)}") from error
    line = _TO_JSON.encode({"fact": kind, "format": FORMAT, **data}).encode()
    if len(line) > MAX_FACT:
        raise LimitExceededError(getattr(fact, "name", "?"), limit="bytes of scope rules", allowed=MAX_FACT)
    return line


def _fact_data(fact: Fact) -> dict[str, Any]:
    match fact:
        case Reserved():
            data = _reserved_data(fact)
        case Adopted():
            data = {"incarnation": fact.incarnation, "pid": fact.pid, "started": fact.started, "address": fact.address}
        case Freed():
            data = {"incarnation": fact.incarnation}
        case UnknownFact():
            raise TypeError("what a newer podkit wrote cannot be written again")
        case _:
            data = {"sequence": fact.sequence}
    return {"author": fact.author} | {name: value for name, value in data.items() if value is not None}


def _reserved_data(fact: Reserved) -> dict[str, Any]:
    scope, grant = fact.scope, fact.grant
    same = grant is scope or (grant.allow, grant.deny) == (scope.allow, scope.deny)
    return {
        "name": fact.name,
        "tree": fact.tree,
        "incarnation": fact.incarnation,
        "parent": fact.parent,
        "scope": scope,
        "grant": None if same else grant,
        "address": fact.address,
        "run_dir": fact.run_dir,
        "since": float(fact.since),
        "secret_sha256": fact.secret_sha256,
        "born_of": fact.born_of,
        "where": fact.where,
        "pins": [[pin.target, pin.device, pin.inode] for pin in fact.pins] or None,
        "inherits": list(fact.inherits) or None,
        "outlived": fact.outlived,
    }


_TO_JSON = json.JSONEncoder(separators=(",", ":"), default=Scope.to_data)


def decode_fact(line: bytes) -> Fact:
    """One fact from its bytes. Raises `CorruptRegistryError` for anything but a well-formed fact.

    A kind this version does not know, or a newer format of one it knows, is an `UnknownFact`.
    """
    data = _load(line)
    kind, fmt = data.pop("fact", None), data.pop("format", None)
    if not isinstance(kind, str) or not 0 < len(kind) <= 40:
        _bad("it has no kind")
    if type(fmt) is not int or fmt < 1:
        _bad("it has no format")
    read = _READERS.get(kind)
    if read is None or fmt > FORMAT:
        return UnknownFact(kind, fmt)
    try:
        fact = read(_Fields(data))
    except (InvalidNameError, ScopeError) as error:
        raise CorruptRegistryError("a fact", f"of kind {kind!r} is damaged: {error}") from error
    if data:
        _bad(f"of kind {kind!r} has members nobody knows: {sorted(data)}")
    return fact


def _load(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_FACT:
        _bad("it is longer than a fact may be")
    try:
        data = json.loads(line.decode("ascii"), object_pairs_hook=_once, parse_constant=_bad)
    except (ValueError, RecursionError) as error:
        raise CorruptRegistryError("a fact", f"is not one JSON object: {error}") from None
    if not isinstance(data, dict):
        _bad("it is not an object")
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    whole = dict(pairs)
    if len(whole) != len(pairs):
        _bad("it says something twice")
    return whole


def _bad(reason: str) -> NoReturn:
    raise CorruptRegistryError("a fact", reason)


class _Fields:
    """Takes members out of an object one by one, each checked for its kind."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def text(self, name: str) -> str:
        value = self.maybe_text(name)
        return value if value is not None else _bad(f"has no {name}")

    def maybe_text(self, name: str) -> str | None:
        value = self._data.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT or _UNFIT.search(value) is not None:
            _bad(f"the {name} is not a short text")
        return value

    def checked(self, name: str, check: Callable[[object], str]) -> str:
        return check(self.text(name))

    def maybe_id(self, name: str) -> str | None:
        value = self.maybe_text(name)
        return None if value is None else check_id(value)

    def maybe_count(self, name: str) -> int | None:
        value = self._data.pop(name, None)
        if value is not None and (type(value) is not int or not 0 <= value <= _MAX_INT):
            _bad(f"the {name} is not a count")
        return value

    def count(self, name: str) -> int:
        value = self.maybe_count(name)
        return value if value is not None else _bad(f"has no {name}")

    def seconds(self, name: str) -> float:
        value = self._data.pop(name, None)
        if type(value) is not float or not 0.0 <= value <= float(_MAX_INT):
            _bad(f"the {name} is not a time")
        return value

    def digest(self, name: str) -> str | None:
        value = self.maybe_text(name)
        if value is not None and (len(value) != 64 or value.strip("0123456789abcdef")):
            _bad(f"the {name} is not a SHA-256")
        return value

    def scope(self, name: str) -> Scope:
        scope = self.maybe_scope(name)
        return scope if scope is not None else _bad(f"has no {name}")

    def maybe_scope(self, name: str) -> Scope | None:
        value = self._data.pop(name, None)
        if value is None or isinstance(value, Scope):  # a scope is sound; JSON has none
            return value
        return Scope.from_data(value)

    def many(self, name: str) -> list[Any]:
        value = self._data.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list) or not value:
            _bad(f"the {name} are not a list of some")
        return value

    def pins(self, name: str) -> tuple[Pin, ...]:
        return tuple(Pin(*pin) if isinstance(pin, list) and len(pin) == 3 else _bad("a pin is no three") for pin in self.many(name))

    def ids(self, name: str) -> tuple[str, ...]:
        return tuple(map(check_id, self.many(name)))


def _read_reserved(fields: _Fields) -> Reserved:
    scope = fields.scope("scope")
    grant = fields.maybe_scope("grant")
    return Reserved(
        author=fields.checked("author", check_id),
        name=fields.checked("name", check_name),
        tree=fields.checked("tree", check_id),
        incarnation=fields.checked("incarnation", check_id),
        scope=scope,
        grant=scope if grant is None else grant,
        address=fields.text("address"),
        parent=fields.maybe_id("parent"),
        run_dir=fields.maybe_text("run_dir"),
        since=fields.seconds("since"),
        secret_sha256=fields.digest("secret_sha256"),
        born_of=fields.maybe_text("born_of"),
        where=fields.maybe_scope("where"),
        pins=fields.pins("pins"),
        inherits=fields.ids("inherits"),
        outlived=fields.maybe_id("outlived"),
    )


def _read_adopted(fields: _Fields) -> Adopted:
    return Adopted(
        author=fields.checked("author", check_id),
        incarnation=fields.checked("incarnation", check_id),
        pid=fields.maybe_count("pid"),
        started=fields.maybe_count("started"),
        address=fields.maybe_text("address"),
    )


def _read_freed(fields: _Fields) -> Freed:
    return Freed(author=fields.checked("author", check_id), incarnation=fields.checked("incarnation", check_id))


def _read_restart(fields: _Fields) -> Restart:
    return Restart(author=fields.checked("author", check_id), sequence=fields.count("sequence"))


_READERS: dict[str, Callable[[_Fields], Fact]] = {
    "reserved": _read_reserved,
    "adopted": _read_adopted,
    "freed": _read_freed,
    "restart": _read_restart,
}
