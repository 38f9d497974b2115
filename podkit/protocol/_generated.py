"""Code made once per flat event class at import: writing such an event as bytes, and giving it the number of its run.

Only the common case is made here. Whatever is unusual about a value makes the writer answer None, and the plain way through the
shapes then writes it or says what is wrong: one place decides what is allowed.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ._shapes import BoolShape, EnumShape, FieldShape, IntShape, OptionalShape, RecordShape, Shape, TextShape

Writer = Callable[[Any, Any], bytes | None]
_COUNT: Final = IntShape(0, 2**63 - 1)


def is_flat(shape: RecordShape) -> bool:
    """Whether a writer can be made: members without members, and a first one that is always written."""
    return bool(shape.fields) and not shape.fields[0].omit and all(_is_leaf(field.shape) for field in shape.fields)


def _is_leaf(shape: Shape) -> bool:
    return isinstance(_bare(shape), TextShape | IntShape | BoolShape | EnumShape)


def _bare(shape: Shape) -> Shape:
    return shape.item if isinstance(shape, OptionalShape) else shape


def make_writer(kind: str, shape: RecordShape) -> Writer:
    """A function from an event of a flat class and its `seq` to the frame of both, or None when in doubt. `seq` may be None.

    Raises `UnicodeEncodeError` for text with a lone surrogate.
    """
    names: dict[str, Any] = {"encode": msgspec.json.Encoder().encode, "true_false": {True: b"true", False: b"false"}}
    lines = ["def write(o, seq):", *(f"    v{index} = o.{field.name}" for index, field in enumerate(shape.fields))]
    lines += _usual(kind, shape, names)
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
    whole, members = "".join(pieces), ", ".join(values)
    lines.append(f"    if seq is None: return b'{whole}}}}}' % ({members},)")
    lines.append(f"    if {_is_good('seq', _COUNT, 'seq', names)}: return b'{whole}}},\"seq\":%d}}' % ({members}, seq)")
    write: Writer = _compile("\n".join(lines), names, "write")
    return write


def _usual(kind: str, shape: RecordShape, names: dict[str, Any]) -> list[str]:
    """Code for what most of a stream is, with nothing to put together: the last member is the run, which is there, as is `seq`."""
    *fields, last = shape.fields
    if last.name != "run" or any(field.omit or isinstance(field.shape, OptionalShape) for field in fields):
        return []
    pieces, values, tests = [], [], []
    for index, field in enumerate(fields):
        form, value = _form(f"v{index}", field.shape)
        pieces.append(f'"{field.wire}":{form}')
        values.append(value)
        tests.append(_is_good(f"v{index}", field.shape, f"e{index}", names))
    run = f"v{len(fields)}"
    # Both are not negative, and below 2**63, exactly when this is true of all their bits together.
    tests.append(f"type({run}) is int and type(seq) is int and 0 <= {run} | seq <= {_COUNT.high}")
    text = f'{{"event":"{kind}","data":{{{",".join(pieces)},"run":%d}},"seq":%d}}'
    return [f"    if {' and '.join(tests)}:", f"        return b'{text}' % ({', '.join(values)}, {run}, seq)"]


def _lines(index: int, field: FieldShape, names: dict[str, Any]) -> list[str]:
    """Code that checks member number `index`, which is in `v`, and writes it into `w`."""
    value, made = f"v{index}", f"w{index}"
    form, written = _form(value, _bare(field.shape))
    good, text = _is_good(value, _bare(field.shape), f"e{index}", names), written if form == "%b" else f"b'%d' % {written}"
    if isinstance(field.shape, OptionalShape):
        return [f"    if {value} is None: {made} = b'null'", f"    elif {good}: {made} = {text}", "    else: return None"]
    return [f"    if not ({good}): return None", f"    {made} = {text}"]


def _form(value: str, shape: Shape) -> tuple[str, str]:
    """How a member stands in a format, and what is put there."""
    match shape:
        case IntShape():
            return "%d", value
        case BoolShape():
            return "%b", f"true_false[{value}]"
        case _:
            return "%b", f"encode({value})"


def _is_good(value: str, shape: Shape, name: str, names: dict[str, Any]) -> str:
    """The test whether a member is what its shape allows. An enumeration is put into `names` as `name`."""
    match shape:
        case TextShape():
            return f"type({value}) is str"
        case IntShape(low, high):
            return f"type({value}) is int and {low} <= {value} <= {high}"
        case EnumShape(cls):
            names[name] = cls
            return f"type({value}) is {name}"
        case _:
            return f"type({value}) is bool"


def make_with_run(shape: RecordShape) -> Callable[[Any, int | None], Any]:
    """A function from an event and a number to the same event with that run."""
    given = ", ".join(f"{field.name}=o.{field.name}" for field in shape.fields if field.name != "run")
    source = f"def with_run(o, run):\n    return cls({given + ', ' if given else ''}run=run)"
    made: Callable[[Any, int | None], Any] = _compile(source, {"cls": shape.cls}, "with_run")
    return made


def _compile(source: str, names: dict[str, Any], name: str) -> Any:
    exec(compile(source, f"<podkit.protocol {name}>", "exec"), names)  # noqa: S102 - made of our own class definitions only
    return names[name]
