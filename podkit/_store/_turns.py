"""Turns: who wants to change the registry waits in the order of coming, in every process that has the same lock file.

The lock decides who may write; turns only see to it that nobody is overtaken for ever. A ticket is a number claimed on the open
lock file, so the kernel takes it back from whoever dies or is cancelled, and one that stands still is passed by.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from typing import TYPE_CHECKING

import trio

from podkit._os import DISK, Disk
from podkit.errors import RegistryBusyError

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 0.05  # seconds after which a ticket at the head, which has not moved, is passed by
_EAGER = 0.002
_SHORTEST, _LONGEST = 0.001, 0.04


class Turns:
    """The waiting line of one program for the lock file whose descriptor `fd` answers."""

    def __init__(self, fd: Callable[[], int], *, timeout: float, disk: Disk = DISK) -> None:
        self._fd, self._timeout, self._disk = fd, timeout, disk
        self._passed = 0  # tickets below this are not waited for
        self.reset()

    def reset(self) -> None:
        """Forget everybody of this program: it is a forked copy, and nobody waits in it."""
        self._inside = trio.Lock()  # claims are the program's, so its own tasks line up here
        self._owner: trio.lowlevel.Task | None = None
        self._waited = 0.0

    @property
    def waited(self) -> float:
        """Seconds that the present task waited for the turn it has."""
        return self._waited if self._owner is trio.lowlevel.current_task() else 0.0

    async def take(self) -> tuple[int, int] | None:
        """Wait for our turn; it lasts until `leave` is given what this answers. None for a task that has its turn already.

        Raises `RegistryBusyError` after `timeout` seconds and `OSError`. A cancelled waiter leaves the line.
        """
        task = trio.lowlevel.current_task()
        if self._owner is task:
            return None
        begun = trio.current_time()
        try:
            self._inside.acquire_nowait()
        except trio.WouldBlock:
            await self._wait_inside()
        fd = self._fd()
        try:
            ticket = self._draw(fd)
            try:
                await self._line_up(fd, ticket, begun)
            except BaseException:
                self._give_back(fd, ticket)
                raise
        except BaseException:
            self._inside.release()
            raise
        self._owner, self._waited = task, trio.current_time() - begun
        return fd, ticket

    def leave(self, turn: tuple[int, int] | None) -> None:
        """The turn is over. None: it goes on, because it began before."""
        if turn is not None:
            self._owner = None
            self._give_back(*turn)
            self._inside.release()

    async def _wait_inside(self) -> None:
        with trio.move_on_after(self._timeout):
            await self._inside.acquire()
            return
        raise RegistryBusyError(self._timeout, "this program itself")

    def _give_back(self, fd: int, ticket: int) -> None:
        if self._fd() == fd:  # else the file is closed, and took the claim with it
            with contextlib.suppress(OSError):  # then it stands still, and others pass it by
                self._disk.disclaim(fd, ticket)

    def _draw(self, fd: int) -> int:
        ticket = time.monotonic_ns()
        while not self._disk.claim(fd, ticket):
            ticket += 1
        return ticket

    async def _line_up(self, fd: int, ticket: int, begun: float) -> None:
        head, since, eager = -1, begun, 0.0
        while (first := self._disk.first_claim(fd, self._passed, ticket)) is not None:
            now = trio.current_time()
            if first != head:
                head, since = first, now
            elif now - since >= _PATIENCE:
                self._passed = first + 1
                continue
            if now - begun >= self._timeout:
                raise RegistryBusyError(now - begun, "programs that came earlier")
            next_in_line = self._disk.first_claim(fd, first + 1, ticket) is None
            eager = (eager or now + _EAGER) if next_in_line else 0.0
            if now < eager:
                os.sched_yield()
                await trio.lowlevel.checkpoint()
                continue
            # where many wait, who came a while after the first is served about that while after it
            gap = (ticket - first) / 1e9
            await trio.sleep(min(max(gap / 1.5, _SHORTEST), _LONGEST) * random.uniform(0.7, 1.0))  # noqa: S311 - not in step
