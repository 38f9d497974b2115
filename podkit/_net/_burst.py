"""Events that were taken in together: what each of them costs is paid once for all of them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import msgspec

from podkit.errors import LocalProtocolError

from ._plan_late import LONGEST, most_bytes_of
from ._plan_lines import write_lines
from ._record import Record, record_of, stand_in

if TYPE_CHECKING:
    from podkit.protocol import Event


class Burst(msgspec.Struct, eq=False, gc=False):
    """One or more events that follow each other, the first of them with the number `seq`.

    `size` is what they count for as frames, in bytes: exact when there are `lines`, and while nobody has needed those (None) an
    upper bound. For what the wire cannot say something else stands in `events`.
    """

    seq: int
    events: list[Event]
    size: int
    lines: bytes | None
    """All of them as bytes, each with its line feed."""

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        return f"<Burst of {len(self.events)} from {self.seq}>"

    def measure(self) -> bytes:
        """All of them as bytes, each with its line feed; from then on `size` is exact."""
        if self.lines is None:
            self.lines = write_lines(self.events, self.seq)
            self.size = len(self.lines) - len(self.events)
        return self.lines

    def without(self, gone: int) -> Burst:
        """What is left when so many of the first are gone, and something is."""
        seq, events = self.seq + gone, self.events[gone:]
        if self.lines is None:
            bound = most_bytes_of(events)
            return Burst(seq, events, self.size if bound is None else bound, None)
        rest = self.lines.split(b"\n", gone)[-1]
        return Burst(seq, events, len(rest) - len(events), rest)

    def records(self) -> list[Record]:
        """Each of them by itself."""
        if self.lines is None:
            return [record_of(number, event) for number, event in enumerate(self.events, self.seq)]
        frames = self.lines.split(b"\n")
        return [
            Record(n, event, None, len(frame), frame) for n, event, frame in zip(count(self.seq), self.events, frames, strict=False)
        ]


def burst_of(seq: int, events: list[Event], *, exact: bool) -> Burst:
    """`events` as a burst. They are encoded here when that is needed (`exact`) or nothing else tells how long they can be."""
    bound = None if exact else most_bytes_of(events)
    if bound is not None:
        return Burst(seq, events, bound, None)
    try:
        lines = write_lines(events, seq)
    except LocalProtocolError:
        lines = b""
    if not lines or len(lines) > LONGEST:  # one by one, since there may be something that cannot be said
        records = [record_of(number, event) for number, event in enumerate(events, seq)]
        lines = b"".join([record.whole + b"\n" for record in records])
        events = [record.event if record.sayable else stand_in(record.event) for record in records]
    return Burst(seq, events, len(lines) - len(events), lines)


def burst_of_one(record: Record, *, exact: bool) -> Burst:
    """A record as a burst, encoded if it is already or that is needed (`exact`)."""
    if record.late and not exact:
        return Burst(record.seq, [record.event], record.size, None)
    lines = record.whole + b"\n"
    return Burst(record.seq, [record.event if record.sayable else stand_in(record.event)], len(lines) - 1, lines)
