"""JSON as we read it where it carries authority: everything another reader might understand differently is refused.

What the grammar leaves open is decided here: integers are between -2**63 and 2**64 - 1, numbers are finite (what is too small
becomes 0.0), text holds no lone surrogates, names in an object are unique, 64 levels of nesting, UTF-8 without a byte order mark.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn, TypeVar

from podkit.errors import RemoteProtocolError

from ._framing import head_of

MAX_DEPTH: Final = 64
LOWEST: Final = -(2**63)
HIGHEST: Final = 2**64 - 1
_DIGITS = 20  # of 2**64 - 1, the longest there is; with a sign one more
_KEEP_STRUCTURE = bytes(c for c in range(256) if c not in b'"[]{}')
# What may follow a backslash stays too, so that no escape is made where two bytes meet.
_KEEP_ESCAPES = bytes(c for c in range(256) if c not in b'"[]{}\\/bfnrtu')
SHORTEST_DEEP: Final = 2 * (MAX_DEPTH + 1)  # bytes that open and close one level too many
_OPEN = ord("[")
_SQUARE = bytes.maketrans(b"{}", b"[]")
_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19
_MANY = 1024  # objects and arrays in a level, from which on its values are counted, also when it is one of the first
_CROWD = 2**16  # values in a level, from which on it is asked whether it grows by the same ones over and over
_values = dict.values
_T = TypeVar("_T")


class MismatchError(ValueError):
    """Something is not as it must be; `path` is where, from the inside out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []

    def __str__(self) -> str:
        return ".".join([*reversed(self.path)]) + ": " + self.reason if self.path else self.reason


def nested_too_deep(frame: bytes, *, most: int = MAX_DEPTH) -> bool:
    """Whether JSON text nests deeper than `most` levels, or its brackets do not match. Linear, and without recursion."""
    if len(frame) < 2 * most or frame.count(b"[") + frame.count(b"{") <= most:
        return False
    if b"\\" in frame:
        frame = frame.translate(None, _KEEP_ESCAPES).replace(b"\\\\", b"").replace(b'\\"', b"")
    # Two quotation marks side by side end one string and begin another, or are one without brackets.
    left = frame.translate(_SQUARE, _KEEP_STRUCTURE).replace(b'""', b"")
    if b'"' in left:  # without escapes, every second piece between quotation marks is outside of strings
        left = b"".join(left.split(b'"')[::2])
    for level in range(most):
        if not left:
            return False
        before, left = len(left), left.replace(b"[]", b"")
        if len(left) > before * 7 // 8:  # few arrays hold nothing more: one pass over all is quicker than one for each level
            return _deeper(left, most - level - 1)
    return bool(left)


def _deeper(brackets: bytes, most: int) -> bool:
    """Whether these square brackets nest deeper, or do not match."""
    depth = 0
    for bracket in brackets:
        if bracket == _OPEN:
            if depth == most:
                return True
            depth += 1
        elif depth:
            depth -= 1
        else:
            return True
    return depth > 0


def may_hold_huge_integer(frame: bytes) -> bool:
    """Whether there may be an integer outside of 64 bits somewhere (cheap; may be wrong, and then only by saying yes)."""
    return _LONG_NUMBER in frame.translate(_ZEROS)


def check_text(frame: bytes) -> None:
    """Refuse what is not UTF-8. That is beyond repair: the connection it came on is closed."""
    if not frame.isascii():
        try:
            str(frame, "utf-8")
        except UnicodeDecodeError:
            raise RemoteProtocolError("not UTF-8", head_of(frame), True) from None


def check_json(*values: object) -> int:
    """Refuse, with `MismatchError`, what is no JSON value as we write it: odd types, odd names, NaN, huge integers.

    Returns how many levels of arrays and objects there are.
    """
    objects, arrays = _inside([values])
    crowd = 0
    for depth in range(MAX_DEPTH):  # level by level: the depth is bounded and nothing recurses
        if not objects and not arrays:
            return depth
        # Few, however many objects there are. A name of a subclass may be lost among its equals: it is written as they are.
        for name in set().union(*objects):
            if type(name) is not str:
                raise MismatchError("names in a JSON object are text")
        if depth > 2 or len(objects) + len(arrays) > _MANY:  # above that it is small yet, whatever it holds
            before, crowd = crowd, _size(objects, arrays)
            if crowd > _CROWD and crowd > before:
                objects, arrays = _distinct(objects), _distinct(arrays)
                crowd = _size(objects, arrays)
        objects, arrays = _inside([*arrays, *map(_values, objects)])
    if objects or arrays:
        raise MismatchError(f"nested deeper than {MAX_DEPTH} levels")
    return MAX_DEPTH


def _size(objects: list[dict[Any, Any]], arrays: list[list[Any]]) -> int:
    """How many values there are in these."""
    return sum(map(len, objects)) + sum(map(len, arrays))


def _inside(level: Sequence[Iterable[Any]]) -> tuple[list[dict[Any, Any]], list[list[Any]]]:
    """The objects and the arrays among the values in these. All other values are checked."""
    objects, arrays = [], []
    for one in level:
        for item in one:
            kind = type(item)
            if kind is str:  # most of what there is
                continue
            if kind is dict:
                objects.append(item)
            elif kind is int:
                if not LOWEST <= item <= HIGHEST:
                    raise MismatchError("an integer is out of range")
            elif kind is list:
                arrays.append(item)
            elif kind is float:
                if not math.isfinite(item):
                    raise MismatchError("a number is not finite")
            elif kind is not bool and item is not None:
                raise MismatchError(f"{kind.__name__} is not a JSON value")
    return objects, arrays


def _distinct(many: list[_T]) -> list[_T]:
    """Each object or array once. A value that holds itself, in two places, would double with every level."""
    return list(dict(zip(map(id, many), many, strict=True)).values())


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise MismatchError("a name is used twice in one object")
    return made


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise MismatchError("an integer is out of range")
    value = int(text)
    if not LOWEST <= value <= HIGHEST:
        raise MismatchError("an integer is out of range")
    return value


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise MismatchError("a number is out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise MismatchError(f"{text} is not JSON")


_decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_constant)


def read_json(frame: bytes) -> Any:
    """The value of JSON text, or `RemoteProtocolError`."""
    head = head_of(frame)
    check_text(frame)
    if nested_too_deep(frame):
        raise RemoteProtocolError(f"nested deeper than {MAX_DEPTH} levels, or not JSON", head)
    text = str(frame, "utf-8")
    try:
        value = _decoder.decode(text)
        if "\\u" in text:
            # Only escapes can smuggle lone surrogates in, and only encoding the values again finds them all.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RemoteProtocolError("text holds a lone surrogate", head) from None
    except (MismatchError, ValueError, RecursionError) as error:
        raise RemoteProtocolError(f"not JSON as we read it: {error}", head) from None
    return value
