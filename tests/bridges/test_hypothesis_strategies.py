"""The strategies: everything they draw is what podkit takes, and it varies as far as they say."""

import subprocess
import sys
from typing import get_args

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from podkit import Scope, ScopeError, protocol
from podkit.bridges.hypothesis import FaultScript, Strike, events, fault_scripts, faults, methods, names, paths, rules, scopes
from podkit.protocol import Permission, ScopeRule, check_name, check_path
from podkit.testing import ScriptedWorker, open_world

MINIMAL = settings(database=None, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
ANY = settings(MINIMAL, phases=[Phase.generate])
FEW = settings(max_examples=30)
DENIED = Scope(
    allow=[
        ScopeRule("/app", Permission.WRITE),
        ScopeRule("/lib", Permission.READ),
        ScopeRule("/x", Permission.WRITE, recursive=False),
    ],
    deny=[ScopeRule("/app/.git", Permission.WRITE)],
)


@FEW
@given(names(), st.integers(1, 63).flatmap(lambda size: st.tuples(st.just(size), names(max_size=size))))
def test_names_are_pod_names_of_the_size_asked_for(name, sized):
    assert check_name(name) == name
    assert check_name(sized[1])
    assert len(sized[1]) <= sized[0]


def test_names_reach_the_longest_one():
    assert len(find(names(), lambda name: len(name) == 63, settings=ANY)) == 63


@pytest.mark.parametrize("size", [0, 64])
def test_a_size_that_no_name_has_is_refused(size):
    with pytest.raises(ValueError, match="1 to 63"):
        names(max_size=size)


@FEW
@given(st.data(), st.sampled_from(["/", "/app", "/" + "a/" * 2040 + "a"]))
def test_paths_are_normal_and_where_they_were_asked_for(data, under):
    path = data.draw(paths(under))
    assert check_path(path) == path
    assert path == under or path.startswith(under.rstrip("/") + "/")


@FEW
@given(rules("/app", permissions=[Permission.READ]))
def test_rules_are_where_and_of_the_permission_that_was_asked_for(rule):
    assert rule.permission is Permission.READ
    assert rule.target == "/app" or rule.target.startswith("/app/")


@FEW
@given(scopes("/app"))
def test_scopes_say_nothing_about_what_is_outside(scope):
    assert scope.declared
    assert scope <= Scope.write("/app")


@FEW
@given(st.data(), scopes())
def test_a_scope_within_another_is_a_part_of_it(data, outer):
    assert data.draw(scopes(within=outer)) <= outer


@pytest.mark.parametrize("wanted", [Permission.NONE, Permission.READ, Permission.WRITE])
def test_scopes_within_another_reach_everything_it_allows(wanted):
    assert find(scopes(within=DENIED), lambda scope: scope.at("/app/a") is wanted, settings=ANY) <= DENIED


def test_scopes_within_another_never_reach_what_it_denies():
    with pytest.raises(NoSuchExample):
        find(
            scopes(within=DENIED),
            lambda scope: scope.at("/app/.git/a") is Permission.WRITE,
            settings=settings(ANY, max_examples=30),
        )


def test_within_no_authority_there_is_none():
    assert find(scopes(within=Scope.none()), lambda _scope: True, settings=ANY) == Scope.none()


def test_a_derived_scope_has_no_rules_to_draw_from():
    with pytest.raises(ScopeError):
        scopes(within=Scope.write("/app") - Scope.write("/app/a"))


@FEW
@given(methods())
def test_methods_survive_the_wire(method):
    assert protocol.decode_method(protocol.encode_method(method)) == method


@FEW
@given(events())
def test_events_survive_the_wire(event):
    assert protocol.decode_event(protocol.encode_event(event)) == event


@pytest.mark.parametrize(("draw", "union"), [(methods, protocol.Method), (events, protocol.Event)])
def test_every_class_of_the_wire_can_be_drawn(draw, union):
    for cls in get_args(union):
        assert type(find(draw(cls), lambda _value: True, settings=settings(ANY, max_examples=1))) is cls


@FEW
@given(methods(protocol.Run), events(*protocol.WORKER_EVENTS))
def test_only_the_classes_that_were_named_are_drawn(method, event):
    assert isinstance(method, protocol.Run)
    assert type(event) in protocol.WORKER_EVENTS


# What goes wrong.


def in_world(play):
    """Run `play(world)` with three programs in it, in virtual time."""

    async def main():
        async with open_world() as world:
            async with world.open_pod("a", ScriptedWorker(), scope=Scope.write("/a")):
                async with world.open_pod("b", ScriptedWorker(), scope=Scope.write("/b")):
                    return await play(world)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def states(world, *who):
    return [(world.program(name).alive, world.program(name).frozen) for name in who]


def test_a_script_freezes_and_crashes_at_its_times_and_ends_what_it_began():
    script = FaultScript([Strike(10, "freeze", "a", seconds=20), Strike(15, "freeze", "a", seconds=30), Strike(50, "crash", "b")])

    async def play(world):
        await trio.sleep(1000)
        began, seen = trio.current_time(), []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(script.play, world)
            for at in (5, 12, 35, 46, 51):
                await trio.sleep_until(began + at)
                seen.append(states(world, "a", "b"))
        return seen

    well, still, dead = (True, False), (True, True), (False, False)
    assert in_world(play) == [[well, well], [still, well], [still, well], [well, well], [well, dead]]


def test_one_pod_goes_on_while_another_still_stands():
    script = FaultScript([Strike(0, "freeze", "a", seconds=10), Strike(5, "freeze", "b", seconds=20)])

    async def play(world):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(script.play, world)
            await trio.sleep(15)
            return states(world, "a", "b")

    assert in_world(play) == [(True, False), (True, True)]


def test_a_script_parts_two_pods_and_heals_them():
    script = FaultScript([Strike(1, "partition", "a", other="b", seconds=2)])

    async def play(world):
        calls = []
        world.partition = lambda *programs: calls.append((trio.current_time(), "partition", *(one.name for one in programs)))
        world.heal = lambda *programs: calls.append((trio.current_time(), "heal", *(one.name for one in programs)))
        began = trio.current_time()
        await script.play(world)
        return [(at - began, *rest) for at, *rest in calls]

    assert in_world(play) == [(1, "partition", "a", "b"), (3, "heal", "a", "b")]


def test_a_script_spares_who_is_not_there():
    async def play(world):
        await FaultScript([Strike(1, "crash", "nobody"), Strike(2, "freeze", "nobody", seconds=1)]).play(world)
        return states(world, "a", "b")

    assert in_world(play) == [(True, False), (True, False)]


def test_a_cancelled_script_leaves_nobody_standing_still():
    async def play(world):
        with trio.move_on_after(5):
            await FaultScript([Strike(1, "freeze", "a", seconds=1000)]).play(world)
        return trio.current_time(), states(world, "a")

    at, seen = in_world(play)
    assert at < 10
    assert seen == [(True, False)]


@FEW
@given(fault_scripts("a", "b", within=30))
def test_whatever_a_script_does_it_is_over_in_time_and_everybody_alive_goes_on(script):
    async def play(world):
        began = trio.current_time()
        await script.play(world)
        assert trio.current_time() - began <= 60
        assert not any(alive and frozen for alive, frozen in states(world, "a", "b"))
        crashed = {strike.who for strike in script.strikes if strike.what == "crash"}
        assert {name for name in "ab" if not world.program(name).alive} == crashed

    in_world(play)


def test_scripts_shrink_to_what_it_takes():
    found = find(
        fault_scripts("a", "b"), lambda script: any(strike.what == "freeze" for strike in script.strikes), settings=MINIMAL
    )
    assert found == FaultScript([Strike(0.0, "freeze", "a")])
    parted = find(fault_scripts("a", "b"), lambda script: any(strike.other for strike in script.strikes), settings=MINIMAL)
    assert [(one.what, {one.who, one.other}) for one in parted.strikes] == [("partition", {"a", "b"})]


def test_one_pod_cannot_be_parted_from_itself_and_nobody_cannot_be_struck():
    with pytest.raises(NoSuchExample):
        find(
            fault_scripts("a", "a"),
            lambda script: any(one.what == "partition" for one in script.strikes),
            settings=settings(ANY, max_examples=30),
        )
    with pytest.raises(ValueError, match="name the pods"):
        fault_scripts()


@FEW
@given(st.data())
def test_faults_are_of_the_kinds_that_were_named(data):
    drawn = data.draw(faults("kill", "freeze", max_rate=3, max_count=7))
    assert set(drawn.rates) <= {"kill", "freeze"}
    assert all(0 < rate <= 3 for rate in drawn.rates.values())
    assert drawn.most <= 7
    data.draw(faults())


def test_nothing_of_podkit_imports_hypothesis_by_itself():
    code = (
        "import sys, podkit, podkit.testing, podkit.tools, podkit.bridges, podkit_pytest;"
        "assert 'podkit.bridges.hypothesis' not in sys.modules; assert 'hypothesis.strategies' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
