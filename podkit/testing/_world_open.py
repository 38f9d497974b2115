"""Opening a world, and ending everything that is in it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

import trio

from ._sim_journal import JournalLog
from ._sim_kept import sessions_on
from ._sim_trio import Scheduler
from ._world import END_SECONDS, World

W = TypeVar("W", bound=World)

_BURIALS = 100


@asynccontextmanager
async def world_of(
    make: Callable[[trio.Nursery, Scheduler], W], on_step: Callable[[trio.lowlevel.Task], None] | None
) -> AsyncIterator[W]:
    """The world that `make` makes; when the block is left, everything in it ends."""
    raised: BaseException | None = None
    scheduler = Scheduler(on_step)
    trio.lowlevel.add_instrument(scheduler)
    try:
        async with trio.open_nursery() as nursery:
            world = make(nursery, scheduler)
            try:
                yield world
            except BaseException as error:  # noqa: BLE001 - raised again below, so that no group wraps it
                raised = error
            await _end(world)
            nursery.cancel_scope.cancel()
    finally:
        scheduler.close()
        trio.lowlevel.remove_instrument(scheduler)
    if raised is not None:
        raise raised


def open_world(*, seed: int | None = None, disk: bool = False) -> AbstractAsyncContextManager[World]:
    """A new world. With trio's `MockClock` (the fixture `autojump_clock`) hours in it pass in no time.

    `seed` is where the world's `chance` starts. With `disk` its registry and sessions are podkit's own files on a disk in memory,
    which is `world.disk`, and `reboot` loses what was not synced. When the block is left, everything in the world ends.
    """

    def make(nursery: trio.Nursery, scheduler: Scheduler) -> World:
        if not disk:
            return World(nursery, scheduler, seed)
        registry = JournalLog(random.Random(seed), durable=True)  # noqa: S311 - what a loss of power leaves
        return World(nursery, scheduler, seed, registry=registry, sessions=sessions_on(registry.files, durable=True))

    return world_of(make, None)


async def _end(world: World) -> None:
    """Everything ends: who lives is asked, then killed; the dead are buried."""
    world.net.heal_all()
    with trio.CancelScope(shield=True):
        for program in world.programs:
            program.thaw()
            if program.alive:
                program.scope.cancel()
        with trio.move_on_after(END_SECONDS):
            for program in world.programs:
                await program.over.wait()
        for program in world.programs:
            program.kill()
        for _ in range(_BURIALS):
            restless = [program for program in world.programs if program.dead and world.scheduler.tasks_of(program)]
            for program in restless:
                program.bury()
            if not restless:
                break
            await trio.lowlevel.checkpoint()  # on its way out a task may enter a shield that was not there before
