"""Whoever reads, slowly, or not at all: what a worker says and commits takes as long as if nobody were there."""

import pytest
import trio

from podkit import Scope, connect
from podkit._life._saying import Saying
from podkit._net import Hub
from podkit.abc import Tool, ToolOutput, Worker
from podkit.errors import PodkitError
from podkit.logic import Limits
from podkit.protocol import TextDelta, TextDone, ToolCallDone, ToolResult, TurnStart
from podkit.testing import simulate

_LIMITS = Limits(outbox_events=4, outbox_bytes=2**16)
_READERS, _TURNS = 5, 20
_LONG = "x" * 4096


class Wait(Tool):
    name, description, input_schema = "wait", "Wait.", {"type": "object"}

    async def call(self, arguments, context):
        await trio.sleep(0.25)
        return ToolOutput("waited")


class Clocked(Worker):
    """Says a lot, commits it, calls a tool, and notes when it came to each of these."""

    def __init__(self):
        self.times = []

    def note(self):
        self.times.append(trio.current_time())

    async def work(self, run, emit):
        for turn in range(1, _TURNS):
            emit(TurnStart(turn=turn))
            for _ in range(20):
                emit(TextDelta(text=_LONG))
            emit(TextDone(text=_LONG * 20))
            self.note()
            call = f"call-{turn}"
            emit(ToolCallDone(id=call, name="wait", arguments="{}"))
            await run.committed()
            self.note()
            await run.pod.call_tool("wait", {})
            emit(ToolResult(id=call, summary="waited"))
            self.note()
            await trio.sleep(0.1)


async def nobody(world, root):
    """Nobody reads."""


async def _read(transport, address, *, pause=0.0, ready=None):
    try:
        async with connect(address, transport=transport, subscribe="snapshot", buffer=1) as client:
            await client.receive()
            if ready is not None:
                ready()
            while True:
                await trio.sleep(pause)
                await client.receive()
    except (PodkitError, trio.EndOfChannel):
        pass


async def _several(world, root, *, pause=0.0):
    """Return when all of them have the snapshot."""
    there = trio.Semaphore(0)
    for _ in range(_READERS):
        world.nursery.start_soon(lambda: _read(world.transport, root.address, pause=pause, ready=there.release))
    for _ in range(_READERS):
        await there.acquire()


async def quick(world, root):
    """Some read everything at once."""
    await _several(world, root)


async def slow(world, root):
    """Some take a second for each event."""
    await _several(world, root, pause=1.0)


async def asleep(world, root):
    """Some take the snapshot and then nothing for an hour."""
    await _several(world, root, pause=3600.0)


async def vanished(world, root):
    """Some are cut off, and nobody says so."""
    await _several(world, root)
    for link in world.net.links:
        link.back.stall()
        world.to_mend.append(link.back.flow)


async def frozen(world, root):
    """Those who read are stopped, with everything that was sent to them unread."""
    program = world._program("reader")
    there = trio.Event()

    async def read():
        with trio.CancelScope() as program.scope:
            await _read(program.transport, root.address, ready=there.set)

    program.start(read)
    await there.wait()
    program.freeze()


READERS = [quick, slow, asleep, vanished, frozen]


def times_with(readers):
    """When the worker came to each of its steps, while these read."""
    worker = Clocked()

    async def scenario(world):
        more = {"sessions": world.sessions, "tools": [Wait()], "limits": _LIMITS}
        async with world.open_pod("root", worker, scope=Scope.write("/w"), **more) as root:
            await readers(world, root)
            began = trio.current_time()
            await root.run("work")
            await trio.sleep(60)
            assert len(worker.times) == 3 * (_TURNS - 1), "it is not done after a minute"
            world.calm()
            worker.times = [round(time - began, 9) for time in worker.times]

    simulate(scenario, seed=1)
    return worker.times


@pytest.mark.proves("I22")
@pytest.mark.parametrize("readers", READERS)
def test_what_a_worker_says_and_commits_takes_as_long_whoever_reads_it(readers):
    assert times_with(readers) == times_with(nobody)


@pytest.mark.proves("I22")
@pytest.mark.parametrize("readers", [asleep, vanished, frozen])
def test_a_commit_that_waits_for_readers_is_seen(monkeypatch, readers):
    durable, subscribe, peers = Saying.durable, Hub.subscribe, []

    def remembered(self, subscriber):
        peers.append(subscriber)
        subscribe(self, subscriber)

    async def when_everybody_has_it(self, current):
        await durable(self, current)
        while not all(getattr(peer, "dead", False) or getattr(peer, "idle", True) for peer in peers):  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.1)

    monkeypatch.setattr(Hub, "subscribe", remembered)
    monkeypatch.setattr(Saying, "durable", when_everybody_has_it)
    with pytest.raises(AssertionError):
        assert times_with(readers) == times_with(nobody)
