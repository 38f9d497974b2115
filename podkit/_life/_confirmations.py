"""Answers that wait for the disk: what a session is to keep over a loss of power is accepted when it would."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from podkit.errors import SessionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._log import SessionLog


class Confirmations:
    """Those of one pod. `start(fn, ...)` runs a task beside the pod."""

    def __init__(self, log: SessionLog, start: Callable[..., None]) -> None:
        self._log, self._start = log, start
        self._open = 0
        self._fewer = trio.lowlevel.ParkingLot()

    def once_kept(self, then: Callable[[SessionError | None], None]) -> None:
        """Call `then` exactly once when everything committed so far is as durable as the session says, with an error when it may
        not be. At once where there is nothing to wait for."""
        if not self._log.waits:
            then(None)
            return
        self._open += 1
        self._start(self._wait, then)

    async def _wait(self, then: Callable[[SessionError | None], None]) -> None:
        failure: SessionError | None = SessionError("the pod ended before the disk answered")
        try:
            await self._log.sync()
            failure = None
        except SessionError as error:
            failure = error
        finally:
            self._open -= 1
            then(failure)
            self._fewer.unpark_all()

    async def settled(self) -> None:
        """Return when nobody waits for the disk any more."""
        while self._open:
            await self._fewer.park()
