"""News of children that was lost, late or never sent: found out from the child's log and from its end, and told once."""

import pytest
import trio

import podkit
from podkit._life._plan_reports import missed_reports, report_of
from podkit._life._reports import catch_up
from podkit._life._upward import Upward
from podkit.logic import ChildState
from podkit.protocol import (
    Accepted,
    BirthCredential,
    Error,
    ErrorCode,
    PodErrored,
    PodShutDown,
    PodTurnEnded,
    RunEnd,
    RunResult,
    Status,
)
from podkit.testing import Fail, Say, ScriptedWorker, Sleep, open_world

HOME = podkit.Scope.write("/w")
KID = podkit.Scope.write("/w/kid")


def entry(kind, run, **more):
    return {"kind": kind, "ts": 1, "run": run, **more}


# What a log says, without a pod.


@pytest.mark.proves("H26")
def test_each_end_of_a_run_has_its_report_under_the_same_id():
    log = [
        *(entry("invoke", run) for run in (1, 2, 3, 4, 5, 6)),
        entry("run_completed", 1, result="finished"),
        entry("run_completed", 2, result="cancelled"),
        entry("run_errored", 3, message="no model"),
        entry("run_completed", 4, result="paused"),
        entry("run_completed", 6, result="limit_reached"),
    ]
    found = missed_reports("kid", "i", log, {1, 2, 3, 4, 5, 6}, idle=False)
    assert found.reports == (
        PodTurnEnded("kid", id="i.run.1", incarnation="i"),
        PodErrored("kid", "its run was cancelled", id="i.run.2", incarnation="i"),
        PodErrored("kid", "no model", id="i.run.3", incarnation="i"),
        PodTurnEnded("kid", id="i.run.6", incarnation="i"),
    )
    assert found.over == {1, 2, 3, 4, 6}
    assert found.reports[0] == report_of("kid", "i", RunEnd(RunResult.FINISHED, run=1), "")
    assert missed_reports("kid", "i", log, {1}, idle=False).reports == found.reports[:1]


def test_a_run_of_which_an_idle_child_knows_nothing_any_more_is_over():
    assert missed_reports("kid", "i", [entry("invoke", 2)], {1, 2}, idle=True).reports == (
        PodTurnEnded("kid", id="i.run.1", incarnation="i"),
    )
    assert missed_reports("kid", "i", [], {1, 2}, idle=False).reports == ()


@pytest.mark.parametrize(
    "odd", [None, 5, "x", [], {}, {"run": "1"}, {"run": True, "kind": "run_completed"}, {"run": 1}, entry("other", 1)]
)
def test_what_a_child_sends_as_its_log_is_read_with_care(odd):
    assert missed_reports("kid", "i", [odd], {1}, idle=False).reports == ()
    (found,) = missed_reports("kid", "i", [odd, entry("run_completed", 1), entry("run_completed", 1)], {1}, idle=False).reports
    assert isinstance(found, PodTurnEnded)


# A report that was lost (H28).


def entries(pod):
    return [entry for entry in pod.log.data if entry["kind"] != "segment_start"]


def told(pod):
    return [data["event"]["id"] for data in entries(pod) if data["kind"] == "notice"]


def lose_reports(monkeypatch, kind):
    """Reports of this kind never arrive."""
    tell = Upward.tell
    lost = []

    def lose(self, event):
        if isinstance(event, kind):
            lost.append((self, event))
        else:
            tell(self, event)

    monkeypatch.setattr(Upward, "tell", lose)
    return lambda: [tell(*item) for item in lost]


@pytest.mark.proves("H26")
@pytest.mark.parametrize("result", [RunResult.LIMIT_REACHED, RunResult.FINISHED])
async def test_a_parent_hears_of_a_run_that_reached_its_limit_as_of_any_other(autojump_clock, result):
    class Limited(podkit.abc.Worker):
        async def work(self, run, emit):
            return result

    with trio.fail_after(100):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(Limited), task="go")
            await trio.sleep(1)
            assert told(root) == [f"{kid.incarnation}.run.1"]


@pytest.mark.proves("H28", "I21")
@pytest.mark.parametrize("end", [Say("done"), Fail(ValueError("no"))])
async def test_an_end_of_a_run_that_was_not_reported_is_found_out_when_the_child_is_looked_at(autojump_clock, monkeypatch, end):
    find_again = lose_reports(monkeypatch, PodTurnEnded | PodErrored)
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            launcher = podkit.TaskLauncher(lambda: ScriptedWorker(Sleep(5), end))
            kid = await root.spawn("kid", scope=KID, launcher=launcher, task="go")
            await kid.snapshot()
            assert (kid.status, told(root)) == (Status.RUNNING, [])
            await trio.sleep(10)
            assert told(root) == []
            await kid.snapshot()
            assert (kid.status, told(root)) == (Status.IDLE, [f"{kid.incarnation}.run.1"])
            assert entries(root)[1]["kind"] == "invoke"  # it wakes as the report itself would have
            await kid.snapshot()
            find_again()  # the report comes after all
            await trio.sleep(100)
            assert told(root) == [f"{kid.incarnation}.run.1"]
            assert [data["item"]["event"]["id"] for data in root.log.data if data["kind"] == "system_item"] == told(root)


@pytest.mark.proves("H28")
async def test_an_end_that_was_found_out_and_cannot_be_kept_is_found_out_again(autojump_clock, monkeypatch):
    lose_reports(monkeypatch, PodTurnEnded)
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker), task="go")
            await trio.sleep(10)
            append, failures = root.log.append, [1]

            def fail(*entries):
                if failures:
                    failures.pop()
                    raise OSError(28, "No space left on device")
                append(*entries)

            root.log.append = fail
            await kid.snapshot()
            assert told(root) == []
            await kid.snapshot()
            assert told(root) == [f"{kid.incarnation}.run.1"]


@pytest.mark.proves("H28")
async def test_a_run_that_began_after_a_look_was_begun_is_not_over_by_it(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(lambda: ScriptedWorker(Sleep(50))))
            before = await kid.snapshot()
            run = await kid.run("go")
            catch_up(kid, (), before)
            assert (list(kid.asked), told(root)) == ([run], [])
            await trio.sleep(100)
            assert told(root) == [f"{kid.incarnation}.run.{run}"]
            catch_up(kid, (run,), before)
            assert (list(kid.asked), len(told(root))) == ([], 1)
            await kid.stop()
            catch_up(kid, (run,), before)


@pytest.mark.proves("H28")
async def test_what_was_reported_is_not_told_again_when_the_child_is_looked_at(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker), task="go")
            await trio.sleep(10)
            assert told(root) == [f"{kid.incarnation}.run.1"]
            await kid.snapshot()
            assert not kid.asked
            async with world.connect(kid.address) as stranger:
                await stranger.run("not ours")
            await trio.sleep(10)
            await kid.snapshot()
            assert len(told(root)) == 1


async def test_only_so_many_runs_are_remembered_to_be_looked_for(monkeypatch):
    monkeypatch.setattr("podkit._life._child._MOST_ASKED", 3)
    with trio.fail_after(10):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
            for _ in range(5):
                await kid.wait(await kid.run("go"))
            assert list(kid.asked) == [3, 4, 5]


@pytest.mark.proves("H28")
@pytest.mark.parametrize("lost", [True, False])
async def test_a_child_that_leaves_without_a_word_is_missed_once(autojump_clock, monkeypatch, lost):
    if lost:
        lose_reports(monkeypatch, PodShutDown)
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
            async with world.connect(kid.address) as client:
                await client.shutdown()
            await kid.gone.wait()
            await trio.sleep(10)
            assert told(root) == [f"{kid.incarnation}.shut_down"]
            assert ("said nothing" in entries(root)[0]["body"]) is lost
            assert root.children.state(kid) is ChildState.GONE
            assert root.scope.at("/w/kid/x") is podkit.Permission.WRITE


async def test_a_child_that_we_stop_is_no_news_whatever_it_says(autojump_clock, monkeypatch):
    lose_reports(monkeypatch, PodShutDown)
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
            await kid.stop()
            await trio.sleep(10)
            assert entries(root) == []


@pytest.mark.proves("H28")
async def test_an_end_that_cannot_be_kept_is_told_as_soon_as_it_can(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=world.launcher(ScriptedWorker))
            append, failures = root.log.append, [3]

            def fail(*entries):
                if failures[0]:
                    failures[0] -= 1
                    raise OSError(28, "No space left on device")
                append(*entries)

            root.log.append = fail
            world.crash(kid)
            await kid.gone.wait()
            assert told(root) == []
            await trio.sleep(20)
            assert told(root) == [f"{kid.incarnation}.death"]


async def test_nobody_mourns_for_a_pod_that_is_leaving_itself(autojump_clock):
    with trio.fail_after(1000):
        async with open_world() as world:
            async with world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
                kid = await root.spawn("kid", scope=KID, launcher=world.launcher(ScriptedWorker))
                root.actor.feed(podkit.logic.AskShutdown(None))
                world.crash(kid)
                await kid.gone.wait()
            assert entries(root) == []


# A parent that cannot take a report now.


@pytest.mark.proves("I21")
@pytest.mark.parametrize("code", [ErrorCode.STORAGE_FULL, ErrorCode.LIMIT_EXCEEDED])
async def test_a_report_that_a_parent_cannot_keep_now_is_told_again(autojump_clock, monkeypatch, code):
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            refusals = [Error(code, "not now"), Error(code, "not now")]
            submit = root.desk.submit

            def refuse(ask):
                if refusals and ask.method.method == "pod_event":
                    ask.answer(refusals.pop())
                else:
                    submit(ask)

            monkeypatch.setattr(root.desk, "submit", refuse)
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker), task="go")
            await trio.sleep(30)
            assert not refusals
            assert told(root) == [f"{kid.incarnation}.run.1"]


async def test_a_report_that_a_parent_refuses_for_good_is_not_told_again(autojump_clock):
    heard = []
    with trio.fail_after(1000):
        async with open_world() as world, world.open_pod("root", ScriptedWorker(), scope=HOME) as root:
            kid = await root.spawn("kid", scope=KID, launcher=podkit.TaskLauncher(ScriptedWorker))
            submit = root.desk.submit

            def listen(ask):
                if ask.method.method == "pod_event":
                    heard.append(ask.method.event)
                submit(ask)

            root.desk.submit = listen
            credential = BirthCredential("kid", kid.incarnation, kid.process._birth.document.secret)

            async def there():
                return root.address

            upward = Upward(root.address, credential, world.transport, parent=there)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(upward.run)
                upward.tell(PodTurnEnded("kid", id="x" * 300))
                upward.tell(PodTurnEnded("kid", id="good"))
                await upward.close()
            assert [event.id for event in heard] == ["x" * 300, "good"]
            assert told(root) == ["good"]
            assert await kid.send(podkit.protocol.Notify("x", auto_run=False)) != Accepted()
