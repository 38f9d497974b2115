"""The tool port: what a model may call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from ._pod import Pod


@attrs.frozen
class ToolOutput:
    """What a tool answers: a `summary` that the model always sees, and `content` that may be dropped from old turns."""

    summary: str
    content: str | None = None


@attrs.frozen(kw_only=True)
class ToolContext:
    """For whom a tool acts: the `pod`, and the `call_id` that the model gave the call, "" where nobody said it."""

    pod: Pod
    call_id: str = ""


class Tool(ABC):
    """Something a model may call, by `name`, with arguments that fit `input_schema` (JSON Schema of an object)."""

    name: str
    description: str
    input_schema: Mapping[str, Any]

    @abstractmethod
    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Do it. `arguments` fit the schema already. Raise a `ToolError` for what the model should read and may mend."""
