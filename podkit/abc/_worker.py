"""The worker port: the agent loop an application brings, and the run it is called with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs

from podkit.protocol import Event, InvokeKind, LoggedItem, NotificationItem, PodEventItem, RunResult, Segment, flatten

if TYPE_CHECKING:
    from ._pod import Pod
    from ._tool import Tool

Emit: TypeAlias = Callable[[Event], None]
"""What a worker says things with: synchronous, never waits, only while `work` runs.

It takes `TurnStart/End`, `Text*`, `Thinking*`, `ToolCall*`, `ToolResult`, `Usage`, `LlmCall*`, `LlmRetry`, `LlmContinuation` and
`Alert`; anything else is a `LocalProtocolError`. `…Done`, `ToolResult` and `Usage` are committed before anyone sees them; what no
log can hold is a `LocalProtocolError`, what is not kept a `SessionError`. For the rest, an alert stands in for what cannot be sent.
"""

Notice: TypeAlias = NotificationItem | PodEventItem
"""What somebody told the pod, or what happened to one of its children: `body` is what the model reads."""


@attrs.define(eq=False, kw_only=True)
class Run:
    """One run, as its worker sees it: one user-visible piece of work, with any number of model turns inside."""

    number: int
    """The run's number; every run and every resume has a new one."""
    cause: InvokeKind
    """Why it was started: somebody asked, or a notice woke the pod."""
    input: str | Sequence[Segment]
    """What was asked, as it was sent; empty when a notice is the cause."""
    resumed: bool = False
    """Whether this continues a paused run: the same input again, carry on from the log."""
    notices: tuple[Notice, ...] = ()
    """What was queued when the run started; committed."""
    pod: Pod
    """The pod that runs: files, children, tools."""
    tools: Mapping[str, Tool] = attrs.field(factory=dict)
    """The tools of the pod, by name."""
    _poll: Callable[[], tuple[Notice, ...]] = attrs.field(repr=False, default=tuple)
    _committed: Callable[[], Awaitable[None]] | None = attrs.field(repr=False, default=None)
    _history: Callable[[], tuple[LoggedItem, ...]] = attrs.field(repr=False, default=tuple)

    @property
    def text(self) -> str:
        """The input as one string."""
        return flatten(self.input if isinstance(self.input, str) else tuple(self.input))

    def poll_notices(self) -> tuple[Notice, ...]:
        """Notices that came since the last look, committed now; each is given exactly once. Left-overs start one more run."""
        return self._poll()

    def history(self) -> tuple[LoggedItem, ...]:
        """What the model was told and said until now, in the order of the log: earlier runs, also of a life before a restore, this
        run's input, the notices it was handed, and what it emitted and was committed. It begins anew when the log is taken back."""
        return self._history()

    async def committed(self) -> None:
        """Return when everything emitted so far is as durable as the pod promises. Raises `SessionError` if it cannot be."""
        if self._committed is not None:
            await self._committed()


class Worker(ABC):
    """The agent loop of one pod. Subclass it and write `work`."""

    provider: str = ""
    """Who serves the model, for the greeting."""
    model: str = ""
    """Which model, for the greeting."""

    @abstractmethod
    async def work(self, run: Run, emit: Emit) -> RunResult | None:
        """Do one run. Called once per run, never twice at a time.

        Return None or `RunResult.FINISHED` when done; `LIMIT_REACHED` and `PAUSED` may be returned too. An exception fails the run,
        not the pod: `ToolError` as tool_error, `ModelError` as provider_error, anything else as internal. Cancel, pause and stop
        arrive as `trio.Cancelled` at a checkpoint: let it through.
        """
