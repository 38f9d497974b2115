"""A pod from the other side of a transport."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from podkit._os import new_incarnation
from podkit.errors import AuthenticationError, LocalProtocolError, MethodRejectedError, PodUnreachableError
from podkit.protocol import Error, ErrorCode, Hello, Lagged, Subscribe, Welcome

from ._controls import Controls
from ._inbox import Inbox
from ._link import Link
from ._plan_admission import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from podkit.abc import Transport
    from podkit.protocol import BirthCredential, Event, EventFrame, Method

_CLIENT = "podkit/0.1"
_WELCOME_SECONDS = 10.0
_CLOSING = 1.0
_BURST = 32  # events that are here already are handed out so many at a time without letting others run


class Client(Controls, trio.abc.ReceiveChannel["Event"]):
    """A connection to a pod. Made by `connect`.

    Iterating yields a `Snapshot` first and then every event once, in order; events of kinds this version does not know are
    `UnknownEvent`. Who iterates too slowly gets `Lagged(first, last)` and then a fresh `Snapshot`; neither the pod nor
    what is asked of it ever waits for that. After `Shutdown` comes `trio.EndOfChannel`; a connection that ends without one is
    a `PodUnreachableError`, since the pod may live on. `name`, `incarnation` and `confinement` are the pod's; `seq` is the
    number of the event last received.
    """

    name: str
    incarnation: str
    confinement: str
    seq: int

    def __init__(
        self, address: str, transport: Transport, channel: trio.abc.Channel[bytes], hello: Hello, *, buffer: int, prefix: str = ""
    ) -> None:
        self.address = address
        self.name = self.incarnation = self.confinement = ""
        self.seq = 0
        self._transport, self._channel, self._hello = transport, channel, hello
        self._inbox = Inbox(buffer)
        self._link = Link(channel, address, self._heard, prefix=prefix)
        self._link.on_end(self._wake)
        self._changed = trio.lowlevel.ParkingLot()
        self._welcomed = trio.Event()
        self._refused: Event | None = None
        self._over = self._closed = False
        self._burst = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else self._link.ended or "open"
        return f"<Client of {self.name or '?'} {self.incarnation} at {self.address}, {state}>"

    # The stream.

    async def receive(self) -> Event:
        """The next event. Cancellation is noticed every time; others run when nothing is here yet, and now and then besides."""
        self._burst += 1
        if self._burst < _BURST:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._burst = 0
            await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this client was closed")
            event = self._next()
            if event is not None:
                return event
            if self._over:
                raise trio.EndOfChannel
            if self._link.ended is not None:
                if self._hello.subscribe is Subscribe.NONE:
                    raise trio.EndOfChannel
                raise PodUnreachableError(self.address, self._link.ended)
            await self._changed.park()

    async def aclose(self) -> None:
        """Close the connection. Leaving the block of `connect` does this too."""
        self._closed = True
        self._link.end("this client was closed")
        self._wake()
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING):
            await self._channel.aclose()

    def _next(self) -> Event | None:
        item = self._inbox.take()
        inbox, alive = self._inbox, self._link.ended is None
        if item is None and inbox.overrun:
            missing = inbox.recover(fresh=alive)
            if alive:
                inbox.skip()
                self._subscribe_again()
            if missing is not None:
                return Lagged(*missing)
        if item is None and inbox.skipping and not alive and (missing := inbox.recover(fresh=False)) is not None:
            return Lagged(*missing)
        if item is None and not self._over and inbox.shutdown is not None and not (inbox.skipping and alive):
            item, self._over = inbox.shutdown, True
        if item is None:
            return None
        event, seq = item
        if seq is not None:
            self.seq = seq
        return event

    def _heard(self, said: EventFrame) -> None:
        if not self._welcomed.is_set() and isinstance(said.event, Error) and said.seq is None:
            # Turned away at the door, before anybody read our hello.
            self._answered(said.event)
        self._inbox.put(said)
        self._wake()

    def _wake(self) -> None:
        if self._changed:  # most of a stream arrives while nobody waits
            self._changed.unpark_all()

    # Coming in.

    async def open(self, expect: tuple[str, str] | None) -> None:
        """Say hello and check who answers."""
        self._link.post(self._hello, self._answered)
        with trio.move_on_after(_WELCOME_SECONDS):
            await self._welcomed.wait()
        refused = self._refused
        if isinstance(refused, Error):
            if refused.code is ErrorCode.FORBIDDEN:
                raise AuthenticationError(self.address, f"the pod did not let us in: {refused.message}")
            raise MethodRejectedError(refused.code, refused.message)
        if not self.name:
            raise PodUnreachableError(self.address, self._link.ended or f"no welcome within {_WELCOME_SECONDS:.0f} s")
        if expect is not None and (self.name, self.incarnation) != expect:
            raise AuthenticationError(self.address, f"another pod answers there: {self.name} {self.incarnation}")

    def _answered(self, reply: Event | None) -> None:
        if isinstance(reply, Welcome):
            self.name, self.incarnation, self.confinement = reply.pod_name, reply.incarnation, reply.confinement
            # Whatever was said before this is not what we subscribed to.
            self._inbox.restart()
        elif not self._welcomed.is_set():
            self._refused = reply
        self._welcomed.set()
        self._wake()

    def _subscribe_again(self) -> None:
        hello = Hello(
            self._hello.protocol,
            self._hello.client,
            self._hello.instance,
            key=self._hello.key,
            birth=self._hello.birth,
            subscribe=Subscribe.SNAPSHOT,
        )
        self._link.post(hello, self._answered_again)

    def _answered_again(self, reply: Event | None) -> None:
        if isinstance(reply, Welcome) and (reply.pod_name, reply.incarnation) == (self.name, self.incarnation):
            self._inbox.restart()
        elif reply is not None:
            self._link.end(f"the pod did not let us subscribe again: {reply!r}")
        self._wake()

    def start(self, nursery: trio.Nursery) -> None:
        """Start reading and writing."""
        nursery.start_soon(self._link.read)
        nursery.start_soon(self._link.write)

    # Controls.

    async def _send(self, method: Method, *, run: int | None = None, id: str | None = None) -> Event:
        # `id` is for who sends the same method again after a reconnect, under the same instance: it runs once.
        if isinstance(method, Hello):
            raise LocalProtocolError("hello is said by connect")
        if self._closed:
            raise trio.ClosedResourceError("this client was closed")
        reply = await self._link.ask(method, run=run, id=id)
        if isinstance(reply, Error):
            raise MethodRejectedError(reply.code, reply.message)
        return reply

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[trio.abc.ReceiveChannel[Event]]:
        # A connection of its own: the stream of this one belongs to whoever iterates it.
        async with connect(self.address, transport=self._transport, expect=(self.name, self.incarnation)) as other:
            yield other


@asynccontextmanager
async def connect(
    address: str,
    *,
    transport: Transport,
    subscribe: Subscribe | str = Subscribe.SNAPSHOT,
    buffer: int = 4096,
    instance: str | None = None,
    birth: BirthCredential | None = None,
    expect: tuple[str, str] | None = None,
) -> AsyncIterator[Client]:
    """Connect to the pod at `address` and say hello; the block gets a `Client`.

    `subscribe` is what iterating yields: "snapshot" (a snapshot, then everything), "live" (everything from now on) or "none". Up to
    `buffer` events wait for whoever iterates. `instance` is what we call ourselves (None: something random), `birth` makes us
    that child and nothing more, `expect` is the name and the incarnation of the pod we mean.

    Raises `PodUnreachableError` when nobody answers, `AuthenticationError` when the pod does not let us in or is not the one
    we mean, `MethodRejectedError` when it refuses for another reason. What the block raises comes out as it is.
    """
    wanted = Subscribe(subscribe)
    if not wanted.known:
        raise LocalProtocolError(f"subscribe is 'snapshot', 'live' or 'none', not {subscribe!r}")
    if buffer < 1:
        raise ValueError("buffer is at least 1")
    hello = Hello(
        (PROTOCOL,),
        _CLIENT,
        instance if instance is not None else new_incarnation(),
        # A child has its birth to show and needs no key.
        key=transport.key(address) if birth is None else None,
        birth=birth,
        subscribe=wanted if birth is None else Subscribe.NONE,
    )
    channel = await transport.connect(address)
    # Under a chosen name we may have been here before: none of those ids may be used again.
    prefix = "" if instance is None else f"{new_incarnation()}."
    client = Client(address, transport, channel, hello, buffer=buffer, prefix=prefix)
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            client.start(nursery)
            try:
                await client.open(expect)
                yield client
            except BaseException as error:  # noqa: BLE001 - raised again below, outside of the nursery, so that nothing wraps it
                raised = error
            nursery.cancel_scope.cancel()
    except (BaseExceptionGroup, trio.Cancelled):
        # Only our own two tasks can add something here, and only that they were cancelled; what the block raised matters more.
        if raised is None:
            raise
    finally:
        await client.aclose()
    if raised is not None:
        raise raised
