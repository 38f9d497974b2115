"""A handle on a child: talk to it, stop it. It means one incarnation and never a successor of the same name."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

import podkit.abc as ports
from podkit._net import Controls, connect, exchange
from podkit._os import new_incarnation
from podkit.errors import PodUnreachableError
from podkit.protocol import Accepted, Event, Method, Resume, Run, RunEnd, Snapshot, Status

from ._deaths import stop_child
from ._reports import catch_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from podkit._net import Exchange
    from podkit.abc import Process, StopReport
    from podkit.logic import Allocation, Scope

    from ._pod import Pod

_MOST_ASKED = 256


class Child(Controls, ports.Child):
    """A child as its parent holds it. Made by `Pod.spawn`."""

    name: str
    incarnation: str
    address: str
    scope: Scope
    key: str
    gone: trio.Event
    stopping: trio.Lock
    unseen: tuple[str, ...]

    def __init__(
        self,
        parent: Pod,
        row: Allocation,
        *,
        address: str,
        process: Process | None,
        instance: str,
        met: Exchange | None = None,
    ) -> None:
        self.name, self.incarnation, self.address, self.scope = row.name, row.incarnation, address, row.scope
        self.key = row.key
        self.process = process
        self.gone = trio.Event()
        self.stopping = trio.Lock()
        self.orphans: list[Allocation] = []
        self.report: StopReport | None = None
        self.asked: dict[int, None] = {}  # runs of ours whose ends were not looked for yet
        self.unseen: tuple[str, ...] = ()
        self._parent, self._instance = parent, instance
        self._met = met
        self._status = Status.IDLE

    def __repr__(self) -> str:
        state = "gone" if self.gone.is_set() else self._status.value
        return f"<Child {self.name} {self.incarnation} {state} at {self.address}>"

    @property
    def parent(self) -> Pod:
        """The pod that spawned it."""
        return self._parent

    @property
    def status(self) -> Status:
        return Status.IDLE if self.gone.is_set() else self._status

    def hint(self, status: Status) -> None:
        """What somebody says of its status."""
        self._status = status

    def _check_there(self) -> None:
        if not self.address:  # it was gone before this pod was restored, and may have been anywhere
            raise PodUnreachableError(self.address, f"pod `{self.name}` is gone")

    async def _send(self, method: Method, *, run: int | None = None) -> Event:
        self._check_there()
        met, self._met = self._met, None
        reply = None if met is None else await _asked_on(met, method, run)
        if reply is None:
            reply = await exchange(
                self.address,
                method,
                transport=self._parent.transport,
                run=run,
                # The child knows its parent by the first part, and reports the ends of runs that it started.
                instance=f"{self._instance}.{new_incarnation()}" if met is None else met.instance,
                expect=(self.name, self.incarnation),
            )
        if isinstance(method, Run | Resume) and isinstance(reply, Accepted):
            self._status = Status.RUNNING
            if reply.run is not None:
                self.asked[reply.run] = None
                while len(self.asked) > _MOST_ASKED:
                    del self.asked[next(iter(self.asked))]
        return reply

    async def hang_up(self) -> None:
        """Close the connection on which it was met when it was born, if that is still open."""
        met, self._met = self._met, None
        if met is not None:
            await met.aclose()

    def _listen(self) -> AbstractAsyncContextManager[trio.abc.ReceiveChannel[Event]]:
        return self._watch("live")

    @asynccontextmanager
    async def _watch(self, subscribe: str = "snapshot") -> AsyncIterator[trio.abc.ReceiveChannel[Event]]:
        self._check_there()
        me, transport = (self.name, self.incarnation), self._parent.transport
        async with connect(self.address, transport=transport, subscribe=subscribe, expect=me) as client:
            yield client

    async def wait(self, run: int) -> RunEnd:
        end = await super().wait(run)
        self._status = Status.IDLE
        return end

    async def snapshot(self) -> Snapshot:
        """Its log, greeting and status, as of now. What they say of the ends of our runs, and nobody reported, becomes notices."""
        asked = tuple(self.asked)
        async with self._watch() as events:
            async for event in events:
                if isinstance(event, Snapshot):
                    self._status = event.status
                    catch_up(self, asked, event)
                    return event
        raise AssertionError("a subscription starts with a snapshot")

    async def stop(self, *, grace: float = 5.0) -> StopReport:
        """Ask, terminate, kill, its children first. Returns when no process of it is left and its scope is back. From here it is
        no child of ours any more: one that is gone already is forgotten, and cannot be restored by us.

        `grace` (seconds) is given to each of the three. Idempotent: stopping again returns the same report. Raises
        `StopFailedError` when something is left; the record is kept and stopping can be tried again.
        """
        return await stop_child(self, grace=grace)


async def _asked_on(met: Exchange, method: Method, run: int | None) -> Event | None:
    """The reply on the connection on which a child was met at its birth; None when that was lost meanwhile."""
    try:
        return await met.ask(method, run=run)
    except PodUnreachableError:
        return None
    finally:
        await met.aclose()
