"""What `simulate` and the scripts say to somebody who does it wrong, or whose own code hangs."""

import math
import re
import threading

import pytest
import trio
from scenes import quiet

import podkit
from podkit import Scope
from podkit.testing import CallTool, Fail, Faults, Say, ScriptedWorker, SimulationError, Sleep, Spawn, open_world, simulate


async def nothing(world):
    await trio.lowlevel.checkpoint()


def test_a_scenario_that_is_not_async_is_told_so():
    for wrong in (lambda world: None, lambda world: (yield)):
        with pytest.raises(SimulationError, match="a scenario is an async function"):
            simulate(wrong, seed=1)


async def test_inside_of_trio_simulate_says_that_it_runs_trio_itself():
    with pytest.raises(RuntimeError, match=r"simulate\(\) runs trio itself"):
        simulate(nothing, seed=1)


def test_there_is_one_simulated_run_at_a_time():
    begun, over, errors = threading.Event(), threading.Event(), []

    async def long(world):
        begun.set()
        assert over.wait(20)

    first = threading.Thread(target=lambda: simulate(long, seed=1))
    first.start()
    assert begun.wait(20)
    try:
        simulate(nothing, seed=1)
    except RuntimeError as error:
        errors.append(str(error))
    finally:
        over.set()
        first.join()
    assert errors == ["another simulated run is under way in this process, and there may be one at a time"]
    simulate(nothing, seed=1)


def test_a_seed_is_an_integer():
    with pytest.raises(TypeError, match="a seed is an integer, and '1' is none"):
        simulate(nothing, seed="1")


@pytest.mark.parametrize("rate", [-1, math.nan, math.inf, "often"])
def test_a_rate_is_a_number(rate):
    with pytest.raises(ValueError, match="a rate is a number, 0 or more"):
        Faults({"kill": rate})


@pytest.mark.parametrize("most", [-1, 1.5])
def test_the_most_faults_of_a_run_are_a_whole_number(most):
    with pytest.raises(ValueError, match="a whole number"):
        Faults({"kill": 1}, most=most)


def test_what_is_no_step_is_refused_when_the_script_is_written():
    with pytest.raises(TypeError, match="and 'hello' is none of them"):
        ScriptedWorker("hello")
    with pytest.raises(TypeError, match="and 7 is none of them"):
        ScriptedWorker(Spawn("kid", Scope.write("/w"), [Say("x"), 7]))


async def test_a_name_that_nobody_has_is_answered_with_those_that_there_are(autojump_clock):
    async with open_world() as world, world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=podkit.TaskLauncher(quiet))
        with pytest.raises(KeyError, match="called kid: there are root, and a task is in its parent's program"):
            world.crash("kid")


# Code that hangs.


async def holding(world):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")):
        await trio.sleep_forever()  # here


class Shielded(podkit.abc.Worker):
    async def work(self, run, emit):
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()  # there


async def cannot_be_stopped(world):
    async with world.open_pod("root", Shielded(), scope=Scope.write("/w")) as root:
        await root.run("go")


async def never_tires(world):
    while True:
        await trio.lowlevel.checkpoint()  # everywhere


@pytest.mark.parametrize(
    ("scenario", "says", "where"),
    [
        (holding, "the scenario did not end within a simulated day", "in holding: await trio.sleep_forever()  # here"),
        (cannot_be_stopped, "root did not end within 60 s", "in work: await trio.sleep_forever()  # there"),
        (never_tires, "1000 steps, and no end", "in never_tires: await trio.lowlevel.checkpoint()  # everywhere"),
    ],
)
def test_what_never_ends_is_told_with_the_place_where_it_waits(scenario, says, where):
    with pytest.raises(SimulationError, match=f"liveness: {says}") as caught:
        simulate(scenario, seed=1, steps=1000)
    assert len(caught.value.__notes__) == 1
    assert "test_simulate_messages.py:" in caught.value.__notes__[0]
    assert where in caught.value.__notes__[0]


# What would not follow from the seed.


def test_a_simulated_run_has_no_threads():
    async def scenario(world):
        await trio.to_thread.run_sync(int)

    with pytest.raises(SimulationError, match="a simulated run has no threads"):
        simulate(scenario, seed=1)
    assert trio.run(trio.to_thread.run_sync, int) == 0


def test_a_simulated_run_starts_no_programs():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            await root.run_process(["true"])

    with pytest.raises(SimulationError, match=r"ConfinementError.*a simulated run starts no programs"):
        simulate(scenario, seed=1)


def test_an_error_that_names_an_address_in_memory_is_the_same_run_again():
    async def scenario(world):
        raise ValueError(f"no good: {object()!r}, {[object() for _ in range(world.chance.randrange(9))][-1:]}")

    def hashed():
        with pytest.raises(SimulationError, match="no good: <object object>") as caught:
            simulate(scenario, seed=3)
        return caught.value.hash

    kept = [object() for _ in range(1000)]
    assert hashed() == hashed()
    assert kept


def test_the_trace_says_when_and_what():
    async def scenario(world):
        steps = Sleep(1.5), Say("a  long\nstory " * 99), CallTool("look"), Fail(podkit.ModelError("no model"))
        async with world.open_pod("root", ScriptedWorker(*steps), scope=Scope.write("/w")) as root:
            await root.ask("go on")
            raise ZeroDivisionError

    with pytest.raises(SimulationError) as caught:
        simulate(scenario, seed=1)
    lines = {line[18:].partition(" run ")[0]: line for line in caught.value.trace}
    assert re.fullmatch(
        r" +\d+     1.500  root: 5 TextDone run 1 'a long story a long story a long story …'", lines["root: 5 TextDone"]
    )
    assert lines["root: 1 StatusEvent running"].split()[1] == "0.000"
    assert lines["root: 6 ToolCallDone"].endswith(" run 1 look")
    assert "there is no tool" in lines["root: 7 ToolResult"]
    assert lines["root: 9 Error"].endswith(" run 1 provider_error no model")
    assert lines["root: 10 RunEnd"].endswith(" run 1 failed")
