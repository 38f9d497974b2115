"""A pod from the other side of a transport."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os import new_incarnation
from podkit.errors import LocalProtocolError, MethodRejectedError, PodUnreachableError
from podkit.protocol import Error, EventFrame, Hello, Lagged, ResumePoint, Subscribe, Welcome

from ._continued import Continued
from ._controls import Controls
from ._inbox import Inbox
from ._line import Line
from ._plan_admission import PROTOCOL
from ._plan_welcome import CLIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from podkit.abc import Transport
    from podkit.protocol import Event, Method

    from ._plan_reconnect import Reconnect

_LOOK = 16  # events that are here already are handed out so many at a time without a look at whether we were cancelled
_PASS = 128  # and so many without letting others run


class Client(Controls, trio.abc.ReceiveChannel["Event"]):
    """A connection to a pod. Made by `connect`.

    Iterating yields a `Snapshot` first and then every event once, in order; events of kinds this version does not know are
    `UnknownEvent`. Who iterates too slowly gets `Lagged(first, last)` and then a fresh `Snapshot`; neither the pod nor
    what is asked of it ever waits for that. After `Shutdown` comes `trio.EndOfChannel`; a connection that ends without one is
    a `PodUnreachableError`, since the pod may live on. Iterating notices cancellation within 16 events that are here already,
    `receive` at once; nothing is lost by it. `name`, `incarnation` and `confinement` are the pod's; `seq` is the
    number of the event last received.
    """

    name: str
    incarnation: str
    confinement: str
    seq: int
    welcome: Welcome

    def __init__(
        self,
        address: str,
        transport: Transport,
        hello: Hello,
        *,
        buffer: int,
        prefix: str,
        policy: Reconnect | None,
        expect: tuple[str, str | None] | None,
    ) -> None:
        self.address = address
        self.name = self.incarnation = self.confinement = ""
        self.seq = 0
        self._transport, self._buffer, self._policy, self._expect = transport, buffer, policy, expect
        self._hello = self._said = hello  # what was asked for, and what was said last
        self._line = Line(address, transport, self, policy=policy, prefix=prefix)
        self._met: Welcome | None = None  # who answered last
        self._inbox = Inbox(buffer)
        self._newer: tuple[Welcome, Inbox] | None = None  # the stream of another incarnation, for after ours
        self._changed = trio.lowlevel.ParkingLot()
        self._over = self._closed = False
        self._unlooked = 0  # so many events may be handed out before the next look
        self._alone = _PASS  # and so many before others run

    def __repr__(self) -> str:
        state = "closed" if self._closed else self._line.ended or ("open" if self._line.up else "reconnecting")
        return f"<Client of {self.name or '?'} {self.incarnation} at {self.address}, {state}>"

    @property
    def connected(self) -> bool:
        """Whether there is a connection right now. A client that comes back may have one again later."""
        return not self._closed and self._line.up

    # The stream.

    async def receive(self) -> Event:
        """The next event. Cancellation is noticed every time; others run when nothing is here yet, and now and then besides."""
        return await self._receive(trio.EndOfChannel, 1)

    async def __anext__(self) -> Event:
        # Most of a stream is here already, and then nothing has to be waited for or found out.
        queue = self._inbox.queue
        if self._unlooked and queue:
            self._unlooked -= 1
            item = queue.popleft()
            if item.seq is not None:
                self.seq = item.seq
            return item.event
        self._unlooked = 0
        event = await self._receive(StopAsyncIteration, _LOOK)
        self._unlooked = _LOOK - 1
        return event

    async def _receive(self, end: type[Exception], events: int) -> Event:
        """The next event; `end` is raised after the last one. It counts for so many `events` before others run."""
        self._alone -= events
        if self._alone > 0:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            self._alone = _PASS
            await trio.lowlevel.checkpoint()
        while True:
            if self._closed:
                raise trio.ClosedResourceError("this client was closed")
            item = self._next()
            if item is not None:
                if item.seq is not None:
                    self.seq = item.seq
                return item.event
            if self._over:
                raise end
            if self._line.ended is not None:
                if self._hello.subscribe is Subscribe.NONE:
                    raise end
                raise PodUnreachableError(self.address, self._line.ended)
            self._alone = _PASS
            await self._changed.park()

    async def aclose(self) -> None:
        """Close the connection. Leaving the block of `connect` does this too."""
        self._closed, self._unlooked = True, 0
        self.changed()
        await self._line.aclose()

    def _next(self) -> EventFrame | None:
        while (item := self._take()) is None and self._newer is not None and not self._over:
            welcome, self._inbox = self._newer
            self._newer = None
            self._name(welcome)
        return item

    def _take(self) -> EventFrame | None:
        """The next event of the incarnation that is read now."""
        inbox = self._inbox
        item = inbox.take()
        # Nothing more comes of it; else a new snapshot can be had, at once or when there is a connection again.
        ended = self._line.ended is not None or self._newer is not None
        if item is None and inbox.overrun and (ended or self._line.up):
            missing = inbox.recover(fresh=not ended)
            if not ended:
                inbox.skip()
                self._line.post(attrs.evolve(self._said, subscribe=Subscribe.SNAPSHOT, resume=None), self._answered_again)
            if missing is not None:
                return EventFrame(Lagged(*missing))
        if item is None and inbox.skipping and ended and (missing := inbox.recover(fresh=False)) is not None:
            return EventFrame(Lagged(*missing))
        if item is None and not self._over and inbox.shutdown is not None and (ended or not inbox.skipping):
            item, self._over = inbox.shutdown, True
        return item

    def _name(self, welcome: Welcome) -> None:
        self.welcome = welcome
        self.name, self.incarnation, self.confinement = welcome.pod_name, welcome.incarnation, welcome.confinement

    @property
    def _newest(self) -> Inbox:
        return self._inbox if self._newer is None else self._newer[1]

    # What the line tells us.

    def heard(self, said: list[EventFrame]) -> None:
        """The line's side: what came together and is no reply."""
        self._newest.put(said)
        self.changed()

    def changed(self) -> None:
        """The line's side: whoever waits should look again."""
        if self._changed:  # most of a stream arrives while nobody waits
            self._changed.unpark_all()

    def finished(self) -> bool:
        """The line's side: whether the pod has said its last."""
        return self._newest.shutdown is not None

    def hello(self) -> Hello:
        """The line's side: what to say on a new connection."""
        if self._met is None or self._hello.subscribe is Subscribe.NONE:
            return self._hello_for(None, self._hello.subscribe)
        point = self._newest.point
        if point is None:
            return self._hello_for(None)
        return self._hello_for(ResumePoint(self._met.incarnation, point), self._hello.subscribe)

    def _hello_for(self, resume: ResumePoint | None, subscribe: Subscribe = Subscribe.SNAPSHOT) -> Hello:
        # The key may be another one by now. A child has its birth to show and needs none.
        key = self._transport.key(self.address) if self._hello.birth is None else None
        self._said = attrs.evolve(self._hello, key=key, subscribe=subscribe, resume=resume)
        return self._said

    def welcomed(self, welcome: Welcome) -> str | None:
        """The line's side: somebody let us in. Returns why it is not whom we want."""
        before, wrong = self._met, self._mistaken(welcome)
        if wrong is not None:
            return wrong
        self._met = welcome
        # Whatever was said before this is not what we subscribed to.
        if before is not None and before.incarnation != welcome.incarnation:
            # Of an incarnation between, nothing was read: what is now takes its place.
            self._newer = (welcome, Inbox(self._buffer))
            self._newer[1].restart()
            return None
        if self._newer is None:
            self._name(welcome)
        else:
            self._newer = (welcome, self._newer[1])
        if before is None:
            self._inbox.restart(welcome.seq if self._hello.subscribe is Subscribe.LIVE else None)
        elif not welcome.resumed and self._hello.subscribe is not Subscribe.NONE:
            self._newest.lost(welcome.seq)
        return None

    def _mistaken(self, welcome: Welcome) -> str | None:
        before, now = self._met, f"{welcome.pod_name} {welcome.incarnation}"
        if self._expect is not None and self._expect not in ((welcome.pod_name, welcome.incarnation), (welcome.pod_name, None)):
            return f"another pod answers there: {now}"
        if before is None or before.incarnation == welcome.incarnation:
            return None
        if before.pod_name != welcome.pod_name:
            return f"another pod answers there: {now}"
        # Who listens to nothing could not be told, and would command a pod that it never met.
        return f"another incarnation answers there: {now}" if self._hello.subscribe is Subscribe.NONE else None

    def _answered_again(self, reply: Event | None) -> None:
        met = self._met
        if isinstance(reply, Welcome) and met is not None and reply.incarnation == met.incarnation:
            self._newest.restart()
        elif reply is not None:
            self._line.cut(f"the pod did not let us subscribe again: {reply!r}")
        self.changed()

    async def open(self, nursery: trio.Nursery, *, patient: bool) -> None:
        """Connect, say hello and check who answers."""
        await self._line.open(nursery, patient=patient)

    # Controls.

    async def _send(self, method: Method, *, run: int | None = None, id: str | None = None) -> Event:
        # `id` is for who sends the same method again after a reconnect, under the same instance: it runs once.
        if isinstance(method, Hello):
            raise LocalProtocolError("hello is said by connect")
        if self._closed:
            raise trio.ClosedResourceError("this client was closed")
        reply = await self._line.ask(method, self.incarnation, run=run, id=id)
        if isinstance(reply, Error):
            raise MethodRejectedError(reply.code, reply.message)
        return reply

    def _listen(self) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[Event]]:
        # A snapshot holds all of the log. Only who comes back needs one before it happens, if it does not know the session yet.
        known = self._policy is None or self._inbox.session is not None
        return self._watch(Subscribe.LIVE) if known else super()._listen()

    @asynccontextmanager
    async def _watch(self, subscribe: Subscribe = Subscribe.SNAPSHOT) -> AsyncIterator[trio.abc.ReceiveChannel[Event]]:
        if self._closed:
            raise trio.ClosedResourceError("this client was closed")
        # A connection of its own: the stream of this one belongs to whoever iterates it.
        hello = Hello((PROTOCOL,), CLIENT, new_incarnation(), subscribe=subscribe)
        incarnation, session = self.incarnation, self._inbox.session
        # Who comes back goes on with the same pod restored; everybody else means this incarnation.
        expect = (self.name, incarnation if self._policy is None else None)
        other = Client(self.address, self._transport, hello, buffer=self._buffer, prefix="", policy=self._policy, expect=expect)
        # It is part of one call of a client that comes back: what it meets at its first attempt is no reason to fail that.
        async with opened(other, patient=True):
            yield Continued(other, incarnation, session)


@asynccontextmanager
async def opened(client: Client, *, patient: bool) -> AsyncIterator[None]:
    """The client is connected inside of the block, and closed after it. What the block raises comes out as it is."""
    raised: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                await client.open(nursery, patient=patient)
                yield
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
