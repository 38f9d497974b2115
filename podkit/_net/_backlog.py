"""What waits to be written on one connection: in the order in which it came, and how much of it is events."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import attrs

from ._plan_merge import merge, same_block
from ._record import Lens, Record, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podkit.logic import Limits
    from podkit.protocol import Snapshot


@attrs.frozen(eq=False)
class Reply:
    """The answer to a method."""

    frame: bytes


@attrs.frozen(eq=False)
class Piece:
    """A frame of the stream that is no event of the hub: an alert of the prelude, a part of a snapshot."""

    frame: bytes


@attrs.frozen(eq=False)
class Whole:
    """A snapshot that the writer will turn into frames when it gets there."""

    snapshot: Snapshot
    seq: int


@attrs.frozen(eq=False)
class Begun:
    """The rest of a snapshot of which something was written. Its frames are made one by one, as the peer takes them."""

    frames: Iterator[bytes]


Item: TypeAlias = Reply | Piece | Whole | Begun | Record


class Backlog:
    """A queue that is bounded in its events alone: `events` of them, of `event_bytes` bytes as frames. `items` is what is in it."""

    def __init__(self, limits: Limits) -> None:
        self.events = self.event_bytes = 0
        self._limits = limits
        self.items: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<Backlog of {len(self.items)}, {self.events} of them events>"

    def add(self, item: Reply | Piece | Whole) -> None:
        """Queue what is no event."""
        self.items.append(item)

    def add_event(self, record: Record, size: int) -> None:
        """Queue an event that is so many bytes long."""
        self.items.append(record)
        self.events += 1
        self.event_bytes += size

    def put_back(self, item: Begun) -> None:
        """Queue the rest of what was popped last, before everything else."""
        self.items.appendleft(item)

    def pop(self, lens: Lens) -> Item:
        """The next item, which is not there any more."""
        item = self.items.popleft()
        if isinstance(item, Record):
            self.events -= 1
            self.event_bytes -= len(item.frame(lens) or b"")
        return item

    def make_room(self, size: int, lens: Lens) -> bool:
        """Whether there is room for one event more, of `size` bytes; deltas are merged when that is needed for it."""
        if not self._full(size):
            return True
        self._merge(lens)
        # Only when much room was made: else every event from here on would cost a look at the whole queue.
        limits = self._limits
        return not (self._full(size) or self._full(limits.outbox_bytes // 2, (limits.outbox_events - 1) // 2))

    def _full(self, size: int, events: int = 0) -> bool:
        """Whether one event more, of `size` bytes, is too much while room for `events` is to be left beside it."""
        limits = self._limits
        return bool(self.events) and (self.events + events >= limits.outbox_events or self.event_bytes + size > limits.outbox_bytes)

    def _merge(self, lens: Lens) -> None:
        """Make one of deltas of one block that stand side by side. Replies and everything committed keep their place."""
        items: deque[Item] = deque()
        group: list[Record] = []
        for item in (*self.items, None):
            if isinstance(item, Record) and item.sayable:
                if not group or same_block(group[-1].event, item.event):
                    group.append(item)
                    continue
                items.append(_merged(group))
                group = [item]
                continue
            if group:
                items.append(_merged(group))
                group = []
            if item is not None:
                items.append(item)
        self.items = items
        sizes = [len(item.frame(lens) or b"") for item in items if isinstance(item, Record)]
        self.events, self.event_bytes = len(sizes), sum(sizes)

    def missing_from(self) -> int | None:
        """The number from which on something is missing if all events are dropped.

        None when nothing is: a snapshot that was not sent yet is replaced by a newer one.
        """
        if any(isinstance(item, Whole) for item in self.items):
            return None
        oldest = next(item for item in self.items if isinstance(item, Record))
        return oldest.seq if oldest.first is None else oldest.first

    def keep(self, kinds: tuple[type, ...]) -> None:
        """Drop the events, and everything else that is not of these kinds."""
        self.items = deque(item for item in self.items if isinstance(item, kinds))
        self.events = self.event_bytes = 0

    def clear(self) -> None:
        """Drop everything."""
        self.keep(())


def _merged(group: list[Record]) -> Record:
    if len(group) == 1:
        return group[0]
    first = group[0].first
    return record_of(group[-1].seq, merge([record.event for record in group]), group[0].seq if first is None else first)
