"""Connections inside one program: no file, no socket, no thread, so that they work in virtual time."""

from __future__ import annotations

from collections import deque

import trio

from podkit.abc import Transport, address_body
from podkit.errors import PodUnreachableError, TransportError

from ._memory_channel import MemoryChannel, Pipe

_BACKLOG = 128
_BACKLOG_WAIT = 5.0  # seconds


class MemoryTransport(Transport):
    """Reaches pods of this program that listen through this very object: each one has addresses of its own.

    Its connections are bounded like sockets: a sender waits while the other end is 64 frames or 256 KiB behind.
    `max_method` limits in bytes what a listening side reads in one frame, `max_event` what a connecting side reads.
    """

    scheme = "memory"

    def __init__(self, *, max_method: int = 2**20, max_event: int = 2**26) -> None:
        self.max_method = max_method
        self.max_event = max_event
        self._listeners: dict[str, MemoryListener] = {}

    def __repr__(self) -> str:
        return f"<MemoryTransport listening at {sorted(self._listeners)}>"

    async def connect(self, address: str) -> trio.abc.Channel[bytes]:
        """Connect to who listens at `address` here. Raises `PodUnreachableError` when nobody does."""
        place = address_body(address)
        await trio.lowlevel.checkpoint()
        listener = self._listeners.get(place)
        if listener is None:
            raise PodUnreachableError(address)
        if not await listener.wait_for_room():
            raise PodUnreachableError(address, "the pod does not accept connections")
        there, back = Pipe(), Pipe()
        listener.offer(MemoryChannel(there, back, max_frame=self.max_method))
        return MemoryChannel(back, there, max_frame=self.max_event)

    async def listen(self, address: str) -> MemoryListener:
        """Listen at `address`. Raises `TransportError` when somebody does already."""
        place = address_body(address)
        await trio.lowlevel.checkpoint()
        if place in self._listeners:
            raise TransportError(address, "somebody listens there already")
        listener = self._listeners[place] = MemoryListener(self._listeners, place, address)
        return listener


class MemoryListener(trio.abc.Listener[trio.abc.Channel[bytes]]):
    """Accepts what connects to one address of a `MemoryTransport`. `address` is that address."""

    def __init__(self, listeners: dict[str, MemoryListener], place: str, address: str) -> None:
        self.address = address
        self._listeners = listeners
        self._place = place
        self._closed = False
        self._pending: deque[MemoryChannel] = deque()
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<MemoryListener at {self.address}{' closed' if self._closed else ''}>"

    async def accept(self) -> trio.abc.Channel[bytes]:
        """The next connection. Raises `trio.ClosedResourceError` when the listener is or becomes closed."""
        if self._pending or self._closed:
            await trio.lowlevel.checkpoint()
        while not self._closed:
            if self._pending:
                self._changed.unpark_all()
                return self._pending.popleft()
            await self._changed.park()
        raise trio.ClosedResourceError("this listener was closed")

    async def aclose(self) -> None:
        """Stop listening; the address is free again, and connections that nobody accepted are lost."""
        if not self._closed:
            self._closed = True
            del self._listeners[self._place]
            for channel in self._pending:
                channel.abort()
            self._pending.clear()
            self._changed.unpark_all()
        await trio.lowlevel.checkpoint()

    async def wait_for_room(self) -> bool:
        with trio.move_on_after(_BACKLOG_WAIT):
            while not self._closed and len(self._pending) >= _BACKLOG:
                await self._changed.park()
            return not self._closed
        return False

    def offer(self, channel: MemoryChannel) -> None:
        self._pending.append(channel)
        self._changed.unpark_all()
