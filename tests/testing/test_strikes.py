"""A birth and a stop are struck before each step that anybody takes meanwhile: whoever is killed or gives up, nothing is left."""

import contextlib

import pytest
import trio

from podkit import Scope
from podkit.errors import PodkitError
from podkit.protocol import Permission
from podkit.testing import ScriptedWorker, SimulationError, Sleep, simulate_strikes

WRITE, READ = Permission.WRITE, Permission.READ
SEEDS = (0, 1)


def quiet():
    return ScriptedWorker(Sleep(1))


@contextlib.asynccontextmanager
async def three_generations(world):
    """A root and a middle, which has the operation to come; each in a program of its own."""
    middles = []
    async with world.open_pod("top", quiet(), scope=Scope.write("/w")) as top:

        def keep(pod):
            middles.append(pod)

        child = await top.spawn("mid", scope=Scope.write("/w/m"), launcher=world.launcher(quiet), on_parent_death="stop")
        keep(world.program(child).pod)
        yield top, middles[0]


def killed(world, who):
    """Kill the youngest program of that name, when there is one yet."""

    def blow():
        with contextlib.suppress(KeyError):
            world.crash(who)

    return blow


class Counted:
    """A scenario whose operation is struck, with what it took when nothing struck it: steps of the world, counted apart."""

    def __init__(self, scenario):
        self.scenario, self.whose, self.took = scenario, set(), None

    async def __call__(self, world, strike):
        await self.scenario(self, world, strike)
        self.whose.add(strike.whose)

    @contextlib.contextmanager
    def during(self, world, strike, blow):
        before = world.trace.step
        with strike.during(world, blow):
            yield
        if not strike.landed:
            self.took = world.trace.step - before

    def strike(self, seed, record_property):
        """Strike it everywhere, and see that this was at every step, and at some of everybody who has a part in it."""
        steps = simulate_strikes(self, seed=seed)
        record_property("steps", steps)
        assert steps == self.took
        assert {"mid", "kid"} <= self.whose


async def perform(counted, world, strike, pod, operation, blow):
    """The operation as a part of its pod's program, struck; podkit may answer with what it documents."""

    async def struck():
        with counted.during(world, strike, blow):
            await operation()

    with contextlib.suppress(PodkitError, trio.TooSlowError):
        await world.inside(pod, struck)


async def settled(world, top):
    """Within a minute after the middle died the top may write everything again."""
    if world.program("top").alive and not world.program("mid").alive:
        with trio.move_on_after(60):
            while top.scope.at("/w/m/a") is not WRITE:  # noqa: ASYNC110 - time is virtual
                await trio.sleep(1)
        assert top.scope.at("/w/m/a") is WRITE, [row.name for row in await world.registry.rows()]


def spawning(victim):
    async def scenario(counted, world, strike):
        async with three_generations(world) as (top, mid):

            async def operation():
                await mid.spawn("kid", scope=Scope.write("/w/m/a"), launcher=world.launcher(quiet), task="go")

            await perform(counted, world, strike, mid, operation, killed(world, victim))
            await settled(world, top)

    return Counted(scenario)


def stopping(victim):
    async def scenario(counted, world, strike):
        async with three_generations(world) as (top, mid):
            kid = await mid.spawn("kid", scope=Scope.write("/w/m/a"), launcher=world.launcher(quiet), task="go")
            await perform(counted, world, strike, mid, lambda: kid.stop(grace=1), killed(world, victim))
            await settled(world, top)

    return Counted(scenario)


def cancelling(begin):
    """Whoever asked for the operation gives up at that step: it is done, or nothing of it is."""

    async def scenario(counted, world, strike):
        async with three_generations(world) as (top, mid):
            operation, check = await begin(world, mid)
            given_up = trio.CancelScope()

            async def struck():
                with given_up, counted.during(world, strike, given_up.cancel):
                    await operation()

            with contextlib.suppress(PodkitError):
                await world.inside(mid, struck)
            await check(given_up.cancelled_caught)
            await settled(world, top)

    return Counted(scenario)


async def begin_spawn(world, mid):
    async def operation():
        await mid.spawn("kid", scope=Scope.write("/w/m/a"), launcher=world.launcher(quiet), task="go")

    async def check(cancelled):
        names = {row.name for row in await world.registry.rows()}
        if "kid" in mid.children:  # it was there before we gave up
            assert "kid" in names
            assert mid.scope.at("/w/m/a") is READ
        else:
            assert cancelled
            assert "kid" not in names
            assert mid.scope.at("/w/m/a") is WRITE
            assert not [key for key in world.registry.leases_held() if key.startswith("kid.")]

    return operation, check


async def begin_stop(world, mid):
    kid = await mid.spawn("kid", scope=Scope.write("/w/m/a"), launcher=world.launcher(quiet), task="go")

    async def check(cancelled):
        with trio.fail_after(60):
            report = await kid.stop()  # asked again it comes to its end
        assert report.name == "kid"
        assert mid.scope.at("/w/m/a") is WRITE

    return lambda: kid.stop(grace=1), check


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("victim", ["mid", "kid", "top"])
@pytest.mark.proves("I4", "I10", "I32")
def test_a_birth_may_see_anybody_killed_at_any_step_of_it(victim, seed, record_property):
    spawning(victim).strike(seed, record_property)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("victim", ["mid", "kid", "top"])
@pytest.mark.proves("I4", "I10", "I33")
def test_a_stop_may_see_anybody_killed_at_any_step_of_it(victim, seed, record_property):
    stopping(victim).strike(seed, record_property)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("begin", [begin_spawn, begin_stop])
@pytest.mark.proves("I32", "I33")
def test_a_birth_and_a_stop_may_be_given_up_at_any_step_of_them(begin, seed, record_property):
    cancelling(begin).strike(seed, record_property)


def test_a_strike_that_breaks_something_says_before_which_step():
    async def scenario(world, strike):
        async with world.open_pod("root", quiet(), scope=Scope.write("/w")):
            hits = []
            with strike.during(world, lambda: hits.append(1)):
                for _ in range(5):
                    await trio.lowlevel.checkpoint()
            if strike.at == 3:
                raise ZeroDivisionError

    with pytest.raises(SimulationError) as caught:
        simulate_strikes(scenario)
    assert caught.value.__notes__ == ["struck before step 3 of the operation, which is one of the test"]


def test_every_step_counts_until_the_operation_ends_whoever_takes_it():
    def scenario(others, steps):
        async def scenario(world, strike):
            async def step(count):
                for _ in range(count):
                    await trio.lowlevel.checkpoint()

            async with trio.open_nursery() as nursery:
                with strike.during(world, lambda: None):
                    async with trio.open_nursery() as own:
                        for _ in range(others):
                            own.start_soon(step, steps)
                nursery.start_soon(step, 9)  # after it

        return scenario

    alone = simulate_strikes(scenario(1, 1))
    assert simulate_strikes(scenario(1, 3)) == alone + 2
    assert simulate_strikes(scenario(2, 1)) == alone + 2  # its first step, and the one after its checkpoint


def test_a_scenario_without_a_strike_is_refused():
    async def scenario(world, strike):
        await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="no step"):
        simulate_strikes(scenario)
