"""What a wire class looks like as JSON, derived from its annotations: reading, writing and describing go by the same shapes.

A shape reads plain JSON values into wire values (`read`) and writes them back (`write`). Both raise `MismatchError`. Unknown
members are ignored.
"""

import re
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import attrs

from podkit.errors import InvalidRuleError, shown

from ._enums import OpenEnum
from ._json import MismatchError, check_json
from ._rules import Permission, ScopeRule

_UUID = re.compile(
    r"(?:urn:uuid:)?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})"
    r"|([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})"
)
_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "an array",
    dict: "an object",
}


def _wanted(what: str, data: object) -> MismatchError:
    return MismatchError(f"expected {what}, got {_KINDS.get(type(data), type(data).__name__)}")


class Shape(ABC):
    """How one type is written as JSON."""

    __slots__ = ()

    @abstractmethod
    def read(self, data: Any) -> Any:
        """The wire value that plain JSON values stand for."""

    @abstractmethod
    def write(self, value: Any) -> Any:
        """The plain JSON values that stand for a wire value."""


@attrs.frozen
class TextShape(Shape):
    """Text."""

    def read(self, data: Any) -> Any:
        if type(data) is not str:
            raise _wanted("text", data)
        return data

    def write(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise _wanted("text", value)
        return str(value)


@attrs.frozen
class UuidShape(Shape):
    """Text that is a UUID."""

    def read(self, data: Any) -> Any:
        if type(data) is not str:
            raise _wanted("a UUID", data)
        text = data[1:-1] if data[:1] == "{" and data[-1:] == "}" else data
        found = _UUID.fullmatch(text.lower()) if len(text) <= 45 else None
        if found is None or not text.isascii():
            raise MismatchError(f"{shown(data)!r} is not a UUID")
        return "-".join(part for part in found.groups() if part)

    def write(self, value: Any) -> Any:
        return self.read(value)


@attrs.frozen
class BoolShape(Shape):
    """True or false."""

    def read(self, data: Any) -> Any:
        if type(data) is not bool:
            raise _wanted("a boolean", data)
        return data

    def write(self, value: Any) -> Any:
        return self.read(value)


@attrs.frozen
class IntShape(Shape):
    """An integer between two bounds."""

    low: int
    high: int

    def read(self, data: Any) -> Any:
        if type(data) is not int:
            raise _wanted("an integer", data)
        if not self.low <= data <= self.high:
            raise MismatchError(f"an integer here is between {self.low} and {self.high}")
        return data

    def write(self, value: Any) -> Any:
        return self.read(value)


@attrs.frozen
class JsonShape(Shape):
    """Any JSON value, kept as it is."""

    def read(self, data: Any) -> Any:
        return data

    def write(self, value: Any) -> Any:
        check_json(value)
        return value


@attrs.frozen
class EnumShape(Shape):
    """One of the texts of an enumeration. When it is `lax` (events, log entries) unknown texts are kept, else (methods) refused."""

    cls: type[OpenEnum]
    lax: bool

    def read(self, data: Any) -> Any:
        if type(data) is not str:
            raise _wanted("text", data)
        value = self.cls(data)
        if not (self.lax or value.known):
            raise MismatchError(f"{shown(data)!r} is none of {', '.join(self.cls)}")
        return value

    def write(self, value: Any) -> Any:
        if not isinstance(value, self.cls):
            raise _wanted(f"a {self.cls.__name__}", value)
        if not (self.lax or value.known):
            raise MismatchError(f"{shown(value.value)!r} is none of {', '.join(self.cls)}")
        return value.value


@attrs.frozen
class OptionalShape(Shape):
    """A value or null."""

    item: Shape

    def read(self, data: Any) -> Any:
        return None if data is None else self.item.read(data)

    def write(self, value: Any) -> Any:
        return None if value is None else self.item.write(value)


@attrs.frozen
class TupleShape(Shape):
    """Any number of values of one kind."""

    item: Shape

    def read(self, data: Any) -> Any:
        if type(data) is not list:
            raise _wanted("an array", data)
        return tuple(self._each(data, self.item.read))

    def write(self, value: Any) -> Any:
        if type(value) is not tuple:
            raise _wanted("a tuple", value)
        if type(self.item) is JsonShape and _is_json(value):
            return list(value)
        return self._each(value, self.item.write)

    def _each(self, values: Any, act: Any) -> list[Any]:
        made: list[Any] = []
        try:
            for value in values:
                made.append(act(value))  # noqa: PERF401 - the index is needed when one fails
        except MismatchError as error:
            error.path.append(str(len(made)))
            raise
        return made


def _is_json(values: tuple[Any, ...]) -> bool:
    """Whether all are JSON values; looked at together, which is quicker than one by one."""
    try:
        check_json(*values)
    except MismatchError:
        return False
    return True


@attrs.frozen
class TextOrShape(Shape):
    """Text, or something else that is written as an array."""

    other: TupleShape

    def read(self, data: Any) -> Any:
        return data if type(data) is str else self.other.read(data)

    def write(self, value: Any) -> Any:
        return str(value) if isinstance(value, str) else self.other.write(value)


@attrs.frozen
class FieldShape:
    """One member of an object: its name in Python and on the wire, and whether it may be missing or is left out at its default."""

    name: str
    wire: str
    shape: Shape
    required: bool
    default: Any
    omit: bool

    def leaves_out(self, value: Any) -> bool:
        """Whether nothing is written for this value."""
        return self.omit and type(value) is type(self.default) and bool(value == self.default)


@attrs.frozen
class RecordShape(Shape):
    """An object with known members, as a value of `cls`."""

    cls: type
    fields: tuple[FieldShape, ...]

    def read(self, data: Any) -> Any:
        if type(data) is not dict:
            raise _wanted("an object", data)
        given: dict[str, Any] = {}
        for field in self.fields:
            if field.wire in data:
                try:
                    given[field.name] = field.shape.read(data[field.wire])
                except MismatchError as error:
                    error.path.append(field.wire)
                    raise
            elif field.required:
                raise MismatchError(f"{field.wire!r} is missing")
        return self.cls(**given)

    def write(self, value: Any) -> Any:
        if type(value) is not self.cls:
            raise _wanted(f"a {self.cls.__name__}", value)
        made: dict[str, Any] = {}
        for field in self.fields:
            held = getattr(value, field.name)
            if field.leaves_out(held):
                continue
            try:
                made[field.wire] = field.shape.write(held)
            except MismatchError as error:
                error.path.append(field.name)
                raise
        return made


@attrs.frozen
class TaggedShape(Shape):
    """One of several objects, told apart by their member `kind`. `fallback` takes what is of no known kind."""

    tag: ClassVar[str] = "kind"
    members: dict[str, RecordShape]
    fallback: type | None
    lenient: bool = False

    def read(self, data: Any) -> Any:
        if type(data) is not dict:
            raise _wanted("an object", data)
        kind = data.get(self.tag)
        if type(kind) is not str:
            raise MismatchError(f"{self.tag!r} is missing or not text")
        member = self.members.get(kind)
        if member is None:
            return self._unknown(kind, data)
        try:
            return member.read(data)
        except MismatchError:
            if self.lenient:
                return self._unknown(kind, data)
            raise

    def _unknown(self, kind: str, data: dict[str, Any]) -> Any:
        if self.fallback is None:
            raise MismatchError(f"{shown(kind)!r} is none of {', '.join(self.members)}")
        return self.fallback(kind, data) if attrs.fields(self.fallback) else self.fallback()

    def write(self, value: Any) -> Any:
        kind = getattr(value, "kind", None)
        member = self.members.get(kind) if isinstance(kind, str) else None
        if self.fallback is not None and type(value) is self.fallback and attrs.fields(self.fallback):
            return self._opaque(value)
        if member is None or type(value) is not member.cls:
            raise _wanted(f"one of {', '.join(self.members)}", value)
        return {self.tag: kind, **member.write(value)}

    def _opaque(self, value: Any) -> Any:
        # What is written must be read back as the same opaque value.
        if type(value.data) is not dict or value.data.get(self.tag) != value.kind:
            raise MismatchError("the data of an opaque value is an object of its kind")
        if value.kind in self.members and not self.lenient:
            raise MismatchError(f"{value.kind!r} is a known kind")
        check_json(value.data)
        return value.data


@attrs.frozen
class RuleShape(Shape):
    """A scope rule."""

    def read(self, data: Any) -> Any:
        if type(data) is not dict:
            raise _wanted("an object", data)
        for name in ("target", "permission"):
            if name not in data:
                raise MismatchError(f"{name!r} is missing")
        permission = _PERMISSIONS.get(data["permission"]) if type(data["permission"]) is str else None
        if permission is None:
            raise MismatchError("a permission is 'read' or 'write'")
        try:
            return ScopeRule(data["target"], permission, recursive=data.get("recursive", True))
        except InvalidRuleError as error:
            raise MismatchError(str(error)) from None

    def write(self, value: Any) -> Any:
        if type(value) is not ScopeRule:
            raise _wanted("a ScopeRule", value)
        return {"target": value.target, "permission": _PERMISSION_NAMES[value.permission], "recursive": value.recursive}


_PERMISSIONS = {"read": Permission.READ, "write": Permission.WRITE}
_PERMISSION_NAMES = {permission: name for name, permission in _PERMISSIONS.items()}
