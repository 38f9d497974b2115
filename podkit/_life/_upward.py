"""What a child tells its parent: hints, in order, over one connection that proves whose child speaks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from podkit._net import exchange
from podkit.errors import MethodRejectedError, PodkitError, RegistryError, TransportError
from podkit.protocol import ErrorCode, PodEventMethod

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from podkit.abc import Transport
    from podkit.protocol import BirthCredential, PodEvent

_log = logging.getLogger("podkit.upward")
_QUEUE = 64
_SECONDS = 5.0
_FOR_NOW = (ErrorCode.STORAGE_FULL, ErrorCode.LIMIT_EXCEEDED)  # refusals that need not be so the next time
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class Upward:
    """The link to the parent. `tell` never waits; what a parent that is gone would hear is dropped: the registry is the truth."""

    def __init__(
        self, address: str, credential: BirthCredential, transport: Transport, *, parent: Callable[[], Awaitable[str | None]]
    ) -> None:
        """`address` is where the parent was at first; `parent` tells where who is above us now listens, None when nobody lives."""
        self._parent = parent
        self._address, self._credential, self._transport = address, credential, transport
        self._send, self._receive = trio.open_memory_channel["PodEvent"](_QUEUE)
        self._done = trio.Event()

    def tell(self, event: PodEvent) -> None:
        """Queue an event for the parent."""
        try:
            self._send.send_nowait(event)
        except (trio.WouldBlock, trio.ClosedResourceError):
            _log.warning(
                "the parent does not keep up; dropped %s", type(event).__name__, extra={"incarnation": self._credential.incarnation}
            )

    async def run(self) -> None:
        """Send what is told until `close`."""
        try:
            async for event in self._receive:
                await self._deliver(event)
        finally:
            self._done.set()

    async def _deliver(self, event: PodEvent) -> None:
        """Tell the parent, as often as it takes while there is one: a report has an id, and counts once however often it comes.

        A parent that was restored, or that inherited us, may listen elsewhere; where is looked up when the last one was no help.
        """
        pause = _FIRST_PAUSE
        while not await self._told(event):
            before, now = self._address, await self._looked_up()
            if now is None:
                return
            self._address = now
            if now == before:
                await trio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _told(self, event: PodEvent) -> bool:
        """Whether there is nothing left to do: the parent took it, or refused it."""
        # One connection an event: events are rare, and an idle connection would keep the parent from noticing a slow reader.
        where = {"incarnation": self._credential.incarnation}
        try:
            with trio.fail_after(_SECONDS):
                await exchange(self._address, PodEventMethod(event), transport=self._transport, birth=self._credential)
        except (TransportError, OSError, trio.TooSlowError) as error:
            _log.info("could not tell the parent of %s: %s", type(event).__name__, error, extra=where)
            return False
        except MethodRejectedError as error:
            _log.info("the parent does not take %s: %s", type(event).__name__, error, extra=where)
            return error.code not in _FOR_NOW
        except PodkitError as error:
            _log.info("the parent does not take %s: %s", type(event).__name__, error, extra=where)
        return True

    async def _looked_up(self) -> str | None:
        try:
            return await self._parent()
        except (RegistryError, OSError):
            return self._address

    async def close(self) -> None:
        """Let what is queued go out, for a bounded time."""
        self._send.close()
        with trio.move_on_after(_SECONDS):
            await self._done.wait()
