"""The last events of a stream, kept for who lost a connection and comes back."""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._burst import Burst
    from ._record import Record


class Ring:
    """Holds the last events, at most `events` of them and at most `size` bytes of them as frames; the oldest go first.

    A burst that nobody has read as bytes yet counts for the most that it can be. Only when that would cost an event its place is
    it encoded, the oldest first, so what is held is the same as if all of them had been encoded at once.
    """

    def __init__(self, *, events: int, size: int) -> None:
        self._most, self._most_bytes = events, size
        self._bursts: deque[Burst] = deque()
        self._count = 0
        self._bytes = 0  # at least what they are as frames
        self._exact = 0  # so many of the oldest bursts are known to the byte

    def __repr__(self) -> str:
        return f"<Ring of {self._count} events, at most {self._bytes} bytes>"

    def put(self, burst: Burst) -> None:
        """Keep the next events."""
        self._bursts.append(burst)
        self._count += len(burst.events)
        self._bytes += burst.size
        if self._count > self._most:
            self._drop(self._count - self._most)
        while self._bytes > self._most_bytes:
            if self._exact < len(self._bursts):
                self._measure(self._bursts[self._exact])
            else:
                self._drop(_fewest(self._bursts[0].measure(), self._bytes - self._most_bytes))

    def after(self, seq: int, head: int) -> Iterable[Record] | None:
        """Every event from `seq` + 1 to `head`; None when not all of them are here."""
        missing = head - seq
        if not 0 <= missing <= self._count:
            return None
        records = chain.from_iterable([burst.records() for burst in self._bursts])
        return islice(records, self._count - missing, None)

    def _drop(self, count: int) -> None:
        """Let go of the `count` oldest."""
        self._count -= count
        while count:
            oldest = self._bursts.popleft()
            self._bytes -= oldest.size
            if count < len(oldest.events):
                rest = oldest.without(count)
                self._bursts.appendleft(rest)
                self._bytes += rest.size
                return
            count -= len(oldest.events)
            self._exact -= self._exact > 0

    def _measure(self, burst: Burst) -> None:
        self._exact += 1
        self._bytes -= burst.size
        burst.measure()
        self._bytes += burst.size


def _fewest(lines: bytes, size: int) -> int:
    """How many lines have to go so that `size` bytes less are here, their ends not counted; all of them when that is not enough."""
    count = end = 0
    while end < len(lines) and end < size + count:
        end = lines.index(b"\n", end) + 1
        count += 1
    return count
