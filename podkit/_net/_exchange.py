"""One connection, one question after the other: what pods say to each other, without a task on the side that asks."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit._os import new_incarnation
from podkit.errors import LocalProtocolError, MethodRejectedError, PodUnreachableError, RemoteProtocolError
from podkit.protocol import Error, Hello, Subscribe, Welcome, encode_method, read_event

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
    that is expected; when any will do, it goes out together with the hello.
    """
    if isinstance(method, Hello):
        raise LocalProtocolError("hello is said by exchange itself")
    along = method if expect is None else None
    opened = await open_exchange(address, transport=transport, instance=instance, birth=birth, expect=expect, along=along, run=run)
    try:
        return opened.welcome if method is None else await opened.ask(method, run=run)
    finally:
        await opened.aclose()


async def open_exchange(
    address: str,
    *,
    transport: Transport,
    instance: str | None = None,
    birth: BirthCredential | None = None,
    expect: tuple[str, str] | None = None,
    along: Method | None = None,
    run: int | None = None,
) -> Exchange:
    """Connect and say hello, as `exchange` does; whoever gets the answer closes it. `along` is sent with the hello, to be asked
    next."""
    hello = Hello(
        (PROTOCOL,),
        CLIENT,
        instance if instance is not None else new_incarnation(),
        key=transport.key(address) if birth is None else None,
        birth=birth,
        subscribe=Subscribe.NONE,
    )
    opened = Exchange(address, await transport.connect(address), hello.instance)
    try:
        await opened.greet(hello, expect, along=along, run=run)
    except BaseException:
        await opened.aclose()
        raise
    return opened


class Exchange:
    """A connection on which one question is asked at a time. Made by `open_exchange`; `welcome` is what the pod said first.

    Its first question may be asked once more with `exchange` and its `instance`, should the connection be lost: it has the same id
    there, so it has the same answer.
    """

    welcome: Welcome
    instance: str

    def __init__(self, address: str, channel: trio.abc.Channel[bytes], instance: str) -> None:
        self.instance = instance
        self._address, self._channel = address, channel
        self._receive_many: Callable[[], Any] | None = getattr(channel, "receive_many", None)
        self._send_many: Callable[[list[bytes]], Any] | None = getattr(channel, "send_many", None)
        self._frames: deque[bytes] = deque()
        self._along: Method | None = None
        self._asked = 0
        self._deaf = False
        self._ended: str | None = None  # why nothing more comes

    def __repr__(self) -> str:
        return f"<Exchange with {self._address}, {self._ended or 'open'}>"

    async def greet(self, hello: Hello, expect: tuple[str, str] | None, *, along: Method | None, run: int | None) -> None:
        """Say hello, and `along` with it. Raises what a pod that does not let us in is told by."""
        frames = [encode_method(hello, id="1")]
        if along is not None:
            frames.append(encode_method(along, id="2", run=run))
        self._along, self._asked = along, 1
        said: Event | None = None
        with trio.move_on_after(WELCOME_SECONDS):
            said = await self._ask(frames, "1")
        check_welcome(self._address, said, expect, ended=self._ended)
        assert isinstance(said, Welcome)  # or it was refused
        self.welcome = said

    async def ask(self, method: Method, *, run: int | None = None) -> Event:
        """The reply to it. Raises `MethodRejectedError`, and `PodUnreachableError` when the connection ended first."""
        self._asked += 1
        number = str(self._asked)
        along, self._along = self._along, None
        frames = [] if along is method else [encode_method(method, id=number, run=run)]
        reply = await self._ask(frames, number)
        if reply is None:
            raise PodUnreachableError(self._address, self._ended or "the connection ended")
        if isinstance(reply, Error):
            raise MethodRejectedError(reply.code, reply.message)
        return reply

    async def aclose(self) -> None:
        """Close the connection, whatever else happens."""
        hang_up: Callable[[], None] | None = getattr(self._channel, "hang_up", None)
        if hang_up is not None:
            hang_up()
            return
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING):
            await self._channel.aclose()

    async def _ask(self, frames: list[bytes], id: str) -> Event | None:
        """The reply to what is said last, or None when the connection ended first."""
        try:
            await self._say(frames)
            if not self._deaf:
                return await self._reply(id)
            with trio.move_on_after(_LAST_WORDS):
                return await self._reply(id)
            self._ended = "the pod reads no more"
        except trio.EndOfChannel:
            self._ended = "the pod closed the connection"
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._ended = "the connection was lost"
        except RemoteProtocolError as error:
            self._ended = f"the pod does not speak the protocol: {error}"
        except Exception as error:  # noqa: BLE001 - becomes the reason why the connection ended
            _log.exception("a channel to a pod failed")
            self._ended = f"the channel failed: {error!r}"
        return None

    async def _say(self, frames: list[bytes]) -> None:
        try:
            if self._send_many is not None and len(frames) > 1:
                await self._send_many(frames)
            else:
                for frame in frames:
                    await self._channel.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            # What the pod said before it stopped reading is still on its way to us.
            self._deaf = True

    async def _reply(self, id: str) -> Event:
        frames = self._frames
        while True:
            if not frames:
                frames.extend([await self._channel.receive()] if self._receive_many is None else await self._receive_many())
            while frames:
                frame = frames.popleft()
                if frame.isspace():
                    continue
                said = read_event(frame)
                # Who is turned away at the door is told so before anybody read the hello.
                if said.re == id or (id == "1" and isinstance(said.event, Error) and said.re is None and said.seq is None):
                    return said.event
