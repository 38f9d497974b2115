"""An order: what is to run and how it is confined, as bytes from the hosting program; checked here before anything is done."""

from __future__ import annotations

import json

LIMIT = 16 * 2**20  # bytes of one order
LEVELS = ("advisory", "kernel", "strict")
ACCESS = ("read", "write", "edit")
MOUNTS = ("ro", "rw", "hidden", "empty")
_MEMBERS = {"argv", "env", "cwd", "level", "rules", "mounts", "binds", "unix_sockets", "network", "namespaces"}
_FLAGS = ("unix_sockets", "network", "namespaces")


class OrderError(ValueError):
    """These bytes are no order."""


def read_order(data: bytes) -> dict:  # type: ignore[type-arg]  # JSON, checked member by member below
    """Decode and check one order. Every member is there, of its type, and nothing else is. Raises `OrderError`."""
    if len(data) > LIMIT:
        raise OrderError("an order is too long")
    try:
        order = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except OrderError:
        raise
    except (ValueError, RecursionError):
        raise OrderError("an order is one JSON object") from None
    if not isinstance(order, dict) or set(order) != _MEMBERS:
        raise OrderError("an order has other members")
    argv = order["argv"]
    if not isinstance(argv, list) or not argv or not all(_is_text(argument) for argument in argv) or not argv[0]:
        raise OrderError("argv is a list of at least one text without NUL")
    env = order["env"]
    if not isinstance(env, dict) or not all(_is_name(name) and _is_text(value) for name, value in env.items()):
        raise OrderError("env maps names to texts without NUL")
    if not _is_path(order["cwd"]):
        raise OrderError("cwd is an absolute path")
    if order["level"] not in LEVELS:
        raise OrderError("there is no such level")
    if not all(isinstance(order[flag], bool) for flag in _FLAGS):
        raise OrderError("a flag is true or false")
    _check_rows(order, "rules", 3, lambda row: _is_choice(row[1], ACCESS) and _is_pin(row[2]))
    _check_rows(order, "mounts", 2, lambda row: _is_choice(row[1], MOUNTS))
    _check_rows(order, "binds", 2, lambda row: isinstance(row[1], bool))
    return order


def _check_rows(order, member, width, rest) -> None:  # type: ignore[no-untyped-def]  # rows of JSON and a test for them
    rows = order[member]
    if not isinstance(rows, list):
        raise OrderError(f"{member} is a list")
    for row in rows:
        if not isinstance(row, list) or len(row) != width or not _is_path(row[0]) or not rest(row):
            raise OrderError(f"{member} has a row that is none")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OrderError("a member is there twice")
    return found


def _no_constant(name: str) -> object:
    raise OrderError(f"{name} is not JSON")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _is_name(value: object) -> bool:
    return _is_text(value) and value != "" and "=" not in str(value)


def _is_path(value: object) -> bool:
    return _is_text(value) and str(value).startswith("/")


def _is_choice(value: object, choices: tuple[str, ...]) -> bool:
    return isinstance(value, str) and value in choices


def _is_pin(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or len(value) != 2:
        return False
    return all(isinstance(number, int) and not isinstance(number, bool) and number >= 0 for number in value)
