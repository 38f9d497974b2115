"""Large frames, read by types that say how deep what they let in may nest and how large its integers may be.

So msgspec checks both while it reads, and nobody goes through the bytes a second time. What these types refuse is not wrong for
that: it may be of a newer version, nest deeper than is usual or hold a number between 2**63 and 2**64. It is read the complete
way, which alone decides what is an error.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Annotated, Any, Final, Union

import msgspec

from ._compound_shapes import OptionalShape, RecordShape, TupleShape
from ._event_frames import EVENT_SHAPES, EventFrame, frame_type, in_c, is_unit
from ._json import MismatchError
from ._shapes import BoolShape, EnumShape, IntShape, Shape, TextShape

LARGE: Final = 4096  # bytes from which this is worth its while
_LEVELS: Final = 6  # of arrays and objects in a free member. The types are as many as two to the power of this
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Read = Callable[[bytes], Any]
_Make = Callable[[Any], Any]

# A tag that comes first is found without skipping anything, and so without recursion.
_HEAD: Final = b'{"event":"'
_SHAPES: Final = {kind.encode(): shape for kind, shape in EVENT_SHAPES.items() if not is_unit(shape)}
_LONGEST: Final = len(_HEAD) + max(map(len, _SHAPES)) + 1


def read_bounded(frame: bytes) -> EventFrame | None:
    """The event in `frame`, read and checked in one go; None when in doubt, and never an error."""
    kind = frame[len(_HEAD) : frame.find(b'"', len(_HEAD), _LONGEST)]
    if kind not in _SHAPES or not frame.startswith(_HEAD):
        return None
    read, make = _reader(kind)
    try:
        said = read(frame)
        event = make(said.event)
    except (msgspec.MsgspecError, MismatchError, UnicodeDecodeError):
        return None
    return EventFrame(event, said.re, said.seq, said.first)


@cache
def _reader(kind: bytes) -> tuple[_Read, _Make]:
    """What reads the frames of a kind, and what makes its event of their data. The first large frame of a kind has it made."""
    shape, free = _SHAPES[kind], json_type(_LEVELS)
    make: _Make
    if in_c(shape):
        data, make = _bounded(shape, free), partial(msgspec.convert, type=shape.cls, from_attributes=True)
    else:
        data, make = dict[str, free], shape.read  # type: ignore[valid-type]
    return msgspec.json.Decoder(frame_type(kind.decode(), data, strict=True)).decode, make


def json_type(levels: int) -> Any:
    """The JSON values of at most so many levels of arrays and objects, with integers of 64 bits and a sign."""
    leaf: Any = Union[str, _Integer, float, bool, None]  # noqa: UP007 - made at run time
    made = leaf
    for _level in range(levels):
        made = Union[leaf, list[made], dict[str, made]]  # type: ignore[valid-type] # noqa: UP007 - made at run time
    return made


def _bounded(shape: Shape, free: Any) -> Any:
    """The type that reads what `shape` reads and no more than that: members that are not known are refused."""
    match shape:
        case TextShape():
            return str
        case BoolShape():
            return bool
        case EnumShape(cls):
            return cls
        case IntShape(low, high):
            return Annotated[int, msgspec.Meta(ge=low, le=min(high, 2**63 - 1))]
        case OptionalShape(item):
            return Union[_bounded(item, free), None]  # noqa: UP007 - made at run time
        case TupleShape(item):
            return tuple[_bounded(item, free), ...]  # type: ignore[misc]
        case RecordShape(cls, fields):
            members = [(field.name, _bounded(field.shape, free), *(() if field.required else (field.default,))) for field in fields]
            return msgspec.defstruct(cls.__name__, members, kw_only=True, forbid_unknown_fields=True)
        case _:
            return free
