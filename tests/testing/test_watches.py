"""Each watch sees its invariant broken: podkit is given the mistake, and some seed goes red."""

from functools import partial

import pytest
import trio

from podkit import Limits, Scope
from podkit._life._ending import Ending
from podkit._net import Hub
from podkit._net._connection import Connection
from podkit._net._fan import Fan
from podkit._net._memory_channel import MemoryChannel
from podkit._net._outbox import Outbox
from podkit.protocol import ListVisiblePods
from podkit.testing import Faults, Say, ScriptedWorker, SimulationError, random_scenario, simulate

SLOW = Faults.only("slow_reader", "vanished", "half_close", "cancel", rate=2)


def broken(seeds=40, faults=SLOW, scenario=random_scenario):
    """The invariants that were seen broken, and stop at the first."""
    for seed in range(seeds):
        try:
            simulate(scenario, seed=seed, faults=faults, steps=200_000)
        except SimulationError as error:
            return error.invariant
    return None


@pytest.mark.proves("I14", "I22", "I25")
def test_without_a_mistake_nothing_is_seen():
    assert broken(30) is None


@pytest.mark.proves("I14")
def test_two_tasks_that_write_to_one_connection_are_seen(monkeypatch):
    reply = Outbox.reply

    def at_once(self, event, re, **more):
        reply(self, event, re, **more)
        if self.__dict__.get("at_it", bool)():  # the writer is: send this one past it
            frame = self.backlog.items.pop().frame
            self.past.append(frame)

    async def write(self, real=Connection._write):
        self._outbox.past = past = []
        self._outbox.at_it = lambda: self._channel._sending
        async with trio.open_nursery() as nursery:

            async def second():
                while not self._outbox.done:
                    if past:
                        await self._channel.send_many([past.pop(0)])
                    await trio.sleep(0.01)

            nursery.start_soon(second)
            await real(self)
            nursery.cancel_scope.cancel()

    monkeypatch.setattr(Outbox, "reply", at_once)
    monkeypatch.setattr(Connection, "_write", write)
    assert broken() == "I14"


@pytest.mark.proves("I14")
def test_a_connection_that_is_used_after_a_write_was_given_up_is_seen(monkeypatch):
    """As a transport that does not close, under a server that gives up on slow peers and goes on."""
    close = MemoryChannel._close

    async def write(self, real=Connection._write):
        send_many = self._channel.send_many

        async def impatient(frames):
            with trio.move_on_after(0.5):
                await send_many(frames)

        self._channel.send_many = impatient
        await real(self)

    def stay_open(self):
        if not self._sending:
            close(self)

    monkeypatch.setattr(Connection, "_write", write)
    monkeypatch.setattr(MemoryChannel, "_close", stay_open)
    assert broken() == "I14"


@pytest.mark.proves("I14")
def test_a_connection_that_stands_after_a_write_failed_is_seen(monkeypatch):
    async def scenario(world):
        async with world.open_pod("root", ScriptedWorker(Say("x")), scope=Scope.write("/w")) as root, world.connect(root.address):
            (link,) = world.net.links
            link.back.stall()  # the peer hears nothing of what comes now
            link.back.half_close()
            await root.ask("say something")
            await trio.sleep(60)
            link.back.flow()

    simulate(scenario, seed=1)
    monkeypatch.setattr(Connection, "_deaf", lambda self: None)
    with pytest.raises(SimulationError, match="I14"):
        simulate(scenario, seed=1)


@pytest.mark.proves("I22")
def test_a_queue_without_an_end_is_seen(monkeypatch):
    def overflow(self):
        """Nothing is dropped."""

    offer = Outbox.offer

    def offer_anyway(self, record):
        limits, self.backlog._limits = self.backlog._limits, type(self.backlog._limits)()
        try:
            offer(self, record)
        finally:
            self.backlog._limits = limits

    monkeypatch.setattr(Outbox, "_overflow", overflow)
    monkeypatch.setattr(Outbox, "offer", offer_anyway)
    assert broken() == "I22"


@pytest.mark.proves("I22")
def test_replies_without_an_end_to_who_is_far_behind_are_seen(monkeypatch):
    async def scenario(world):
        options = {"scope": Scope.write("/w"), "limits": Limits(outbox_events=4)}
        async with (
            world.open_pod("root", ScriptedWorker(*200 * [Say(2000 * "x")]), **options) as root,
            world.connect(root.address) as client,
        ):
            (link,) = world.net.links
            link.back.stall()
            await root.ask("more than may wait")
            async with trio.open_nursery() as nursery:
                for _ in range(600):
                    nursery.start_soon(client.send, ListVisiblePods())
                await trio.sleep(1)
                await root.ask("more")
                link.back.flow()

    simulate(scenario, seed=1)
    monkeypatch.setattr(Outbox, "crowded", False)
    with pytest.raises(SimulationError, match=r"I22.* replies wait"):
        simulate(scenario, seed=1)


def dropped(self, subscriber, bursts, torn):
    """What could not be written straight is forgotten."""
    self._subscribers[subscriber] = None
    self._round = ()
    if torn:
        subscriber.tear()


def repeated(self, subscriber, bursts, torn):
    """What was written in part is said again."""
    self._subscribers[subscriber] = None
    self._round = ()
    for burst in bursts:
        for record in burst.records():
            subscriber.offer(record)


def joined(self, member, write):
    """What was published before is not written before it."""
    self._members[member] = write


@pytest.mark.proves("I15")
@pytest.mark.parametrize(
    ("kind", "name", "mistake"),
    [(Hub, "_fell", dropped), (Hub, "_fell", repeated), (Fan, "join", joined)],
    ids=["dropped", "repeated", "joined"],
)
def test_what_goes_wrong_where_the_hub_writes_straight_to_its_peers_is_seen(monkeypatch, kind, name, mistake):
    assert broken(10, scenario=partial(random_scenario, sockets=True)) is None
    monkeypatch.setattr(kind, name, mistake)
    assert broken(scenario=partial(random_scenario, sockets=True)) == "I15"


@pytest.mark.proves("I25")
def test_a_call_without_a_result_is_seen(monkeypatch):
    monkeypatch.setattr(Ending, "_close_calls", lambda self, current: None)
    assert broken() == "I25"


@pytest.mark.proves("I25")
def test_a_result_too_many_is_seen(monkeypatch):
    close = Ending._close_calls

    def twice(self, current):
        calls = list(current.calls)
        close(self, current)
        current.calls = calls
        close(self, current)

    monkeypatch.setattr(Ending, "_close_calls", twice)
    assert broken() == "I25"


@pytest.mark.proves("I12")
def test_a_zombie_that_is_taken_for_alive_is_seen(monkeypatch):
    from podkit._os import _pidfd

    async def scenario(world):
        async with world.open_pod("root", ScriptedWorker(Say("x")), scope=Scope.write("/w")) as root:
            launcher = world.launcher(lambda: ScriptedWorker(Say("x")))
            kid = await root.spawn("kid", scope=Scope.write("/w/kid"), launcher=launcher)
            pod = world.program(kid).pod
            await world.inside(
                kid, lambda: pod.spawn("low", scope=Scope.write("/w/kid/low"), launcher=launcher, on_parent_death="keep")
            )
            world.crash("kid")
            await kid.gone.wait()
            world.crash("low")  # which nobody is left to wait for
            await trio.sleep(10)
            assert root.scope == Scope.write("/w")

    for seed in range(10):
        simulate(scenario, seed=seed)
    monkeypatch.setattr(_pidfd, "_DEAD", frozenset())
    with pytest.raises(SimulationError, match="I12: process 4 that started at 2 is taken for alive"):
        for seed in range(10):
            simulate(scenario, seed=seed)
