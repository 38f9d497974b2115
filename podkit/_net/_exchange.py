"""One connection, one method, one answer: what pods say to each other, without a task on the side that asks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from podkit._os import new_incarnation
from podkit.errors import LocalProtocolError, MethodRejectedError, PodUnreachableError, RemoteProtocolError
from podkit.protocol import Error, Hello, Subscribe, encode_method, read_event

from ._plan_admission import PROTOCOL
from ._plan_welcome import CLIENT, WELCOME_SECONDS, check_welcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from podkit.abc import Transport
    from podkit.protocol import BirthCredential, Event, Method

_log = logging.getLogger("podkit.client")

_LAST_WORDS = 5.0  # seconds in which a pod that reads no more is still listened to
_CLOSING = 1.0


async def exchange(
    address: str,
    method: Method | None,
    *,
    transport: Transport,
    run: int | None = None,
    instance: str | None = None,
    birth: BirthCredential | None = None,
    expect: tuple[str, str] | None = None,
) -> Event:
    """Connect, say hello, send `method`, return its one reply and close. Without a method the reply is the `Welcome`.

    It does what `connect` and one method do, without a nursery and two tasks. `instance` (None: something random) is used by
    nobody else and never again; everything else is as for `connect`, and so are the errors. The method is sent only to the pod
    that is expected.
    """
    if isinstance(method, Hello):
        raise LocalProtocolError("hello is said by exchange itself")
    hello = Hello(
        (PROTOCOL,),
        CLIENT,
        instance if instance is not None else new_incarnation(),
        key=transport.key(address) if birth is None else None,
        birth=birth,
        subscribe=Subscribe.NONE,
    )
    channel = await transport.connect(address)
    try:
        asking = _Asking(channel)
        welcome: Event | None = None
        with trio.move_on_after(WELCOME_SECONDS):
            welcome = await asking.ask(hello, "1")
        check_welcome(address, welcome, expect, ended=asking.ended)
        if method is None:
            assert welcome is not None  # or it was refused above
            return welcome
        reply = await asking.ask(method, "2", run=run)
        if reply is None:
            raise PodUnreachableError(address, asking.ended or "the connection ended")
        if isinstance(reply, Error):
            raise MethodRejectedError(reply.code, reply.message)
        return reply
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING):
            await channel.aclose()


class _Asking:
    """The side that asks. `ended` is None while more may come, then why not."""

    ended: str | None

    def __init__(self, channel: trio.abc.Channel[bytes]) -> None:
        self._channel = channel
        self._receive_many: Callable[[], Any] | None = getattr(channel, "receive_many", None)
        self._deaf = False
        self.ended = None

    async def ask(self, method: Method, id: str, *, run: int | None = None) -> Event | None:
        """The reply to it, or None when the connection ended first."""
        frame = encode_method(method, id=id, run=run)
        try:
            await self._say(frame)
            if not self._deaf:
                return await self._reply(id)
            with trio.move_on_after(_LAST_WORDS):
                return await self._reply(id)
            self.ended = "the pod reads no more"
        except trio.EndOfChannel:
            self.ended = "the pod closed the connection"
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self.ended = "the connection was lost"
        except RemoteProtocolError as error:
            self.ended = f"the pod does not speak the protocol: {error}"
        except Exception as error:  # noqa: BLE001 - becomes the reason why the connection ended
            _log.exception("a channel to a pod failed")
            self.ended = f"the channel failed: {error!r}"
        return None

    async def _say(self, frame: bytes) -> None:
        try:
            await self._channel.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            # What the pod said before it stopped reading is still on its way to us.
            self._deaf = True

    async def _reply(self, id: str) -> Event:
        while True:
            frames = [await self._channel.receive()] if self._receive_many is None else await self._receive_many()
            for frame in frames:
                if frame.isspace():
                    continue
                said = read_event(frame)
                # Who is turned away at the door is told so before anybody read the hello.
                if said.re == id or (id == "1" and isinstance(said.event, Error) and said.re is None and said.seq is None):
                    return said.event
