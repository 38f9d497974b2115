"""Events that came in and wait for whoever iterates: bounded, without ever making the connection wait."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from podkit.protocol import Lagged, Shutdown, Snapshot, SnapshotBegin, SnapshotChunk, SnapshotEnd

from ._plan_snapshot import Assembly

if TYPE_CHECKING:
    from podkit.protocol import Event, EventFrame


class Inbox:
    """Holds at most `limit` events. When more come, those with a number are dropped until `restart`.

    `missing` is then the first and the last number that are not coming. Nothing is kept before the first `restart`: until then
    the stream is not the one that was asked for.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[tuple[Event, int | None]] = deque()
        self._assembly = Assembly()
        self.skipping, self._again = True, False
        self._unread = False  # the overrun dropped a snapshot that nobody had read
        self.missing: tuple[int, int] | None = None
        self.overrun = False
        self.shutdown: tuple[Event, int | None] | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def restart(self) -> None:
        """The subscription that was asked for starts here."""
        self._assembly = Assembly()
        self.skipping = self._again = False
        # Whatever was missing is in the snapshot that comes, and the end is said once more.
        self.missing = self.shutdown = None

    def skip(self) -> None:
        """After an overrun: drop what comes until `restart`."""
        self.skipping = self._again = True

    def recover(self, *, fresh: bool) -> tuple[int, int] | None:
        """The overrun is over. Returns the first and the last number that are missing until now, if any are.

        `fresh`: a snapshot is on its way. When it replaces one that nobody had read, nothing is missing once it is here.
        """
        unread, self.overrun, self._unread = self._unread, False, False
        if fresh and unread:
            return None
        missing, self.missing = self.missing, None
        return missing

    def put(self, said: EventFrame) -> None:
        """Take in what is no reply. Raises `RemoteProtocolError` for a snapshot in pieces that do not fit together."""
        event, seq = said.event, said.seq
        if isinstance(event, Shutdown):
            self.shutdown = (event, seq)
            return
        if self.skipping:
            if self._again:
                self._miss(event, seq)
            return
        if isinstance(event, SnapshotBegin):
            self._assembly.begin(event)
            return
        if isinstance(event, SnapshotChunk):
            self._assembly.chunk(event)
            return
        if isinstance(event, SnapshotEnd):
            event, seq = self._assembly.end(event)
        if self.overrun:
            self._miss(event, seq)
            return
        if len(self._queue) >= self._limit:
            self._overflow(event, seq)
            return
        self._queue.append((event, seq))

    def take(self) -> tuple[Event, int | None] | None:
        """The next event and its number, if there is one."""
        return self._queue.popleft() if self._queue else None

    def _overflow(self, event: Event, seq: int | None) -> None:
        self.overrun = True
        queue, self._queue = self._queue, deque()
        self._unread = bool(queue) and isinstance(queue[0][0], Snapshot)
        for item in (*queue, (event, seq)):
            self._miss(*item)

    def _miss(self, event: Event, seq: int | None) -> None:
        """Drop what has a number, and keep what has none, as far as there is room."""
        if isinstance(event, Lagged):
            self._missing(event.first, event.last)
        elif seq is None:
            if len(self._queue) < self._limit:
                self._queue.append((event, seq))
        elif not isinstance(event, Snapshot):
            self._missing(seq, seq)

    def _missing(self, first: int, last: int) -> None:
        self.missing = (first, last) if self.missing is None else (self.missing[0], max(self.missing[1], last))
