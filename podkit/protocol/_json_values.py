"""Whether Python values are JSON as we write it, level by level: nothing recurses, and what is long is looked at by loops in C."""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

from ._json import HIGHEST, LOWEST, MAX_DEPTH, MismatchError

_FEW: Final = 24  # values from which a loop in C is quicker than one here
_KINDS: Final = frozenset({type(None), bool, int, float, str, list, dict})
_flat = chain.from_iterable


def check_json(*values: object) -> int:
    """Refuse, with `MismatchError`, what is no JSON value as we write it: odd types, odd names, NaN, huge integers.

    Returns how many levels of arrays and objects there may be in these values, at most.
    """
    level: Sequence[Any] = values
    for depth in range(MAX_DEPTH):
        level = _few(level) if len(level) < _FEW else _many(level)
        if not level:
            return depth + 1
    raise MismatchError(f"nested deeper than {MAX_DEPTH} levels")


def _few(level: Sequence[Any]) -> list[Any]:
    """Check these values, and return what is in them."""
    inner: list[Any] = []
    for item in level:
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if kind is dict:
            for name in item:
                if type(name) is not str:
                    raise MismatchError("names in a JSON object are text")
            inner.extend(item.values())
        elif kind is list:
            inner.extend(item)
        else:
            _check_number(kind, item)
    return inner


def _check_number(kind: type, item: Any) -> None:
    if kind is int:
        if not LOWEST <= item <= HIGHEST:
            raise MismatchError("an integer is out of range")
    elif kind is float:
        if not math.isfinite(item):
            raise MismatchError("a number is not finite")
    else:
        raise MismatchError(f"{kind.__name__} is not a JSON value")


def _many(level: Sequence[Any]) -> list[Any]:
    """The same as `_few`, for many."""
    kinds = set(map(type, level))
    if not kinds <= _KINDS:
        raise MismatchError(f"{min(kind.__name__ for kind in kinds - _KINDS)} is not a JSON value")
    if int in kinds:
        integers = [item for item in level if type(item) is int]
        if min(integers) < LOWEST or max(integers) > HIGHEST:
            raise MismatchError("an integer is out of range")
    if float in kinds and not all(map(math.isfinite, [item for item in level if type(item) is float])):
        raise MismatchError("a number is not finite")
    inner: list[Any] = []
    if dict in kinds:
        objects = [item for item in level if type(item) is dict]
        if not set(map(type, _flat(objects))) <= {str}:
            raise MismatchError("names in a JSON object are text")
        inner.extend(_flat(map(dict.values, objects)))
    if list in kinds:
        inner.extend(_flat([item for item in level if type(item) is list]))
    return inner
