"""The anchor: what the lock file says of the log, so that a log that lost its end is not taken for a young one. Pure.

It is kept in two places of the lock file, written in turn. What a full disk or a loss of power leaves half written is the older
of the two, and the other one, which is one record behind, still holds.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import attrs

from podkit._store._anchor_places import PLACES, SIZE, fill_place, next_place, place_body
from podkit._store._journal_record import DamagedError, NewerError

FORMAT = 2


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


_OLDER = Anchor(boot="", epoch="", generation=0, sequence=0, digest="")


def encode_anchor(anchor: Anchor) -> bytes:
    """The anchor as a line of `SIZE` bytes, padded, so that writing it again never changes the file's length."""
    body = b'{%b,"sequence":%d,"digest":"%b"}' % (
        _head(FORMAT, anchor.boot, anchor.epoch, anchor.generation),
        anchor.sequence,
        anchor.digest.encode(),
    )
    return fill_place(body)


def decode_anchors(data: bytes) -> tuple[Anchor | None, int]:
    """The newest anchor in the first `PLACES * SIZE` bytes of a lock file, and the place where the next one goes.

    None for a file that has none yet: empty, or only locked so far, or its very first anchor was not finished. Then nothing was
    ever granted, which the logs beside it must confirm. Raises `DamagedError`, also when all there is was written by an older
    podkit, and `NewerError` when a newer one wrote it.
    """
    newest, free, damaged, older = None, 0, 0, False
    for place in range(PLACES):
        part = data[place * SIZE : (place + 1) * SIZE]
        anchor = _decode(part)
        if anchor is _OLDER:
            older = True
        elif anchor is None:
            damaged += bool(part.strip(b"\0"))
        elif newest is None or (anchor.generation, anchor.sequence) > (newest.generation, newest.sequence):
            newest, free = anchor, next_place(place)
    if newest is None and older:
        raise DamagedError("it was written by an older podkit, and says too little", 1, 0)
    if newest is None and damaged == PLACES:
        raise DamagedError("both places of the anchor are damaged", 1, 0)
    return newest, free


@functools.lru_cache(maxsize=8)  # it is the same for every change
def _head(fmt: int, boot: str, epoch: str, generation: int) -> bytes:
    fields = {"format": fmt, "boot": boot, "epoch": epoch, "generation": generation}
    return json.dumps(fields, separators=(",", ":")).encode()[1:-1]


@functools.lru_cache(maxsize=8)  # of the two places one is as it was
def _decode(data: bytes) -> Anchor | None:
    """An anchor; None for bytes that were never written, or are not what was written; `_OLDER` for one of an older podkit."""
    body = place_body(data)
    if body is None:
        return None
    fields: dict[str, Any] = json.loads(body)
    fmt = fields.pop("format")
    if type(fmt) is int and 0 < fmt < FORMAT:
        return _OLDER
    if fmt != FORMAT:
        raise NewerError(f"it was written by another podkit (format {fmt})", 1, 0)
    return Anchor(**fields)
