"""One published event: its number, its bytes, and what a connection is shown of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from podkit.errors import LocalProtocolError
from podkit.protocol import Alert, AlertLevel, AlertSource, encode_event, project_a, project_b

from ._plan_late import LONGEST, most_bytes

if TYPE_CHECKING:
    from podkit.protocol import Event

_log = logging.getLogger("podkit.hub")

Lens: TypeAlias = Literal["full", "A", "B"]
"""How much of the vocabulary a connection sees: all of it, or what clients of one generation know."""


class Record(msgspec.Struct, eq=False, gc=False):
    """One published event and its number, encoded at most once for all connections that see the same of it.

    `first` is the number of the first event that was merged into it, None for one that stands for itself. `size` is what it
    counts for in bytes: the length of `whole`, or until that is known an upper bound of it.
    """

    seq: int
    event: Event
    first: int | None = None
    size: int = 0
    _whole: bytes | None = None
    sayable: bool = True
    """False when it cannot be encoded and something else stands in its place. What has a bound can be said."""
    _frames: dict[Lens, bytes | None] | None = None  # what is left of it for plain connections

    def __repr__(self) -> str:
        return f"<Record {self.seq} {type(self.event).__name__}>"

    @property
    def late(self) -> bool:
        """Nobody has needed it as bytes yet."""
        return self._whole is None

    @property
    def whole(self) -> bytes:
        """All of it, as bytes."""
        if self._whole is None:
            try:
                self._whole = encode_event(self.event, seq=self.seq, first=self.first)
                if len(self._whole) > LONGEST:
                    raise LocalProtocolError(f"it has {len(self._whole)} bytes, and clients read {LONGEST}")
            except LocalProtocolError as error:
                # The number is given away already: something has to stand there, or every reader would see a gap.
                self.sayable = False
                _log.error("event %d cannot be said on the wire: %s", self.seq, error)
                self._whole = encode_event(stand_in(self.event), seq=self.seq)
        return self._whole

    def frame(self, lens: Lens) -> bytes | None:
        """The event as bytes, None when this lens does not show it."""
        if lens == "full":
            return self.whole
        frames = self._frames
        if frames is None:
            frames = self._frames = {}
        if lens not in frames:
            frames[lens] = self._projected(lens)
        return frames[lens]

    def _projected(self, lens: Lens) -> bytes | None:
        event = self.event if self.sayable else stand_in(self.event)
        shown = project(event, lens)
        if shown is None:
            return None
        return self.whole if shown is event else encode_event(shown, seq=self.seq, first=self.first)


def record_of(seq: int, event: Event, first: int | None = None) -> Record:
    """`event` as a record. It is encoded here unless it is known to be sayable and how long it can be."""
    size = most_bytes(event) if first is None else None
    if size is not None:
        return Record(seq, event, None, size)
    record = Record(seq, event, first)
    record.size = len(record.whole)
    return record


def stand_in(event: Event) -> Alert:
    return Alert(AlertLevel.ERROR, AlertSource.POD, f"an event could not be encoded: {type(event).__name__}", 0)


def project(event: Event, lens: Lens) -> Event | None:
    """What a connection with this lens is shown instead of `event`; None for nothing at all."""
    if lens == "full":
        return event
    return project_b(event) if lens == "B" else project_a(event)
