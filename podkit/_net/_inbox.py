"""Events that came in and wait for whoever iterates: bounded, without ever making the connection wait."""

from __future__ import annotations

from collections import deque

from podkit.protocol import EventFrame, Lagged, Shutdown, Snapshot, SnapshotBegin, SnapshotChunk, SnapshotEnd

from ._plan_snapshot import Assembly, session_of

_APART = frozenset({Shutdown, Snapshot, SnapshotBegin, SnapshotChunk, SnapshotEnd, Lagged})
"""What is more than one event further on in the stream."""


class Inbox:
    """Holds at most `limit` events. When more come, those with a number are dropped until `restart`.

    `missing` is then the first and the last number that are not coming. Nothing is kept before the first `restart`: until then
    the stream is not the one that was asked for.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.queue: deque[EventFrame] = deque()
        self._assembly = Assembly()
        self.skipping, self._again = True, False
        self._unread = False  # the overrun dropped a snapshot that nobody had read
        self.missing: tuple[int, int] | None = None
        self.overrun = False
        self._last: int | None = None  # the number up to which everything was taken in, or is known to be missing
        self.shutdown: EventFrame | None = None
        self.session: str | None = None  # what the last snapshot says is kept, if it says

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def point(self) -> int | None:
        """The number after which the stream can go on; None when only a snapshot helps."""
        return None if self.overrun or self.skipping else self._last

    def lost(self, head: int) -> None:
        """The stream could not be resumed and starts anew with a snapshot of at least `head`: what is missing is told before it."""
        first = None
        if self.overrun:
            missing = self.recover(fresh=True)
            first = None if missing is None else missing[0]
        elif self._last is not None and not self.skipping:  # who skips was told already, and waits for the snapshot
            first = self._last + 1
        self.restart()
        if first is not None and first <= head:
            self.queue.append(EventFrame(Lagged(first, head)))

    def restart(self, base: int | None = None) -> None:
        """The subscription that was asked for starts here: after the event `base`, or (None) with a snapshot."""
        self._assembly = Assembly()
        self._last = base
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

    def put(self, batch: list[EventFrame]) -> None:
        """Take in what came together and is no reply. Raises `RemoteProtocolError` for pieces of a snapshot that do not fit."""
        last = batch[-1].seq
        if (
            last is not None
            and not (self.skipping or self.overrun)
            and len(self.queue) + len(batch) <= self._limit
            and _APART.isdisjoint([type(said.event) for said in batch])
        ):
            # Most of a stream: nothing to look at one by one.
            self._last = last
            self.queue += batch
            return
        for said in batch:
            self._put(said)

    def _put(self, said: EventFrame) -> None:
        event = said.event
        if isinstance(event, Shutdown):
            self.shutdown = said
            return
        if self.skipping:
            if self._again:
                self._miss(said)
            return
        if isinstance(event, SnapshotBegin):
            self._assembly.begin(event)
            return
        if isinstance(event, SnapshotChunk):
            self._assembly.chunk(event)
            return
        if isinstance(event, SnapshotEnd):
            whole, seq = self._assembly.end(event)
            said = EventFrame(whole, seq=seq)
        if isinstance(said.event, Snapshot):
            self.session = session_of(said.event)
        if isinstance(said.event, Lagged):
            self._last = None
        elif said.seq is not None:
            self._last = said.seq
        if self.overrun:
            self._miss(said)
            return
        if len(self.queue) >= self._limit:
            self._overflow(said)
            return
        self.queue.append(said)

    def take(self) -> EventFrame | None:
        """The next event and its number, if there is one."""
        return self.queue.popleft() if self.queue else None

    def _overflow(self, said: EventFrame) -> None:
        self.overrun = True
        queue, self.queue = self.queue, deque()
        self._unread = bool(queue) and isinstance(queue[0].event, Snapshot)
        for item in (*queue, said):
            self._miss(item)

    def _miss(self, said: EventFrame) -> None:
        """Drop what has a number, and keep what has none, as far as there is room."""
        if isinstance(said.event, Lagged):
            self._missing(said.event.first, said.event.last)
        elif said.seq is None:
            if len(self.queue) < self._limit:
                self.queue.append(said)
        elif not isinstance(said.event, Snapshot):
            self._missing(said.seq if said.first is None else said.first, said.seq)

    def _missing(self, first: int, last: int) -> None:
        self.missing = (first, last) if self.missing is None else (self.missing[0], max(self.missing[1], last))
