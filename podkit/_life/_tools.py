"""Calling tools: arguments are checked against the tool's schema before anything happens, and every failure is for the model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from podkit.abc import ToolContext, ToolOutput
from podkit.errors import ExecutionFailedError, InvalidArgumentError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podkit.abc import Pod, Tool


def tool_table(tools: Iterable[Tool]) -> dict[str, Tool]:
    """Tools by name, in name order. Raises `ValueError` for two of one name and for a schema that is none."""
    table: dict[str, Tool] = {}
    for tool in sorted(tools, key=lambda tool: tool.name):
        if tool.name in table:
            raise ValueError(f"two tools are named {tool.name!r}")
        if tool.input_schema.get("type") != "object":
            raise ValueError(f"the input schema of tool {tool.name!r} is not that of an object")
        table[tool.name] = tool
    return table


async def call_tool(pod: Pod, tools: Mapping[str, Tool], name: str, arguments: Mapping[str, Any], call_id: str) -> ToolOutput:
    """Call `name` with `arguments`. Raises `ToolError`; only cancellation passes through as it is."""
    tool = tools.get(name)
    if tool is None:
        raise InvalidArgumentError(f"there is no tool `{name[:64]}`; there are: {', '.join(tools) or 'none'}")
    _check(tool, arguments)
    try:
        output = await tool.call(arguments, ToolContext(pod=pod, call_id=call_id))
    except ToolError:
        raise
    except Exception as error:
        raise ExecutionFailedError(f"{name}: {error}") from error
    if not isinstance(output, ToolOutput):
        raise ExecutionFailedError(f"{name} answered with {type(output).__name__} instead of a ToolOutput")
    return output


def _check(tool: Tool, arguments: object) -> None:
    from jsonschema import Draft202012Validator  # late: 30 ms of import that a pod without tools need not pay

    try:
        json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgumentError(f"{tool.name}: the arguments are not JSON: {error}") from None
    problem = next(iter(Draft202012Validator(tool.input_schema).iter_errors(arguments)), None)
    if problem is not None:
        where = problem.json_path.removeprefix("$").removeprefix(".")
        raise InvalidArgumentError(f"{tool.name}: {where + ': ' if where else ''}{problem.message[:300]}")
