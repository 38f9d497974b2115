"""Workers that follow a script: what a model would do, without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, TypeAlias

import attrs
import trio

from podkit.abc import Emit, Launcher, Run, Worker
from podkit.errors import ToolError
from podkit.logic import Scope
from podkit.protocol import RunResult, TextDone, ToolCallDone, ToolResult, TurnEnd, TurnResult, TurnStart


@attrs.frozen
class Say:
    """Say `text`."""

    text: str


@attrs.frozen
class Sleep:
    """Let `seconds` pass."""

    seconds: float


@attrs.frozen
class CallTool:
    """Call one of the pod's tools, as a model would; a `ToolError` becomes a result the model would read."""

    name: str
    arguments: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Spawn:
    """Spawn a child as a task; it follows `steps`. With `task` None it is spawned idle."""

    name: str
    scope: Scope
    steps: Sequence[Step] = attrs.field(default=(), validator=lambda _self, _field, steps: _checked(steps))
    task: str | None = attrs.field(default="go", kw_only=True)


@attrs.frozen
class Fail:
    """Fail the run with `error`."""

    error: Exception


Step: TypeAlias = Say | Sleep | CallTool | Spawn | Fail


def _checked(steps: Sequence[Step]) -> None:
    for step in steps:
        if not isinstance(step, Say | Sleep | CallTool | Spawn | Fail):
            raise TypeError(f"a step is Say, Sleep, CallTool, Spawn or Fail, and {step!r} is none of them")


class ScriptedWorker(Worker):
    """Follows `steps` on every run, from the first to the last. `launcher` starts what `Spawn` spawns (None: a task).

    Raises `TypeError` for what is no step.
    """

    provider: str
    model: str

    provider, model = "scripted", "script"

    def __init__(self, *steps: Step, launcher: Launcher | None = None) -> None:
        _checked(steps)
        self.steps = steps
        self._launcher = launcher
        self._calls = count(1)

    def __repr__(self) -> str:
        return f"ScriptedWorker({', '.join(map(repr, self.steps))})"

    async def work(self, run: Run, emit: Emit) -> RunResult | None:
        emit(TurnStart(turn=1))
        for step in self.steps:
            await self._follow(step, run, emit)
        emit(TurnEnd(turn=1, result=TurnResult.FINISHED))
        return None

    async def _follow(self, step: Step, run: Run, emit: Emit) -> None:
        match step:
            case Say(text=text):
                emit(TextDone(text=text))
                await trio.lowlevel.checkpoint()
            case Sleep(seconds=seconds):
                await trio.sleep(seconds)
            case CallTool():
                await self._call(step, run, emit)
            case Spawn():
                await self._spawn(step, run)
            case Fail(error=error):
                raise error

    async def _call(self, step: CallTool, run: Run, emit: Emit) -> None:
        import json

        call = f"call-{next(self._calls)}"
        emit(ToolCallDone(id=call, name=step.name, arguments=json.dumps(dict(step.arguments))))
        await run.committed()
        try:
            output = await run.pod.call_tool(step.name, step.arguments)
        except ToolError as error:
            emit(ToolResult(id=call, summary=str(error), is_error=True))
        else:
            emit(ToolResult(id=call, summary=output.summary, output=output.content))

    async def _spawn(self, step: Spawn, run: Run) -> None:
        from podkit._life import TaskLauncher

        launcher = self._launcher or TaskLauncher(lambda: ScriptedWorker(*step.steps))
        await run.pod.spawn(step.name, scope=step.scope, launcher=launcher, task=step.task)
