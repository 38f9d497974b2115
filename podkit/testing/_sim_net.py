"""The network of a world: who listens where, what connects, and who is cut off from whom."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit.abc import Transport, address_body
from podkit.errors import PodUnreachableError, TransportError

from ._sim_link import MAX_EVENT, MAX_METHOD, ROOM, Link, called

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._sim_link import SimChannel
    from ._sim_program import Program
    from ._sim_watch import WireWatch
    from ._watch_writes import WriteWatch

_BACKLOG = 128


class Net:
    """All connections and listeners of a world.

    `room` is how many frames may be on their way in one direction of a connection, and with `sockets` new connections have the
    doors of sockets and not those of memory. `watch` makes a checker for each new one,
    `writes` sees every write, and `reported` is called when a child is about to tell its parent something.
    """

    def __init__(self) -> None:
        self.links: dict[Link, None] = {}
        self.listeners: dict[str, SimListener] = {}
        self.room = ROOM
        self.sockets = False
        self.watch: Callable[[], WireWatch] | None = None
        self.writes: WriteWatch | None = None
        self.reported: Callable[[Link, bytes], None] | None = None
        self._apart: list[tuple[Program, Program]] = []

    def __repr__(self) -> str:
        return f"<Net of {len(self.links)} connections, listening at {sorted(self.listeners)}>"

    def between(self, a: Program, b: Program) -> Iterator[Link]:
        """The connections between two programs."""
        return iter([link for link in self.links if link.joins(a, b)])

    def partition(self, a: Program, b: Program) -> None:
        """Nothing passes between the two any more; connections stand, and new ones are not answered."""
        if self.apart(a, b):
            return
        self._apart.append((a, b))
        for link in self.between(a, b):
            link.stall()

    def heal(self, a: Program, b: Program) -> None:
        """Everything passes again, and what was on the way arrives."""
        if not self.apart(a, b):
            return
        self._apart = [pair for pair in self._apart if pair not in ((a, b), (b, a))]
        for link in self.between(a, b):
            link.flow()

    def apart(self, a: Program | None, b: Program | None) -> bool:
        return (a, b) in self._apart or (b, a) in self._apart

    def heal_all(self) -> None:
        for a, b in tuple(self._apart):
            self.heal(a, b)


class SimListener(trio.abc.Listener[trio.abc.Channel[bytes]]):
    """Accepts what connects to one address. `owner` is the program that listens."""

    def __init__(self, net: Net, address: str, owner: Program | None) -> None:
        self.address, self.owner = address, owner
        self._net, self._place = net, address_body(address)
        self._closed = False
        self._pending: deque[SimChannel] = deque()
        self._changed = trio.lowlevel.ParkingLot()
        if owner is not None:
            owner.listeners[self] = None

    def __repr__(self) -> str:
        return f"<SimListener at {self.address} of {called(self.owner)}{' closed' if self._closed else ''}>"

    def give(self, owner: Program) -> None:
        """From here it belongs to that program, as do the connections that come in."""
        if self.owner is not None:
            self.owner.listeners.pop(self, None)
        self.owner = owner
        owner.listeners[self] = None
        for channel in self._pending:
            self._take(channel)

    async def accept(self) -> trio.abc.Channel[bytes]:
        if self._pending or self._closed:
            await trio.lowlevel.checkpoint()
        wait = 0.05
        while not self._closed:
            if self.owner is not None and self.owner.short:  # as listeners on sockets do
                await trio.sleep(wait)
                wait = min(2 * wait, 1.0)
            elif self._pending:
                return self._pending.popleft()
            else:
                await self._changed.park()
        raise trio.ClosedResourceError("this listener was closed")

    async def aclose(self) -> None:
        self.close_now()
        await trio.lowlevel.checkpoint()

    def close_now(self) -> None:
        if self._closed:
            return
        self._closed = True
        del self._net.listeners[self._place]
        if self.owner is not None:
            self.owner.listeners.pop(self, None)
        for channel in self._pending:
            channel.abort()
        self._pending.clear()
        self._changed.unpark_all()

    def offer(self, channel: SimChannel) -> bool:
        if len(self._pending) >= _BACKLOG:
            return False
        self._take(channel)
        self._pending.append(channel)
        self._changed.unpark_all()
        return True

    def _take(self, channel: SimChannel) -> None:
        if channel.owner is not None:
            channel.owner.channels.pop(channel, None)
        channel.owner = channel.link.host = self.owner
        if self.owner is not None:
            self.owner.channels[channel] = None


class SimTransport(Transport):
    """The network as one program sees it; None: as the test itself does."""

    scheme = "memory"
    max_method: int = MAX_METHOD
    max_event: int = MAX_EVENT
    net: Net

    def __init__(self, net: Net, owner: Program | None = None) -> None:
        self.net, self._owner = net, owner

    def __repr__(self) -> str:
        return f"<SimTransport of {called(self._owner)}>"

    async def connect(self, address: str) -> trio.abc.Channel[bytes]:
        net, owner = self.net, self._owner
        place = address_body(address)
        await trio.lowlevel.checkpoint_if_cancelled()  # who connects goes on to wait for an answer
        if owner is not None and owner.short:
            raise PodUnreachableError(address, "too many open files")  # as over sockets: it may be tried again
        listener = net.listeners.get(place)
        if listener is None or (owner is not None and owner.dead):
            raise PodUnreachableError(address)
        link = Link(net, address, owner, listener.owner, None if net.watch is None else net.watch())
        if net.apart(owner, listener.owner):
            link.stall()
        net.links[link] = None
        if not listener.offer(link.far):
            link.near.abort()
            raise PodUnreachableError(address, "the pod does not accept connections")
        return link.near

    async def listen(self, address: str) -> SimListener:
        place = address_body(address)
        await trio.lowlevel.checkpoint()
        if self._owner is not None and self._owner.short:
            raise TransportError(address, "too many open files")
        if place in self.net.listeners or (self._owner is not None and self._owner.dead):
            raise TransportError(address, "somebody listens there already")
        listener = self.net.listeners[place] = SimListener(self.net, address, self._owner)
        return listener
