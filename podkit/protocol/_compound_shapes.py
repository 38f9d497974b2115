"""What a wire class looks like as JSON: shapes made of other shapes. Unknown members are ignored."""

from typing import Any, ClassVar

import attrs

from podkit.errors import shown

from ._json import MismatchError, check_json
from ._shapes import JsonShape, Shape, wanted


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
            raise wanted("an array", data)
        return tuple(self._each(data, self.item.read))

    def write(self, value: Any) -> Any:
        if type(value) is not tuple:
            raise wanted("a tuple", value)
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
            raise wanted("an object", data)
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
            raise wanted(f"a {self.cls.__name__}", value)
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
            raise wanted("an object", data)
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
            raise wanted(f"one of {', '.join(self.members)}", value)
        return {self.tag: kind, **member.write(value)}

    def _opaque(self, value: Any) -> Any:
        # What is written must be read back as the same opaque value.
        if type(value.data) is not dict or value.data.get(self.tag) != value.kind:
            raise MismatchError("the data of an opaque value is an object of its kind")
        if value.kind in self.members and not self.lenient:
            raise MismatchError(f"{value.kind!r} is a known kind")
        check_json(value.data)
        return value.data
