"""What a worker is told that its model was told and said: the log, before and after a restore, and when it is taken back."""

import json

import pytest
import trio

import podkit
from podkit.abc import Finish, ModelRequest
from podkit.logic import replay
from podkit.protocol import (
    ListRewindTargets,
    NotificationItem,
    RewindTo,
    ToolCallDone,
    ToolResult,
    ToolResultItem,
    TurnStart,
)
from podkit.testing import Call, Say, ScriptedModel, open_world

HOME = podkit.Scope.write("/w")


class Echo(podkit.abc.Tool):
    name, description, input_schema = "echo", "say it again", {"type": "object"}

    def __init__(self):
        self.ids, self.forever = [], False

    async def call(self, arguments, context):
        self.ids.append(context.call_id)
        if self.forever:
            await trio.sleep_forever()
        return podkit.abc.ToolOutput("echoed")


class Agent(podkit.abc.Worker):
    """Asks its model, which refuses what providers refuse, with the history and nothing else."""

    def __init__(self, model):
        self.llm, self.seen = model, []

    async def work(self, run, emit):
        while True:
            emit(TurnStart(turn=1))
            run.poll_notices()
            history = run.history()
            assert history == replay(run.pod.log.entries()).history
            self.seen.append(history)
            calls = []
            async with self.llm.stream(ModelRequest(history=history)) as parts:
                async for part in parts:
                    calls += [part] if isinstance(part, ToolCallDone) else []
                    if not isinstance(part, Finish):
                        emit(part)
            if not calls:
                return
            for call in calls:
                output = await run.pod.call_tool(call.name, json.loads(call.arguments), call_id=call.id)
                emit(ToolResult(call.id, output.summary))


def said(history):
    return [getattr(item, "call_id", None) or item.content[0].text for item in history]


@pytest.mark.proves("I27", "I25")
async def test_the_history_is_what_was_committed_in_this_run_and_before_it(autojump_clock):
    tool = Echo()
    agent = Agent(ScriptedModel([Call("echo", {}, id="c1")], [Say("done")], [Say("again")]))
    async with open_world() as world, world.open_pod("root", agent, scope=HOME, tools=[tool]) as pod:
        await pod.ask("first")
        await pod.notify("news", wake=False)
        await pod.ask("second")
    assert list(map(said, agent.seen)) == [
        ["first"],
        ["first", "c1", "c1"],
        ["first", "c1", "c1", "done", "second", "news"],
    ]
    assert tool.ids == ["c1"], "a tool is told which call it answers"


@pytest.mark.proves("I25", "I31")
async def test_after_a_crash_the_model_is_asked_with_all_that_was_and_every_call_has_a_result(autojump_clock):
    tool = Echo()
    tool.forever = True
    async with open_world() as world:
        agent = Agent(ScriptedModel([Call("echo", {}, id="c1")]))
        async with world.open_pod("root", agent, scope=HOME, tools=[tool], sessions=world.sessions) as pod:
            await pod.run("first")
            await trio.sleep(1)
            world.crash(pod)
        agent = Agent(ScriptedModel([Say("it may have been done")]))
        async with world.restore_pod("root", agent, tools=[tool]) as again:
            assert (await again.ask("and?")).text == "it may have been done"
    (history,) = agent.seen
    assert said(history) == ["first", "c1", "c1", "and?"]
    (result,) = (item for item in history if isinstance(item, ToolResultItem))
    assert result.is_error


async def test_what_was_taken_back_is_not_in_the_history(autojump_clock):
    agent = Agent(ScriptedModel([Say("one")], [Say("two")], [Say("three")]))
    async with open_world() as world, world.open_pod("root", agent, scope=HOME, sessions=world.sessions) as pod:
        await pod.ask("first")
        await pod.ask("second")
        found = await pod.send(ListRewindTargets())
        await pod.send(RewindTo(found.targets[1].id, found.head_entries))
        await pod.ask("third")
    assert said(agent.seen[-1]) == ["first", "one", "third"]


async def test_a_fork_begins_with_the_history_of_its_source(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", Agent(ScriptedModel([Say("one")])), scope=HOME, sessions=world.sessions) as pod:
            await pod.ask("first")
        await podkit.fork_session(world.sessions, "root", "copy", scope=HOME)
        agent = Agent(ScriptedModel([Say("two")]))
        async with world.restore_pod("copy", agent) as copy:
            await copy.ask("second")
    assert said(agent.seen[-1]) == ["first", "one", "second"]


async def test_what_is_no_news_to_a_model_is_not_in_its_history(autojump_clock):
    async with open_world() as world:
        async with world.open_pod("root", Agent(ScriptedModel([Say("one")])), scope=HOME) as pod:
            await pod.notify("told")
            await trio.sleep(1)
            assert [type(item.item) for item in pod.log.entries() if hasattr(item, "item")][:1] == [NotificationItem]
            assert said(pod.log.history()) == ["told", "one"]
            assert pod.log.history() == pod.log.history()
