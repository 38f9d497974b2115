"""Running, waiting and asking, over a connection and without one."""

from contextlib import asynccontextmanager

import pytest
import trio

from podkit import Reconnect
from podkit._net import Ask, Controls, Origin
from podkit.errors import MethodRejectedError, PodUnreachableError
from podkit.protocol import (
    Cancel,
    Error,
    ErrorCode,
    Notify,
    Pause,
    Resume,
    Run,
    RunEnd,
    RunResult,
    Shutdown,
    ShutdownMethod,
    Status,
    StatusEvent,
    Text,
    TextDone,
    Usage,
)

SOON = Reconnect(chance=lambda: 0.0)


class Local(Controls):
    """Controls without a wire, as the pod itself has them."""

    def __init__(self, desk):
        self.desk, self.address = desk, "here"

    async def _send(self, method, *, run=None):
        answered = trio.Event()
        answers = []
        self.desk.submit(Ask(method, run, Origin("client", local=True), lambda event: (answers.append(event), answered.set())))
        await answered.wait()
        if isinstance(answers[0], Error):
            raise MethodRejectedError(answers[0].code, answers[0].message)
        return answers[0]

    @asynccontextmanager
    async def _watch(self):
        async with self.desk.hub.open_view(self.desk) as view:
            yield view


@pytest.fixture(params=["local", "client"])
def controls(request, serve):
    @asynccontextmanager
    async def open_controls(**limits):
        async with serve(**limits) as pod:
            if request.param == "local":
                yield Local(pod.desk), pod.desk, pod
            else:
                async with pod.client() as client:
                    yield client, pod.desk, pod

    return open_controls


def _end(desk, run, result=RunResult.FINISHED):
    desk.entries.append({"kind": "run_completed", "ts": 0, "result": result.value, "run": run})
    desk.hub.publish(RunEnd(result, run=run))
    desk.state = Status.PAUSED if result is RunResult.PAUSED else Status.IDLE
    desk.hub.publish(StatusEvent(desk.state))


def _say(desk, run, text):
    item = {"kind": "message", "role": "assistant", "content": [{"kind": "text", "text": text}]}
    desk.entries.append({"kind": "assistant_item", "ts": 0, "item": item, "run": run})
    desk.hub.publish(TextDone(text, run=run))


def _use(desk, run, read, written):
    desk.entries.append({"kind": "llm_usage", "ts": 0, "input_total_tokens": read, "output_tokens": written, "run": run})
    desk.hub.publish(Usage(input_tokens=read, output_tokens=written, run=run))


def _talk(desk, *, noise=0):
    """The pod answers every run at once: two texts and their cost."""

    def answer(ask):
        run = desk.begin(ask)
        _say(desk, run, f"first of {run}")
        _use(desk, run, 10, 1)
        for number in range(noise):
            desk.hub.publish(TextDone(f"noise {number}", run=run + 100))
        _say(desk, run, f"second of {run}")
        _use(desk, run, 20, 2)
        _end(desk, run)

    desk.on[Run] = answer


async def test_run_and_resume_return_numbers(controls):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            assert await pod.run("text") == 1
            assert await pod.run([Text("a"), Text("b")]) == 2
            assert await pod.resume() == 3
            assert desk.methods == [Run("text"), Run((Text("a"), Text("b"))), Resume()]


async def test_the_small_methods_say_what_they_mean(controls):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            await pod.notify("psst", wake=False)
            await pod.notify("hey")
            await pod.pause(run=3)
            await pod.cancel()
            await pod.shutdown()
            assert desk.methods == [Notify("psst", auto_run=False), Notify("hey"), Pause(), Cancel(), ShutdownMethod()]
            assert [ask.run for ask in desk.asks] == [None, None, 3, None, None]


async def test_wait_returns_the_end_that_comes(controls):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            run = await pod.run("x")
            ends = []

            async def wait():
                ends.append(await pod.wait(run))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                _end(desk, run, RunResult.CANCELLED)
            assert ends == [RunEnd(RunResult.CANCELLED, run=run)] * 2


@pytest.mark.parametrize(
    ("entry", "result"),
    [
        ({"kind": "run_completed", "result": "limit_reached"}, RunResult.LIMIT_REACHED),
        ({"kind": "run_completed", "result": "paused"}, RunResult.PAUSED),
        ({"kind": "run_errored", "message": "x"}, RunResult.FAILED),
        ({"kind": "run_completed"}, RunResult.FINISHED),
    ],
)
async def test_wait_finds_an_end_that_was_before(controls, entry, result):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            desk.entries += [{"kind": "run_completed", "result": "finished", "run": 4}, entry | {"run": 5, "ts": 0}, "junk", None]
            assert await pod.wait(5) == RunEnd(result, run=5)


@pytest.mark.parametrize("status", [Status.IDLE, Status.PAUSED])
async def test_wait_for_a_number_that_was_never_given_is_not_running(controls, status):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            desk.state = status
            with pytest.raises(MethodRejectedError) as caught:
                await pod.wait(99)
            assert caught.value.code is ErrorCode.NOT_RUNNING


@pytest.mark.parametrize("wrong", [0, 99])
async def test_wait_for_another_run_than_the_one_that_runs_ends_with_it(controls, wrong):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            run = await pod.run("x")
            async with trio.open_nursery() as nursery:

                async def wait():
                    with pytest.raises(MethodRejectedError):
                        await pod.wait(wrong)

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                _end(desk, run)


async def test_wait_for_a_pod_that_goes_away_is_unreachable(controls):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            run = await pod.run("x")
            async with trio.open_nursery() as nursery:

                async def wait():
                    with pytest.raises(PodUnreachableError):
                        await pod.wait(run)

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                desk.hub.publish(Shutdown())


async def test_a_stream_that_just_ends_is_unreachable_too(make_desk):
    desk = make_desk()
    desk.state = Status.RUNNING
    desk.hub.close()
    with trio.fail_after(5), pytest.raises(PodUnreachableError):
        await Local(desk).wait(1)


async def test_ask_returns_what_was_said_how_it_ended_and_what_it_cost(controls):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            _talk(desk)
            await pod.ask("before")
            outcome = await pod.ask("question")
            assert outcome.text == "first of 2\n\nsecond of 2"
            assert outcome.result == RunResult.FINISHED
            assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (30, 3)
            assert outcome.usage.cache_read_input_tokens is None


@pytest.mark.parametrize(
    ("subscribe", "reconnect", "fetched"),
    [("snapshot", None, 0), ("none", None, 0), ("snapshot", SOON, 0), ("none", SOON, 1)],
    ids=["listening", "not listening", "coming back", "coming back to a session it does not know"],
)
async def test_to_ask_over_a_connection_costs_the_same_however_long_the_log_is(serve, make_desk, subscribe, reconnect, fetched):
    desk = make_desk()
    desk.entries.append({"kind": "segment_start", "ts": 0, "session_id": "kept"})
    _talk(desk)
    with trio.fail_after(5):
        async with serve(desk=desk) as pod, pod.client(subscribe=subscribe, reconnect=reconnect) as client:
            if subscribe == "snapshot":
                await client.receive()
            before = desk.snapshots
            assert (await client.ask("question")).text == "first of 1\n\nsecond of 1"
            assert desk.snapshots - before == fetched, "a snapshot holds all of the log"


async def test_ask_tells_the_same_when_it_falls_behind(controls):
    with trio.fail_after(10):
        async with controls(outbox_events=64) as (pod, desk, _):
            _talk(desk, noise=10_000)
            outcome = await pod.ask("question")
            assert outcome.text == "first of 1\n\nsecond of 1"
            assert (outcome.usage.input_tokens, outcome.usage.output_tokens) == (30, 3)


async def test_ask_raises_a_refusal(controls):
    with trio.fail_after(5):
        async with controls() as (pod, desk, _):
            desk.on[Run] = lambda ask: ask.answer(Error(ErrorCode.ALREADY_RUNNING, "busy"))
            with pytest.raises(MethodRejectedError):
                await pod.ask("x")


async def test_wait_and_ask_leave_no_subscription_behind(controls):
    with trio.fail_after(5):
        async with controls() as (pod, desk, served):
            _talk(desk)
            subscribers = repr(desk.hub).split("with")[1]
            connections = served.server.connections
            await pod.ask("x")
            await pod.wait(1)
            with trio.move_on_after(0.01):
                desk.state = Status.RUNNING
                await pod.wait(99)
            while served.server.connections > connections:
                await trio.lowlevel.checkpoint()
            assert repr(desk.hub).split("with")[1] == subscribers
