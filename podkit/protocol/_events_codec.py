"""Events as bytes. Reading is done in C for most kinds: one msgspec envelope per kind around the frozen class itself."""

from functools import reduce
from operator import or_
from typing import Annotated, Any, Final, get_args

import attrs
import msgspec

from podkit.errors import LocalProtocolError, RemoteProtocolError, shown

from ._derive import record_shape
from ._events import Event, KnownEvent
from ._events_pod import UnknownEvent
from ._events_run import ThinkingStart
from ._generated import Writer, is_flat, make_writer
from ._json import MAX_DEPTH, SHORTEST_DEEP, MismatchError, check_json, check_text, may_hold_huge_integer, nested_too_deep
from ._marks import Count
from ._methods_codec import MAX_COUNT, finish, is_count, is_id
from ._shapes import BoolShape, EnumShape, IntShape, JsonShape, OptionalShape, RecordShape, Shape, TextShape, TupleShape

EVENT_SHAPES: Final[dict[str, RecordShape]] = {cls.event: record_shape(cls, lax=True) for cls in get_args(KnownEvent)}
_Re = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x20-\x7e]+\Z")]
_ENVELOPE: Final[list[Any]] = [("re", _Re | None, None), ("seq", Count | None, None), ("first", Count | None, None)]


class EventFrame(msgspec.Struct, frozen=True, gc=False):
    """An event with its envelope: the id it answers (`re`) and its place in the stream (`seq`; `first` when it was merged)."""

    event: Event
    re: str | None = None
    seq: int | None = None
    first: int | None = None


@attrs.frozen
class _OfRun:
    """The data of an event that says nothing but which run it belongs to."""

    run: Count


class _AnyEvent(msgspec.Struct):
    event: str
    data: Any = None
    re: _Re | None = None
    seq: Count | None = None
    first: Count | None = None


def _in_c(shape: Shape) -> bool:
    """Whether msgspec reads this shape by itself, with the same outcome."""
    match shape:
        case TextShape() | BoolShape() | IntShape() | EnumShape() | JsonShape():
            return True
        case OptionalShape(item) | TupleShape(item):
            return _in_c(item)
        case RecordShape():
            return all(_in_c(field.shape) and field.wire == field.name for field in shape.fields)
        case _:
            return False


def _unbounded(shape: Shape) -> bool:
    """Whether msgspec lets integers through that this shape does not allow."""
    match shape:
        case JsonShape():
            return True
        case IntShape():
            return shape.high >= 2**63
        case OptionalShape(item) | TupleShape(item):
            return _unbounded(item)
        case RecordShape():
            return any(_unbounded(field.shape) for field in shape.fields)
        case _:
            return False


def _flat(shape: Shape) -> bool:
    """Whether how deep it nests is known from the shape alone."""
    match shape:
        case TextShape() | BoolShape() | IntShape() | EnumShape():
            return True
        case OptionalShape(item) | TupleShape(item):
            return _flat(item)
        case RecordShape():
            return all(_flat(field.shape) for field in shape.fields)
        case _:
            return False


def _data_type(shape: RecordShape) -> tuple[Any, ...]:
    if shape.cls is ThinkingStart:
        return (_OfRun | None, None)
    if not shape.fields:
        return (None, None)
    return (shape.cls,) if _in_c(shape) else (dict[str, Any],)


def _envelope(kind: str, shape: RecordShape) -> Any:
    return msgspec.defstruct(f"{kind}_frame", [("data", *_data_type(shape)), *_ENVELOPE], tag_field="event", tag=kind, gc=False)


_ENVELOPES: Final[dict[str, Any]] = {kind: _envelope(kind, shape) for kind, shape in EVENT_SHAPES.items()}
_decode = msgspec.json.Decoder(reduce(or_, _ENVELOPES.values())).decode
_decode_any = msgspec.json.Decoder(_AnyEvent).decode

# Envelopes whose data is not yet the event, those with unchecked integers, and classes with a writer of their own.
_SHAPED: Final[dict[Any, RecordShape]] = {}
_UNCHECKED: Final[dict[Any, RecordShape]] = {}
_WRITERS: Final[dict[type, Writer]] = {}
_BOUNDED: Final = frozenset(shape.cls for shape in EVENT_SHAPES.values() if _flat(shape))
for _kind, _shape in EVENT_SHAPES.items():
    if not _shape.fields or _shape.cls is ThinkingStart or not _in_c(_shape):
        _SHAPED[_ENVELOPES[_kind]] = _shape
    elif _unbounded(_shape):
        _UNCHECKED[_ENVELOPES[_kind]] = _shape
    if is_flat(_shape):
        _WRITERS[_shape.cls] = make_writer(_kind, _shape)
_SPECIAL: Final = frozenset(_SHAPED) | frozenset(_UNCHECKED)
_write: Final = msgspec.json.Encoder().encode


def decode_event(frame: bytes) -> Event:
    """The event in `frame` (one JSON object, no newline). An unknown kind is an `UnknownEvent`. Raises `RemoteProtocolError`."""
    return _read(frame).event


def read_event(frame: bytes) -> EventFrame:
    """The event in `frame` with its envelope. Raises `RemoteProtocolError`."""
    return _read(frame)


def _read(frame: bytes) -> EventFrame:
    # Both checks have nothing to find in the short plain lines that most of a stream is.
    if not frame.isascii():
        check_text(frame)
    if len(frame) >= SHORTEST_DEEP and nested_too_deep(frame):
        raise RemoteProtocolError(f"nested deeper than {MAX_DEPTH} levels, or not JSON", bytes(frame[:128]))
    try:
        envelope = _decode(frame)
        event = envelope.data
        kind = type(envelope)
        if kind in _SPECIAL:
            if kind in _SHAPED:
                event = _shaped(_SHAPED[kind], event)
            elif may_hold_huge_integer(frame):
                _UNCHECKED[kind].write(event)
    except msgspec.MsgspecError as error:
        return _read_unknown(frame, error)
    except MismatchError as error:
        raise RemoteProtocolError(f"not an event: {error}", bytes(frame[:128])) from None
    return EventFrame(event, envelope.re, envelope.seq, envelope.first)


def _shaped(shape: RecordShape, data: Any) -> Any:
    if not shape.fields:
        return shape.cls()
    if shape.cls is ThinkingStart:
        return ThinkingStart(run=None if data is None else data.run)
    check_json(data)
    return shape.read(data)


def _read_unknown(frame: bytes, error: msgspec.MsgspecError) -> EventFrame:
    head, reason = bytes(frame[:128]), f"not an event: {shown(str(error), 200)}"
    try:
        envelope = _decode_any(frame)
        check_json(envelope.data)
    except (msgspec.MsgspecError, MismatchError):
        raise RemoteProtocolError(reason, head) from None
    if envelope.event in EVENT_SHAPES:
        raise RemoteProtocolError(reason, head)
    return EventFrame(UnknownEvent(envelope.event, envelope.data), envelope.re, envelope.seq, envelope.first)


def encode_event(event: Event, *, re: str | None = None, seq: int | None = None, first: int | None = None) -> bytes:
    """`event` as a frame: `re` is the id it answers, `seq` its place in the stream, `first` that of the first event merged into it.

    Raises `LocalProtocolError` for what the wire does not allow.
    """
    frame = _fast(event)
    if frame is None:
        frame = finish(_event_data(event), bounded=type(event) in _BOUNDED)[:-1]
    elif re is None and first is None and type(seq) is int and 0 <= seq <= MAX_COUNT:
        return b'%b,"seq":%d}' % (frame, seq)
    if re is not None:
        if not is_id(re):
            raise LocalProtocolError("an id is 1 to 64 printable ASCII characters")
        frame += b',"re":' + _write(re)
    if seq is not None:
        frame += b',"seq":%d' % _count("seq", seq)
    if first is not None:
        frame += b',"first":%d' % _count("first", first)
    return frame + b"}"


def _fast(event: Event) -> bytes | None:
    write = _WRITERS.get(type(event))
    try:
        return None if write is None else write(event)
    except UnicodeEncodeError:  # a lone surrogate: the slow way says so
        return None


def _count(name: str, value: int) -> int:
    if not is_count(value):
        raise LocalProtocolError(f"{name} is a number from 0 to 2**63 - 1")
    return value


def _event_data(event: Event) -> dict[str, Any]:
    kind = getattr(event, "event", None)
    shape = EVENT_SHAPES.get(kind) if isinstance(kind, str) else None
    try:
        if isinstance(event, UnknownEvent):
            return _unknown_data(event)
        if shape is None or shape.cls is not type(event):
            raise MismatchError(f"{type(event).__name__} is not an event")
        data = shape.write(event)
    except MismatchError as error:
        raise LocalProtocolError(f"{type(event).__name__}: {error}") from None
    return {"event": kind, "data": data} if data or not _may_be_bare(shape) else {"event": kind}


def _may_be_bare(shape: RecordShape) -> bool:
    return not shape.fields or shape.cls is ThinkingStart


def _unknown_data(event: UnknownEvent) -> dict[str, Any]:
    if type(event.event) is not str or event.event in EVENT_SHAPES:
        raise MismatchError("an opaque event is of a kind that is not known")
    check_json(event.data)
    return {"event": event.event} if event.data is None else {"event": event.event, "data": event.data}
