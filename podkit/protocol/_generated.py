"""Code made once per flat event class at import: writing such an event as bytes, and giving it the number of its run.

Only the common case is made here. Whatever is unusual about a value makes the writer answer None, and the plain way through the
shapes then writes it or says what is wrong: one place decides what is allowed.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ._shapes import BoolShape, EnumShape, FieldShape, IntShape, OptionalShape, RecordShape, Shape, TextShape

Writer = Callable[[Any], bytes | None]


def is_flat(shape: RecordShape) -> bool:
    """Whether a writer can be made: members without members, and a first one that is always written."""
    return bool(shape.fields) and not shape.fields[0].omit and all(_is_leaf(field.shape) for field in shape.fields)


def _is_leaf(shape: Shape) -> bool:
    return isinstance(shape.item if isinstance(shape, OptionalShape) else shape, TextShape | IntShape | BoolShape | EnumShape)


def make_writer(kind: str, shape: RecordShape) -> Writer:
    """A function from an event of a flat class to `{"event":…,"data":{…}` (without the last brace), or None when in doubt."""
    names = {"encode": msgspec.json.Encoder().encode, "true_false": {True: b"true", False: b"false"}}
    lines = ["def write(o):"]
    pieces, values = [f'{{"event":"{kind}","data":{{'], []
    for index, field in enumerate(shape.fields):
        comma = "," if index else ""
        lines += _lines(index, field, names)
        if field.omit:
            # An omitted member brings its own name, or is nothing at all.
            lines.append(f"    w{index} = b'' if v{index} == d{index} else b'{comma}\"{field.wire}\":' + w{index}")
            names[f"d{index}"] = field.default
            pieces.append("%b")
        else:
            pieces.append(f'{comma}"{field.wire}":%b')
        values.append(f"w{index}")
    lines.append(f"    return b'{''.join(pieces)}}}' % ({', '.join(values)},)")
    write: Writer = _compile("\n".join(lines), names, "write")
    return write


def _lines(index: int, field: FieldShape, names: dict[str, Any]) -> list[str]:
    """Code that takes member number `index` into `v`, checks it, and writes it into `w`."""
    value, made = f"v{index}", f"w{index}"
    shape = field.shape.item if isinstance(field.shape, OptionalShape) else field.shape
    match shape:
        case TextShape():
            good, text = f"type({value}) is str", f"encode({value})"
        case IntShape(low, high):
            good, text = f"type({value}) is int and {low} <= {value} <= {high}", f"b'%d' % {value}"
        case EnumShape(cls):
            names[f"e{index}"] = cls
            good, text = f"type({value}) is e{index}", f"encode({value})"
        case _:
            good, text = f"type({value}) is bool", f"true_false[{value}]"
    lines = [f"    {value} = o.{field.name}"]
    if isinstance(field.shape, OptionalShape):
        return [*lines, f"    if {value} is None: {made} = b'null'", f"    elif {good}: {made} = {text}", "    else: return None"]
    return [*lines, f"    if not ({good}): return None", f"    {made} = {text}"]


def make_with_run(shape: RecordShape) -> Callable[[Any, int | None], Any]:
    """A function from an event and a number to the same event with that run."""
    given = ", ".join(f"{field.name}=o.{field.name}" for field in shape.fields if field.name != "run")
    source = f"def with_run(o, run):\n    return cls({given + ', ' if given else ''}run=run)"
    made: Callable[[Any, int | None], Any] = _compile(source, {"cls": shape.cls}, "with_run")
    return made


def _compile(source: str, names: dict[str, Any], name: str) -> Any:
    exec(compile(source, f"<podkit.protocol {name}>", "exec"), names)  # noqa: S102 - made of our own class definitions only
    return names[name]
