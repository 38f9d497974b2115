"""The last events of a stream, kept for who lost a connection and comes back."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._hub import Record


class Ring:
    """Holds the last records, at most `events` of them and at most `size` bytes of them as frames; the oldest go first."""

    def __init__(self, *, events: int, size: int) -> None:
        self._most, self._most_bytes = events, size
        self._records: deque[Record] = deque()
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Ring of {len(self._records)} events, {self._bytes} bytes>"

    def put(self, record: Record) -> None:
        """Keep the next record."""
        self._records.append(record)
        self._bytes += len(record.whole)
        while self._bytes > self._most_bytes or len(self._records) > self._most:
            self._bytes -= len(self._records.popleft().whole)

    def after(self, seq: int, head: int) -> Iterable[Record] | None:
        """Every record from `seq` + 1 to `head`; None when not all of them are here."""
        missing = head - seq
        if not 0 <= missing <= len(self._records):
            return None
        return islice(tuple(self._records), len(self._records) - missing, None)
