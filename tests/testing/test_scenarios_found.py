"""The smallest scenarios of what the simulator found in podkit."""

import contextlib

import pytest
import trio
from scenes import quiet

from podkit import Scope
from podkit.abc import Worker
from podkit.errors import PodkitError, RegistryError
from podkit.logic import AskShutdown
from podkit.protocol import RunResult, ToolCallDone, ToolResult
from podkit.testing import ScriptedWorker, Sleep, simulate


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


class Caller(Worker):
    """Calls a tool that gives no result, and ends its run in its own way; `answers` says that it had one before."""

    def __init__(self, end, *, answers=False):
        self.end, self.answers = end, answers

    async def work(self, run, emit):
        emit(ToolCallDone(id="one", name="look", arguments="{}"))
        if self.answers:
            emit(ToolResult(id="one", summary="seen"))
        return await self.end()


async def returns():
    return None


async def pauses():
    return RunResult.PAUSED


async def fails():
    raise ZeroDivisionError


async def deaf():
    with trio.CancelScope(shield=True):
        await trio.sleep(60)


@pytest.mark.parametrize("end", [returns, pauses, fails, trio.sleep_forever, deaf])
@pytest.mark.parametrize("how", ["cancel", "pause", "shutdown"])
@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.proves("I25", "F62")
def test_a_call_has_one_result_however_its_run_ends(end, how, answers):
    async def scenario(world):
        async with world.open_pod("root", Caller(end, answers=answers), scope=Scope.write("/w")) as root:
            with contextlib.suppress(PodkitError):
                await root.run("go")
                await trio.sleep(1)
                await getattr(root, how)()
            await trio.sleep(20)
            kinds = [entry["kind"] for entry in root.log.data]
            assert kinds.count("tool_result") == 1
            assert kinds.index("tool_result") < max(kinds.index(kind) for kind in ("run_completed", "run_errored") if kind in kinds)
            (result,) = [entry["item"] for entry in root.log.data if entry["kind"] == "tool_result"]
            assert result.get("is_error", False) is not answers

    simulate(scenario, seed=1)
