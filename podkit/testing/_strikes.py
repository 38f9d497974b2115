"""Striking an operation before each step that anybody takes while it is under way, one after the other, until it ends untouched.

Not only before its own: an operation spends most of its time waiting for others, and who is killed or gives up then is another
case than who does it between two steps of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ._sim_program import Program
from ._sim_world import SimWorld
from ._simulate import simulate

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from ._faults import Faults

_MOST = 5_000


class Strike:
    """One blow: what is given to `during` is called before step number `at` while an operation is under way, counted from 1.

    `landed` says whether there were that many, and `whose` before whose step it fell: the name of a pod, None for the test's own.
    """

    at: int
    landed: bool
    whose: str | None

    def __init__(self, at: int) -> None:
        self.at, self.landed, self.whose = at, False, None

    def __repr__(self) -> str:
        return f"<Strike before step {self.at}{', landed' if self.landed else ''}>"

    @contextmanager
    def during(self, world: SimWorld, blow: Callable[[], object]) -> Iterator[None]:
        """The block is the operation: what counts is every step of every task until it ends, whoever takes it.

        A `blow` that kills the program the block belongs to is the last thing that happens in it.
        """
        steps, before = 0, world.scheduler.on_step

        def on_step(task: Task) -> None:
            nonlocal steps
            if before is not None:
                before(task)
            steps += 1
            if steps == self.at:
                owner = world.scheduler.owner(task)
                self.landed, self.whose = True, owner.name if isinstance(owner, Program) else None
                world.scheduler.on_step = before
                blow()

        world.scheduler.on_step = on_step
        try:
            yield
        finally:
            if world.scheduler.on_step is on_step:
                world.scheduler.on_step = before


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
            where = f"struck before step {at} of the operation, which is one of {strike.whose or 'the test'}"
            error.add_note(where if strike.landed else f"not struck: the operation was over after {at - 1} steps")
            raise
        if not strike.landed:
            if at == 1:
                raise AssertionError("the scenario has no step that could be struck: use strike.during(world, blow)")
            return at - 1
    raise AssertionError(f"an operation of more than {_MOST} steps")
