"""From the annotations of wire classes to their shapes."""

import types
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import attrs

from ._compound_shapes import FieldShape, OptionalShape, RecordShape, TaggedShape, TextOrShape, TupleShape
from ._enums import OpenEnum
from ._marks import Lenient, Range, Uuid
from ._rules import ScopeRule
from ._shapes import BoolShape, EnumShape, IntShape, JsonShape, RuleShape, Shape, TextShape, UuidShape


@cache
def record_shape(cls: type, *, lax: bool) -> RecordShape:
    """The shape of a wire class. `lax`: unknown enum values are kept."""
    hints = get_type_hints(cls, include_extras=True)
    return RecordShape(cls, tuple(_field(field, hints[field.name], lax) for field in attrs.fields(cls)))


def _field(field: Any, hint: Any, lax: bool) -> FieldShape:
    return FieldShape(
        name=field.name,
        wire=field.metadata.get("podkit_wire", field.name),
        shape=shape_of(hint, lax),
        required=field.default is attrs.NOTHING,
        default=None if field.default is attrs.NOTHING else field.default,
        omit=field.metadata.get("podkit_omit", False),
    )


def shape_of(hint: Any, lax: bool) -> Shape:
    """The shape of an annotation."""
    if hint is Any:
        return JsonShape()
    if hint is str:
        return TextShape()
    if hint is bool:
        return BoolShape()
    if hint is ScopeRule:
        return RuleShape()
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _marked(args[0], args[1:], lax)
    if origin is tuple:
        return TupleShape(shape_of(args[0], lax))
    if origin in (Union, types.UnionType):
        return _union(args, lax)
    if issubclass(hint, OpenEnum):
        return EnumShape(hint, lax)
    return record_shape(hint, lax=lax)


def _marked(hint: Any, marks: tuple[Any, ...], lax: bool) -> Shape:
    for mark in marks:
        if isinstance(mark, Range):
            return IntShape(mark.low, mark.high)
        if isinstance(mark, Uuid):
            return UuidShape()
        if isinstance(mark, Lenient):
            return tagged_shape(get_args(hint), lax=lax, lenient=True)
    raise AssertionError(f"no shape for {hint}")


def _union(args: tuple[Any, ...], lax: bool) -> Shape:
    if type(None) in args:
        others = tuple(arg for arg in args if arg is not type(None))
        return OptionalShape(shape_of(others[0] if len(others) == 1 else Union[others], lax))  # noqa: UP007 - made at run time
    if args[0] is str:
        inner = shape_of(args[1], lax)
        assert isinstance(inner, TupleShape)
        return TextOrShape(inner)
    return tagged_shape(args, lax=lax)


def tagged_shape(members: tuple[Any, ...], *, lax: bool, lenient: bool = False) -> TaggedShape:
    """The shape of a union told apart by `kind`."""
    fallback = next((cls for cls in members if getattr(cls, "fallback", False)), None)
    known = {cls.kind: record_shape(cls, lax=lax) for cls in members if isinstance(cls.__dict__.get("kind"), str)}
    return TaggedShape(known, fallback, lenient)
