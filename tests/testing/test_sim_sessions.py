"""Sessions of a simulated world on its disk: they run on podkit's own store, and what a pod promised outlives what befalls it."""

import json
from functools import partial

import attrs
import pytest

from podkit import Scope
from podkit._life import _rewinding
from podkit._store._file_session import FileSession
from podkit._store._journal import Journal
from podkit.errors import PodkitError
from podkit.logic import plan_rewind
from podkit.testing import KINDS, Faults, Say, ScriptedWorker, SimulationError, random_scenario, simulate
from podkit.testing._sim_kept import DiskSessions
from podkit.testing._watch_log import LogCheck

HOME = Scope.write("/w")
DISK = {kind: 1.0 for kind in KINDS if kind.startswith("disk_")}
TROUBLED = Faults({**DISK, "kill": 0.5})
POWERLESS = Faults({**DISK, "reboot": 0.5, "kill": 0.5})
kept = partial(random_scenario, sessions=True)


def broken(faults, seeds, scenario=kept):
    """The invariant that the first of these seeds sees broken; None when none does."""
    for seed in seeds:
        try:
            simulate(scenario, seed=seed, faults=faults, steps=400_000)
        except SimulationError as error:
            return error.invariant
    return None


@pytest.mark.proves("I26", "I27", "I28", "I29", "I31")
@pytest.mark.parametrize("faults", [TROUBLED, POWERLESS], ids=["troubled", "powerless"])
def test_what_a_pod_promised_is_kept_on_a_disk_that_fails_and_loses_power(faults):
    assert broken(faults, range(12)) is None


def test_the_same_seed_gives_the_same_trace_also_where_write_outs_are_waited_for():
    for seed in range(6):
        assert simulate(kept, seed=seed, faults=POWERLESS) == simulate(kept, seed=seed, faults=POWERLESS)


def lives_through(loss, seed, found):
    """A root that is told things, a loss of power, and the root again."""

    async def scenario(world):
        assert isinstance(world.sessions, DiskSessions)
        durable, told, again = world.sessions.survives_power, 0, None
        async with world.open_pod("root", ScriptedWorker(Say("hi")), scope=HOME, sessions=world.sessions) as root:
            for number in range(4):
                await root.ask(f"word {number}")
            told = len(root.log.data)
            if loss:
                world.reboot()
            else:
                world.crash(root)
        try:
            async with world.restore_pod("root", ScriptedWorker(Say("again"))) as pod:
                again = [data for data in pod.log.data if data["kind"] == "user_input"]
                assert durable or len(pod.log.data) <= told + 3
        except PodkitError:
            assert loss
            assert not durable
        found.append((durable, None if again is None else len(again)))

    simulate(scenario, seed=seed, faults=Faults.none(disk=True))


@pytest.mark.proves("I29", "I31")
def test_a_loss_of_power_takes_nothing_that_was_accepted_where_it_must_not_and_an_end_where_it_may():
    found = []
    for seed in range(24):
        lives_through(True, seed, found)
    assert {length for durable, length in found if durable} == {4}
    assert {length for durable, length in found if not durable} - {4}


@pytest.mark.proves("I28", "I29")
def test_a_crash_takes_nothing_whatever_the_durability():
    found = []
    for seed in range(8):
        lives_through(False, seed, found)
    assert {length for _, length in found} == {4}
    assert {durable for durable, _ in found} == {True, False}


# Mistakes of podkit, and who sees them.


@pytest.mark.proves("I29")
def test_half_a_record_that_nobody_cuts_off_is_seen(monkeypatch):
    monkeypatch.setattr(Journal, "cut", lambda self: None)
    monkeypatch.setattr(Journal, "_trim", lambda self, offset: None)
    assert broken(TROUBLED, range(60)) is not None


@pytest.mark.proves("I31")
def test_a_write_out_that_is_only_said_to_be_done_is_seen(monkeypatch):
    async def sync(self):
        pass

    monkeypatch.setattr(FileSession, "sync", sync)
    assert broken(Faults({"reboot": 1.0}, disk=True), range(80)) in ("I26", "I29")


@pytest.mark.proves("I28")
def test_going_back_on_a_stale_head_is_seen(monkeypatch):
    def careless(entries, *, expected, **more):
        return plan_rewind(entries, expected=len(entries), **more)

    monkeypatch.setattr(_rewinding, "plan_rewind", careless)
    assert broken(Faults.none(), range(60)) == "I28"


@pytest.mark.proves("I28")
def test_going_back_to_what_was_not_said_is_seen(monkeypatch):
    def forged(entries, **more):
        plan = plan_rewind(entries, **more)
        if isinstance(plan, str):
            return plan
        made = [attrs.evolve(entry, ts=1) if entry.kind == "assistant_item" else entry for entry in plan.entries]
        return attrs.evolve(plan, entries=tuple(made))

    monkeypatch.setattr(_rewinding, "plan_rewind", forged)
    assert broken(Faults.none(), range(60)) == "I28"


def entry(kind, **more):
    return {"kind": kind, "ts": 1, **more}


@pytest.mark.proves("I29")
@pytest.mark.parametrize(
    ("left", "seen"),
    [
        ([0, 1, 2], False),
        ([0], False),
        ([0, "closed"], False),
        ([0, 2], True),
        ([0, "other"], True),
    ],
)
def test_of_a_log_that_lost_power_the_end_may_be_gone_and_nothing_else(left, seen):
    told, complaints = [entry("config_changed", config=n) for n in range(3)], []
    made = {"closed": entry("run_errored", run=1, message="", interrupted=True), "other": entry("config_changed", config=9)}
    check = LogCheck("root", lambda invariant, what: complaints.append(invariant))
    check.read("a", told)
    check.lost_power()
    found = [made.get(one) or told[one] for one in left]
    check.goes_on("a", found, [json.dumps(one).encode() for one in found])
    assert ("I29" in complaints) == seen


def test_clients_of_random_scenarios_go_back_and_are_refused():
    done = {}
    for seed in range(10):
        report = simulate(kept, seed=seed, faults=Faults.none())
        for name, count in report.operations.items():
            done[name] = done.get(name, 0) + count
    assert done["rewind: ok"] > 20
    assert done["rewind: MethodRejectedError"] > 20
