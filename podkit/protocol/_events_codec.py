"""Events as bytes. Reading is done in C for most kinds: one msgspec frame per kind around the frozen class itself."""

from functools import reduce
from operator import or_
from typing import Any, Final

import msgspec

from podkit.errors import LocalProtocolError, RemoteProtocolError, shown

from ._bounded import LARGE, read_bounded
from ._compound_shapes import OptionalShape, RecordShape, TupleShape
from ._event_frames import EVENT_SHAPES, AnyEvent, EventFrame, OfRun, frame_type, in_c, is_unit
from ._events import Event
from ._events_pod import UnknownEvent
from ._events_run import ThinkingStart
from ._free import is_free, write_free
from ._generated import Writer, is_flat, make_writer
from ._json import MAX_DEPTH, SHORTEST_DEEP, MismatchError, check_json, check_text, may_hold_huge_integer, nested_too_deep
from ._methods_codec import finish, is_count, is_id
from ._shapes import BoolShape, EnumShape, IntShape, JsonShape, Shape, TextShape


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


def _frame_type(kind: str, shape: RecordShape) -> Any:
    if shape.cls is ThinkingStart:
        return frame_type(kind, OfRun | None, None)
    if not shape.fields:
        return frame_type(kind, None, None)
    return frame_type(kind, shape.cls if in_c(shape) else dict[str, Any])


# Frames whose data is not yet the event, those with unchecked integers, and classes that are written in a way of their own.
_SHAPED: Final[dict[Any, RecordShape]] = {}
_UNCHECKED: Final[dict[Any, RecordShape]] = {}
_WRITERS: Final[dict[type, Writer]] = {}
_FREE: Final = frozenset(
    shape.cls
    for shape in EVENT_SHAPES.values()
    if any(is_free(field.shape) for field in shape.fields)
    and all(is_free(field.shape) or _flat(field.shape) for field in shape.fields)
)
_BOUNDED: Final = frozenset(shape.cls for shape in EVENT_SHAPES.values() if _flat(shape))
_FRAMES: Final = {kind: _frame_type(kind, shape) for kind, shape in EVENT_SHAPES.items()}
for _kind, _shape in EVENT_SHAPES.items():
    if is_unit(_shape) or not in_c(_shape):
        _SHAPED[_FRAMES[_kind]] = _shape
    elif _unbounded(_shape):
        _UNCHECKED[_FRAMES[_kind]] = _shape
    if is_flat(_shape):
        _WRITERS[_shape.cls] = make_writer(_kind, _shape)
_SPECIAL: Final = frozenset(_SHAPED) | frozenset(_UNCHECKED)
_decode: Final = msgspec.json.Decoder(reduce(or_, _FRAMES.values())).decode
_decode_any: Final = msgspec.json.Decoder(AnyEvent).decode
_write: Final = msgspec.json.Encoder().encode


def decode_event(frame: bytes) -> Event:
    """The event in `frame` (one JSON object, no newline). An unknown kind is an `UnknownEvent`. Raises `RemoteProtocolError`."""
    return read_event(frame).event


def read_event(frame: bytes) -> EventFrame:
    """The event in `frame` with its envelope. Raises `RemoteProtocolError`."""
    # There is nothing to look for in the short plain lines that most of a stream is.
    if len(frame) >= SHORTEST_DEEP or not frame.isascii():
        said = _read_guarded(frame)
        if said is not None:
            return said
    try:
        said = _decode(frame)
    except msgspec.MsgspecError as error:
        return _read_unknown(frame, error)
    return _finished(said, frame) if type(said) in _SPECIAL else said


def _read_guarded(frame: bytes) -> EventFrame | None:
    """Read a large frame, or None when it is to be read like any other: then it is UTF-8 and does not nest too deep."""
    if len(frame) >= LARGE:
        said = read_bounded(frame)
        if said is not None:
            return said
    if not frame.isascii():
        check_text(frame)
    if nested_too_deep(frame):
        raise RemoteProtocolError(f"nested deeper than {MAX_DEPTH} levels, or not JSON", bytes(frame[:128]))
    return None


def _finished(said: EventFrame, frame: bytes) -> EventFrame:
    """What C read, as far as C could not make the event of it or not say whether it is right."""
    shape = _SHAPED.get(type(said))
    try:
        if shape is not None:
            return EventFrame(_shaped(shape, said.event), said.re, said.seq, said.first)
        if may_hold_huge_integer(frame):
            _UNCHECKED[type(said)].write(said.event)
    except MismatchError as error:
        raise RemoteProtocolError(f"not an event: {error}", bytes(frame[:128])) from None
    return said


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
    except (msgspec.MsgspecError, MismatchError) as wrong:  # that its kind is unknown is no reason
        raise RemoteProtocolError(f"not an event: {shown(str(wrong), 200)}", head) from None
    if envelope.event in EVENT_SHAPES:
        raise RemoteProtocolError(reason, head)
    return EventFrame(UnknownEvent(envelope.event, envelope.data), envelope.re, envelope.seq, envelope.first)


def read_events(chunk: bytes) -> list[EventFrame | RemoteProtocolError]:
    """The events in a chunk of complete lines, in their order. Lines of white space are skipped.

    They are what `read_event` makes of each line. Where it would raise, its `RemoteProtocolError` is in the list instead, and what
    follows is read all the same; only after a `fatal` one it should not be trusted.
    """
    lines = chunk.split(b"\n")
    if not lines[-1]:
        del lines[-1]
    if not _is_plain(chunk, lines):
        return [said for said in map(_one, lines) if said is not None]
    made: list[Any] = []
    left = iter(lines)
    while len(made) < len(lines):
        try:
            made.extend(map(_decode, left))  # what was read before an error stays
        except msgspec.MsgspecError:
            made.append(None)
    if _DECIDED_LATER.isdisjoint(map(type, made)):
        return made
    for index, said in enumerate(made):
        if type(said) in _DECIDED_LATER:
            made[index] = _one(lines[index])
    return [said for said in made if said is not None]


_DECIDED_LATER: Final = _SPECIAL | {type(None)}
_NOT_OPENING: Final = bytes(set(range(256)) - set(b"[{\n"))


def _is_plain(chunk: bytes, lines: list[bytes]) -> bool:
    """Whether no line can be other than UTF-8 or nest too deep."""
    if not lines or not chunk.isascii():
        return False
    if max(map(len, lines)) < SHORTEST_DEEP:
        return True
    return max(map(len, chunk.translate(None, _NOT_OPENING).split(b"\n"))) <= MAX_DEPTH


def _one(line: bytes) -> EventFrame | RemoteProtocolError | None:
    """What is in a line; None when it is white space."""
    if not line or line.isspace():
        return None
    try:
        return read_event(line)
    except RemoteProtocolError as error:
        return error.with_traceback(None)


def encode_event(event: Event, *, re: str | None = None, seq: int | None = None, first: int | None = None) -> bytes:
    """`event` as a frame: `re` is the id it answers, `seq` its place in the stream, `first` that of the first event merged into it.

    Raises `LocalProtocolError` for what the wire does not allow.
    """
    if re is None and first is None:  # most of a stream
        try:
            frame = _WRITERS[type(event)](event, seq)
            if frame is not None:
                return frame
        except (KeyError, UnicodeEncodeError):  # of no flat class, or a lone surrogate: the plain way says so
            pass
    made, bounded = _event_data(event)
    return finish(made | _envelope(re, seq, first), bounded=bounded)


def _envelope(re: str | None, seq: int | None, first: int | None) -> dict[str, Any]:
    if re is not None and not is_id(re):
        raise LocalProtocolError("an id is 1 to 64 printable ASCII characters")
    made = {"re": re, "seq": seq, "first": first}
    for name in ("seq", "first"):
        if made[name] is not None and not is_count(made[name]):
            raise LocalProtocolError(f"{name} is a number from 0 to 2**63 - 1")
    return {name: value for name, value in made.items() if value is not None}


def _event_data(event: Event) -> tuple[dict[str, Any], bool]:
    """An event as JSON values, and whether they are known not to nest too deep."""
    kind = getattr(event, "event", None)
    shape = EVENT_SHAPES.get(kind) if isinstance(kind, str) else None
    try:
        if isinstance(event, UnknownEvent):
            return _unknown_data(event), False
        if shape is None or shape.cls is not type(event):
            raise MismatchError(f"{type(event).__name__} is not an event")
        data, bounded = _data(shape, event)
    except MismatchError as error:
        raise LocalProtocolError(f"{type(event).__name__}: {error}") from None
    return {"event": kind, "data": data} if data or not is_unit(shape) else {"event": kind}, bounded


def _data(shape: RecordShape, event: Event) -> tuple[dict[str, Any], bool]:
    if type(event) in _FREE:
        try:
            return write_free(shape, event)
        except MismatchError:  # said again by the shape, with the place
            pass
    return shape.write(event), type(event) in _BOUNDED


def _unknown_data(event: UnknownEvent) -> dict[str, Any]:
    if type(event.event) is not str or event.event in EVENT_SHAPES:
        raise MismatchError("an opaque event is of a kind that is not known")
    check_json(event.data)
    return {"event": event.event} if event.data is None else {"event": event.event, "data": event.data}
