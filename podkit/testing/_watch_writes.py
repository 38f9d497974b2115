"""What is watched of writing: one message at a time, nothing after a write that failed (I14), and queues that have an end (I22)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from podkit._net import Outbox, Record
from podkit.protocol import Shutdown

if TYPE_CHECKING:
    from podkit._life import Pod

    from ._sim_link import SimChannel
    from ._sim_program import Program

Complain = Callable[[str, str], None]

_CLOSED_WITHIN = 10.0  # seconds from a failed write to the end of its connection, for a pod
_FREEZE_SECONDS = 25.0
_REPLIES = 512  # 128 may be unread before no more methods are read, then 256 that wait are still answered, and what came in one go


class WriteWatch:
    """Sees every write of a world. `complain(invariant, what)` is told what must never be; checks for later run in `nursery`."""

    def __init__(self, nursery: trio.Nursery, complain: Complain) -> None:
        self._nursery, self._complain = nursery, complain
        self._failed: set[SimChannel] = set()

    def begins(self, channel: SimChannel) -> None:
        """Somebody writes."""
        if channel._sending:
            self._complain("I14", f"two tasks write to one connection of {_whose(channel)}")
        if channel in self._failed and not (channel.is_closed or channel._out.deserted):
            self._complain("I14", f"{_whose(channel)} writes on after a write that failed: the two run into each other")

    def failed(self, channel: SimChannel) -> None:
        """Some of it was written, or nothing: the next message would follow the torn one."""
        if channel not in self._failed:
            self._failed.add(channel)
            if channel.owner is not None and channel is channel.link.far:
                self._nursery.start_soon(self._closes, channel, channel.owner)

    async def _closes(self, channel: SimChannel, owner: Program) -> None:
        await trio.sleep(_CLOSED_WITHIN)
        if not channel.is_closed and owner.alive:
            await trio.sleep(_FREEZE_SECONDS)
            if not channel.is_closed and owner.alive and not owner.frozen:
                self._complain("I14", f"a write of {owner.name} failed, and the connection stands")


class QueueWatch:
    """Sees to it that what waits for each of the peers of a pod is bounded, by count and by bytes, whatever they do."""

    def __init__(self, pod: Pod, complain: Complain) -> None:
        self._pod, self._complain = pod, complain
        self._peers: dict[Outbox, None] = {}  # who is far behind is no subscriber for a while, and answered all the same

    def look(self) -> None:
        """Once a round of the hub has begun."""
        for subscriber in self._pod.hub._round:
            if isinstance(subscriber, Outbox):
                self._peers[subscriber] = None
        for outbox in tuple(self._peers):
            if outbox.done:
                del self._peers[outbox]
            elif outbox.backlog:
                self._check(outbox)

    def _check(self, outbox: Outbox) -> None:
        name, limits = self._pod.name, self._pod.limits
        waiting = [item for item in outbox.backlog.items if isinstance(item, Record)]
        if waiting and isinstance(waiting[-1].event, Shutdown):
            waiting.pop()  # the end is told to everybody
        size = sum(len(record.frame(outbox.lens) or b"") for record in waiting)
        if len(waiting) > limits.outbox_events or (len(waiting) > 1 and size > limits.outbox_bytes):
            self._complain("I22", f"{len(waiting)} events of {size} bytes wait for one peer of {name}")
        if outbox._unsent > _REPLIES:
            self._complain("I22", f"{outbox._unsent} replies wait for one peer of {name}")


def _whose(channel: SimChannel) -> str:
    return "the test" if channel.owner is None else channel.owner.name
