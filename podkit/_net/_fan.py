"""Writing the same bytes to everybody who is up to date: once for each turn of the loop, and without a task for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._hub import Fanned, Record

_AT_ONCE = 2**16  # bytes that are not kept for the end of the turn


class Fan:
    """The connections that have been written everything and whose channels can be written to without waiting.

    What is published in one turn of the loop is joined and written to each of them by `run`, or earlier when it is much. Each
    member comes with a function that writes whole lines as far as they go (see `send_nowait` of `podkit.abc.Transport`).
    Whoever cannot take all of it leaves, and `fell` is told: the member, what was published, and whether part of it was
    written, so that the rest comes first.
    """

    running: bool

    def __init__(self, fell: Callable[[Fanned, list[Record], bool], None]) -> None:
        self.running = False
        self._fell = fell
        self._members: dict[Fanned, Callable[[bytes], bool]] = {}
        self._records: list[Record] = []
        self._frames: list[bytes] = []
        self._size = 0
        self._turn = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Fan of {len(self._members)}, {len(self._records)} events to write>"

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: object) -> bool:
        return member in self._members

    def join(self, member: Fanned, write: Callable[[bytes], bool]) -> None:
        """From the next event on `member` is written to here. What was published before is not for it, so that goes out first."""
        self.flush()
        self._members[member] = write

    def leave(self, member: Fanned) -> None:
        """Write `member` what was published until now, and then nothing more. It may fall while that is tried."""
        self.flush()
        self._members.pop(member, None)

    def drop(self, member: object) -> None:
        """Write nothing more to `member`, if it is one."""
        self._members.pop(member, None)  # type: ignore[call-overload]

    def dissolve(self) -> tuple[Fanned, ...]:
        """Write everybody what was published until now and let them go; returns who was left."""
        self.flush()
        left = tuple(self._members)
        self._members.clear()
        return left

    def offer(self, record: Record) -> None:
        """One event for all members. Never waits."""
        frame = record.frame("full")
        if frame is None:
            return
        if not self._records:
            self._turn.unpark_all()
        self._records.append(record)
        self._frames.append(frame)
        self._size += len(frame)
        if self._size >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what is joined."""
        if not self._records:
            return
        records, self._records = self._records, []
        self._frames.append(b"")
        data = b"\n".join(self._frames)
        self._frames, self._size = [], 0
        fallen: list[tuple[Fanned, bool]] = []
        for member, write in self._members.items():
            try:
                if not write(data):
                    fallen.append((member, True))
            except Exception:  # noqa: BLE001 - one connection's trouble, which its own writer will meet again
                fallen.append((member, False))
        for member, _ in fallen:
            del self._members[member]
        for member, torn in fallen:
            self._fell(member, records, torn)

    async def run(self) -> None:
        """Write at the end of every turn in which something was published, until cancelled."""
        self.running = True
        try:
            while True:
                await self._turn.park()
                self.flush()
        finally:
            self.running = False
            self.flush()
