"""A program that goes on after the call that began it, from its beginning to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

import podkit.abc as ports
from podkit.errors import shown

from ._plan_programs import Kept

if TYPE_CHECKING:
    from podkit.abc import Completed

_JOB_OUTPUT = 64 * 1024  # bytes kept of what it says


class RunningJob(ports.Job):
    """See `podkit.abc.Job`."""

    def __init__(self, name: str, argv: tuple[str, ...]) -> None:
        self.name, self.argv = name, argv
        self.kept = Kept(_JOB_OUTPUT)
        self.scope = trio.CancelScope()
        self.ask = trio.Event()
        self._begun, self._over = trio.Event(), trio.Event()
        self._result: Completed | None = None
        self._error: Exception | None = None

    def __repr__(self) -> str:
        return f"<Job {self.name} {shown(self.argv[0], 80)} {'running' if self.running else 'over'}>"

    @property
    def running(self) -> bool:
        return not self._over.is_set()

    def output(self) -> bytes:
        return self.kept.bytes()

    async def wait(self) -> Completed:
        await self._over.wait()
        return self._answer()

    async def stop(self) -> Completed:
        self.ask.set()
        if not self._begun.is_set():
            self.scope.cancel()
        await self._over.wait()
        return self._answer()

    # What `Programs` says of it.

    async def begun(self) -> Completed:
        await self._begun.wait()
        return self._answer()

    def start(self, result: Completed) -> None:
        self._result = result
        self._begun.set()

    def end(self, result: Completed) -> None:
        self._result = result

    def fail(self, error: Exception) -> None:
        self._error = error

    def over(self) -> None:
        self._begun.set()
        self._over.set()

    def _answer(self) -> Completed:
        if self._error is not None:
            raise self._error
        if self._result is None:  # it was stopped before it began
            return ports.Completed(argv=self.argv, status=None)
        return self._result
