"""A client's way to its pod: one link, or with a policy one after the other, and methods that outlast a lost one."""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, Protocol

import trio

from podkit._os import chance
from podkit.errors import AuthenticationError, MethodRejectedError, PodkitError, PodUnreachableError
from podkit.protocol import Error, ErrorCode, Welcome

from ._link import Link
from ._plan_welcome import WELCOME_SECONDS, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.abc import Transport
    from podkit.protocol import Event, EventFrame, Hello, Method

    from ._plan_reconnect import Reconnect

_log = logging.getLogger("podkit.client")

# The pod will say the same the next time.
_FINAL = frozenset({ErrorCode.FORBIDDEN, ErrorCode.UNSUPPORTED_PROTOCOL})


class Side(Protocol):
    """What the line needs of its client. All of it is synchronous, so that nothing comes between a welcome and what follows."""

    def hello(self) -> Hello:
        """What to say on a new connection."""
        ...

    def welcomed(self, welcome: Welcome) -> str | None:
        """The pod let us in. Returns why we do not want that pod, None when we do."""
        ...

    def heard(self, said: list[EventFrame]) -> None:
        """Events that came together and are no replies, after the welcome."""
        ...

    def finished(self) -> bool:
        """Whether all has been said, so that a lost connection is no loss."""
        ...

    def changed(self) -> None:
        """Something is different now: a connection came, or was lost, or is not coming any more."""
        ...


class Line:
    """Connects, says hello, and with `policy` does so again when the connection is lost, to the same pod and to whoever answers
    at its address after it.

    `up`: there is a connection, and the pod let us in. `ended` is why there will not be one any more, None while there may.
    """

    def __init__(self, address: str, transport: Transport, side: Side, *, policy: Reconnect | None, prefix: str) -> None:
        self.ended: str | None = None
        self.link: Link | None = None
        self._address, self._transport, self._side, self._policy = address, transport, side, policy
        # Names go on over connections: the pod remembers what it answered under which.
        self._ids = (f"{prefix}{number}" for number in count(1))
        self._welcome: Welcome | None = None  # of the link we have
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def up(self) -> bool:
        return self._welcome is not None and self.link is not None and self.link.ended is None

    # Coming and going.

    async def open(self, nursery: trio.Nursery, *, patient: bool) -> None:
        """The first connection, tried once, or (`patient`) like every other one. Raises what `connect` says."""
        policy = self._policy
        if policy is not None and patient:
            await self._return(nursery, policy, at_once=True)
            if self.ended is not None:
                raise PodUnreachableError(self._address, self.ended)
        else:
            turned_away = await self._dial(nursery)
            if turned_away is not None:
                self._end(str(turned_away))
                raise turned_away
        if policy is not None:
            nursery.start_soon(self._keep, nursery, policy)

    async def aclose(self) -> None:
        """No connection, and none any more."""
        self._end("this client was closed")
        if self.link is not None:
            await self.link.aclose()

    def cut(self, reason: str) -> None:
        """End the connection that stands, and make no other."""
        self._end(reason)
        if self.link is not None:
            self.link.end(reason)

    async def _dial(self, nursery: trio.Nursery) -> PodkitError | None:
        """Connect and say hello. Returns why the pod did not let us in. Raises what the transport raises."""
        hello = self._side.hello()
        channel = await self._transport.connect(self._address)
        answers: list[Event | str | None] = []
        answered = trio.Event()

        def answer(reply: Event | None) -> None:
            if not answered.is_set():
                wrong = self._side.welcomed(reply) if isinstance(reply, Welcome) else None
                self._welcome = reply if isinstance(reply, Welcome) and wrong is None else None
                answers.append(wrong or reply)
                answered.set()

        def heard(said: list[EventFrame]) -> None:
            if self._welcome is not None:
                self._side.heard(said)
                return
            for first in said:
                if isinstance(first.event, Error) and first.seq is None:
                    # Turned away at the door, before anybody read our hello.
                    answer(first.event)

        self._welcome = None
        link = self.link = Link(channel, self._address, ids=self._ids, heard=heard, told=self._lost)
        nursery.start_soon(link.run)
        link.post(hello, answer)
        with trio.move_on_after(WELCOME_SECONDS):
            await answered.wait()
        turned_away = refusal(self._address, answers[0] if answers else None, ended=link.ended)
        if turned_away is not None:
            link.end(str(turned_away))
        self._tell()
        return turned_away

    async def _keep(self, nursery: trio.Nursery, policy: Reconnect) -> None:
        """Make another connection whenever one was lost."""
        while self.ended is None:
            if self.up:
                await self._changed.park()
            else:
                await self._return(nursery, policy)

    async def _return(self, nursery: trio.Nursery, policy: Reconnect, *, at_once: bool = False) -> None:
        """Try until there is a connection, or there will be none."""
        until = trio.current_time() + policy.give_up
        reason = self.link.ended if self.link is not None else None
        for attempt in count():
            pause = 0.0 if at_once and attempt == 0 else policy.pause(attempt, (policy.chance or chance)())
            if trio.current_time() + pause >= until:
                self._end(f"no connection for {policy.give_up:g} s: {reason}")
                return
            await trio.sleep(pause)
            error = await self._attempt(nursery, until) if self.ended is None else None
            if error is None:
                return
            reason = getattr(error, "reason", str(error))
            if isinstance(error, AuthenticationError) or (isinstance(error, MethodRejectedError) and error.code in _FINAL):
                self._end(reason)
                return

    async def _attempt(self, nursery: trio.Nursery, until: float) -> Exception | None:
        """One attempt. Returns what stood in its way, None for nothing."""
        try:
            with trio.CancelScope(deadline=until):
                return await self._dial(nursery)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises, it is a connection that did not come about
            # A key or a socket may be missing only while the pod starts anew: what the transport says is never final.
            return PodUnreachableError(self._address, getattr(error, "reason", str(error)))
        finally:
            if self._welcome is None and self.link is not None:
                self.link.end("the pod did not let us in")
        return PodUnreachableError(self._address, "nobody answered in time")

    def _lost(self) -> None:
        if self._policy is None or self._side.finished():
            assert self.link is not None
            self._end(self.link.ended or "the connection ended")
        self._tell()

    def _end(self, reason: str) -> None:
        if self.ended is None:
            self.ended = reason
            self._tell()

    def _tell(self) -> None:
        self._changed.unpark_all()
        self._side.changed()

    # Methods.

    async def ask(self, method: Method, incarnation: str, *, run: int | None, id: str | None) -> Event:
        """Send a method to `incarnation` and return its reply, over as many connections as that takes.

        It is sent again under the same name, so that it runs once. Raises `PodUnreachableError` when no answer can come any more.
        """
        name = id if id is not None else next(self._ids)
        may_have_run = False
        while True:
            link = await self._link_to(incarnation, may_have_run=may_have_run)
            try:
                return await link.ask(method, run=run, id=name)
            except PodUnreachableError as error:
                if self._policy is None:
                    raise
                may_have_run = may_have_run or error.may_have_run

    async def _link_to(self, incarnation: str, *, may_have_run: bool) -> Link:
        while not self.up:
            if self.ended is not None:
                raise PodUnreachableError(self._address, self.ended, may_have_run=may_have_run)
            await self._changed.park()
        assert self.link is not None
        assert self._welcome is not None
        if self._welcome.incarnation != incarnation:
            raise PodUnreachableError(
                self._address,
                "another incarnation answers there now; receive its snapshot before asking it",
                may_have_run=may_have_run,
            )
        return self.link

    def post(self, method: Method, then: Callable[[Event | None], None]) -> None:
        """Queue a method on the connection that stands. `then` is called with its reply, or with None when the connection ended."""
        assert self.link is not None
        self.link.post(method, then)
