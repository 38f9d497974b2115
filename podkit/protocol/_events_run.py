"""Events of a run. Each may carry `run`, the number of its run, which is left out on the wire when it is None."""

from typing import Annotated, ClassVar

import attrs

from ._enums import AlertLevel, AlertSource, ErrorCode, InvokeKind, RunResult, TurnResult
from ._items import SystemItem
from ._marks import I64, OMIT, U16, U32, U64, Count, Lenient
from ._segments import Segment, segments


@attrs.frozen
class UserMessage:
    """What the user said, committed."""

    event: ClassVar[str] = "user_message"
    segments: tuple[Segment, ...] = attrs.field(converter=segments)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class SystemItemEvent:
    """Something the model is told beside the user's words, committed. An item of an unexpected shape is an `UnknownItem`."""

    event: ClassVar[str] = "system_item"
    item: Annotated[SystemItem, Lenient()]
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class InvokeStart:
    """A run begins, for this reason."""

    event: ClassVar[str] = "invoke_start"
    kind: InvokeKind
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class TurnStart:
    """A model exchange begins; turns are counted by the worker."""

    event: ClassVar[str] = "turn_start"
    turn: U64
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class TurnEnd:
    """A model exchange ended."""

    event: ClassVar[str] = "turn_end"
    turn: U64
    result: TurnResult
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class LlmCallStart:
    """A request to the model begins; `llm_call` counts them over the worker's life."""

    event: ClassVar[str] = "llm_call_start"
    llm_call: U64
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class LlmCallEnd:
    """A request to the model is over."""

    event: ClassVar[str] = "llm_call_end"
    llm_call: U64
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class LlmRetry:
    """A request failed (`failed_attempt` counts from 1) and is tried again after `wait_ms`; `status` is the provider's, if any."""

    event: ClassVar[str] = "llm_retry"
    llm_call: U64
    failed_attempt: U32
    max_attempts: U32
    wait_ms: U64
    elapsed_ms: U64
    error: str
    status: U16 | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class LlmContinuation:
    """An answer broke off and is asked to go on."""

    event: ClassVar[str] = "llm_continuation"
    llm_call: U64
    attempt: U32
    max_attempts: U32
    reason: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class TextDelta:
    """More of what the model says."""

    event: ClassVar[str] = "text_delta"
    text: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class TextDone:
    """What the model said, whole and committed."""

    event: ClassVar[str] = "text_done"
    text: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ThinkingStart:
    """The model begins to think."""

    event: ClassVar[str] = "thinking_start"
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ThinkingDelta:
    """More of what the model thinks."""

    event: ClassVar[str] = "thinking_delta"
    text: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ThinkingDone:
    """What the model thought, whole and committed; may be empty."""

    event: ClassVar[str] = "thinking_done"
    text: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ToolCallStart:
    """The model begins to write a tool call."""

    event: ClassVar[str] = "tool_call_start"
    id: str
    name: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ToolCallArgsDelta:
    """More of the JSON text of a call's arguments."""

    event: ClassVar[str] = "tool_call_args_delta"
    id: str
    json: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ToolCallDone:
    """A tool call, whole and committed; `arguments` is the JSON text the model wrote."""

    event: ClassVar[str] = "tool_call_done"
    id: str
    name: str
    arguments: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class ToolResult:
    """What a tool call gave, committed: a line for people, and the output when there is more."""

    event: ClassVar[str] = "tool_result"
    id: str
    summary: str
    output: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    is_error: bool = attrs.field(default=False, kw_only=True)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class Usage:
    """Tokens of one model call; None where the provider does not say."""

    event: ClassVar[str] = "usage"
    input_tokens: U64 | None = attrs.field(default=None, kw_only=True)
    output_tokens: U64 | None = attrs.field(default=None, kw_only=True)
    cache_read_input_tokens: U64 | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class RunEnd:
    """The one end of a run."""

    event: ClassVar[str] = "run_end"
    result: RunResult
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class Error:
    """A method was refused, or a run failed."""

    event: ClassVar[str] = "error"
    code: ErrorCode
    message: str
    run: Count | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class Alert:
    """Something a person should know. `timestamp_ms` is in milliseconds since the epoch."""

    event: ClassVar[str] = "alert"
    level: AlertLevel
    source: AlertSource
    message: str
    timestamp_ms: I64
