"""Writing events that carry JSON values of any kind, such as a snapshot: all these values are looked at together."""

from typing import Any

from ._compound_shapes import OptionalShape, RecordShape, TupleShape
from ._json import MAX_DEPTH, MismatchError, check_json
from ._shapes import JsonShape, Shape

_ABOVE = 3  # levels around a free value: the frame, its data, and an array of such values


def is_free(shape: Shape) -> bool:
    """Whether a member is any JSON value, or an array of such values."""
    return isinstance(shape.item if isinstance(shape, TupleShape | OptionalShape) else shape, JsonShape)


def write_free(shape: RecordShape, event: Any) -> tuple[dict[str, Any], bool]:
    """The data of an event, and whether it is known not to nest too deep. Only its free members may nest at all deep.

    Raises `MismatchError`, which does not say where; writing by the shape does.
    """
    data: dict[str, Any] = {}
    values: list[Any] = []
    for field in shape.fields:
        held = getattr(event, field.name)
        if field.leaves_out(held):
            continue
        if not is_free(field.shape):
            held = field.shape.write(held)
        elif not isinstance(field.shape, TupleShape):
            values.append(held)
        elif type(held) is tuple:
            values += held
        else:
            raise MismatchError("expected a tuple")
        data[field.wire] = held
    return data, _ABOVE + check_json(*values) <= MAX_DEPTH
