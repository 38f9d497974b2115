"""The contract check of workers: right ones pass, and one with a single broken promise fails at that promise."""

import json
from contextlib import suppress

import pytest
import trio
import trio.testing

import podkit
from podkit.abc import Tool, ToolOutput, Worker
from podkit.errors import ToolError
from podkit.protocol import RunEnd, RunResult, TextDelta, TextDone, ToolCallDone, ToolResult, TurnEnd, TurnResult, TurnStart
from podkit.testing import CallTool, Fail, Say, ScriptedWorker, Sleep
from podkit.testing._check_worker import WORKER_CLAUSES, check_worker


class Look(Tool):
    name, description = "Look", "looks"
    input_schema = {"type": "object"}  # noqa: RUF012 - a constant

    async def call(self, arguments, context):
        await trio.sleep(0.01)
        return ToolOutput("nothing there")


def scripted():
    return ScriptedWorker(Say("hm"), Sleep(0.02), CallTool("Look", {}), CallTool("Lok", {}), Sleep(0.02), Say("done"))


def check_in_virtual_time(make):
    async def check():
        await check_worker(make, tools=[Look()], failing=getattr(make, "failing", None))

    trio.run(check, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_the_scripted_worker_keeps_the_contract():
    with trio.fail_after(60):
        await check_worker(scripted, tools=[Look()], failing=lambda error: ScriptedWorker(Say("hm"), Fail(error)))


def test_a_worker_that_never_waits_keeps_the_contract():
    class Echo(Worker):
        async def work(self, run, emit):
            emit(TurnStart(turn=1))
            emit(TextDone(text=f"you said {run.text}"))

    check_in_virtual_time(Echo)


@pytest.mark.parametrize("result", [RunResult.PAUSED, RunResult.LIMIT_REACHED, RunResult.FINISHED])
def test_a_worker_may_pause_by_itself_and_reach_its_limit(result):
    class Tired(Loop):
        async def work(self, run, emit):
            await super().work(run, emit)
            return result

    check_in_virtual_time(Tired)


def test_the_clauses_are_numbered_sentences():
    assert [name for name, _ in WORKER_CLAUSES] == [f"W{n}" for n in range(1, len(WORKER_CLAUSES) + 1)]
    assert all(sentence and not sentence.endswith(".") for _, sentence in WORKER_CLAUSES)


class Loop(Worker):
    """A small agent loop: what the mutants are made of. `meets` is an error that its model raises."""

    turns = 0

    def __init__(self, meets=None):
        self.meets = meets

    @classmethod
    def failing(cls, error):
        return cls(error)

    async def work(self, run, emit):
        for turn in (1, 2):
            emit(TurnStart(turn=turn))
            await self.turn(run, emit, turn)
            emit(TurnEnd(turn=turn, result=TurnResult.FINISHED))

    async def turn(self, run, emit, turn):
        await self.think(emit)
        if turn == 1:
            await self.call(run, emit)
        else:
            emit(TextDone("done"))

    async def think(self, emit):
        await trio.sleep(0.05)
        if self.meets is not None:
            raise self.meets
        emit(TextDelta("let me "))
        await trio.sleep(0.05)
        emit(TextDelta("see"))
        emit(TextDone("let me see"))

    async def call(self, run, emit):
        emit(ToolCallDone("c1", "Look", json.dumps({})))
        await run.committed()
        try:
            output = await run.pod.call_tool("Look", {})
        except ToolError as error:
            emit(ToolResult("c1", str(error), is_error=True))
        else:
            emit(ToolResult("c1", output.summary))


class Chatty(Loop):
    """Returns what it said."""

    async def work(self, run, emit):
        await super().work(run, emit)
        return "let me see"


class Failing(Loop):
    """Reports a failure as a result."""

    async def work(self, run, emit):
        await super().work(run, emit)
        return RunResult.FAILED


class OneRun(Loop):
    """Cannot do it twice."""

    done = False

    async def work(self, run, emit):
        if self.done:
            raise RuntimeError("this worker is used up")
        self.done = True
        return await super().work(run, emit)


class Announcing(Loop):
    """Ends the run by itself."""

    async def work(self, run, emit):
        await super().work(run, emit)
        with suppress(podkit.LocalProtocolError):
            emit(RunEnd(RunResult.FINISHED))


class Trailing(Loop):
    """Says something when its run is over."""

    async def work(self, run, emit):
        def late():
            with suppress(podkit.LocalProtocolError):
                emit(TextDone("by the way"))

        await super().work(run, emit)
        trio.lowlevel.spawn_system_task(self.later, late)

    async def later(self, late):
        await trio.sleep(0.01)
        late()


class SameTurn(Loop):
    async def work(self, run, emit):
        for _ in range(2):
            emit(TurnStart(turn=1))
            await self.turn(run, emit, 2)
            emit(TurnEnd(turn=1, result=TurnResult.FINISHED))


class OtherTurn(Loop):
    """Ends a turn that is not under way."""

    async def work(self, run, emit):
        await super().work(run, emit)
        emit(TurnEnd(turn=2, result=TurnResult.FINISHED))


class Summing(Loop):
    """Says at the end what it did not say before."""

    async def think(self, emit):
        await trio.sleep(0.05)
        if self.meets is not None:
            raise self.meets
        emit(TextDelta("let me"))
        emit(TextDone("let me see"))


class Orphaning(Loop):
    """Leaves a call without a result."""

    async def call(self, run, emit):
        await super().call(run, lambda event: None if isinstance(event, ToolResult) else emit(event))


class Twice(Loop):
    async def call(self, run, emit):
        await super().call(run, emit)
        emit(ToolResult("c1", "again"))


class Stubborn(Loop):
    """Takes a cancellation for a failed request, and tries again."""

    async def think(self, emit):
        try:
            await super().think(emit)
        except trio.Cancelled:
            emit(TextDone("that failed"))


class Deaf(Loop):
    """Cannot be cancelled while it thinks."""

    async def think(self, emit):
        with trio.CancelScope(shield=True):
            await super().think(emit)
            await trio.sleep(3.5)


class Explaining(Loop):
    """Makes an error of a cancellation."""

    async def work(self, run, emit):
        try:
            return await super().work(run, emit)
        except trio.Cancelled:
            raise RuntimeError("interrupted") from None


class Broken(Loop):
    """Stays locked after a cancelled run."""

    busy = False

    async def work(self, run, emit):
        if self.busy:
            raise RuntimeError("busy")
        self.busy = True
        result = await super().work(run, emit)
        self.busy = False
        return result


class Startable(Loop):
    """Does not know how to go on."""

    async def work(self, run, emit):
        if run.resumed:
            raise RuntimeError("nothing to go on with")
        return await super().work(run, emit)


class Spoken(Loop):
    """Expects words."""

    async def work(self, run, emit):
        if not run.text.split()[0]:
            return RunResult.LIMIT_REACHED
        return await super().work(run, emit)


class Global(Loop):
    """Keeps its state where all of its kind keep theirs."""

    working = 0

    async def work(self, run, emit):
        Global.working += 1
        try:
            if Global.working > 1:
                emit(TextDone("somebody is working"))
            return await super().work(run, emit)
        finally:
            Global.working -= 1


class Wrapping(Loop):
    """Tells every failure as its own."""

    async def work(self, run, emit):
        try:
            return await super().work(run, emit)
        except Exception as error:
            raise RuntimeError("the run failed") from error


class Hiding(Loop):
    """Says that it failed, and ends well."""

    async def work(self, run, emit):
        try:
            return await super().work(run, emit)
        except Exception as error:  # noqa: BLE001 - that is what it does wrong
            emit(TextDone(f"sorry: {error}"))


MUTANTS = {
    Chatty: "W1",
    Failing: "W1",
    OneRun: "W1",
    Announcing: "W2",
    Trailing: "W2",
    SameTurn: "W3",
    OtherTurn: "W3",
    Summing: "W3",
    Orphaning: "W3",
    Twice: "W1",  # the pod refuses a second result itself
    Stubborn: "W4",
    Deaf: "W4",
    Explaining: "W4",
    Broken: "W4",
    Startable: "W5",
    Spoken: "W6",
    Global: "W8",
    Wrapping: "W9",
    Hiding: "W9",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_promise_is_named_by_its_clause(mutant):
    with pytest.raises(AssertionError) as caught:
        check_in_virtual_time(mutant)
    sentence = dict(WORKER_CLAUSES)[MUTANTS[mutant]]
    assert str(caught.value).startswith(f"{MUTANTS[mutant]}: {sentence}; ")


def test_the_loop_that_the_mutants_are_made_of_is_not_itself_a_mutant():
    check_in_virtual_time(Loop)
