"""What one value looks like as JSON. Reading, writing and describing go by the same shapes; those made of others are compound.

A shape reads plain JSON values into wire values (`read`) and writes them back (`write`). Both raise `MismatchError`.
"""

import re
from abc import ABC, abstractmethod
from typing import Any

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


def wanted(what: str, data: object) -> MismatchError:
    """The error for `data` where `what` should be."""
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
            raise wanted("text", data)
        return data

    def write(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise wanted("text", value)
        return str(value)


@attrs.frozen
class UuidShape(Shape):
    """Text that is a UUID."""

    def read(self, data: Any) -> Any:
        if type(data) is not str:
            raise wanted("a UUID", data)
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
            raise wanted("a boolean", data)
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
            raise wanted("an integer", data)
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
            raise wanted("text", data)
        value = self.cls(data)
        if not (self.lax or value.known):
            raise MismatchError(f"{shown(data)!r} is none of {', '.join(self.cls)}")
        return value

    def write(self, value: Any) -> Any:
        if not isinstance(value, self.cls):
            raise wanted(f"a {self.cls.__name__}", value)
        if not (self.lax or value.known):
            raise MismatchError(f"{shown(value.value)!r} is none of {', '.join(self.cls)}")
        return value.value


@attrs.frozen
class RuleShape(Shape):
    """A scope rule."""

    def read(self, data: Any) -> Any:
        if type(data) is not dict:
            raise wanted("an object", data)
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
            raise wanted("a ScopeRule", value)
        return {"target": value.target, "permission": _PERMISSION_NAMES[value.permission], "recursive": value.recursive}


_PERMISSIONS = {"read": Permission.READ, "write": Permission.WRITE}
_PERMISSION_NAMES = {permission: name for name, permission in _PERMISSIONS.items()}
