"""One connection of a world: the memory transport's pipes between two programs, which can be slow, cut, halved or lost from sight.

Nothing is ever reordered within one direction of a connection. What is late is held back as a whole, in order; what a cut loses is
the end of what was sent.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit._net import MemoryChannel, Pipe
from podkit.abc import check_frame

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._sim_net import Net
    from ._sim_program import Program
    from ._sim_watch import WireWatch

ROOM = 64  # of one direction of a connection, in frames
MAX_METHOD, MAX_EVENT = 2**20, 2**26
_ROOM_BYTES = 2**18


class SimPipe(Pipe):
    """One direction. While `stalled` what is written stays on the way, and so does its end."""

    stalled: int
    size: int

    def __init__(self, room: int = ROOM) -> None:
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


class SocketChannel(SimChannel):
    """One end that is written to as sockets are: a hub writes straight to who is level."""

    # A channel without a door has no such name, and who looks for one takes None for that.
    put_many = None  # type: ignore[assignment]

    def __init__(self, incoming: SimPipe, outgoing: SimPipe, *, max_frame: int, owner: Program | None) -> None:
        super().__init__(incoming, outgoing, max_frame=max_frame, owner=owner)
        self._rest: list[bytes] = []  # what did not go of what was written straight, and goes first

    async def send_many(self, frames: Iterable[bytes]) -> None:
        checked = [check_frame(frame) for frame in frames]
        rest, self._rest = self._rest, []
        await super().send_many([*rest, *checked])

    def send_nowait(self, lines: bytes) -> bool:
        """Write whole lines as far as there is room; the rest is for the next `send_many`."""
        if self._sending or self._rest:
            raise trio.WouldBlock
        self._check_sendable()
        if (watch := self.link.net.writes) is not None:
            watch.begins(self)
        frames = lines.split(b"\n")[:-1]
        for number, frame in enumerate(frames):
            if not self._out.has_room(frame):
                if not number:
                    raise trio.WouldBlock
                self._rest = frames[number:]
                return False
            self._out.put(frame)
        return True


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
        kind = SocketChannel if net.sockets else SimChannel
        self.near = kind(self.back, self.forth, max_frame=MAX_EVENT, owner=caller)
        self.far = kind(self.forth, self.back, max_frame=MAX_METHOD, owner=host)
        self.near.link = self.far.link = self

    def __repr__(self) -> str:
        return f"<Link {called(self.caller)} -> {self.address}>"

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


def called(program: Program | None) -> str:
    return "the test" if program is None else program.name
