"""What the clauses of the worker contract stand on: a real pod in memory, and its worker watched while it works."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing

from podkit._life import Pod, open_pod
from podkit._net import MemoryTransport
from podkit._store import MemoryRegistry
from podkit.abc import Worker
from podkit.logic import Scope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from podkit.abc import Emit, Run, Tool
    from podkit.protocol import Event, RunResult

_SETTLED = 0.01  # seconds in which nothing moved


class Work(trio.abc.Instrument):
    """One call of `work`: what was emitted, how it ended, and how often its task has paused so far."""

    def __init__(self, run: Run) -> None:
        self.run, self.task = run, trio.lowlevel.current_task()
        self.events: list[Event] = []
        self.late: list[Event] = []
        self.result: Any = None
        self.error: BaseException | None = None
        self.over = False
        self.pauses = 0
        self.moved = trio.Event()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.pauses += 1
            self.tell()

    def tell(self) -> None:
        self.moved.set()
        self.moved = trio.Event()

    async def parked(self) -> bool:
        """Wait until it waits for something that does not come at once, or is over; whether it waits."""
        while not self.over:
            seen = self.pauses
            await trio.testing.wait_all_tasks_blocked(_SETTLED)
            if seen == self.pauses and not self.over:
                return True
        return False


class Watched(Worker):
    """Another worker, with an eye on it."""

    provider: str
    model: str

    def __init__(self, inner: Worker) -> None:
        self.inner = inner
        self.provider, self.model = inner.provider, inner.model
        self.works: list[Work] = []
        self._more = trio.Event()

    async def work(self, run: Run, emit: Emit) -> RunResult | None:
        work = Work(run)

        def watched(event: Event) -> None:
            (work.late if work.over else work.events).append(event)
            emit(event)

        trio.lowlevel.add_instrument(work)
        self.works.append(work)
        self._more.set()
        try:
            work.result = await self.inner.work(run, watched)
            return work.result  # type: ignore[no-any-return]  # whatever it is: the pod judges it too
        except BaseException as error:
            work.error = error
            raise
        finally:
            trio.lowlevel.remove_instrument(work)
            work.over = True
            work.tell()

    async def next(self, number: int) -> Work:
        """The call of that number, counted from 0, as soon as it began."""
        while len(self.works) <= number:
            await self._more.wait()
            self._more = trio.Event()
        return self.works[number]


@attrs.frozen(eq=False, kw_only=True)
class Ground:
    """How to make workers, and what to ask of them."""

    make: Callable[[], Worker]
    failing: Callable[[Exception], Worker] | None
    input: str
    tools: Sequence[Tool]
    transport: MemoryTransport = attrs.field(factory=MemoryTransport)
    registry: MemoryRegistry = attrs.field(factory=MemoryRegistry)

    @asynccontextmanager
    async def pod(self, worker: Worker | None = None, *, name: str = "root") -> AsyncIterator[tuple[Pod, Watched]]:
        """A pod with this worker (None: a fresh one)."""
        watched = Watched(self.make() if worker is None else worker)
        opened = open_pod(
            name,
            watched,
            scope=Scope.write(f"/check/{name}"),
            transport=self.transport,
            registry=self.registry,
            tools=tuple(self.tools),
            cwd="/",
            confinement="advisory",
        )
        async with opened as pod:
            yield pod, watched
