"""Crashes and restores: by chance, and at the instants that chance hits rarely. The watches follow a session over all of it."""

import contextlib
import os
from functools import partial

import pytest
import trio

from podkit import Reconnect, Scope
from podkit.abc import Session, Tool, ToolOutput, Worker
from podkit.errors import PodkitError, PodUnreachableError
from podkit.protocol import Permission, RunResult, Snapshot, Status, TextDone, ToolCallDone, ToolResult, TurnStart
from podkit.testing import Faults, Say, ScriptedWorker, Sleep, random_scenario, simulate

LONG = bool(os.environ.get("PODKIT_LONG"))
HOME = Scope.write("/w")
DEADLY = Faults({"kill": 2, "kill_in_spawn": 0.5, "kill_in_stop": 0.5, "cut": 1, "registry_before": 0.2}, most=30)
restored = partial(random_scenario, sessions=True)


class Watched(Session):
    """A session; `changed(kind, entries)` is called after each change that was committed."""

    def __init__(self, inner, changed):
        self._inner, self._changed = inner, changed
        self.name, self.id, self.durability = inner.name, inner.id, inner.durability

    segment = property(lambda self: self._inner.segment)
    entries = property(lambda self: self._inner.entries)
    segments = property(lambda self: self._inner.segments)
    manifest = property(lambda self: self._inner.manifest)

    def append(self, entries):
        self._inner.append(entries)
        self._changed("append", entries)

    def rotate(self, segment, entries):
        self._inner.rotate(segment, entries)
        self._changed("rotate", entries)

    def save(self, manifest):
        self._inner.save(manifest)
        self._changed("save", ())

    async def sync(self):
        await self._inner.sync()

    def read(self, segment):
        return self._inner.read(segment)

    async def aclose(self):
        await self._inner.aclose()


@contextlib.contextmanager
def dies_when(world, name, condition):
    """The program that has the session of `name` dies right after the first commit for which `condition(kind, entries)` holds.

    What it committed is kept, and nothing follows from it any more.
    """
    struck = []

    def opened(program, session):
        def changed(kind, entries):
            if not struck and condition(kind, entries):
                struck.append(program)
                program.kill()

        return Watched(session, changed) if session.name == name else session

    world.sessions.opened = opened
    try:
        yield struck
    finally:
        world.sessions.opened = None
    assert struck, "nothing of that kind was committed"


def says(*words):
    return lambda _kind, entries: any(all(word in raw for word in words) for raw in entries)


class Count(Tool):
    """A tool with an effect."""

    name, description, input_schema = "count", "count", {"type": "object"}

    def __init__(self, seconds=0.0):
        self.ran, self.seconds = 0, seconds

    async def call(self, arguments, context):
        self.ran += 1
        await trio.sleep(self.seconds)
        return ToolOutput("counted")


class Caller(Worker):
    """Calls the tool once in a run that is not resumed, then speaks."""

    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        if not run.resumed:
            emit(ToolCallDone(id=f"call-{run.number}", name="count", arguments="{}"))
            await run.committed()
            output = await run.pod.call_tool("count", {})
            emit(ToolResult(id=f"call-{run.number}", summary=output.summary))
        emit(TextDone(text="done"))


def kinds(pod, kind):
    return [entry for entry in pod.log.data if entry["kind"] == kind]


@pytest.mark.proves("I13", "I15", "I21", "I24", "I25", "I26", "I27", "I28")
def test_roots_and_children_that_die_at_any_time_are_restored_as_they_were():
    done = {}
    for seed in range(3000 if LONG else 120):
        for name, count in simulate(restored, seed=seed, faults=DEADLY, steps=400_000).operations.items():
            done[name] = done.get(name, 0) + count
    assert done["restore: ok"] > 60
    assert done["restore_child: ok"] > 10


@pytest.mark.proves("I15", "I24", "I26", "I28")
def test_a_machine_that_starts_anew_again_and_again_goes_on_where_it_was():
    faults = Faults({"kill": 1, "reboot": 0.4})
    assert sum(simulate(restored, seed=seed, faults=faults).operations.get("restore: ok", 0) for seed in range(60)) > 30


def test_a_scenario_with_sessions_is_the_same_run_under_the_same_seed():
    for seed in range(10):
        assert simulate(restored, seed=seed, faults=DEADLY) == simulate(restored, seed=seed, faults=DEADLY)


@pytest.mark.proves("I26")
def test_a_notice_that_was_kept_and_never_confirmed_is_seen_once():
    async def scenario(world):
        with dies_when(world, "root", says(b'"kind":"notice"', b"news")):
            async with world.open_pod("root", ScriptedWorker(Say("x")), scope=HOME, sessions=world.sessions) as root:
                async with world.connect(root.address, subscribe="none") as client:
                    with pytest.raises(PodkitError):
                        await client.notify("news")
        async with world.restore_pod("root", ScriptedWorker(Say("heard"))) as root:
            await trio.sleep(10)
            assert len(kinds(root, "notice")) == len(kinds(root, "system_item")) == 1
            assert root.status is Status.IDLE
            world.crash(root)
        async with world.restore_pod("root", ScriptedWorker(Say("again"))) as root:
            await trio.sleep(10)
            assert len(kinds(root, "invoke")) == 1, "it was seen, and wakes nobody again"

    simulate(scenario, seed=1)


@pytest.mark.proves("F33", "F46", "F47", "I24", "I25")
@pytest.mark.parametrize("ran", [False, True], ids=["before the tool ran", "while the tool ran"])
def test_a_call_whose_pod_died_before_the_result_has_one_and_is_not_run_again(ran):
    async def scenario(world):
        tool = Count(5)
        with contextlib.ExitStack() as stack:
            if not ran:
                stack.enter_context(dies_when(world, "root", says(b'"call_id":"call-1"')))
            async with world.open_pod("root", Caller(), scope=HOME, tools=[tool], sessions=world.sessions) as root:
                await root.run("go")
                await trio.sleep(1)
                world.crash(root)
        for _ in range(2):
            async with world.restore_pod("root", Caller(), tools=[tool]) as root:
                await trio.sleep(20)
                (result,) = kinds(root, "tool_result")
                assert result["item"]["is_error"]
                (end,) = kinds(root, "run_errored")
                assert end["interrupted"]
                assert tool.ran == ran
                world.crash(root)

    simulate(scenario, seed=1)


@pytest.mark.proves("I24", "I25", "I28")
def test_a_pod_that_dies_in_a_pause_is_paused_again_however_often_and_is_resumed_once():
    async def scenario(world):
        tool = Count()
        async with world.open_pod("root", ScriptedWorker(Sleep(100)), scope=HOME, sessions=world.sessions) as root:
            await root.notify("later", wake=False)
            run = await root.run("long")
            await root.pause(run=run)
            before = list(root.log.data)
            world.crash(root)
        for _ in range(3):
            async with world.restore_pod("root", Caller(), tools=[tool]) as root:
                assert root.status is Status.PAUSED
                assert root.log.data == before
                await trio.sleep(100)
                assert root.log.data == before, "nothing happens in a pause"
                world.crash(root)
        async with world.restore_pod("root", Caller(), tools=[tool]) as root:
            again = await root.resume()
            assert again == run + 1
            assert (await root.wait(again)).result is RunResult.FINISHED
            assert tool.ran == 0

    simulate(scenario, seed=1)


@pytest.mark.proves("I24", "I25", "I26", "I28")
@pytest.mark.parametrize("times", [1, 2])
def test_a_pod_that_dies_while_it_is_restored_is_restored_by_the_next(times):
    """Struck at every change of its session: once, or the second restore as well."""

    async def scenario(world, at):
        tool, struck = Count(100), 0
        async with world.open_pod("root", Caller(), scope=HOME, tools=[tool], sessions=world.sessions) as root:
            await root.run("go")
            await root.notify("news")
            await trio.sleep(1)
            before = list(root.log.data)
            world.crash(root)
        for _ in range(times):
            now = partial(next, iter([*[False] * at, True]), False)
            with contextlib.suppress(AssertionError), dies_when(world, "root", lambda *_, now=now: now()) as dead:
                with contextlib.suppress(PodkitError):
                    async with world.restore_pod("root", Caller(), tools=[tool]) as root:
                        await trio.sleep(1)
                        world.crash(root)
            struck += bool(dead)
        async with world.restore_pod("root", ScriptedWorker(Say("x")), tools=[tool]) as root:
            assert root.log.data[: len(before)] == before
            await trio.sleep(2000)
            assert len(kinds(root, "tool_result")) == len([e for e in kinds(root, "assistant_item") if "call_id" in e["item"]])
            assert len(kinds(root, "system_item")) == 1, "what waited was seen, and once"
        found.append(struck)

    found, at = [1], 0
    while found[-1]:
        simulate(lambda world, at=at: scenario(world, at), seed=1)
        at += 1
    assert at > 3


@pytest.mark.proves("I15")
def test_a_client_that_comes_at_any_event_of_a_restored_pod_sees_its_log_and_then_the_rest_without_a_gap():
    async def scenario(world, place):
        async with world.open_pod("root", ScriptedWorker(Say("a")), scope=HOME, sessions=world.sessions) as root:
            await root.ask("one")
            await root.notify("news", wake=False)
            world.crash(root)
        async with world.restore_pod("root", ScriptedWorker(Say("b"), Say("c"))) as root:
            async with world.connect(root.address, subscribe="live") as first:
                run = await root.run("two")
                for _ in range(place):
                    await first.receive()
                async with world.connect(root.address) as client:
                    snapshot = await client.receive()
                    assert isinstance(snapshot, Snapshot)
                    assert list(snapshot.entries) == root.log.data[: len(snapshot.entries)]
                    await root.wait(run)
                    shown, seq = [entry["kind"] for entry in snapshot.entries if entry.get("run") == run], client.seq
                    with trio.move_on_after(10):
                        while True:
                            event = await client.receive()
                            seq += 1
                            assert client.seq == seq, "without a gap"
                            shown.append(type(event).__name__)
                    assert seq == root.hub.seq
            ends = shown.count("RunEnd") + shown.count("run_completed")
            assert ends == 1, shown
            places.append(root.hub.seq)

    places, place = [1], 0
    while place <= places[-1]:
        simulate(lambda world, place=place: scenario(world, place), seed=1)
        place += 1
    assert place > 8


@pytest.mark.proves("I13", "I15", "I24")
def test_a_client_that_comes_back_finds_the_restored_pod_and_hears_how_its_run_ended():
    async def scenario(world):
        async with world.open_pod("root", ScriptedWorker(Sleep(1000)), scope=HOME, sessions=world.sessions) as root:
            policy = Reconnect(longest=1.0, chance=lambda: 0.5)
            async with world.connect(root.address, reconnect=policy) as client:
                run, first = await client.run("long"), client.incarnation
                world.crash(root)
                async with world.restore_pod("root", ScriptedWorker(Say("x"))) as again:
                    with trio.fail_after(30):
                        while client.incarnation == first:
                            await client.receive()
                        assert client.incarnation == again.incarnation
                        assert (await client.wait(run)).result is RunResult.FAILED
                        assert (await client.ask("more")).text == "x"

    simulate(scenario, seed=1)


@pytest.mark.proves("I13", "I24", "I25")
@pytest.mark.parametrize("listens", ["snapshot", "live", "none"])
def test_a_client_that_waits_over_a_crash_hears_how_its_run_ended_and_one_that_asked_gets_what_was_said(listens):
    class Speaker(Worker):
        async def work(self, run, emit):
            emit(TurnStart(turn=1))
            emit(TextDone(text="so far"))
            await trio.sleep(1000)

    async def scenario(world):
        ends = []
        policy = Reconnect(longest=1.0, chance=lambda: 0.5)
        async with world.open_pod("root", Speaker(), scope=HOME, sessions=world.sessions) as root:
            async with world.connect(root.address, reconnect=policy, subscribe=listens) as client, trio.open_nursery() as nursery:

                async def ask():
                    ends.append(await client.ask("long"))

                async def wait():
                    ends.append(await client.wait(1))

                nursery.start_soon(ask)
                await trio.sleep(1)
                nursery.start_soon(wait)
                await trio.sleep(1)
                world.crash(root)
                await trio.sleep(3)
                async with world.restore_pod("root", ScriptedWorker()):
                    await trio.sleep(30)
                    outcome, end = sorted(ends, key=lambda found: type(found).__name__)
                    assert (outcome.result, outcome.text, end.result) == (RunResult.FAILED, "so far", RunResult.FAILED)
                    nursery.cancel_scope.cancel()

    simulate(scenario, seed=1)


@pytest.mark.proves("I13")
def test_a_client_that_waits_for_a_run_of_a_pod_that_another_one_took_the_place_of_is_told_so():
    async def scenario(world):
        ends = []
        policy = Reconnect(longest=1.0, chance=lambda: 0.5)
        async with world.open_pod("root", ScriptedWorker(Sleep(1000)), scope=HOME, sessions=world.sessions) as root:
            async with world.connect(root.address, reconnect=policy) as client, trio.open_nursery() as nursery:

                async def wait(run):
                    with pytest.raises(PodUnreachableError, match="another incarnation") as caught:
                        await client.wait(run)
                    ends.append(caught.value)

                nursery.start_soon(wait, await client.run("long"))
                await trio.sleep(1)
                world.crash(root)
                # Opened, not restored: a new session, whose runs are counted from one again.
                async with world.open_pod("root", ScriptedWorker(Say("x")), scope=HOME, sessions=world.sessions) as other:
                    await other.ask("short")
                    await trio.sleep(30)
                    assert len(ends) == 1
                    nursery.cancel_scope.cancel()

    simulate(scenario, seed=1)


@pytest.mark.proves("I21", "I26")
def test_a_report_whose_parent_died_before_it_could_say_so_counts_once():
    async def scenario(world):
        launcher = world.launcher(lambda: ScriptedWorker(Sleep(5), Say("done")))
        with dies_when(world, "root", says(b'"kind":"notice"', b'"from":"kid"')):
            async with world.open_pod("root", ScriptedWorker(Say("heard")), scope=HOME, sessions=world.sessions) as root:
                await root.spawn("kid", scope=Scope.write("/w/a"), launcher=launcher, on_parent_death="keep", task="go")
                await trio.sleep(1)
                await root.stopped()
                world.freeze("kid")  # it has not noticed yet
        async with world.restore_pod("root", ScriptedWorker(Say("heard"))) as root:
            world.thaw("kid")  # and now it tries again
            await trio.sleep(30)
            assert len([entry for entry in root.log.data if entry["kind"] == "notice"]) == 1

    simulate(scenario, seed=1)


class Breeder(Worker):
    """Starts `deep` in the path that it is told."""

    def __init__(self, launcher):
        self.launcher = launcher

    async def work(self, run, emit):
        await run.pod.spawn("deep", scope=Scope.write(run.text), launcher=self.launcher, on_parent_death="keep")


def allowed(pod, *paths):
    return [pod.scope.at(path) is Permission.WRITE for path in paths]


@pytest.mark.proves("F22", "H8", "H9", "I1", "I3")
@pytest.mark.parametrize("disk", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("where", ["/w/kid/deep", "/w/else"])
@pytest.mark.parametrize("kid", ["lives", "is killed before", "is killed after", "is killed at the same time"])
def test_a_root_is_restored_at_once_while_a_grandchild_still_writes(kid, where, disk):
    """Where nobody writes since the root died, a child may let its own child write, within its grant."""

    async def scenario(world):
        launcher = world.launcher(lambda: Breeder(world.launcher(ScriptedWorker)))
        async with world.open_pod("root", ScriptedWorker(), scope=HOME, sessions=world.sessions) as root:
            child = await root.spawn("kid", scope=Scope.write("/w/kid"), grant=HOME, launcher=launcher, on_parent_death="keep")
            world.crash(root)
        async with world.connect(child.address) as client:
            assert (await client.wait(await client.run(where))).result is RunResult.FINISHED
        if kid in ("is killed before", "is killed at the same time"):
            world.crash("kid")
        if kid == "is killed before":
            await trio.sleep(10)
        async with world.restore_pod("root", ScriptedWorker()) as root:
            if kid == "is killed after":
                assert root.scope.at("/w/kid/x") is Permission.READ
                world.crash("kid")
            await trio.sleep(5)
            lives = kid == "lives"
            assert allowed(root, "/w/x", "/w/kid/x", where) == [True, not lives, False]
            assert root.children["kid"].gone.is_set() is not lives
            world.crash("deep")
            await trio.sleep(5)
            assert allowed(root, "/w/x", where) == [True, not lives or where == "/w/else"]
            assert len(await world.registry.table()) == 1 + lives

    simulate(scenario, seed=1, faults=Faults(disk=disk))
