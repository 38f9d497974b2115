"""The five pod tools: spawn a pod, send to it, read what it said, stop it, list them. What they answer is for a model to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from podkit.abc import Child, Launcher, Tool, ToolContext, ToolOutput
from podkit.errors import (
    DeliveryError,
    ExecutionFailedError,
    InvalidArgumentError,
    InvalidNameError,
    LimitExceededError,
    MethodRejectedError,
    PodkitError,
    RegistryError,
    ScopeError,
    StopFailedError,
)
from podkit.logic import Scope, from_other
from podkit.protocol import ErrorCode, Permission, ScopeRule, Snapshot

from ._plan_output import Cursor, new_text
from ._schemas import NAMED, NOTHING, SEND, SPAWN

if TYPE_CHECKING:
    from podkit.abc import Pod

_CALL_SECONDS = 30.0
_OUTPUT_BYTES = 64 * 1024
_MENDABLE = (ScopeError, InvalidNameError, LimitExceededError)


def pod_tools(launcher: Launcher) -> tuple[Tool, ...]:
    """The tools with which a model runs pods of its own: SpawnPod, SendToPod, ReadPodOutput, StopPod, ListPods.

    `launcher` starts every pod that the model asks for: what program that is, is never the model's choice.
    """
    return (SpawnPod(launcher), SendToPod(), ReadPodOutput(), StopPod(), ListPods())


class SpawnPod(Tool):
    """Start a pod with a part of the caller's authority and give it its first task."""

    name = "SpawnPod"
    description = (
        "Start another agent (a pod) with a task and a part of your file scope. Write access you give it leaves you until it "
        "ends; read access is shared. Returns when it has accepted its task, not when it is done."
    )
    input_schema: Mapping[str, Any] = SPAWN

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        name = arguments["name"]
        try:
            child = await context.pod.spawn(
                name,
                scope=_scope(arguments["scope"]),
                launcher=self._launcher,
                task=arguments["task"],
                grant=_scope(arguments["grant"]) if "grant" in arguments else None,
                cwd=arguments.get("cwd"),
            )
        except DeliveryError as error:
            raise ExecutionFailedError(f"{error}. It stays listed: read it, send to it or stop it.") from error
        except _MENDABLE as error:
            raise InvalidArgumentError(str(error)) from error
        except RegistryError as error:
            raise InvalidArgumentError(str(error)) from error
        except PodkitError as error:
            raise ExecutionFailedError(str(error)) from error
        return ToolOutput(f"spawned pod `{name}`, listening on {child.address}")


class SendToPod(Tool):
    """Give an idle pod its next task."""

    name = "SendToPod"
    description = "Give one of your pods its next task. Refused while it works. Does not wait for the result."
    input_schema: Mapping[str, Any] = SEND

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        child = _child(context.pod, arguments["name"])
        try:
            with trio.fail_after(_CALL_SECONDS):
                await child.run(arguments["message"])
        except MethodRejectedError as error:
            if error.code is ErrorCode.ALREADY_RUNNING:
                raise ExecutionFailedError(
                    f"pod `{child.name}` is already running a turn; wait for it to finish and retry"
                ) from error
            raise ExecutionFailedError(f"send to `{child.name}`: {error}") from error
        except (PodkitError, OSError, trio.TooSlowError) as error:
            raise ExecutionFailedError(f"send to `{child.name}`: {error or 'no answer in time'}") from error
        return ToolOutput(f"sent message to `{child.name}`")


class ReadPodOutput(Tool):
    """Read what a pod said since the last look."""

    name = "ReadPodOutput"
    description = "Read what one of your pods has said since you last read it, and whether it is running, idle or paused."
    input_schema: Mapping[str, Any] = NAMED

    def __init__(self) -> None:
        self._cursors: dict[str, Cursor] = {}

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        child = _child(context.pod, arguments["name"])
        try:
            with trio.fail_after(_CALL_SECONDS):
                snapshot = await _snapshot(child)
        except (PodkitError, OSError, trio.TooSlowError) as error:
            return ToolOutput(f"pod `{child.name}` cannot be reached: {error or 'no answer in time'}")
        # Nothing is awaited from here on, so that two calls at once share the new text between them.
        cursor = self._cursors.get(child.incarnation, Cursor())
        text, self._cursors[child.incarnation] = new_text(snapshot.entries, cursor, _OUTPUT_BYTES)
        status = snapshot.status.value
        if not text:
            return ToolOutput(f"pod `{child.name}` {status}; no new assistant text")
        lines = text.count("\n") + 1
        body = from_other(text, child.name, limit=_OUTPUT_BYTES * 4)
        return ToolOutput(f"pod `{child.name}` {status}: {lines} new line(s) of assistant text", body)


class StopPod(Tool):
    """End a pod and take its scope back."""

    name = "StopPod"
    description = "Stop one of your pods and everything it started. Returns when it is gone and its scope is yours again."
    input_schema: Mapping[str, Any] = NAMED

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        child = _child(context.pod, arguments["name"])
        try:
            await child.stop()
        except StopFailedError as error:
            raise ExecutionFailedError(f"{error}. Nothing was reclaimed; try again.") from error
        except (PodkitError, OSError) as error:
            raise ExecutionFailedError(f"stop `{child.name}`: {error}") from error
        return ToolOutput(f"stopped pod `{child.name}`; reclaimed scope: {_rules(child.scope)}")


class ListPods(Tool):
    """List the caller's pods."""

    name = "ListPods"
    description = "List your pods: name, status and scope."
    input_schema: Mapping[str, Any] = NOTHING

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:  # noqa: ARG002 - it has none
        await trio.lowlevel.checkpoint()
        children = context.pod.children
        if not children:
            return ToolOutput("no spawned pods")
        lines = [f"{name} [{_state(child)}] scope={_rules(child.scope)}" for name, child in sorted(children.items())]
        return ToolOutput(f"{len(lines)} pod(s) known", "\n".join(lines))


def _state(child: Child) -> str:
    return "gone" if child.gone.is_set() else child.status.value


async def _snapshot(child: Child) -> Snapshot:
    return await child.snapshot()


def _child(pod: Pod, name: str) -> Child:
    child = pod.children.get(name)
    if child is None:
        raise InvalidArgumentError(f"no spawned pod named `{name}`")
    return child


def _scope(rules: list[dict[str, Any]]) -> Scope:
    if not rules:
        return Scope.none()
    return Scope(
        allow=[
            ScopeRule(rule["target"], Permission[rule["permission"].upper()], recursive=rule.get("recursive", True))
            for rule in rules
        ]
    )


def _rules(scope: Scope) -> str:
    texts = [f"{rule.permission}:{rule.target}" + ("" if rule.recursive else " [non-recursive]") for rule in scope.allow]
    return ", ".join(texts) or "(none)"
