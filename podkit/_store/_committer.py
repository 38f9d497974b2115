"""One write-out at a time, in a thread, for everybody who waits for one. Nobody who is cancelled takes it with them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import outcome
import trio

if TYPE_CHECKING:
    from outcome import Outcome

Landed = Callable[[BaseException | None], None]


class Committer:
    """`begin` is called in the trio thread; it answers what to do in another thread, and what to do with what that raised.

    Without `in_thread` it is done at once, as where nothing takes time.
    """

    def __init__(self, begin: Callable[[], tuple[Callable[[], None], Landed]], *, in_thread: bool = True) -> None:
        self._begin, self._in_thread = begin, in_thread
        self._flight: trio.Event | None = None
        self._odd: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a write-out is asked for or under way."""
        return self._flight is not None

    async def flight(self) -> None:
        """Wait for the end of the write-out under way, or else of a new one, which begins when those who can run now have run."""
        if self._flight is None:
            self._flight = trio.Event()
            token = trio.lowlevel.current_trio_token()
            token.run_sync_soon(self._start, token)
        await self._flight.wait()
        if self._odd is not None:
            raise self._odd

    def forget(self) -> None:
        """In a forked copy: whatever was under way is the original's."""
        self._flight = None

    def _start(self, token: trio.lowlevel.TrioToken) -> None:
        write_out, landed = self._begin()
        deliver = partial(_deliver, token, partial(self._land, landed))
        if self._in_thread:
            trio.lowlevel.start_thread_soon(write_out, deliver)
        else:
            deliver(outcome.capture(write_out))

    def _land(self, landed: Landed, result: Outcome[None]) -> None:
        flight, self._flight = self._flight, None
        try:
            landed(getattr(result, "error", None))
        except BaseException as error:  # noqa: BLE001 - who waits raises it; here it would end the whole program
            self._odd = error
        if flight is not None:
            flight.set()


def _deliver(token: trio.lowlevel.TrioToken, land: Callable[[Outcome[None]], None], result: Outcome[None]) -> None:
    with contextlib.suppress(trio.RunFinishedError):  # then nobody waits
        token.run_sync_soon(land, result)
