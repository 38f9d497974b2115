"""What one can do with a pod, wherever it is: built on sending one method and on watching the stream."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

import podkit.abc as ports
from podkit.errors import MethodRejectedError, PodUnreachableError, RemoteProtocolError
from podkit.protocol import Accepted, Cancel, ErrorCode, Notify, Pause, Resume, Run, Shutdown, ShutdownMethod, Snapshot

from ._plan_outcome import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from podkit.protocol import Event, Method, RunEnd, Segment


class Controls(ports.Controls):
    """`podkit.abc.Controls` on top of two things: sending a method, and a subscription of one's own.

    Every call raises `MethodRejectedError` when the pod refuses and `PodUnreachableError` when it cannot be reached or goes away.
    """

    @abstractmethod
    async def _send(self, method: Method, *, run: int | None = None) -> Event:
        """Send a method and return the terminal reply; an `Error` is raised as `MethodRejectedError`."""

    @abstractmethod
    def _watch(self) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[Event]]:
        """A new subscription: a `Snapshot` first, then everything that happens."""

    def _listen(self) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[Event]]:
        """A new subscription to what happens from now on; a `Snapshot` comes only where something was missed."""
        return _after_first_snapshot(self._watch())

    async def send(self, method: Method) -> Event:
        """Send a method and return its one terminal reply: `Accepted`, or the event that answers it."""
        return await self._send(method)

    async def run(self, input: str | Sequence[Segment]) -> int:
        """Start a run and return its number once it is committed and started. Refused while one runs."""
        return _number(await self._send(Run(input if isinstance(input, str) else tuple(input))))

    async def resume(self) -> int:
        """Carry on with the paused run; returns its new number."""
        return _number(await self._send(Resume()))

    async def wait(self, run: int) -> RunEnd:
        """Return that run's one end, also when it is over already.

        Raises `MethodRejectedError` with NOT_RUNNING for a number the pod does not run and whose end its log does not hold.
        """
        tally = Tally(run)
        async with self._watch() as events:
            return await self._follow(tally, events)

    async def ask(self, input: str | Sequence[Segment]) -> ports.Outcome:
        """Start a run, wait for its end and return what was said, how it ended and what it used (tokens, summed)."""
        async with self._listen() as events:
            # Listening comes first: nothing the run says can be missed.
            tally = Tally(await self.run(input))
            end = await self._follow(tally, events)
        return ports.Outcome(text=tally.text, result=end.result, usage=tally.usage)

    async def notify(self, message: str, *, wake: bool = True) -> None:
        """Put `message` into the pod's queue, to be seen exactly once. With `wake` an idle pod starts a run for it."""
        await self._send(Notify(message, auto_run=wake))

    async def pause(self, *, run: int | None = None) -> None:
        """Return when the run (None: the current one) is paused. NOT_RUNNING when it ended first."""
        await self._send(Pause(), run=run)

    async def cancel(self, *, run: int | None = None) -> None:
        """Cancel the run (None: the current one, or the paused one); returns when that is under way."""
        await self._send(Cancel(), run=run)

    async def shutdown(self) -> None:
        """Ask the pod to end; returns when that is under way."""
        await self._send(ShutdownMethod())

    async def _follow(self, tally: Tally, events: trio.abc.ReceiveChannel[Event]) -> RunEnd:
        where = str(getattr(self, "address", "?"))
        while tally.end is None:
            if tally.gone:
                raise MethodRejectedError(
                    ErrorCode.NOT_RUNNING, f"run {tally.run} does not run, and the log does not say how it ended"
                )
            try:
                event = await events.receive()
            except trio.EndOfChannel:
                event = Shutdown()
            if isinstance(event, Shutdown):
                raise PodUnreachableError(where, f"the pod went away before run {tally.run} ended")
            tally.see(event)
        return tally.end


def _number(reply: Event) -> int:
    if isinstance(reply, Accepted) and reply.run is not None:
        return reply.run
    raise RemoteProtocolError(f"a run was answered by {type(reply).__name__} without a number")


@asynccontextmanager
async def _after_first_snapshot(
    watching: AbstractAsyncContextManager[trio.abc.ReceiveChannel[Event]],
) -> AsyncIterator[trio.abc.ReceiveChannel[Event]]:
    async with watching as events:
        async for event in events:
            if isinstance(event, Snapshot):
                break
        yield events
