"""The network of a world: the memory transport's pipes between programs, which can be slow, cut, halved or lost from sight.

Nothing is ever reordered within one direction of a connection. What is late is held back as a whole, in order; what a cut loses is
the end of what was sent.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit._net import MemoryChannel, Pipe
from podkit.abc import Transport, address_body
from podkit.errors import PodUnreachableError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ._sim_program import Program
    from ._sim_watch import WireWatch
    from ._watch_writes import WriteWatch

_BACKLOG = 128
_ROOM, _ROOM_BYTES = 64, 2**18  # of one direction of a connection, in frames and bytes
_MAX_METHOD, _MAX_EVENT = 2**20, 2**26


class SimPipe(Pipe):
    """One direction. While `stalled` what is written stays on the way, and so does its end."""

    stalled: int
    size: int

    def __init__(self, room: int = _ROOM) -> None:
        super().__init__()
        self.stalled, self._room = 0, room
        self._under_way: deque[bytes] = deque()
        self._end_under_way = False
        self._size_under_way = 0

    def has_room(self, frame: bytes) -> bool:
        # What is on the way fills the pipe like what waits to be read.
        many, size = len(self.frames) + len(self._under_way), self.size + self._size_under_way
        return not many or (many < self._room and size + len(frame) <= _ROOM_BYTES)

    def put(self, frame: bytes) -> None:
        if self.broken:
            return
        if self.stalled:
            self._under_way.append(frame)
            self._size_under_way += len(frame)
        else:
            super().put(frame)

    def end(self, *, broken: bool = False) -> None:
        if self.stalled and not broken:
            self._end_under_way = True
            self.tell()
        else:
            super().end(broken=broken)

    def half_close(self) -> None:
        """The reader gets the end after what was sent; who writes more is told that it is lost."""
        self.end()
        self.deserted = True
        self.tell()

    def stall(self) -> None:
        """From now on nothing arrives."""
        self.stalled += 1

    def flow(self) -> None:
        """What is on the way arrives, unless somebody else holds it up too."""
        self.stalled -= 1
        if self.stalled:
            return
        waiting, self._under_way, self._size_under_way = self._under_way, deque(), 0
        for frame in waiting:
            super().put(frame)
        if self._end_under_way:
            super().end()
        self.tell()

    def lose(self, frames: int, *, torn: bool = False) -> None:
        """Drop the last frames that nobody read yet. `torn`: of the first dropped one a part arrives that is no whole frame."""
        for _ in range(frames):
            source = self._under_way or self.frames
            if not source:
                return
            self._size_under_way -= len(source[-1]) if source is self._under_way else 0
            self.size -= len(source[-1]) if source is self.frames else 0
            frame = source.pop()
        if torn and frames and not self.stalled and len(frame) > 1:
            super().put(frame[: len(frame) // 2])


class SimChannel(MemoryChannel):
    """One end of a connection between two programs."""

    link: Link

    def __init__(self, incoming: SimPipe, outgoing: SimPipe, *, max_frame: int, owner: Program | None) -> None:
        super().__init__(incoming, outgoing, max_frame=max_frame)
        self.owner = owner
        if owner is not None:
            owner.channels[self] = None

    @property
    def is_closed(self) -> bool:
        return self._closed

    async def send_many(self, frames: Iterable[bytes]) -> None:
        watch = self.link.net.writes
        if watch is None:
            await super().send_many(frames)
            return
        watch.begins(self)
        try:
            await super().send_many(frames)
        except BaseException:
            watch.failed(self)
            raise

    def put_many(self, frames: list[bytes]) -> int:
        watch = self.link.net.writes
        if watch is None:
            return super().put_many(frames)
        watch.begins(self)
        try:
            sent = super().put_many(frames)
        except BaseException:
            watch.failed(self)
            raise
        return sent

    def _close(self) -> None:
        super()._close()
        if self.owner is not None:
            self.owner.channels.pop(self, None)
        self.link.net.links.pop(self.link, None)


class Link:
    """One connection: `caller` connected, `host` accepted. None is the test itself."""

    net: Net
    address: str
    caller: Program | None
    host: Program | None
    forth: SimPipe
    back: SimPipe
    near: SimChannel
    far: SimChannel

    def __init__(self, net: Net, address: str, caller: Program | None, host: Program | None, watch: WireWatch | None) -> None:
        self.net, self.address, self.caller, self.host = net, address, caller, host
        self.watch = watch
        self.forth = SimPipe(net.room) if watch is None else AskedPipe(self, watch)
        self.back = SimPipe(net.room) if watch is None else SaidPipe(net.room, watch)
        self.near = SimChannel(self.back, self.forth, max_frame=_MAX_EVENT, owner=caller)
        self.far = SimChannel(self.forth, self.back, max_frame=_MAX_METHOD, owner=host)
        self.near.link = self.far.link = self

    def __repr__(self) -> str:
        return f"<Link {_called(self.caller)} -> {self.address}>"

    def joins(self, a: Program, b: Program) -> bool:
        """Whether it is between these two."""
        return (self.caller is a and self.host is b) or (self.caller is b and self.host is a)

    def stall(self) -> None:
        self.forth.stall()
        self.back.stall()

    def flow(self) -> None:
        self.forth.flow()
        self.back.flow()

    def cut(self, *, lost: int = 0, torn: bool = False) -> None:
        """The connection is lost, in both directions, and the last `lost` frames of each with it."""
        for pipe in (self.forth, self.back):
            pipe.lose(lost, torn=torn)
            pipe.end(broken=True)
            pipe.deserted = True
            pipe.tell()
        self.net.links.pop(self, None)


class AskedPipe(SimPipe):
    """The direction of methods, of which a checker sees every frame as it is sent."""

    def __init__(self, link: Link, watch: WireWatch) -> None:
        super().__init__(link.net.room)
        self._link, self._watch = link, watch

    def put(self, frame: bytes) -> None:
        method, reported = self._watch.asked(frame), self._link.net.reported
        if method == "pod_event" and reported is not None and self._watch.reports:
            reported(self._link, frame)
        super().put(frame)


class SaidPipe(SimPipe):
    """The direction of events, of which a checker sees every frame as it is sent."""

    def __init__(self, room: int, watch: WireWatch) -> None:
        super().__init__(room)
        self._watch = watch

    def put(self, frame: bytes) -> None:
        self._watch.said(frame)
        super().put(frame)


def _called(program: Program | None) -> str:
    return "the test" if program is None else program.name


class Net:
    """All connections and listeners of a world.

    `room` is how many frames may be on their way in one direction of a connection. `watch` makes a checker for each new one,
    `writes` sees every write, and `reported` is called when a child is about to tell its parent something.
    """

    def __init__(self) -> None:
        self.links: dict[Link, None] = {}
        self.listeners: dict[str, SimListener] = {}
        self.room = _ROOM
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
        return f"<SimListener at {self.address} of {_called(self.owner)}{' closed' if self._closed else ''}>"

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
    max_method: int = _MAX_METHOD
    max_event: int = _MAX_EVENT
    net: Net

    def __init__(self, net: Net, owner: Program | None = None) -> None:
        self.net, self._owner = net, owner

    def __repr__(self) -> str:
        return f"<SimTransport of {_called(self._owner)}>"

    async def connect(self, address: str) -> trio.abc.Channel[bytes]:
        net, owner = self.net, self._owner
        place = address_body(address)
        await trio.lowlevel.checkpoint_if_cancelled()  # who connects goes on to wait for an answer
        if owner is not None and owner.short:
            raise TransportError(address, "too many open files")
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
