"""Every call of every workflow fails or is the last one: the registry is as before or as after, and says what went wrong."""

import itertools
import os

import pytest
import trio

from podkit._store import FileRegistry
from podkit.errors import PodkitError, RegistryError

LONG = "PODKIT_LONG" in os.environ
KINDS = [("kill-before", False), ("kill-after", False), ("enospc", False), ("enospc", True)]
SHORT = [("short-1", False), ("short-1", True), ("short-all-but-1", False), ("short-all-but-1", True)]  # of a write
SOME = [("eio", False), ("eio", True), ("eintr", False), ("eintr", True), ("emfile", False), ("erofs", True)]
STEP = 1 if LONG else 7  # of these at some calls only
POINTS = {}


async def play(crash, workflow, durable, fault):
    """Set up, run with that fault, and answer the ground, the run and what it raised."""
    setup, act = crash.WORKFLOWS[workflow]
    ground = crash.Ground()
    await setup(ground.before)
    run = crash.Run(ground.directory, crash.Disk(fault), durable=durable)
    raised = None
    try:
        with trio.fail_after(30):
            await act(run)
    except crash.Killed:
        raised = "killed"
    except Exception as error:  # noqa: BLE001 - judged by the caller
        raised = error
    return ground, run, raised


async def expected(crash, workflow, durable):
    ground, run, raised = await play(crash, workflow, durable, None)
    try:
        assert raised is None, raised
        first = ground.before.states[-1] if ground.before.states else {}
        assert not ground.litter()
        return tuple(run.disk.trace), [first, *run.states]
    finally:
        run.end()
        ground.remove()


async def check(crash, workflow, durable, fault, states):
    ground, run, raised = await play(crash, workflow, durable, fault)
    try:
        if not run.disk.fired:
            assert raised is None, raised
            return False
        if raised != "killed":
            assert raised is None or isinstance(raised, RegistryError), repr(raised)
        told = len(run.states)
        if raised == "killed":
            run.end()
            run.disk.bury()
        assert ground.lock_is_free()
        with trio.fail_after(30):
            table = await FileRegistry(ground.directory, durable=durable).rows()
        found = crash.rows(table)
        allowed = states[told : told + 2]
        if workflow == "reclaim what a dead pod held":
            allowed.append({})  # two changes in one: the dead row goes first
        if workflow == "sweep":
            allowed += states[-2:]  # of whom it cannot be said that they are dead, they stay
        if isinstance(raised, PodkitError) and not durable:
            allowed = [states[min(told, len(states) - 1)], *allowed[2:]]
        assert found in allowed, (found, allowed, raised)
        assert table.refused == 0
        assert ground.litter() == []
        if raised not in (None, "killed") and run.registry is not None:
            run.disk.fault = None  # the trouble is over, and the same object goes on
            assert crash.rows(await run.registry.rows()) == found
        run.end()
        assert run.disk.fds == set(), run.disk.trace
        return True
    finally:
        run.end()
        ground.remove()


@pytest.mark.proves("I8", "I9", "I11", "H6", "F32")
async def test_a_fault_at_any_call_leaves_the_registry_as_before_or_as_after(crash, workflow, durable):
    calls, states = await expected(crash, workflow, durable)
    fired = 0
    everywhere = range(1, len(calls) + 1)
    writes = [at for at in everywhere if calls[at - 1] in ("write", "pwrite")]
    for kinds, places in ((KINDS, everywhere), (SHORT, writes), (SOME, everywhere[::STEP])):
        for (kind, lasting), at in itertools.product(kinds, places):
            fault = crash.Fault(kind, at, lasting)
            try:
                fired += await check(crash, workflow, durable, fault, states)
            except BaseException as error:
                error.add_note(f"{fault}")
                raise
    POINTS[workflow, durable] = fired
    assert fired >= 4 * len(calls)


def test_enough_points_were_tried(record_property):
    total = sum(POINTS.values())
    record_property("points", total)
    print(f"{total} fault points: {POINTS}")
    if len(POINTS) == 18:
        assert total >= 900
