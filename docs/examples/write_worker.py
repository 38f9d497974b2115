import json
from collections.abc import Mapping
from itertools import count
from typing import Any

import trio

import podkit
from podkit.abc import Finish, ModelRequest, ToolSpec
from podkit.protocol import ToolCallDone, ToolResult, TurnStart
from podkit.testing import Call, Say, ScriptedModel


class Agent(podkit.abc.Worker):
    """The loop of an agent: ask the model, run what it calls, ask again."""

    def __init__(self, model: podkit.abc.Model) -> None:
        self.llm, self.provider, self.model = model, model.provider, model.name

    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        tools = [ToolSpec.of(tool) for tool in run.tools.values()]
        for turn in count(1):
            emit(TurnStart(turn=turn))
            run.poll_notices()  # what came meanwhile is in the history from here
            calls = []
            async with self.llm.stream(ModelRequest(history=run.history(), tools=tools)) as parts:
                async for part in parts:
                    if isinstance(part, ToolCallDone):
                        calls.append(part)
                    if not isinstance(part, Finish):
                        emit(part)
            if not calls:
                return
            await run.committed()  # no tool runs on a call that might be forgotten
            for call in calls:
                emit(await result_of(run.pod, call))


async def result_of(pod: podkit.abc.Pod, call: ToolCallDone) -> ToolResult:
    try:
        output = await pod.call_tool(call.name, json.loads(call.arguments), call_id=call.id)
    except (podkit.ToolError, ValueError) as error:
        return ToolResult(call.id, str(error), is_error=True)
    return ToolResult(call.id, output.summary, output=output.content)


class Weather(podkit.abc.Tool):
    name, description = "weather", "What the weather is like."
    input_schema: Mapping[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

    async def call(self, arguments: Mapping[str, Any], context: podkit.abc.ToolContext) -> podkit.abc.ToolOutput:
        return podkit.abc.ToolOutput(f"rain in {arguments['city']}, asked by {context.pod.name}")


async def main() -> None:
    net, registry, sessions = podkit.MemoryTransport(), podkit.MemoryRegistry(), podkit.MemorySessionStore()
    scope = podkit.Scope.read("/srv/app")
    model = ScriptedModel([Call("weather", {"city": "Bergen"})], [Say("Take an umbrella.")], [Say("Still raining.")])
    agent, tools = Agent(model), [Weather()]

    async with podkit.open_pod(
        "agent", agent, scope=scope, transport=net, registry=registry, sessions=sessions, tools=tools
    ) as pod:
        print((await pod.ask("What do I wear in Bergen?")).text)
    async with podkit.restore_pod("agent", agent, transport=net, registry=registry, sessions=sessions, tools=tools) as pod:
        await pod.notify("it is the next day", wake=False)
        print((await pod.ask("And now?")).text)
    print(len(model.requests[-1].history), "items were the history of the last request")


trio.run(main)
