"""Starting children as programs of a world: what `ProcessLauncher` does, without processes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import trio

import podkit.abc as ports
from podkit._life import house_of, until_stopped, wants_birth

from ._sim_processes import send

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from podkit.abc import Process, SessionStore, Tool, Worker

    from ._sim_program import Program
    from ._world import World


class ProgramLauncher(ports.Launcher):
    """Starts each child as a program of its own, which outlives its parent and can be crashed and frozen by itself.

    `make_worker` is called for each child, with the birth if it takes an argument. Made by `World.launcher`.
    """

    def __init__(self, world: World, make_worker: Callable[..., Worker], tools: Sequence[Tool], late: float) -> None:
        self._world, self._make_worker, self._tools, self._late = world, make_worker, tuple(tools), late
        self._wants_birth = wants_birth(make_worker)

    def __repr__(self) -> str:
        return f"ProgramLauncher({self._make_worker!r})"

    async def launch(self, birth: ports.Birth) -> Process:
        await trio.lowlevel.checkpoint()
        worker = self._make_worker(birth) if self._wants_birth else self._make_worker()
        return self._world._adopt(birth, worker, self._tools, self._late)


class ProgramProcess(ports.Process):
    """A program as its parent sees it."""

    def __init__(self, program: Program) -> None:
        self._program = program

    def __repr__(self) -> str:
        return f"<ProgramProcess {self._program!r}>"

    async def wait(self) -> int:
        await self._program.over.wait()
        self._program.reaped = True
        return self._program.status or 0

    def terminate(self) -> None:
        send(self._program, signal.SIGTERM)

    def kill(self) -> None:
        send(self._program, signal.SIGKILL)

    def stderr_tail(self) -> str:
        return self._program.said


async def adopt(
    birth: Any,
    program: Program,
    worker: Worker,
    tools: Sequence[Tool],
    own: tuple[int, int] | None,
    sessions: SessionStore | None,
    late: float,
) -> None:
    """Be the child of that birth, as `adopt_pod` is in a program of its own."""
    if late:
        await trio.sleep(late)
    registry, transport = program.registry, program.transport
    document = birth.document
    house = await house_of(document, worker, transport, registry, tools, birth.lease, birth.listener, own=own, sessions=sessions)
    program.houses(house.pod)
    async with trio.open_nursery() as nursery:
        await nursery.start(house.live)
        birth.ready.set()
        await until_stopped(house, document, registry)
