"""The enumerations of the wire. Each member is its text; the sets are open where a newer peer may say more."""

from enum import StrEnum
from typing import Any, Self

from podkit.errors import shown


class OpenEnum(StrEnum):
    """A text enumeration that also holds values it does not know.

    `Class("text")` for an unknown text is a value of the class that equals its text and has `known` False. Such values are made
    anew each time and are registered nowhere, so nothing a peer sends makes the class grow. In methods they are refused.
    """

    @property
    def known(self) -> bool:
        """Whether this is one of the members."""
        return self._name_ != ""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        made = str.__new__(cls, value)
        made._name_ = ""
        made._value_ = str(value)
        return made

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}.{self._name_}: {self._value_!r}>"
            if self.known
            else f"<{type(self).__name__} unknown {shown(self._value_)!r}>"
        )

    def __reduce_ex__(self, _protocol: Any) -> tuple[Any, ...]:
        return type(self), (self._value_,)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: Any) -> Self:
        return self


class ErrorCode(OpenEnum):
    """Why a method was refused or a run failed."""

    ALREADY_RUNNING = "already_running"
    NOT_RUNNING = "not_running"
    NOT_PAUSED = "not_paused"
    PROVIDER_ERROR = "provider_error"
    TOOL_ERROR = "tool_error"
    INVALID_REQUEST = "invalid_request"
    INTERNAL = "internal"
    FORBIDDEN = "forbidden"
    STOPPING = "stopping"
    UNSUPPORTED_PROTOCOL = "unsupported_protocol"
    LIMIT_EXCEEDED = "limit_exceeded"
    STORAGE_FULL = "storage_full"
    TOO_LARGE = "too_large"


class RunResult(OpenEnum):
    """How a run ended."""

    FINISHED = "finished"
    PAUSED = "paused"
    LIMIT_REACHED = "limit_reached"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    FAILED = "failed"


class TurnResult(OpenEnum):
    """How one model exchange ended."""

    FINISHED = "finished"
    PAUSED = "paused"


class Status(OpenEnum):
    """The three states a client sees of a pod."""

    IDLE = "idle"
    RUNNING = "running"
    PAUSED = "paused"


class InvokeKind(OpenEnum):
    """What made an idle pod start a run."""

    USER_SEND = "user_send"
    NOTIFY = "notify"
    POD_EVENT = "pod_event"
    SYSTEM_REMINDER = "system_reminder"
    WAKEUP = "wakeup"


class AlertLevel(OpenEnum):
    """How grave an alert is."""

    WARN = "warn"
    ERROR = "error"


class AlertSource(OpenEnum):
    """Which part of a pod raised an alert."""

    POD = "pod"
    WORKER = "worker"
    COMPACTOR = "compactor"
    AGENTS_MD = "agents_md"


class CompletionKind(OpenEnum):
    """What is to be completed."""

    FILE = "file"
    KNOWLEDGE = "knowledge"
    WORKFLOW = "workflow"
    POD = "pod"
    TOOL = "tool"


class Role(OpenEnum):
    """What a connection was admitted as, and so what it may say."""

    CLIENT = "client"
    CHILD = "child"
    WATCHER = "watcher"
    TOOLS = "tools"


class Subscribe(OpenEnum):
    """Which events a connection asks for: none, from now on, or a snapshot and then from there on."""

    NONE = "none"
    LIVE = "live"
    SNAPSHOT = "snapshot"
