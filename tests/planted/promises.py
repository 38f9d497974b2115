"""A scenario that holds podkit to what it promises a client, whatever the client does: several talk to one pod at a time.

Nothing in it is about any one mistake. What is looked at, with no more than what clients can see:

- every accepted run has a number of its own, and ends once; whoever asked waits for that end and no other
- a cancellation that names a run leaves every other run alone
- whoever says something and leaves at once was heard, also when it arrives some seconds after they are gone
- a message that wakes an idle pod starts a run within a minute
- a reader that is slow sees every event, or is told which it missed and gets a snapshot
"""

import contextlib

import trio

from podkit import Scope
from podkit.abc import Worker
from podkit.errors import MethodRejectedError
from podkit.logic import Limits
from podkit.protocol import Hello, Lagged, Notify, RunResult, Snapshot, Subscribe, TextDone, TurnStart, encode_method

_PATIENCE = 60


class Talker(Worker):
    """Says some words, with pauses in between."""

    def __init__(self, chance):
        self.chance, self.heard = chance, []

    async def work(self, run, emit):
        self.heard += [item.message for item in run.notices]
        emit(TurnStart(turn=1))
        for number in range(self.chance.randrange(1, 30)):
            emit(TextDone(text=f"{run.number}: {number}"))
            if self.chance.random() < 0.2:
                await trio.sleep(self.chance.random())
        self.heard += [item.message for item in run.poll_notices()]


class Promises:
    def __init__(self, world, pod, worker):
        self.world, self.pod, self.worker, self.chance = world, pod, worker, world.chance
        self.runs, self.said = [], []

    async def keep(self):
        async with trio.open_nursery() as nursery:
            for part in (self._asks, self._asks, self._cancels, self._leaves, self._leaves_far_away, self._reads_slowly):
                nursery.start_soon(part)
        await self._wakes()
        assert len(set(self.runs)) == len(self.runs), f"one run was confirmed to two who asked: {sorted(self.runs)}"

    def connect(self):
        return self.world.connect(self.pod.address)

    async def _asks(self):
        async with self.connect() as client:
            for _ in range(6):
                await trio.sleep(2 * self.chance.random())
                try:
                    run = await client.run("talk")
                except MethodRejectedError:
                    continue
                self.runs.append(run)
                with trio.fail_after(_PATIENCE):
                    end = await client.wait(run)
                assert end.run == run, f"the end of run {end.run} is told as that of run {run}"

    async def _cancels(self):
        """Now and then cancel a run that is over; the one under way ends as it would have."""
        async with self.connect() as client:
            for _ in range(6):
                try:
                    run = await client.run("talk, and be left alone")
                except MethodRejectedError:
                    await trio.sleep(self.chance.random())
                    continue
                self.runs.append(run)
                if run > 1:
                    with contextlib.suppress(MethodRejectedError):
                        await client.cancel(run=run - 1)
                with trio.fail_after(_PATIENCE):
                    end = await client.wait(run)
                assert end.result is not RunResult.CANCELLED, f"run {run} was cancelled by what was meant for run {run - 1}"

    async def _leaves(self):
        """Come, say one thing and go, without reading anything."""
        for number in range(6):
            await trio.sleep(self.chance.random())
            channel = await self.world.transport.connect(self.pod.address)
            await channel.send(encode_method(Hello((1,), "leaves/1", f"leaves {number}"), id="hello"))
            await channel.send(encode_method(Notify(f"note {number}", auto_run=False), id=f"note {number}"))
            self.said.append(f"note {number}")
            await channel.aclose()

    async def _leaves_far_away(self):
        """The same over a slow line: when the message arrives, whatever is said in answer to it is said to nobody."""
        for number in range(6):
            await trio.sleep(self.chance.random())
            channel = await self.world.transport.connect(self.pod.address)
            await channel.send(encode_method(Hello((1,), "leaves/1", f"far {number}", subscribe=Subscribe.LIVE), id="hello"))
            await trio.sleep(0.5)
            line, late = channel.link.forth, not channel.link.forth.stalled
            if late:  # else it is late already, and that may be for longer than anybody is listened to
                line.stall()
                await channel.send(encode_method(Notify(f"far note {number}", auto_run=False), id=f"note {number}"))
                self.said.append(f"far note {number}")
            await channel.aclose()
            await trio.sleep(3 * self.chance.random())
            if late:
                line.flow()

    async def _reads_slowly(self):
        async with self.connect() as client:
            last, missed = None, False
            with trio.move_on_after(30):
                while True:
                    event = await client.receive()
                    if isinstance(event, Lagged):
                        missed = True
                        continue
                    if not isinstance(event, Snapshot):
                        assert not missed, "a reader that missed something got no snapshot"
                        assert last is None or client.seq == last + 1, f"event {client.seq} after event {last}"
                    last, missed = client.seq, False
                    await trio.sleep(0.3 * self.chance.random())

    async def _wakes(self):
        async with self.connect() as client:
            await client.notify("wake up")
        await trio.sleep(_PATIENCE)
        assert "wake up" in self.worker.heard, "an idle pod was told to wake up, and sleeps"
        lost = [note for note in self.said if note not in self.worker.heard]
        assert not lost, f"somebody said something and left, and was not heard: {lost}"


async def promises(world):
    """One pod, small buffers, and five who talk to it."""
    worker = Talker(world.chance)
    async with world.open_pod("root", worker, scope=Scope.write("/w"), limits=Limits(outbox_events=4)) as pod:
        await Promises(world, pod, worker).keep()
