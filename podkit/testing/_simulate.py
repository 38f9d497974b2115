"""Running a scenario in a world where everything follows from a seed: the schedule, the clock, the ids and what goes wrong."""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from ._faults import Faults
from ._sim_lodgers import lodging
from ._sim_program import only
from ._sim_seats import seats
from ._sim_trio import seeded, seldom_collected, virtual_clock
from ._sim_world import EPOCH, SimWorld
from ._trace import short
from ._where import raised
from ._world_open import world_of

if TYPE_CHECKING:
    from ._sim_trio import Scheduler

_MOST_STEPS = 2_000_000
_MOST_SECONDS = 24 * 3600.0


@attrs.frozen(kw_only=True)
class Report:
    """What a simulated run was: the same for the same seed, the same faults and the same podkit.

    `hash` covers every step of every task and everything noted; `seconds` are those of the world's clock.
    """

    seed: int
    steps: int
    hash: str
    seconds: float
    programs: int
    facts: int
    faults: Mapping[str, int]
    operations: Mapping[str, int]

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count}" for kind, count in self.faults.items()) or "none"
        operations = ", ".join(f"{name} {count}" for name, count in self.operations.items()) or "none"
        return (
            f"seed {self.seed}: {self.steps} steps in {self.seconds:.1f} simulated seconds, {self.programs} programs, "
            f"{self.facts} facts, hash {self.hash}\n  faults: {faults}\n  operations: {operations}"
        )


class SimulationError(AssertionError):
    """A run in which something happened that must never happen. `simulate` with the same seed does it again.

    `invariant` is its id ("I1" to "I32"), "liveness" when something never ended, "crash" when an error got out of a pod, or
    "scenario" when the scenario itself raised (then that is the cause). `trace` are the last things that happened before, each with
    its step and its second; `hash` is over all of them.
    """

    seed: int
    step: int
    invariant: str
    what: str
    trace: tuple[str, ...]
    hash: str

    def __init__(self, seed: int, step: int, invariant: str, what: str, trace: tuple[str, ...], hash: str) -> None:
        super().__init__(seed, step, invariant, what, trace, hash)
        self.seed, self.step, self.invariant, self.what, self.trace, self.hash = seed, step, invariant, what, trace, hash

    def __str__(self) -> str:
        tail = "\n".join(self.trace)
        return f"{self.invariant}: {self.what}\nseed {self.seed}, step {self.step}, hash {self.hash}; before it:\n{tail}"


Scenario = Callable[[SimWorld], Awaitable[object]]


def simulate(scenario: Scenario, *, seed: int, faults: Faults | None = None, steps: int | None = None) -> Report:
    """Run `scenario(world)` under the schedule, the ids and the faults that follow from `seed`, in virtual time.

    The real controllers, registry logic, server and client run; only the drivers are the world's. What must never happen is
    looked for at every change. When the scenario returns, nothing goes wrong any more, and within 60 simulated seconds nobody
    and nothing may be left. `steps` bounds the run (None: two million steps of tasks). Raises `SimulationError`, with the seed;
    when something waits for ever, a note says where.

    It may not be called from inside of trio, nor by two threads at a time: trio's schedule and podkit's ids belong to the run.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("simulate() runs trio itself: call it from a function, or a test, that is not async")
    if not isinstance(seed, int):
        raise TypeError(f"a seed is an integer, and {seed!r} is none")
    faults = Faults.none() if faults is None else faults
    with seldom_collected():  # what a run leaves is found when it is over, and nobody holds it any more
        report = _run(scenario, seed, faults, _MOST_STEPS if steps is None else steps)
    if isinstance(report, SimulationError):
        raise report
    return report


def _run(scenario: Scenario, seed: int, faults: Faults, most: int) -> Report | SimulationError:
    found: list[SimWorld] = []

    async def main() -> float:
        def make(nursery: trio.Nursery, scheduler: Scheduler) -> SimWorld:
            world = SimWorld(nursery, scheduler, seed, faults, most)
            scheduler.on_step = world.stepped
            found.append(world)
            return world

        async with world_of(make, None) as world:
            with world.scope:
                await _play(world, scenario)
            scheduler = world.scheduler
            scheduler.on_step = None
            world.injector.stop()
            world.net.writes = None
            world.net.watch = world.registry.appended = None
            return trio.current_time()

    with seeded(seed), _seats(seed, found):
        seconds = trio.run(main, clock=virtual_clock())
    world = found[0]
    if world.broken is not None:
        step, invariant, what, lines, digest = world.broken
        error = SimulationError(seed, step, invariant, what, lines, digest)
        error.__cause__ = world.cause
        for hint in world.hints:
            error.add_note(hint)
        return error
    return Report(
        seed=seed,
        steps=world.trace.step,
        hash=world.trace.digest,
        seconds=seconds,
        programs=len(world.programs),
        facts=world.watch.changes,
        faults=dict(sorted(world.injector.fired.items())),
        operations=dict(sorted(world.operations.items())),
    )


async def _play(world: SimWorld, scenario: Scenario) -> None:
    where = ""
    try:
        with trio.move_on_after(_MOST_SECONDS) as watchdog:
            try:
                begun = scenario(world)
                if not inspect.isawaitable(begun):
                    raise TypeError(f"a scenario is an async function of its world, and {scenario!r} is none")
                await begun
            except BaseException as error:
                where = raised(error)
                raise
    except Exception as error:  # noqa: BLE001 - told with the seed
        world.cause = error
        what = only(error)
        world.complain("scenario", f"{type(what).__name__}: {short(what, 500)}")
        return
    if watchdog.cancelled_caught:
        world.complain("liveness", "the scenario did not end within a simulated day", where)
    world.calm()
    await world.settle()


@contextmanager
def _seats(seed: int, found: list[SimWorld]) -> Iterator[None]:
    with seats(
        random.Random(f"ids {seed}"),  # noqa: S311 - ids of a test
        wall=lambda: found[0].wall() if found else EPOCH,
        own=lambda: found[0].own_number(),  # noqa: PLW0108 - the world comes later
        house=lodging(lambda: found[0].running()),  # noqa: PLW0108
        processes=lambda: found[0].processes,
    ):
        yield
