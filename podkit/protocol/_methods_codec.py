"""Methods as bytes. They carry authority, so they are read strictly: one meaning, or a refusal."""

import re
from typing import Any, Final, get_args

import attrs
import msgspec

from podkit.errors import LocalProtocolError, RemoteProtocolError, shown

from ._compound_shapes import RecordShape
from ._derive import record_shape
from ._framing import head_of
from ._json import MAX_DEPTH, MismatchError, nested_too_deep, read_json
from ._methods import Cancel, Method, Pause

_ID = re.compile(r"[\x20-\x7e]{1,64}")
MAX_COUNT: Final = 2**63 - 1
METHOD_SHAPES: Final[dict[str, RecordShape]] = {cls.method: record_shape(cls, lax=False) for cls in get_args(Method)}
_write = msgspec.json.Encoder().encode


@attrs.frozen
class MethodFrame:
    """A method with its envelope: the `id` its answer will carry, and the `run` that a cancel or pause speaks of."""

    method: Method
    id: str | None = None
    run: int | None = None


def decode_method(frame: bytes) -> Method:
    """The method in `frame` (one JSON object, no newline). Raises `RemoteProtocolError`."""
    return read_method(frame).method


def read_method(frame: bytes) -> MethodFrame:
    """The method in `frame` with its envelope. Raises `RemoteProtocolError`."""
    data = read_json(frame)
    try:
        return _read(data)
    except MismatchError as error:
        raise RemoteProtocolError(f"not a method: {error}", head_of(frame)) from None


def _read(data: Any) -> MethodFrame:
    if type(data) is not dict:
        raise MismatchError("a method is an object")
    name = data.get("method")
    if type(name) is not str:
        raise MismatchError("'method' is missing or not text")
    shape = METHOD_SHAPES.get(name)
    if shape is None:
        raise MismatchError(f"there is no method {shown(name)!r}")
    method = _read_params(shape, data)
    given = data.get("id")
    if given is not None and not is_id(given):
        raise MismatchError("an id is 1 to 64 printable ASCII characters")
    run = data.get("run") if isinstance(method, Cancel | Pause) else None
    if run is not None and not is_count(run):
        raise MismatchError("a run is a number")
    return MethodFrame(method, given, run)


def _read_params(shape: RecordShape, data: dict[str, Any]) -> Any:
    if not shape.fields:
        if data.get("params") is not None:
            raise MismatchError(f"{data['method']} has no params")
        return shape.cls()
    if "params" not in data:
        raise MismatchError("'params' is missing")
    params = data["params"]
    try:
        return shape.cls(shape.fields[0].shape.read(params)) if hasattr(shape.cls, "transparent") else shape.read(params)
    except MismatchError as error:
        error.path.append("params")
        raise


def encode_method(method: Method, *, id: str | None = None, run: int | None = None) -> bytes:
    """`method` as a frame, with the `id` its answer shall carry and, for cancel and pause, the `run` meant.

    Raises `LocalProtocolError` for what the wire does not allow.
    """
    name = getattr(type(method), "method", None)
    shape = METHOD_SHAPES.get(name) if isinstance(name, str) else None
    if shape is None or shape.cls is not type(method):
        raise LocalProtocolError(f"{type(method).__name__} is not a method")
    made: dict[str, Any] = {"method": name}
    try:
        params = shape.write(method)
    except MismatchError as error:
        raise LocalProtocolError(f"{name}: {error}") from None
    if shape.fields:
        made["params"] = params[shape.cls.transparent] if hasattr(shape.cls, "transparent") else params
    if id is not None:
        if not is_id(id):
            raise LocalProtocolError("an id is 1 to 64 printable ASCII characters")
        made["id"] = id
    if run is not None:
        if not isinstance(method, Cancel | Pause):
            raise LocalProtocolError(f"{name} does not speak of a run")
        if not is_count(run):
            raise LocalProtocolError("a run is a number from 0 to 2**63 - 1")
        made["run"] = run
    return finish(made)


def finish(made: dict[str, Any], *, bounded: bool = False, most: int = MAX_DEPTH) -> bytes:
    """Checked JSON values as a frame of at most so many levels. `bounded`: they cannot nest deep, whatever they hold.

    Raises `LocalProtocolError` for text that is not Unicode and for what nests too deep.
    """
    try:
        frame = _write(made)
    except UnicodeEncodeError:
        raise LocalProtocolError("text holds a lone surrogate") from None
    except TypeError as error:  # a name that equals a text and is none
        raise LocalProtocolError(shown(str(error))) from None
    if not bounded and nested_too_deep(frame, most=most):
        raise LocalProtocolError(f"nested deeper than {most} levels")
    return frame


class _Peek(msgspec.Struct):
    id: str | None = None


_peek = msgspec.json.Decoder(_Peek).decode


def peek_id(frame: bytes) -> str | None:
    """The id in a frame that is JSON, even when it is no valid method, so that the refusal can carry it; else None."""
    try:
        given = _peek(frame).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return given if given is not None and is_id(given) else None


def is_id(value: object) -> bool:
    """Whether `value` may be the id of a method."""
    return type(value) is str and _ID.fullmatch(value) is not None


def is_count(value: object) -> bool:
    """Whether `value` may be the number of a run or of an event."""
    return type(value) is int and 0 <= value <= MAX_COUNT
