"""Known failures of delivery and liveness, each as a scenario, and each brought back to see the scenario fail."""

import contextlib
from collections import deque

import pytest
import trio
from scenes import KID, READ, ROOT, WRITE, everything, of_kind, play, play_with_the_bug, quiet, until, when

from podkit import Scope
from podkit.errors import DeliveryError, PodkitError, RegistryBusyError, StopFailedError
from podkit.protocol import (
    Accepted,
    BirthCredential,
    Hello,
    InvokeKind,
    InvokeStart,
    Notify,
    PodErrored,
    PodEventMethod,
    RunEnd,
    RunResult,
    Subscribe,
    SystemItemEvent,
    TextDone,
    encode_method,
)
from podkit.testing import Say, ScriptedWorker, Sleep

# A peer that speaks and hangs up (F1).


async def a_child_speaks_and_hangs_up(world):
    births = []

    def worker(birth):
        births.append(birth)
        return quiet()

    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        kid = await root.spawn("kid", scope=KID, launcher=world.launcher(worker))
        credential = BirthCredential("kid", kid.incarnation, births[0].document.secret)
        async with world.connect(root.address) as client:
            for number in range(10):
                channel = await world.transport.connect(root.address)
                channel.link.back.half_close()  # nothing that the parent writes gets through
                hello = Hello((1,), "child", f"c{number}", birth=credential)
                event = PodErrored("kid", f"number {number}", id=f"e{number}")
                await channel.send(encode_method(hello, id="1"))
                await trio.sleep(number % 4)  # what follows is a while on its way
                with contextlib.suppress(trio.BrokenResourceError):
                    await channel.send(encode_method(PodEventMethod(event), id="2"))
                await trio.aclose_forcefully(channel)
            missing = {f"e{number}" for number in range(10)}
            with trio.fail_after(60):
                while missing:
                    event = await until(client, lambda event: isinstance(event, SystemItemEvent))
                    missing.discard(event.item.event.id)


async def a_client_speaks_and_hangs_up_before_a_large_snapshot(world):
    class Verbose(ScriptedWorker):
        async def work(self, run, emit):
            if run.text == "fill":
                for _ in range(3):
                    emit(TextDone(text="x" * 2**20))

    async with world.open_pod("root", Verbose(), scope=ROOT) as root:
        await root.wait(await root.run("fill"))
        async with world.connect(root.address, subscribe="live") as client:
            for number in range(5):
                channel = await world.transport.connect(root.address)
                await channel.send(encode_method(Hello((1,), "client", f"c{number}", subscribe=Subscribe.SNAPSHOT), id="1"))
                await trio.sleep(0.1)  # the snapshot is being written
                channel.link.forth.stall()
                await channel.send(encode_method(Notify(f"number {number}"), id="2"))
                await trio.aclose_forcefully(channel)
                await trio.sleep(1)  # so long it is on its way
                channel.link.forth.flow()
            missing = {f"number {number}" for number in range(5)}
            with trio.fail_after(60):
                while missing:
                    event = await until(client, lambda event: isinstance(event, SystemItemEvent))
                    missing.discard(event.item.message)


def broken_writing_fails_the_connection(monkeypatch):
    monkeypatch.setattr("podkit._net._connection.Connection._deaf", lambda self: self.cut())


@pytest.mark.proves("F1")
@pytest.mark.parametrize("scenario", [a_child_speaks_and_hangs_up, a_client_speaks_and_hangs_up_before_a_large_snapshot])
def test_what_was_sent_counts_though_its_sender_reads_nothing_and_hangs_up(scenario):
    play(scenario)


# A spawn that says that the child works (F2).


@pytest.fixture(params=["nothing", "freeze", "crash", "partition", "hang up", "terminate"])
def trouble(request):
    return request.param


def spawn_with(trouble):
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT) as root:

            def act():
                kid = world.program("kid")
                match trouble:
                    case "freeze":
                        world.freeze(kid)
                    case "crash":
                        world.crash(kid)
                    case "partition":
                        world.partition(root, kid)
                    case "hang up":
                        for link in world.net.between(world.program(root), kid):
                            link.cut()
                    case "terminate":
                        kid.scope.cancel()

            count = world.chance.randrange(60)  # so many steps after the birth
            steps = iter(range(count))
            when(world, lambda: "kid" in root.children and next(steps, None) is None, act)
            try:
                with trio.fail_after(30):
                    await root.spawn("kid", scope=KID, launcher=world.launcher(quiet), task="the task", ready_timeout=5)
                told = True
            except DeliveryError:
                told = False
            kid = world.program("kid")
            inputs = [entry for entry in kid.pod.log.data if entry["kind"] == "user_input"]
            assert inputs or not told, "the birth succeeded, and the child has no task"
            assert len(inputs) <= 1
            assert "kid" in root.children or not kid.alive, "the child lives, and is no child"

    return scenario


def broken_the_task_is_sent_and_not_confirmed(monkeypatch):
    async def deliver(child, task, seconds):
        async def send():
            with contextlib.suppress(PodkitError):
                await child.run(task)

        child.parent.start_soon(send)

    monkeypatch.setattr("podkit._life._births._deliver", deliver)


@pytest.mark.proves("F2")
def test_a_birth_succeeds_only_with_a_child_that_took_its_task_whatever_happens_to_it(trouble):
    play(spawn_with(trouble))


# A registry that is locked by somebody else (F16), also while somebody wants to cancel (H18).


def locked_by_somebody_else(registry):
    """From here on who changes it waits for the lock and gives up after 10 seconds, until the event that this answers is set."""
    unlocked, append = trio.Event(), registry.append

    async def wait_for_the_lock(after, facts, *, by=None):
        with trio.move_on_after(10):
            await unlocked.wait()
            return await append(after, facts, by=by)
        raise RegistryBusyError(10.0, "somebody else")

    registry.append = wait_for_the_lock
    return unlocked


async def a_stop_meets_a_locked_registry(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet))
        unlocked = locked_by_somebody_else(world.registry)
        failed = trio.Event()

        async def stop():
            with pytest.raises(StopFailedError):
                await kid.stop(grace=2)
            failed.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            async with world.connect(root.address) as client:
                for _ in range(5):
                    with trio.fail_after(1):
                        assert (await client.ask("are you there?")).text == "done"
                    await trio.sleep(1)
            with trio.fail_after(30):
                await failed.wait()
            assert root.scope.at("/w/kid") is READ
            unlocked.set()
            with trio.fail_after(30):
                assert (await kid.stop(grace=2)).name == "kid"
            assert root.scope.at("/w/kid") is WRITE


def broken_the_pod_stands_still_while_the_registry_is_asked(monkeypatch):
    from podkit._life._authority import Authority
    from podkit._life._desk import PodDesk

    transact, submit = Authority.transact, PodDesk.submit
    waiting, busy = deque(), set()

    async def transact_alone(self, decide):
        busy.add(self)
        try:
            return await transact(self, decide)
        finally:
            busy.discard(self)
            while waiting:
                submit(*waiting.popleft())

    def submit_later(self, ask):
        if self._pod.authority in busy:
            waiting.append((self, ask))
        else:
            submit(self, ask)

    monkeypatch.setattr(Authority, "transact", transact_alone)
    monkeypatch.setattr(PodDesk, "submit", submit_later)


@pytest.mark.proves("F16", "H12")
def test_while_the_registry_is_locked_a_stop_fails_in_time_and_everything_else_is_answered():
    play(a_stop_meets_a_locked_registry)


async def a_run_is_cancelled_while_what_a_dead_child_held_cannot_be_taken_back(world):
    async with world.open_pod("root", ScriptedWorker(Sleep(3600)), scope=ROOT) as root:
        kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet))
        async with world.connect(root.address) as client:
            run = await client.run("go")
            unlocked = locked_by_somebody_else(world.registry)
            world.crash(kid)
            await trio.sleep(1)
            assert not kid.gone.is_set(), "nobody waits for the registry"
            with trio.fail_after(1):
                await client.cancel(run=run)
                assert (await client.wait(run)).result is RunResult.CANCELLED
        unlocked.set()


@pytest.mark.proves("H18")
def test_what_takes_its_time_keeps_no_cancellation_waiting():
    play(a_run_is_cancelled_while_what_a_dead_child_held_cannot_be_taken_back)


# A child's end of a run reaches an idle parent (F49), in order (H28).


async def a_child_finishes_while_its_parent_is_idle(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        launcher = world.launcher(lambda: ScriptedWorker(Sleep(3), Say("done")))
        async with world.connect(root.address) as client:
            kid = await root.spawn("kid", scope=KID, launcher=launcher, task="go")
            with trio.fail_after(60):
                await kid.wait(1)
            with trio.fail_after(1):
                woken = await until(client, lambda event: isinstance(event, InvokeStart))
            assert woken.kind is InvokeKind.NOTIFY
            with trio.fail_after(1):
                told = await until(client, lambda event: isinstance(event, SystemItemEvent))
            assert "kid" in told.item.body


def broken_what_children_report_does_not_wake(monkeypatch):
    def news(self, ask, child, event, body, *, wake, gone=False):
        self._notices.keep(self._notices.news(child, event, body, wake=wake))
        ask.answer(Accepted())

    monkeypatch.setattr("podkit._life._actor.Actor.news", news)


@pytest.mark.proves("F49", "I26")
def test_an_idle_parent_is_woken_within_a_second_of_the_end_of_its_childs_run():
    play(a_child_finishes_while_its_parent_is_idle)


async def a_child_finishes_and_leaves_while_its_first_report_is_late(world):
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        late = []

        def hold_up(link, frame):
            if not late:
                late.append(link)
                link.forth.stall()

        world.net.reported = hold_up
        async with world.connect(root.address) as client:
            kid = await root.spawn("kid", scope=KID, launcher=world.launcher(quiet), task="go")
            with trio.fail_after(60):
                await kid.wait(1)
            world.program(kid).scope.cancel()  # a SIGTERM
            with trio.move_on_after(2):
                await kid.gone.wait()
            assert late, "the child reported nothing"
            late[0].forth.flow()
            events = await everything(client)
        reports = [event.item.event.kind for event in of_kind(events, SystemItemEvent)]
        assert reports == ["turn_ended", "shut_down"]
        assert kid.gone.is_set()


def broken_each_report_goes_its_own_way(monkeypatch):
    async def run(self):
        async with trio.open_nursery() as nursery:
            async for event in self._receive:
                nursery.start_soon(self._deliver, event)
        self._done.set()

    monkeypatch.setattr("podkit._life._upward.Upward.run", run)


@pytest.mark.proves("H28", "I21")
def test_a_child_that_finishes_and_leaves_is_heard_in_that_order_once_each():
    play(a_child_finishes_and_leaves_while_its_first_report_is_late)


def a_report_is_held_up(how, seconds):
    async def scenario(world):
        async with world.open_pod("root", quiet(), scope=ROOT) as root:
            launcher = world.launcher(lambda: ScriptedWorker(Sleep(3), Say("done")))
            async with world.connect(root.address) as client:
                kid = await root.spawn("kid", scope=KID, launcher=launcher, task="go")
                async with world.connect(kid.address) as watching:
                    if how == "partition":
                        world.partition(root, kid)
                    else:
                        world.freeze(root)
                    with trio.fail_after(60):
                        await until(watching, lambda event: isinstance(event, RunEnd))
                await trio.sleep(seconds)  # so long it stays like that
                world.heal()
                world.thaw(root)
                with trio.fail_after(60):
                    await until(client, lambda event: isinstance(event, SystemItemEvent))

    return scenario


@pytest.mark.proves("H28", "I21")
@pytest.mark.parametrize("how", ["partition", "freeze"])
def test_a_report_that_is_held_up_for_a_moment_arrives(how):
    play(a_report_is_held_up(how, 3))


@pytest.mark.proves("H28", "I21")
@pytest.mark.parametrize("how", ["partition", "freeze"])
def test_a_report_that_is_held_up_for_longer_arrives_when_its_parent_can_hear_it(how):
    play(a_report_is_held_up(how, 20))


# A parent that dies (H29).


async def a_parent_dies_and_its_child_has_something_to_tell(world):
    slow = world.launcher(lambda: ScriptedWorker(Sleep(5), Say("done")))
    async with world.open_pod("root", quiet(), scope=ROOT) as root:
        kept = await root.spawn("kid", scope=KID, launcher=slow, task="go", on_parent_death="keep")
        other = await root.spawn("other", scope=Scope.write("/w/other"), launcher=slow, task="go")
        programs = world.program(kept), world.program(other)
        world.crash(root)
        with trio.fail_after(10):
            await programs[1].over.wait()
        # Somebody else has the name and the address now.
        async with world.open_pod("root", quiet(), scope=Scope.write("/v")) as stranger:
            async with world.connect(stranger.address) as client, world.connect(kept.address) as watching:
                with trio.fail_after(60):
                    await until(watching, lambda event: isinstance(event, RunEnd))
                assert not of_kind(await everything(client), SystemItemEvent)
                assert programs[0].alive, "a child that was to be kept died"
                assert not stranger.children
                await watching.shutdown()
            with trio.fail_after(30):
                await programs[0].over.wait()


def broken_a_child_does_not_see_its_parent_die(monkeypatch):
    async def heed(house, document, registry):
        await trio.sleep_forever()

    monkeypatch.setattr("podkit._life._adopt._heed_parent", heed)


def broken_whoever_says_a_childs_name_is_one(monkeypatch):
    monkeypatch.setattr("podkit._life._desk.PodDesk.admits_birth", lambda self, birth: True)
    monkeypatch.setattr(
        "podkit._life._desk.PodDesk._reported",
        lambda self, ask, event: self._pod.actor.news(ask, event.pod_name, event, "news", wake=True),
    )


@pytest.mark.proves("H29")
def test_when_a_parent_dies_its_children_end_or_stay_and_nobody_else_hears_their_reports():
    play(a_parent_dies_and_its_child_has_something_to_tell)


# Two pods that would wake each other for ever (F55).


async def two_pods_notify_each_other(world):
    class Chatty(ScriptedWorker):
        async def work(self, run, emit):
            await trio.sleep(1)
            for child in run.pod.children.values():
                await child.notify("what do you think?")

    async with world.open_pod("root", Chatty(), scope=ROOT) as root:
        await root.spawn("kid", scope=KID, launcher=world.launcher(lambda: ScriptedWorker(Sleep(1), Say("nothing"))))
        async with world.connect(root.address) as client:
            await client.run("begin")
            events = await everything(client)
        assert len(of_kind(events, InvokeStart)) == 1


async def a_parent_starts_its_child_at_every_notice(world):
    class Eager(ScriptedWorker):
        async def work(self, run, emit):
            await trio.sleep(0.1)
            with contextlib.suppress(PodkitError):
                await run.pod.children["kid"].run("and now?")

    async with world.open_pod("root", Eager(), scope=ROOT) as root:
        await root.spawn("kid", scope=KID, launcher=world.launcher(lambda: ScriptedWorker(Sleep(0.1), Say("and you?"))))
        async with world.connect(root.address) as client:
            await client.run("begin")
            events = []
            with trio.move_on_after(120):
                async for event in client:
                    events.append(event)  # noqa: PERF401 - what came before the time is up counts
        runs = of_kind(events, InvokeStart)
        news = [event.item.notice for event in of_kind(events, SystemItemEvent)]
        limits = root.limits
        assert limits.wakes < len(runs) <= 1 + limits.wakes + 120 / limits.wake_seconds, f"{len(runs)} runs"
        assert len(news) == len(set(news)) >= len(runs) - 1


def broken_a_child_wakes_as_often_as_it_likes(monkeypatch):
    monkeypatch.setattr("podkit.logic.Life.may_wake", lambda self, child: True)


@pytest.mark.proves("F55")
def test_a_parent_that_starts_its_child_at_every_notice_is_bounded_and_loses_nothing():
    play(a_parent_starts_its_child_at_every_notice)


def broken_every_end_of_a_run_is_reported(monkeypatch):
    from podkit._life._plan_reports import report_of
    from podkit._life._pod import Pod

    def ended(self, origin, end, message):
        if self.setting.upward is not None:
            self.setting.upward.tell(report_of(self.name, self.incarnation, end, message))

    monkeypatch.setattr(Pod, "_run_ended", ended)


@pytest.mark.proves("F55")
def test_two_pods_that_notify_each_other_come_to_rest():
    play(two_pods_notify_each_other)


@pytest.mark.parametrize(
    ("plant", "scenario", "says"),
    [
        pytest.param(broken_writing_fails_the_connection, a_child_speaks_and_hangs_up, "TooSlow", id="F1"),
        pytest.param(
            broken_writing_fails_the_connection, a_client_speaks_and_hangs_up_before_a_large_snapshot, "TooSlow", id="F1 snapshot"
        ),
        pytest.param(broken_the_task_is_sent_and_not_confirmed, spawn_with("freeze"), "has no task", id="F2 silent"),
        pytest.param(broken_the_task_is_sent_and_not_confirmed, spawn_with("hang up"), "has no task", id="F2 hangs up"),
        pytest.param(broken_the_pod_stands_still_while_the_registry_is_asked, a_stop_meets_a_locked_registry, "TooSlow", id="F16"),
        pytest.param(
            broken_the_pod_stands_still_while_the_registry_is_asked,
            a_run_is_cancelled_while_what_a_dead_child_held_cannot_be_taken_back,
            "TooSlow",
            id="H18",
        ),
        pytest.param(broken_what_children_report_does_not_wake, a_child_finishes_while_its_parent_is_idle, "I26|TooSlow", id="F49"),
        pytest.param(
            broken_each_report_goes_its_own_way, a_child_finishes_and_leaves_while_its_first_report_is_late, "turn_ended", id="H28"
        ),
        pytest.param(
            broken_a_child_does_not_see_its_parent_die, a_parent_dies_and_its_child_has_something_to_tell, "TooSlow", id="H29"
        ),
        pytest.param(
            broken_whoever_says_a_childs_name_is_one,
            a_parent_dies_and_its_child_has_something_to_tell,
            "scenario|I21",
            id="H29 heard",
        ),
        pytest.param(broken_every_end_of_a_run_is_reported, two_pods_notify_each_other, "no end", id="F55"),
        pytest.param(
            broken_a_child_wakes_as_often_as_it_likes, a_parent_starts_its_child_at_every_notice, "runs", id="F55 started"
        ),
    ],
)
def test_with_the_bug_back_a_seed_turns_red(monkeypatch, plant, scenario, says):
    play_with_the_bug(monkeypatch, plant, scenario, says)
