"""An event with its envelope, and one type of it per kind, which msgspec fills from bytes without anything in between."""

from typing import Annotated, Any, Final, get_args

import attrs
import msgspec

from ._compound_shapes import OptionalShape, RecordShape, TupleShape
from ._derive import record_shape
from ._events import Event, KnownEvent
from ._events_run import ThinkingStart
from ._marks import Count
from ._shapes import BoolShape, EnumShape, IntShape, JsonShape, Shape, TextShape

EVENT_SHAPES: Final[dict[str, RecordShape]] = {cls.event: record_shape(cls, lax=True) for cls in get_args(KnownEvent)}
_Re = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[\x20-\x7e]+\Z")]
ENVELOPE: Final[list[Any]] = [("re", _Re | None, None), ("seq", Count | None, None), ("first", Count | None, None)]


class EventFrame(msgspec.Struct, frozen=True, gc=False):
    """An event with its envelope: the id it answers (`re`) and its place in the stream (`seq`; `first` when it was merged)."""

    event: Event
    re: str | None = None
    seq: int | None = None
    first: int | None = None

    # What is read is of a subclass per kind. Nobody is to see that.

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventFrame):
            return NotImplemented
        return _values(self) == _values(other)

    def __ne__(self, other: object) -> bool:
        # Struct has one of its own, which looks at the types.
        return not self == other

    def __hash__(self) -> int:
        return hash(_values(self))

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return EventFrame, _values(self)


def _values(frame: EventFrame) -> tuple[Any, ...]:
    return frame.event, frame.re, frame.seq, frame.first


@attrs.frozen
class OfRun:
    """The data of an event that says nothing but which run it belongs to."""

    run: Count


class AnyEvent(msgspec.Struct):
    """An event of a kind that is not known."""

    event: str
    data: Any = None
    re: _Re | None = None
    seq: Count | None = None
    first: Count | None = None


def frame_type(kind: str, *data: Any, strict: bool = False) -> Any:
    """The type of the frames of a kind: `data` is the type of its data and, if it may be missing, what it is then.

    `strict`: members of the envelope that are not known are refused.
    """
    return msgspec.defstruct(
        "EventFrame",
        [("event", *data), *ENVELOPE],
        bases=(EventFrame,),
        module=__name__,
        rename={"event": "data"},
        tag_field="event",
        tag=kind,
        frozen=True,
        gc=False,
        forbid_unknown_fields=strict,
    )


def in_c(shape: Shape) -> bool:
    """Whether msgspec reads this shape by itself, with the same outcome."""
    match shape:
        case TextShape() | BoolShape() | IntShape() | EnumShape() | JsonShape():
            return True
        case OptionalShape(item) | TupleShape(item):
            return in_c(item)
        case RecordShape():
            return all(in_c(field.shape) and field.wire == field.name for field in shape.fields)
        case _:
            return False


def is_unit(shape: RecordShape) -> bool:
    """Whether events of this class may be said without data."""
    return not shape.fields or shape.cls is ThinkingStart
