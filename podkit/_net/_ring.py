"""The last events of a stream, kept for who lost a connection and comes back."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._hub import Record


class Ring:
    """Holds the last records, at most `events` of them and at most `size` bytes of them as frames; the oldest go first.

    A record that nobody has read as bytes yet counts for the most that it can be. Only when that would cost a record its place
    is it encoded, the oldest first, so what is held is the same as if all of them had been encoded at once.
    """

    def __init__(self, *, events: int, size: int) -> None:
        self._most, self._most_bytes = events, size
        self._records: deque[Record] = deque()
        self._bytes = 0  # at least what they are as frames
        self._exact = 0  # so many of the oldest are known to the byte

    def __repr__(self) -> str:
        return f"<Ring of {len(self._records)} events, at most {self._bytes} bytes>"

    def put(self, records: list[Record], size: int) -> None:
        """Keep the next records, which count for `size` bytes."""
        held = self._records
        held.extend(records)
        self._bytes += size
        for _ in range(len(held) - self._most):
            self._bytes -= held.popleft().size
            self._exact -= 1
        self._exact = max(0, self._exact)
        while self._bytes > self._most_bytes:
            if self._exact < len(held):
                self._measure(held[self._exact])
            else:
                self._bytes -= held.popleft().size
                self._exact -= 1

    def after(self, seq: int, head: int) -> Iterable[Record] | None:
        """Every record from `seq` + 1 to `head`; None when not all of them are here."""
        missing = head - seq
        if not 0 <= missing <= len(self._records):
            return None
        return islice(tuple(self._records), len(self._records) - missing, None)

    def _measure(self, record: Record) -> None:
        self._exact += 1
        self._bytes -= record.size
        record.size = len(record.whole)
        self._bytes += record.size
