"""What the scenarios of known failures are told with: the people and places of every scene, and how one waits for what happens.

A test imports it by its name; `pythonpath` in pyproject.toml says where it is.
"""

import pytest
import trio

from podkit import Scope
from podkit.errors import PodUnreachableError
from podkit.protocol import Permission
from podkit.testing import Say, ScriptedWorker, SimulationError, simulate

WRITE, READ = Permission.WRITE, Permission.READ
ROOT, KID = Scope.write("/w"), Scope.write("/w/kid")


def play(scenario, seeds=range(10)):
    """Run a scenario under each of these seeds."""
    for seed in seeds:
        simulate(scenario, seed=seed)


def play_with_the_bug(monkeypatch, plant, scenario, says):
    """Plant a bug, and see some seed of the scenario fail for it."""
    plant(monkeypatch)
    with pytest.raises(SimulationError, match=says):
        play(scenario)


def quiet():
    """A worker that says one word and is done."""
    return ScriptedWorker(Say("done"))


async def some_steps(world, most):
    """Fewer than so many steps, by chance."""
    for _ in range(world.chance.randrange(most)):
        await trio.lowlevel.checkpoint()


def when(world, condition, act):
    """Do something between two steps, as soon as `condition` holds."""
    before = world.scheduler.on_step

    def on_step(task):
        before(task)
        if condition():
            world.scheduler.on_step = before
            act()

    world.scheduler.on_step = on_step


def alive(world, *names):
    """The programs of these names that run."""
    return [program for program in world.programs if program.name in names and program.alive]


async def names(world):
    """Who has a row in the registry."""
    return sorted(row.name for row in await world.registry.rows())


async def until(events, seen):
    """The first event that `seen` says yes to."""
    async for event in events:
        if seen(event):
            return event
    raise AssertionError("the stream ended before that")


async def everything(client, *, quiet=100.0, most=1000):
    """All events until the pod is gone, or nothing happened for `quiet` seconds."""
    events = []
    while len(events) < most:
        with trio.move_on_after(quiet) as waited:
            try:
                events.append(await client.receive())
            except (trio.EndOfChannel, PodUnreachableError):
                return events
        if waited.cancelled_caught:
            return events
    raise AssertionError(f"more than {most} events, and no end")


def of_kind(events, kind):
    """Those of the events that are of this class."""
    return [event for event in events if isinstance(event, kind)]
