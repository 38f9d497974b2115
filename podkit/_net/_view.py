"""A subscription from inside the program: no bytes, no connection, the same promises."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit.protocol import Lagged, Shutdown, Snapshot

if TYPE_CHECKING:
    from podkit.protocol import Event

    from ._desk import Desk
    from ._hub import Hub
    from ._record import Record


class View(trio.abc.ReceiveChannel["Event"]):
    """Yields a `Snapshot` first and then every event once, in order.

    Who falls behind by more than the pod's limit gets `Lagged(first, last)` and a fresh `Snapshot`. `seq` is the number of the
    event last received. After the pod closed its stream, what is queued is still handed out, and then `trio.EndOfChannel`.
    """

    seq: int

    def __init__(self, hub: Hub, desk: Desk) -> None:
        self.seq = 0
        self._hub, self._desk = hub, desk
        self._limit = hub.limits.outbox_events
        self._queue: deque[tuple[int, Event]] = deque([(hub.head, desk.snapshot())])
        self._overrun = False
        self._final: Record | None = None  # the end, when it came during an overrun
        self._missing: int | None = None  # after an overrun: the first number that was dropped; None when only a snapshot was
        self._ended = self._closed = False
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "ended" if self._ended else f"{len(self._queue)} waiting"
        return f"<View at {self.seq}, {state}>"

    def offer(self, record: Record) -> None:
        """The hub's side: never waits."""
        last = isinstance(record.event, Shutdown)
        if self._overrun:
            self._final = record if last else self._final
            return
        if len(self._queue) >= self._limit and not last:
            first, event = self._queue[0]
            # A snapshot that nobody read yet is replaced by a newer one, and nothing is missing.
            self._missing = None if isinstance(event, Snapshot) else first
            self._overrun = True
            self._queue.clear()
        else:
            self._queue.append((record.seq, record.event))
        self._changed.unpark_all()

    def hub_closed(self) -> None:
        """The hub's side: nothing more will come."""
        self._ended = True
        self._changed.unpark_all()

    async def receive(self) -> Event:
        """The next event. Raises `trio.EndOfChannel` after the last, `trio.ClosedResourceError` after our own `aclose`."""
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this view was closed")
            if self._overrun:
                self._overrun = False
                head = self._hub.head
                self._queue.append((head, self._desk.snapshot()))
                if self._final is not None:
                    self._queue.append((self._final.seq, self._final.event))
                if self._missing is not None:
                    return Lagged(self._missing, head)
            if self._queue:
                self.seq, event = self._queue.popleft()
                return event
            if self._ended:
                raise trio.EndOfChannel
            await self._changed.park()

    async def aclose(self) -> None:
        """Stop listening. Whoever waits in `receive` gets `trio.ClosedResourceError`."""
        self._hub.unsubscribe(self)
        self._closed = True
        self._queue.clear()
        self._changed.unpark_all()
        await trio.lowlevel.checkpoint()
