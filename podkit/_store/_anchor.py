"""The anchor: what the lock file says of the log, so that a log that lost its end is not taken for a young one. Pure."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import attrs

from podkit._store._journal_record import DamagedError

FORMAT = 1
SIZE = 512
_CHECK = 16


@attrs.frozen(kw_only=True)
class Anchor:
    """Which log is the log, and how far it had come: `generation` names the file, `sequence` and `digest` its last record.

    `epoch` is drawn when a registry begins and tells it from another in the same place. `boot` is the boot it belongs to: who
    held anything before the machine went down holds nothing now.
    """

    boot: str
    epoch: str
    generation: int
    sequence: int
    digest: str


def encode_anchor(anchor: Anchor) -> bytes:
    """The anchor as a line of `SIZE` bytes, padded, so that writing it again never changes the file's length."""
    body = json.dumps({"format": FORMAT, **attrs.asdict(anchor)}, separators=(",", ":")).encode()
    line = b"%b %b" % (_check(body), body)
    return line.ljust(SIZE - 1) + b"\n"


def decode_anchor(data: bytes) -> Anchor | None:
    """The anchor of a lock file; None for one that has none yet: empty, or only locked so far. Raises `DamagedError`."""
    if not data.strip(b"\0"):
        return None
    check, _, body = data[:SIZE].rstrip(b" \n").partition(b" ")
    if len(data) < SIZE or check != _check(body):
        raise DamagedError("the anchor is damaged", 1, 0)
    fields: dict[str, Any] = json.loads(body)
    fmt = fields.pop("format")
    if fmt != FORMAT:
        raise DamagedError(f"it was written by a newer podkit (format {fmt})", 1, 0)
    return Anchor(**fields)


def _check(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:_CHECK].encode()
