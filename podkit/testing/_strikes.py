"""Striking an operation before each of its steps, one after the other, until it ends untouched."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from ._simulate import SimWorld, simulate

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from ._faults import Faults

_MOST = 5_000


class Strike:
    """One blow: what is given to `during` is called before step number `at` of an operation, counted from 1. `landed` says whether
    the operation had that many."""

    at: int
    landed: bool

    def __init__(self, at: int) -> None:
        self.at, self.landed = at, False

    def __repr__(self) -> str:
        return f"<Strike before step {self.at}{', landed' if self.landed else ''}>"

    @contextmanager
    def during(self, world: SimWorld, blow: Callable[[], object]) -> Iterator[None]:
        """The block is the operation: what counts are the steps of the task that runs it and of every task it starts.

        A `blow` that kills the program the block belongs to is the last thing that happens in it.
        """
        operation, steps = trio.lowlevel.current_task(), 0
        before = world.scheduler.on_step

        def on_step(task: Task) -> None:
            nonlocal steps
            if before is not None:
                before(task)
            if not self.landed and _within(task, operation):
                steps += 1
                if steps == self.at:
                    self.landed = True
                    world.scheduler.on_step = before
                    blow()

        world.scheduler.on_step = on_step
        try:
            yield
        finally:
            if world.scheduler.on_step is on_step:
                world.scheduler.on_step = before


def _within(task: Task | None, operation: Task) -> bool:
    while task is not None and task is not operation:
        task = None if task.parent_nursery is None else task.parent_nursery.parent_task
    return task is operation


StruckScenario = Callable[[SimWorld, Strike], Awaitable[object]]


def simulate_strikes(scenario: StruckScenario, *, seed: int = 0, faults: Faults | None = None) -> int:
    """Run `scenario(world, strike)` as `simulate` does, with the strike before the first step, the second, and so on.

    Answers how many steps were struck: with a strike one later the operation ended before it came. Raises `SimulationError`, with a
    note of the step, and `AssertionError` when the scenario never uses its strike, or the operation has no end.
    """
    for at in range(1, _MOST):
        strike = Strike(at)

        async def struck(world: SimWorld, strike: Strike = strike) -> None:
            await scenario(world, strike)

        try:
            simulate(struck, seed=seed, faults=faults)
        except BaseException as error:
            error.add_note(f"struck before step {at} of the operation")
            raise
        if not strike.landed:
            if at == 1:
                raise AssertionError("the scenario has no step that could be struck: use strike.during(world, blow)")
            return at - 1
    raise AssertionError(f"an operation of more than {_MOST} steps")
