"""Writing the same bytes to everybody who is up to date: once for each turn of the loop, and without a task for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._burst import Burst
    from ._hub import Fanned

_AT_ONCE = 2**16  # bytes that are not kept for the end of the turn


class Fan:
    """The connections that have been written everything and whose channels can be written to without waiting.

    What is published in one turn of the loop is joined and written to each of them by `run`, or earlier when it is much. Each
    member comes with a function that writes whole lines as far as they go (see `send_nowait` of `podkit.abc.Transport`).
    Whoever cannot take all of it leaves, and `fell` is told: the member, what was published, and whether part of it was
    written, so that the rest comes first. `settle` is called before anything is written or anybody comes or leaves, and offers
    what was published and not offered yet.
    """

    running: bool

    def __init__(self, fell: Callable[[Fanned, list[Burst], bool], None], settle: Callable[[], None]) -> None:
        self.running = False
        self._fell, self._settle = fell, settle
        self._members: dict[Fanned, Callable[[bytes], bool]] = {}
        self._bursts: list[Burst] = []
        self._size = 0
        self._writer: trio.lowlevel.Task | None = None  # while it waits for something to write

    def __repr__(self) -> str:
        return f"<Fan of {len(self._members)}, {sum(map(len, self._bursts))} events to write>"

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

    def wake(self) -> None:
        """Something was published: write at the end of this turn."""
        if self._members and self._writer is not None:
            trio.lowlevel.reschedule(self._writer)
            self._writer = None

    def offer(self, burst: Burst) -> None:
        """The next events for all members. Never waits."""
        self.wake()
        self._bursts.append(burst)
        self._size += burst.size
        if self._size >= _AT_ONCE:
            self._write()

    def flush(self) -> None:
        """Write what was published until now."""
        self._settle()
        self._write()

    def _write(self) -> None:
        if not self._bursts:
            return
        bursts, self._bursts = self._bursts, []
        self._size = 0
        data = b"".join([burst.measure() for burst in bursts])
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
            self._fell(member, bursts, torn)

    async def run(self) -> None:
        """Write at the end of every turn in which something was published, until cancelled. One task at a time."""

        def stop_waiting(_raise: object) -> trio.lowlevel.Abort:
            self._writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        self.running = True
        try:
            while True:
                self._writer = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(stop_waiting)
                self.flush()
        finally:
            self.running = False
            self.flush()
