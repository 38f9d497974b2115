"""What sessions are made of, for every store: ids, entries and manifests, checked before any effect. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_ENTRY = 2**24  # bytes
_ID = re.compile(r"[a-z0-9-]{1,64}")
_DEEPEST = 200
_OPEN, _CLOSE, _TAB, _LF = b"{}\t\n"  # numbers are looked for in bytes ten times as fast as bytes are


def check_id(value: object) -> str:
    """Return `value` when it is the id of a session or a segment, else raise `ValueError`."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise ValueError("the id of a session or a segment is 1 to 64 characters of a-z, 0-9 and -")
    return value


def check_entries(entries: Iterable[bytes]) -> None:
    """Raise `ValueError` unless every one is an entry."""
    for entry in entries:
        if (
            type(entry) is not bytes
            or len(entry) < 2
            or len(entry) > LONGEST_ENTRY
            or entry[0] != _OPEN
            or entry[-1] != _CLOSE
            or _LF in entry
            or _TAB in entry
        ):
            raise ValueError(_wrong_with(entry))


def _wrong_with(entry: object) -> str:
    if type(entry) is bytes and len(entry) > LONGEST_ENTRY:
        return f"an entry has up to 16 MiB, and this one has {len(entry)} bytes"
    return "an entry is a JSON object in bytes, without a line feed or a tab, up to 16 MiB"


def encode_manifest(manifest: Mapping[str, Any]) -> bytes:
    """A manifest in bytes, without a line feed or a tab. Raises `ValueError` for what is not JSON."""
    if not isinstance(manifest, Mapping):
        raise ValueError("a manifest is a JSON object")
    text = json.dumps(_plain(dict(manifest), 0), separators=(",", ":")).encode()
    if len(text) > LONGEST_ENTRY:
        raise ValueError("a manifest has up to 16 MiB")
    return text


def decode_manifest(data: bytes | None) -> dict[str, Any] | None:
    """What `encode_manifest` was given, as a copy; None for None."""
    return None if data is None else json.loads(data)


def _plain(value: Any, depth: int) -> Any:
    """`value`, when JSON gives it back as it was (a tuple as a list)."""
    if depth > _DEEPEST:
        raise ValueError("a manifest is not that deep")
    kind = type(value)
    if value is None or kind in (bool, int, str) or (kind is float and math.isfinite(value)):
        return value
    if kind is dict and all(type(name) is str for name in value):
        return {name: _plain(one, depth + 1) for name, one in value.items()}
    if kind in (list, tuple):
        return [_plain(one, depth + 1) for one in value]
    raise ValueError(f"this is not JSON: {kind.__name__}")
