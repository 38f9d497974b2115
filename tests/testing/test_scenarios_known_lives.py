"""Known failures of births, ends and identity, each as a scenario, and each brought back to see the scenario fail."""

import contextlib

import attrs
import pytest
import trio
from scenes import KID, READ, ROOT, WRITE, alive, names, play, play_with_the_bug, quiet, some_steps, when

from podkit import Scope
from podkit.errors import (
    AuthenticationError,
    DuplicatePodError,
    NeverReadyError,
    PodkitError,
    StopFailedError,
)
from podkit.protocol import SystemItemEvent
from podkit.testing import ScriptedWorker

# A successor of the same name (H3).


async def a_child_is_stopped_whose_name_somebody_else_has(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        launcher = world.launcher(quiet)
        old = await root.spawn("kid", scope=KID, launcher=launcher)
        world.crash(old)
        await old.gone.wait()
        new = await root.spawn("kid", scope=KID, launcher=launcher)
        await old.stop()
        with pytest.raises(AuthenticationError):
            await old.shutdown()
        old.process.terminate()
        old.process.kill()
        await still_there(world, root, new)


async def a_child_dies_while_it_is_stopped_and_its_successor_is_born(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        launcher = world.launcher(quiet)
        old = await root.spawn("kid", scope=KID, launcher=launcher)
        program = world.program(old)
        world.freeze(program)

        async def stop():
            with contextlib.suppress(StopFailedError):
                await old.stop(grace=0.5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await trio.sleep(world.chance.random())
            world.crash(program)
            with trio.fail_after(10):
                while True:
                    try:
                        new = await root.spawn("kid", scope=KID, launcher=launcher)
                    except DuplicatePodError:
                        await trio.lowlevel.checkpoint()
                    else:
                        break
        await old.stop()
        await still_there(world, root, new)


async def the_last_report_of_a_dead_child_comes_late(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root, world.connect(root.address) as client:
        launcher, late = world.launcher(quiet), []

        def hold_up(link, frame):
            late.append(link)
            link.forth.stall()

        world.net.reported = hold_up
        old = await root.spawn("kid", scope=KID, launcher=launcher)
        program = world.program(old)
        program.scope.cancel()  # SIGTERM: it says that it leaves
        with trio.move_on_after(2):
            await old.gone.wait()
        world.crash(program)
        await old.gone.wait()
        new = await root.spawn("kid", scope=KID, launcher=launcher)
        assert len(late) == 1
        late[0].forth.flow()
        told = []
        with trio.move_on_after(60):
            while True:
                if isinstance(event := await client.receive(), SystemItemEvent):
                    told.append(event.item.event.kind)
        await still_there(world, root, new)
        assert "shut_down" not in told, "what the old one said counts for the new one"


async def still_there(world, root, kid):
    assert root.children["kid"] is kid
    assert root.scope.at("/w/kid") is READ
    assert (await world.registry.rows()).named()["kid"].incarnation == kid.incarnation
    with trio.fail_after(10):
        assert (await kid.ask("are you there?")).text == "done"


def broken_a_child_is_stopped_by_its_name(monkeypatch):
    from podkit._life import _child

    stop = _child.stop_child

    async def stop_by_name(child, *, grace):
        with contextlib.suppress(PodkitError):
            async with _child.connect(child.address, transport=child.parent.transport, subscribe="none") as client:
                await client.shutdown()
        return await stop(child, grace=grace)

    monkeypatch.setattr(_child, "stop_child", stop_by_name)


def broken_a_report_counts_for_who_has_the_name(monkeypatch):
    from podkit._life._children import Children

    judge = Children.judge
    monkeypatch.setattr(Children, "judge", lambda self, event: judge(self, attrs.evolve(event, incarnation=None)))


@pytest.mark.proves("H3")
@pytest.mark.parametrize(
    "scenario",
    [
        a_child_is_stopped_whose_name_somebody_else_has,
        a_child_dies_while_it_is_stopped_and_its_successor_is_born,
        the_last_report_of_a_dead_child_comes_late,
    ],
)
def test_what_is_meant_for_a_child_never_hits_its_successor_of_the_same_name(scenario):
    play(scenario)


# A child that is ready just when its parent gives up (H4).


async def a_child_is_ready_as_the_time_is_up(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        began = trio.current_time()
        when(world, lambda: alive(world, "kid"), lambda: world.freeze("kid"))

        async def go_on():
            await trio.sleep_until(began + 5 + world.chance.choice((-0.001, 0, 0.001, 0.1)))
            await some_steps(world, 20)
            world.thaw("kid")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go_on)
            try:
                kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet), ready_timeout=5)
            except NeverReadyError:
                assert not alive(world, "kid"), "the birth failed, and the child lives"
                assert await names(world) == ["root"]
                assert root.scope.at("/w/kid") is WRITE
                assert not root.children
            else:
                await still_there(world, root, kid)


def broken_a_birth_that_failed_lets_its_child_live(monkeypatch):
    from podkit._life import _delivery

    undo = _delivery.Delivery._undo

    async def all_but_the_end(self, step):
        if step is not _delivery.BirthUndo.END:
            await undo(self, step)

    monkeypatch.setattr(_delivery.Delivery, "_undo", all_but_the_end)


@pytest.mark.proves("H4", "I32")
def test_a_child_that_is_ready_as_the_time_is_up_is_born_or_was_never_there():
    play(a_child_is_ready_as_the_time_is_up, range(20))


# Process numbers that are used again (H5).


async def somebody_has_the_number_of_a_dead_child(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet))
        number = world.processes.number(world.program(kid))
        await trio.sleep(world.chance.choice((0, 1)))  # with 0 the parent did not begin to watch it yet
        world.freeze(root)
        gone = world.program(kid)
        world.crash(kid)
        gone.reaped = True  # its launcher had it started by somebody else, who waited for it
        async with world.open_pod("other", quiet(), scope=Scope.write("/v")):
            assert world.processes.number(world.program("other"))[0] == number[0]
            world.thaw(root)
            with trio.fail_after(2):
                await kid.gone.wait()
            assert root.scope.at("/w/kid") is WRITE
            await kid.stop()
            assert alive(world, "other")


async def somebody_has_the_number_of_a_dead_grandchild_that_is_stopped(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        launcher = world.launcher(quiet)
        kid = await root.spawn("kid", scope=KID, launcher=launcher)
        pod = world.program(kid).pod
        await world.inside(kid, lambda: pod.spawn("grandkid", scope=Scope.write("/w/kid/x"), launcher=launcher))
        number = world.processes.number(world.program("grandkid"))
        world.freeze(kid)
        gone = world.program("grandkid")
        world.crash(gone)
        gone.reaped = True
        assert "grandkid" in await names(world)
        # Nobody swept yet, so whoever stops the family finds the row of the dead one, and its number.
        other = world._program("other")
        other.start(trio.sleep_forever)
        assert world.processes.number(other)[0] == number[0]
        with trio.fail_after(30):
            await kid.stop(grace=1)
        assert other.alive, "a signal hit somebody else"
        other.scope.cancel()
        assert await names(world) == ["root"]


def broken_who_has_the_number_is_who_had_it(monkeypatch):
    from podkit._os import _pidfd
    from podkit.testing._sim_processes import ProcessTable
    from podkit.testing._sim_registry import SimRegistry

    worlds, number = [], ProcessTable.number

    def remember(self, program):
        worlds[:] = [self]
        return number(self, program)

    async def until_the_number_is_free(self, key):
        row = next((row for row in await self.rows() if row.key == key), None)

        def taken(other):
            return other.alive and number(worlds[0], other)[0] == row.pid

        while row is not None and any(map(taken, worlds[0]._numbers)):  # noqa: ASYNC110 - so did the bug
            await trio.sleep(0.1)

    def numbered(_table, pid, _started):
        return _pidfd.process_state(pid) is not None

    monkeypatch.setattr(ProcessTable, "number", remember)
    monkeypatch.setattr(SimRegistry, "gone", until_the_number_is_free)
    monkeypatch.setattr(ProcessTable, "alive", numbered)


@pytest.mark.proves("H5", "I12")
@pytest.mark.parametrize(
    "scenario", [somebody_has_the_number_of_a_dead_child, somebody_has_the_number_of_a_dead_grandchild_that_is_stopped]
)
def test_whoever_has_the_process_number_of_a_dead_pod_is_not_taken_for_it(scenario):
    play(scenario)


# A birth that fails after its child was started (H34).


def failing_at(step, what):
    """At this step after the start of the child's program something goes wrong."""

    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT) as root:
            left = iter(range(step))

            def act():
                match what:
                    case "crash":
                        world.crash("kid")
                    case "cut":
                        for link in tuple(world.net.links):
                            link.cut()
                    case "cancel":
                        scope.cancel()

            when(world, lambda: alive(world, "kid") and next(left, None) is None, act)
            kid = None
            with trio.CancelScope() as scope, contextlib.suppress(PodkitError):
                with trio.fail_after(60):
                    kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet), task="go")
            kid = kid or root.children.get("kid")
            if kid is None:
                with trio.fail_after(10):
                    for program in alive(world, "kid"):
                        await program.over.wait()
            elif alive(world, "kid"):
                assert await names(world) == ["kid", "root"]
                await kid.stop()
            else:
                with trio.fail_after(10):
                    await kid.gone.wait()
            assert await names(world) == ["root"]
            assert root.scope.at("/w/kid") is WRITE
            assert not alive(world, "kid")

    return scenario


def failing_registry(number):
    """Of what is asked of the registry since the birth began this one fails."""

    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT) as root:
            asked = iter(range(number))

            def trouble(program, append):
                if next(asked, None) is None:
                    world.registry.trouble = None
                    return "registry_before" if append else "registry_read"
                return None

            world.registry.trouble = trouble
            try:
                with trio.fail_after(60):
                    kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet))
            except PodkitError:
                with trio.fail_after(30):
                    for program in alive(world, "kid"):
                        await program.over.wait()
                assert await names(world) == ["root"], "the birth failed, and its row is there"
                assert root.scope.at("/w/kid") is WRITE
            else:
                world.registry.trouble = None
                await still_there(world, root, kid)

    return scenario


@pytest.mark.proves("H34", "I32")
@pytest.mark.parametrize("what", ["crash", "cut", "cancel"])
def test_a_birth_that_fails_at_any_step_after_the_start_leaves_a_child_or_nothing(what):
    for step in range(0, 90, 3):
        play(failing_at(step, what), range(2))


@pytest.mark.proves("H34", "I32")
def test_a_birth_during_which_the_registry_fails_once_leaves_a_child_or_nothing():
    for number in range(12):
        play(failing_registry(number), range(3))


# A stop while the child is a parent to be (H35).


async def a_child_is_stopped_while_it_spawns(world):
    class Breeder(ScriptedWorker):
        async def work(self, run, emit):
            for number in range(100):
                name = f"grandkid{number}"
                await run.pod.spawn(name, scope=Scope.write(f"/w/kid/{number}"), launcher=world.launcher(quiet), task="go")

    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        kid = await root.spawn("kid", scope=KID, launcher=world.launcher(Breeder), task="go")
        await some_steps(world, 200)
        if world.chance.random() < 0.3:
            world.freeze(kid)
        with trio.fail_after(60):
            await kid.stop(grace=1)
        assert await names(world) == ["root"]
        left = [program.name for program in world.programs if program.alive]
        assert left == ["root"], f"after the stop there are {left}"
        assert root.scope.at("/w/kid/0") is WRITE


def broken_a_stop_looks_only_at_the_child(monkeypatch):
    async def nobody(*_):
        return []

    monkeypatch.setattr("podkit._life._deaths._wait_below", nobody)
    monkeypatch.setattr("podkit._life._deaths._below", lambda child: [])


@pytest.mark.proves("H35", "I33")
def test_after_a_stop_nobody_is_left_though_the_child_was_spawning():
    play(a_child_is_stopped_while_it_spawns, range(30))


@pytest.mark.parametrize(
    ("plant", "scenario", "says"),
    [
        pytest.param(broken_a_child_is_stopped_by_its_name, a_child_is_stopped_whose_name_somebody_else_has, "scenario", id="H3"),
        pytest.param(
            broken_a_report_counts_for_who_has_the_name, the_last_report_of_a_dead_child_comes_late, "counts for", id="H3 report"
        ),
        pytest.param(broken_a_birth_that_failed_lets_its_child_live, a_child_is_ready_as_the_time_is_up, "child lives|I4", id="H4"),
        pytest.param(broken_who_has_the_number_is_who_had_it, somebody_has_the_number_of_a_dead_child, "TooSlow", id="H5"),
        pytest.param(
            broken_who_has_the_number_is_who_had_it,
            somebody_has_the_number_of_a_dead_grandchild_that_is_stopped,
            "somebody else",
            id="H5 signal",
        ),
        pytest.param(broken_a_birth_that_failed_lets_its_child_live, failing_at(8, "cancel"), "scenario", id="H34"),
        pytest.param(broken_a_stop_looks_only_at_the_child, a_child_is_stopped_while_it_spawns, "scenario", id="H35"),
    ],
)
def test_with_the_bug_back_a_seed_turns_red(monkeypatch, plant, scenario, says):
    play_with_the_bug(monkeypatch, plant, scenario, says)
