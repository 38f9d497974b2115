"""Items of the log: what a model said and was told."""

from typing import ClassVar, TypeAlias

import attrs

from ._marks import OMIT, Json, as_tuple
from ._pod_events import PodEvent


@attrs.frozen
class TextPart:
    """Text of a message."""

    kind: ClassVar[str] = "text"
    text: str


@attrs.frozen
class RefusalPart:
    """The model's words where it refused."""

    kind: ClassVar[str] = "refusal"
    text: str


@attrs.frozen
class UnknownItem:
    """An item, or a part of one, of a kind or shape this version does not know; `data` is the whole JSON object."""

    fallback: ClassVar[bool] = True
    kind: str
    data: Json


@attrs.frozen
class MessageItem:
    """A message of `role` (`user`, `assistant`, …)."""

    kind: ClassVar[str] = "message"
    role: str
    content: tuple[TextPart | RefusalPart | UnknownItem, ...] = attrs.field(converter=as_tuple)


@attrs.frozen
class ToolCallItem:
    """A tool call of the model; `arguments` is the JSON text it wrote."""

    kind: ClassVar[str] = "tool_call"
    call_id: str
    name: str
    arguments: str


@attrs.frozen
class ToolResultItem:
    """What the call `call_id` gave: a line for people, and what the model reads when that is more."""

    kind: ClassVar[str] = "tool_result"
    call_id: str
    summary: str
    content: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    is_error: bool = attrs.field(default=False, kw_only=True, metadata=OMIT)


@attrs.frozen
class ReasoningItem:
    """What the model thought. `encrypted_content` and `signature` are a provider's, kept as they came."""

    kind: ClassVar[str] = "reasoning"
    text: str
    summary: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_tuple)
    encrypted_content: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    signature: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


LoggedItem: TypeAlias = MessageItem | ToolCallItem | ToolResultItem | ReasoningItem | UnknownItem


# System items: `body` is the exact text the model was given.


@attrs.frozen
class NotificationItem:
    """A notification. `notice` is the id of the queued notice it came from."""

    kind: ClassVar[str] = "notification"
    message: str
    body: str
    notice: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class PodEventItem:
    """News of a child. `notice` is the id of the queued notice it came from."""

    kind: ClassVar[str] = "pod_event"
    event: PodEvent
    body: str
    notice: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class FileAttachmentItem:
    """The content of a file the user pointed at."""

    kind: ClassVar[str] = "file_attachment"
    path: str
    body: str


@attrs.frozen
class KnowledgeItem:
    """A piece of knowledge the user pointed at."""

    kind: ClassVar[str] = "knowledge"
    slug: str
    body: str


@attrs.frozen
class WorkflowItem:
    """A workflow the user asked for."""

    kind: ClassVar[str] = "workflow"
    slug: str
    body: str


@attrs.frozen
class TaskReminderItem:
    """A reminder of open tasks; `source` says what raised it."""

    kind: ClassVar[str] = "task_reminder"
    source: str
    body: str


@attrs.frozen
class InterruptItem:
    """The model is told that it was interrupted."""

    kind: ClassVar[str] = "interrupt"
    body: str


SystemItem: TypeAlias = (
    NotificationItem
    | PodEventItem
    | FileAttachmentItem
    | KnowledgeItem
    | WorkflowItem
    | TaskReminderItem
    | InterruptItem
    | UnknownItem
)
