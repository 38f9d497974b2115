"""JSON Schema of every message (draft 2020-12), made from the same shapes that read and write it.

Three rules cannot be said in JSON Schema: names in an object are unique, nesting ends at 64 levels, and 1.0 is no integer.
"""

from typing import Any, Final

from ._compound_shapes import OptionalShape, RecordShape, TaggedShape, TextOrShape, TupleShape
from ._event_frames import EVENT_SHAPES
from ._events_run import ThinkingStart
from ._methods_codec import METHOD_SHAPES
from ._shapes import BoolShape, EnumShape, IntShape, JsonShape, RuleShape, Shape, TextShape, UuidShape

Schema = dict[str, Any]
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_END: Final = r"$(?!\n)"  # the end, also for readers to whom `$` matches before a last newline
_ID: Final[Schema] = {"type": ["string", "null"], "minLength": 1, "maxLength": 64, "pattern": rf"^[\u0020-\u007e]+{_END}"}
_COUNT: Final[Schema] = {"type": ["integer", "null"], "minimum": 0, "maximum": 2**63 - 1}
_HEX: Final = "[0-9a-fA-F]"
_HYPHENATED: Final = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_ONE_UUID: Final = f"([uU][rR][nN]:[uU][uU][iI][dD]:)?{_HYPHENATED}|{_HEX}{{32}}"
_UUID: Final = f"^({_ONE_UUID}|\\{{({_ONE_UUID})\\}}){_END}"
_PATH: Final = rf"^(/|(/(?!\.{{1,2}}(/|{_END}))[^/\u0000]+)+){_END}"


def method_schemas() -> dict[str, Schema]:
    """The JSON Schema of each method, by its name on the wire: of the whole frame, envelope included."""
    return {name: _method(name, shape) for name, shape in METHOD_SHAPES.items()}


def event_schemas() -> dict[str, Schema]:
    """The JSON Schema of each event, by its name on the wire: of the whole frame, envelope included."""
    return {name: _event(name, shape) for name, shape in EVENT_SHAPES.items()}


def _method(name: str, shape: RecordShape) -> Schema:
    properties: Schema = {"method": {"const": name}, "id": _ID}
    required = ["method"]
    if name in ("cancel", "pause"):
        properties["run"] = _COUNT
    if shape.fields:
        inner: Shape = shape.fields[0].shape if hasattr(shape.cls, "transparent") else shape
        properties["params"] = schema_of(inner)
        required.append("params")
    else:
        properties["params"] = {"type": "null"}
    return _frame(shape, properties, required)


def _event(name: str, shape: RecordShape) -> Schema:
    properties: Schema = {"event": {"const": name}, "re": _ID, "seq": _COUNT, "first": _COUNT}
    required = ["event"]
    if shape.cls is ThinkingStart:
        of_run = {"type": "object", "properties": {"run": _COUNT | {"type": "integer"}}, "required": ["run"]}
        properties["data"] = {"anyOf": [{"type": "null"}, of_run]}
    elif shape.fields:
        properties["data"] = schema_of(shape)
        required.append("data")
    else:
        properties["data"] = {"type": "null"}
    return _frame(shape, properties, required)


def _frame(shape: RecordShape, properties: Schema, required: list[str]) -> Schema:
    return {
        "$schema": _DIALECT,
        "title": shape.cls.__name__,
        "description": shape.cls.__doc__ or "",
        "type": "object",
        "properties": properties,
        "required": required,
    }


def schema_of(shape: Shape) -> Schema:
    """The JSON Schema of one shape."""
    match shape:
        case TextShape():
            return {"type": "string"}
        case BoolShape():
            return {"type": "boolean"}
        case IntShape(low, high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case UuidShape():
            return {"type": "string", "pattern": _UUID}
        case EnumShape(cls, lax):
            return {"type": "string", "examples" if lax else "enum": [member.value for member in cls]}
        case OptionalShape(item):
            return {} if isinstance(item, JsonShape) else {"anyOf": [schema_of(item), {"type": "null"}]}
        case TupleShape(item):
            return {"type": "array", "items": schema_of(item)}
        case TextOrShape(other):
            return {"anyOf": [{"type": "string"}, schema_of(other)]}
        case RecordShape():
            return _record(shape)
        case TaggedShape():
            return _tagged(shape)
        case RuleShape():
            properties = {
                "target": {"type": "string", "pattern": _PATH},
                "permission": {"enum": ["read", "write"]},
                "recursive": {"type": "boolean", "default": True},
            }
            return {"type": "object", "properties": properties, "required": ["target", "permission"]}
        case _:
            return {}


def _record(shape: RecordShape) -> Schema:
    properties: Schema = {}
    for field in shape.fields:
        described = schema_of(field.shape)
        if not field.required and not isinstance(field.default, tuple):
            described = {**described, "default": field.default}
        properties[field.wire] = described
    return {"type": "object", "properties": properties, "required": [field.wire for field in shape.fields if field.required]}


def _tagged(shape: TaggedShape) -> Schema:
    if shape.lenient:
        return {"type": "object", "properties": {shape.tag: {"type": "string"}}, "required": [shape.tag]}
    choices = []
    for kind, member in shape.members.items():
        inner = _record(member)
        inner["properties"] = {shape.tag: {"const": kind}, **inner["properties"]}
        inner["required"] = [shape.tag, *inner["required"]]
        choices.append(inner)
    if shape.fallback is not None:
        unknown = {"type": "string", "not": {"enum": list(shape.members)}}
        choices.append({"type": "object", "properties": {shape.tag: unknown}, "required": [shape.tag]})
    return {"anyOf": choices}
