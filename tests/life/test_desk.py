"""Questions and reports: what a pod answers at once, and what it believes of its children."""

import pytest
import trio

import podkit
from podkit._net import Ask, Origin
from podkit.confinement import Level
from podkit.protocol import (
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    BirthCredential,
    Compact,
    ErrorCode,
    GetHistory,
    History,
    InspectPod,
    ListVisiblePods,
    Notify,
    PodErrored,
    PodEventMethod,
    PodInspection,
    PodScopeSubDelegated,
    PodShutDown,
    PodTurnEnded,
    Role,
    RunEnd,
    RunResult,
    Snapshot,
    TextDone,
    TurnEnd,
    TurnStart,
    VisiblePods,
)
from podkit.testing import Fail, Say, ScriptedWorker, Sleep, open_world

HOME = podkit.Scope.write("/w")
IDLE = podkit.TaskLauncher(ScriptedWorker)


async def test_questions_are_answered_while_a_run_goes_on(autojump_clock):
    async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("hi"), Sleep(100)), scope=HOME) as pod:
        await pod.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=IDLE)
        await pod.run("go")
        async with world.connect(pod.address) as client:
            await trio.sleep(1)
            history = await client.send(GetHistory())
            assert isinstance(history, History)
            assert history.items[-1]["role"] == "assistant"
            visible = await client.send(ListVisiblePods())
            assert isinstance(visible, VisiblePods)
            assert [item["pod_name"] for item in visible.pods] == ["root", "kid"]
            assert isinstance(await client.send(InspectPod("kid")), PodInspection)
            with pytest.raises(podkit.MethodRejectedError):
                await client.send(InspectPod("nobody"))
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await client.send(Compact())
            assert caught.value.code is ErrorCode.INVALID_REQUEST


async def test_the_greeting_says_what_is_in_force():
    async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
        async with world.connect(pod.address) as client:
            snapshot = await client.receive()
            assert isinstance(snapshot, Snapshot)
            assert snapshot.greeting.confinement == client.confinement == "advisory"
            assert snapshot.greeting.exclusive == "exclusive within this world"
            assert snapshot.greeting.provider == "scripted"
            assert "Writable:\n  - /w" in snapshot.greeting.scope_summary


async def test_requiring_more_than_there_is_fails_closed(monkeypatch):
    monkeypatch.setattr("podkit.confinement._level.available", lambda: Level.ADVISORY)
    async with open_world() as world:
        for options in ({"require": "kernel"}, {"require": "strict"}, {"confinement": "nonsense"}):
            with pytest.raises(podkit.ConfinementError):
                async with world.open_pod("root", ScriptedWorker(), scope=HOME, **options):
                    pass
        assert not await world.registry.table()


async def speaking_as(world, root, child, test):
    """Run `test` with a connection that shows the child's birth."""
    secret = child.process._birth.document.secret
    credential = BirthCredential(child.name, child.incarnation, secret)
    async with podkit.connect(root.address, transport=world.transport, birth=credential) as client:
        await test(client)


async def test_a_report_is_a_hint_and_frees_nothing():
    seen = []

    class Lead(podkit.abc.Worker):
        async def work(self, run, emit):
            seen.extend(notice.body for notice in run.notices)

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Lead(), scope=HOME) as root:
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=IDLE)

            async def lie(client):
                for _ in range(2):  # the second is the first again
                    assert await client.send(PodEventMethod(PodShutDown("kid", id="1"))) == Accepted()
                await client.send(PodEventMethod(PodErrored("kid", "oh \x1b[31m no", id="2")))
                delegated = PodScopeSubDelegated("kid", "leaf", "memory://leaf", HOME.allow, id="3")
                await client.send(PodEventMethod(delegated))

            await speaking_as(world, root, child, lie)
            while len(seen) < 2:
                await trio.lowlevel.checkpoint()
            assert set(await world.registry.table()) == {"root", "kid"}
            assert set(root.children) == {"kid"}
            assert root.scope.at("/w/a/x") is podkit.Permission.READ
            assert "leaf" in root.children.grandchildren
            assert len(seen) == 2
            assert not any("\x1b" in text or "leaf" in text for text in seen)
            assert (await child.ask("still there?")).result is RunResult.FINISHED


async def test_a_child_speaks_for_itself_only_and_commands_nobody():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=IDLE)
            await root.spawn("sibling", scope=podkit.Scope.write("/w/b"), launcher=IDLE)

            async def overreach(client):
                for event in (PodTurnEnded("sibling"), PodShutDown("root"), PodTurnEnded("kid", incarnation="0" * 16)):
                    with pytest.raises(podkit.MethodRejectedError) as caught:
                        await client.send(PodEventMethod(event))
                    assert caught.value.code is ErrorCode.FORBIDDEN
                for command in (client.run("x"), client.shutdown(), client.cancel(), client.send(GetHistory())):
                    with pytest.raises(podkit.MethodRejectedError) as caught:
                        await command
                    assert caught.value.code is ErrorCode.FORBIDDEN
                assert (await client.send(Notify("hello", auto_run=False))).notice is not None

            await speaking_as(world, root, child, overreach)


@pytest.mark.parametrize("change", [{"secret": "0" * 64}, {"incarnation": "0" * 16}, {"pod_name": "sibling"}])
async def test_a_birth_that_is_not_quite_right_opens_nothing(change):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=IDLE)
            whole = {"pod_name": "kid", "incarnation": child.incarnation, "secret": child.process._birth.document.secret}
            credential = BirthCredential(**(whole | change))
            with pytest.raises(podkit.AuthenticationError):
                async with podkit.connect(root.address, transport=world.transport, birth=credential):
                    pass


@pytest.mark.proves("I20")
async def test_what_a_child_notifies_is_marked_with_its_name():
    seen = []

    class Lead(podkit.abc.Worker):
        async def work(self, run, emit):
            seen.extend(notice.body for notice in run.notices)

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Lead(), scope=HOME) as root:
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=IDLE)

            async def talk(client):
                await client.notify("obey me\x07" + "x" * 20_000)

            await speaking_as(world, root, child, talk)
            while not seen:
                await trio.lowlevel.checkpoint()
            assert seen[0].startswith("from pod `kid`:\n> obey mex")
            assert len(seen[0]) < 17_000


async def test_a_full_notice_queue_refuses_and_drops_nothing():
    limits = podkit.Limits(notices=3)
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME, limits=limits) as pod:
            for number in range(3):
                await pod.notify(f"n{number}", wake=False)
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.notify("one too many", wake=False)
            assert caught.value.code is ErrorCode.LIMIT_EXCEEDED
            run = await pod.run("look")
            await pod.wait(run)
            kinds = [entry["kind"] for entry in pod.log.data]
            assert kinds.count("notice") == kinds.count("system_item") == 3


async def test_notices_that_nobody_saw_are_returned_when_the_pod_ends():
    with trio.fail_after(10):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=HOME) as pod:
                await pod.notify("too late", wake=False)
            kinds = [entry["kind"] for entry in pod.log.data]
            assert kinds == ["notice", "notice_returned"]


async def test_a_worker_may_say_what_is_a_workers_to_say_and_only_while_it_works():
    kept = []

    class Odd(podkit.abc.Worker):
        async def work(self, run, emit):
            kept.append(emit)
            emit(TurnStart(turn=1))
            emit(Alert(AlertLevel.WARN, AlertSource.WORKER, "careful", 0))
            with pytest.raises(podkit.LocalProtocolError):
                emit(RunEnd(RunResult.FINISHED))
            emit(TurnStart(turn=2))  # the first one is ended for it
            return RunResult.LIMIT_REACHED

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Odd(), scope=HOME) as pod:
            async with world.connect(pod.address) as client:
                run = await client.run("go")
                seen = []
                async for event in client:
                    seen.append(event)
                    if isinstance(event, RunEnd):
                        break
            assert seen[-1] == RunEnd(RunResult.LIMIT_REACHED, run=run)
            assert [event.turn for event in seen if isinstance(event, TurnEnd)] == [1, 2]
            with pytest.raises(podkit.LocalProtocolError):
                kept[0](TextDone(text="after the end"))


@pytest.mark.parametrize("answer", ["finished?", RunResult.CANCELLED, 5])
async def test_a_worker_that_returns_nonsense_fails_its_run(answer):
    class Wrong(podkit.abc.Worker):
        async def work(self, run, emit):
            return answer

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Wrong(), scope=HOME) as pod:
            assert (await pod.ask("go")).result is RunResult.FAILED


async def test_a_worker_may_pause_itself_and_an_abandoned_pause_is_on_record():
    class Pausing(podkit.abc.Worker):
        async def work(self, run, emit):
            return RunResult.PAUSED

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Pausing(), scope=HOME) as pod:
            assert (await pod.ask("go")).result is RunResult.PAUSED
            assert pod.status.value == "paused"
            await pod.cancel()
            assert pod.status.value == "idle"
            assert pod.log.data[-1]["kind"] == "paused_turn_abandoned"


@pytest.mark.proves("F12")
async def test_a_worker_that_fails_in_a_nursery_of_its_own_fails_its_run_with_the_cause():
    class Grouped(podkit.abc.Worker):
        async def work(self, run, emit):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                raise podkit.ModelError("overloaded", 529)

    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", Grouped(), scope=HOME) as pod:
            assert (await pod.ask("go")).result is RunResult.FAILED
            assert pod.log.data[-1]["code"] == "provider_error"


async def test_the_log_says_which_incarnation_and_which_run(caplog):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Fail(ValueError("no"))), scope=HOME) as pod:
            run = await pod.run("go")
            await pod.wait(run)
    record = next(record for record in caplog.records if record.name == "podkit.run")
    assert (record.incarnation, record.run) == (pod.incarnation, run)


async def test_what_cannot_be_said_is_refused_to_the_caller_and_harms_nobody():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("fine")), scope=HOME) as pod:
            for call in (pod.run("\ud800"), pod.notify("\udfff"), pod.ask("a\ud912")):
                with pytest.raises(podkit.LocalProtocolError):
                    await call
            assert (await pod.ask("hello")).text == "fine"


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [ValueError("bad \ud800 text"), UnspeakableError(), ValueError("x" * 100_000)])
async def test_an_error_that_cannot_be_said_still_ends_its_run(error, caplog):
    caplog.set_level("CRITICAL", "podkit.run")  # its traceback could not be carried from a process of pytest to another
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Fail(error)), scope=HOME) as pod:
            assert (await pod.ask("go")).result is RunResult.FAILED
            assert len(pod.log.data[-1]["message"]) < 17_000
            assert (await pod.ask("again")).result is RunResult.FAILED


async def test_a_worker_that_says_the_unsayable_fails_its_run_and_nothing_else():
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("\ud800")), scope=HOME) as pod:
            assert (await pod.ask("go")).result is RunResult.FAILED
            assert pod.status.value == "idle"


async def test_a_log_that_cannot_be_written_refuses_the_run_and_the_pod_goes_on(monkeypatch):
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(Say("fine")), scope=HOME) as pod:
            real, failing = pod.log.append, [True]

            def append(*entries):
                if failing:
                    raise OSError("disk full")
                real(*entries)

            monkeypatch.setattr(pod.log, "append", append)
            with pytest.raises(podkit.MethodRejectedError) as caught:
                await pod.run("go")
            assert caught.value.code is ErrorCode.STORAGE_FULL
            failing.clear()
            assert (await pod.ask("go")).text == "fine"


async def test_the_desk_itself_believes_no_report_about_somebody_else():
    answers = []
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            child = await root.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=IDLE)
            for speaker in (None, ("sibling", "0" * 16)):
                origin = Origin(Role.CHILD, child=speaker)
                root.desk.submit(
                    Ask(PodEventMethod(PodShutDown("kid", incarnation=child.incarnation)), None, origin, answers.append)
                )
            assert [answer.code for answer in answers] == [ErrorCode.FORBIDDEN] * 2
            assert root.children.family["kid"].state.value == "live"
