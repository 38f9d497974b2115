"""Children that are tasks, in simulated runs: they are watched like any pod, and live and die with their parent's program."""

import pytest
import trio
from scenes import quiet

import podkit
from podkit import Scope, TaskLauncher
from podkit._life._ending import Ending
from podkit._life._house import House
from podkit.logic import decide_adopt
from podkit.testing import Faults, Say, ScriptedWorker, SimulationError, Sleep, Spawn, simulate
from podkit.testing._sim_registry import SimRegistry


async def a_task(world, worker=quiet, **more):
    async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
        kid = await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=TaskLauncher(worker), task="go", **more)
        assert [program.name for program in world.programs] == ["root"]
        assert [pod.name for pod in world.program("root").pods()] == ["root", "kid"]
        await kid.stop()
        assert [pod.name for pod in world.program("root").pods()] == ["root"]


def test_a_child_that_is_a_task_is_born_works_and_ends():
    for seed in range(30):
        assert simulate(a_task, seed=seed).programs == 1


def test_a_script_may_spawn():
    async def scenario(world):
        steps = Spawn("kid", Scope.write("/w/kid"), [Say("hello"), Sleep(5)]), Say("done")
        async with world.open_pod("root", ScriptedWorker(*steps), scope=Scope.write("/w")) as root:
            assert (await root.ask("begin")).text == "done"

    for seed in range(30):
        simulate(scenario, seed=seed)


def test_a_task_goes_with_the_program_that_is_killed_and_its_scope_comes_back():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=TaskLauncher(quiet))
            lodger = world.program("root").lodgers[0]
            world.crash("root")
            await lodger.stopped()
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as again:
            assert again.scope == Scope.write("/w")

    for seed in range(30):
        simulate(scenario, seed=seed)


@pytest.mark.proves("I3")
def test_a_task_that_believes_too_much_is_seen():
    class Greedy(podkit.abc.Worker):
        async def work(self, run, emit):
            run.pod.authority.scope = Scope.write("/w")
            await trio.sleep(1)

    with pytest.raises(SimulationError, match="I3: kid believes that it may write"):
        simulate(lambda world: a_task(world, Greedy), seed=1)


@pytest.mark.proves("I25")
def test_the_log_of_a_task_is_watched(monkeypatch):
    class Forgetful(podkit.abc.Worker):
        async def work(self, run, emit):
            emit(podkit.protocol.TurnStart(turn=1))
            emit(podkit.protocol.ToolCallDone(id="1", name="look", arguments="{}"))

    simulate(lambda world: a_task(world, Forgetful), seed=1)
    monkeypatch.setattr(Ending, "_close_calls", lambda self, current: None)
    with pytest.raises(SimulationError, match="I25: run 1 of kid"):
        simulate(lambda world: a_task(world, Forgetful), seed=1)


def test_an_error_that_gets_out_of_a_task_is_seen(monkeypatch):
    leave = House._leave

    async def failing(self, server):
        await leave(self, server)
        if self.pod.name == "kid":
            raise ZeroDivisionError("by mistake")

    monkeypatch.setattr(House, "_leave", failing)
    with pytest.raises(SimulationError, match="crash: pod kid died of ZeroDivisionError"):
        simulate(a_task, seed=1)


@pytest.mark.proves("I6")
def test_a_stranger_in_the_place_of_a_task_is_seen(monkeypatch):
    async def scenario(world):
        async def launch(birth):
            registry = SimRegistry(world.registry, world.bystander)
            secret = birth.document.secret  # it should not have that
            await registry.transact(lambda table: decide_adopt(table, name="kid", incarnation=birth.incarnation, secret=secret))
            raise podkit.LaunchFailedError("kid", "somebody else is there")

        launcher = TaskLauncher(quiet)
        launcher.launch = launch
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=launcher)

    with pytest.raises(SimulationError, match="I6: kid was adopted by <Program stranger"):
        simulate(scenario, seed=1)


def test_tasks_are_killed_with_their_program_under_faults_and_nothing_is_left():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            for name in "abc":
                launcher = TaskLauncher(lambda: ScriptedWorker(Sleep(1), Say("hi")))
                with world.operation("spawn"):
                    await root.spawn(name, scope=Scope.write(f"/w/{name}"), launcher=launcher, task="go")
            await trio.sleep(5)

    ended = 0
    for seed in range(40):
        report = simulate(scenario, seed=seed, faults=Faults({"kill": 3, "kill_in_spawn": 3, "cancel": 3}, most=2))
        ended += sum(report.faults.values())
    assert ended > 20


def test_a_pod_opened_by_the_test_itself_may_use_the_parts_of_a_world():
    async def scenario(world):
        parts = {"transport": world.transport, "registry": world.registry, "confinement": "advisory"}
        async with podkit.open_pod("root", quiet(), scope=Scope.write("/w"), **parts) as pod:
            assert (await pod.ask("hello")).text == "done"

    simulate(scenario, seed=1)


def test_a_program_that_a_task_started_is_waited_for_by_the_program_that_the_task_is_in():
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")) as root:
            await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=TaskLauncher(quiet))
            host = world.program("root")
            (kid,) = host.lodgers
            low = await world.inside(
                root, lambda: kid.spawn("low", scope=Scope.write("/w/kid/low"), launcher=world.launcher(quiet))
            )
            program = world.program(low)
            number, started = world.processes.number(program)
            assert program.starter is host
            assert host.starter is None
            world.freeze(host)
            world.crash(low)
            assert world.processes.state(number) == ("Z", started)
            world.thaw(host)
            await low.gone.wait()
            assert world.processes.state(number) is None

    for seed in range(10):
        simulate(scenario, seed=seed)
