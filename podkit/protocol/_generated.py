"""Code made once per flat event class at import: writing such an event as bytes, and giving it the number of its run.

Only the common case is made here. Whatever is unusual about a value makes the writer answer None, and the plain way through the
shapes then writes it or says what is wrong: one place decides what is allowed.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ._compound_shapes import FieldShape, OptionalShape, RecordShape
from ._shapes import BoolShape, EnumShape, IntShape, Shape, TextShape

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
    """A function from an event of a flat class and its `seq` (None for none) to the frame of both, or None when in doubt.

    It raises `UnicodeEncodeError` for text with a lone surrogate.
    """
    names: dict[str, Any] = {"encode": msgspec.json.Encoder().encode, "join": b"".join}
    lines = ["def write(o, seq):", *(f"    v{index} = o.{field.name}" for index, field in enumerate(shape.fields))]
    lines += _usual(kind, shape, names)
    literal, parts = f'{{"event":"{kind}","data":{{', []
    for index, field in enumerate(shape.fields):
        lines += _member(index, field, names)
        name = f'{"," if index else ""}"{field.wire}":'
        if field.omit:
            # An omitted member brings its own name, or is nothing at all.
            names[f"d{index}"] = field.default
            lines.append(f"    w{index} = b'' if v{index} == d{index} else b'{name}' + w{index}")
            name = ""
        parts += [f"b'{literal}{name}'", f"w{index}"]
        literal = ""
    written = ", ".join(part for part in parts if part != "b''")
    lines.append(f"    if seq is None: return join(({written}, b'}}}}'))")
    lines.append(f"    if {_good('seq', _COUNT)}: return join(({written}, b'}},\"seq\":', encode(seq), b'}}'))")
    write: Writer = _compile("\n".join(lines), names, "write")
    return write


def _usual(kind: str, shape: RecordShape, names: dict[str, Any]) -> list[str]:
    """Code for what most of a stream is: the last member is the run, which is there, as is `seq`, and nothing is left out."""
    *fields, last = shape.fields
    if last.name != "run" or any(field.omit or isinstance(field.shape, OptionalShape) for field in fields):
        return []
    run = f"v{len(fields)}"
    tests = [_good(f"v{index}", field.shape, f"e{index}", names) for index, field in enumerate(fields)]
    # Nothing is left of two numbers together without their lower 63 bits exactly when both are counts.
    tests.append(f"type({run}) is int and type(seq) is int and not ({run} | seq) >> 63")
    parts, literal = [], f'{{"event":"{kind}","data":{{'
    for index, field in enumerate(shape.fields):
        parts += [f"b'{literal}\"{field.wire}\":'", f"encode(v{index})"]
        literal = ","
    return [f"    if {' and '.join(tests)}:", f"        return join(({', '.join(parts)}, b'}},\"seq\":', encode(seq), b'}}'))"]


def _member(index: int, field: FieldShape, names: dict[str, Any]) -> list[str]:
    """Code that checks member number `index`, which is in `v`, and writes it into `w`."""
    value, made = f"v{index}", f"w{index}"
    good = _good(value, _bare(field.shape), f"e{index}", names)
    if isinstance(field.shape, OptionalShape):
        good = f"{value} is None or {good}"
    return [f"    if not ({good}): return None", f"    {made} = encode({value})"]


def _good(value: str, shape: Shape, name: str = "", names: dict[str, Any] | None = None) -> str:
    """The test whether a member is what its shape allows. The class of an enumeration is put into `names` as `name`."""
    match shape:
        case TextShape():
            return f"type({value}) is str"
        case IntShape(low, high):
            return f"type({value}) is int and {low} <= {value} <= {high}"
        case EnumShape(cls):
            assert names is not None
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
