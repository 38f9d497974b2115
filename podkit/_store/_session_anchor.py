"""The anchor of a pod's sessions: which one is the session, which segment is the current one, and how far it has come. Pure.

It decides. What the files beside it hold and it does not name was never finished.
"""

from __future__ import annotations

import functools
import json

import attrs

from podkit._store._anchor_places import PLACES, SIZE, fill_place, next_place, place_body
from podkit._store._journal_record import DamagedError, NewerError
from podkit.abc import Durability

FORMAT = 1


@attrs.frozen(kw_only=True)
class SessionAnchor:
    """`number` and `id` name the session, `segments` and `segment` its current segment (0 and None before the first).

    `sequence` and `digest` are of a record of that segment that is there for certain, if need be after a loss of power when
    `durability` is power. `boot` is the boot it was written in, `count` tells a later anchor from an earlier one.
    """

    count: int = 0
    boot: str
    number: int
    id: str
    segments: int = 0
    segment: str | None = None
    sequence: int = 0
    digest: str = ""
    durability: str

    @property
    def may_be_ahead(self) -> bool:
        """Whether a loss of power may have taken what it names from the disk."""
        return self.durability != Durability.POWER


def encode_session_anchor(anchor: SessionAnchor, count: int) -> bytes:
    """The anchor as a line of `SIZE` bytes, with this count."""
    head = _head(FORMAT, anchor.boot, anchor.number, anchor.id, anchor.segments, anchor.segment, anchor.durability)
    return fill_place(b'%b,"sequence":%d,"digest":"%b","count":%d}' % (head, anchor.sequence, anchor.digest.encode(), count))


@functools.lru_cache(maxsize=8)  # it is the same until the next segment
def _head(fmt: int, boot: str, number: int, session: str, segments: int, segment: str | None, durability: str) -> bytes:
    fields = {"podkit": "session", "format": fmt, "boot": boot, "number": number, "id": session}
    fields |= {"segments": segments, "segment": segment, "durability": durability}
    return json.dumps(fields, separators=(",", ":")).encode()[:-1]


def decode_session_anchors(data: bytes) -> tuple[SessionAnchor | None, int]:
    """The newest anchor in the first `PLACES * SIZE` bytes of a lock file, and the place where the next one goes.

    None for a file that has none yet: then no session was ever made here, which the files beside it must confirm. Raises
    `DamagedError`, and `NewerError` when a newer podkit wrote it.
    """
    newest, free, damaged = None, 0, 0
    for place in range(PLACES):
        part = data[place * SIZE : (place + 1) * SIZE]
        body = place_body(part)
        if body is None:
            damaged += bool(part.strip(b"\0"))
            continue
        anchor = _decode(body)
        if newest is None or anchor.count > newest.count:
            newest, free = anchor, next_place(place)
    if newest is None and damaged == PLACES:
        raise DamagedError("both places of the anchor are damaged", 1, 0)
    return newest, free


def _decode(body: bytes) -> SessionAnchor:
    fields = json.loads(body)
    if fields.pop("podkit", None) != "session" or fields.pop("format") != FORMAT:
        raise NewerError("it was written by another podkit", 1, 0)
    return SessionAnchor(**fields)
