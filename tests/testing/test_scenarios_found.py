"""The smallest scenarios of what the simulator found in podkit."""

import contextlib

import pytest
import trio

from podkit import Scope
from podkit.errors import PodkitError, RegistryError
from podkit.logic import AskShutdown
from podkit.testing import Say, ScriptedWorker, Sleep, simulate


def quiet():
    return ScriptedWorker(Say("done"))


def test_a_birth_whose_reservation_was_kept_but_refused_leaves_no_row():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            world.registry.trouble = lambda program, append: "registry_after" if append else None
            with pytest.raises(RegistryError):
                await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
            world.registry.trouble = None

    simulate(scenario, seed=1)


def test_opening_can_be_cancelled_at_any_step():
    async def scenario(world):
        step = world.scheduler.on_step
        for steps in range(1, 40):
            with trio.CancelScope() as scope:
                count = 0

                def count_down(task, scope=scope, steps=steps):
                    nonlocal count
                    step(task)
                    count += 1
                    if count == steps:
                        scope.cancel()

                world.scheduler.on_step = count_down
                async with world.open_pod(f"root{steps}", quiet(), scope=Scope.write("/w")):
                    pass
            world.scheduler.on_step = step

    simulate(scenario, seed=1)


def test_a_pod_that_cannot_read_the_registry_once_while_it_leaves_still_leaves_in_order():
    async def scenario(world):
        for number in range(1, 12):
            count = 0

            def trouble(program, append, number=number):
                nonlocal count
                count += not append
                return "registry_read" if count == number and not append else None

            async with world.open_pod(f"root{number}", quiet(), scope=Scope.write("/w")) as root:
                launcher = world.launcher(lambda: ScriptedWorker(Sleep(1)))
                await root.spawn("a", scope=Scope.write("/w/a"), launcher=launcher)
                world.registry.trouble = trouble
            world.registry.trouble = None

    simulate(scenario, seed=1)


def test_a_pod_that_cannot_read_the_registry_once_when_a_child_was_killed_lives_on():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            child = await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
            failures = iter(["registry_read"])
            world.registry.trouble = lambda program, append: None if append else next(failures, None)
            world.crash(child)
            await child.gone.wait()
            assert (await root.ask("are you there?")).text == "done"

    simulate(scenario, seed=1)


def test_a_pod_may_be_shut_down_at_any_step_of_a_birth():
    async def scenario(world):
        step = world.scheduler.on_step
        for steps in range(1, 60):
            async with world.open_pod(f"root{steps}", quiet(), scope=Scope.write("/w")) as root:
                count = 0

                def count_down(task, root=root, steps=steps):
                    nonlocal count
                    step(task)
                    count += 1
                    if count == steps:
                        root.actor.feed(AskShutdown(None))

                world.scheduler.on_step = count_down
                with contextlib.suppress(PodkitError):
                    await root.spawn("a", scope=Scope.write("/w/a"), launcher=world.launcher(quiet))
            world.scheduler.on_step = step

    simulate(scenario, seed=1)
