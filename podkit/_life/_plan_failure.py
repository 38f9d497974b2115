"""How a run fails, and why what somebody said is not kept: as a code and a text that can be logged and sent. Pure."""

from __future__ import annotations

from podkit.errors import LocalProtocolError, ModelError, SessionError, ToolError
from podkit.protocol import ErrorCode

_MAX_TEXT = 16 * 1024  # characters


def sayable(error: BaseException) -> str:
    """An error's text, such that it can be logged and sent: bounded, and without lone surrogates."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception whose text cannot be had is known by its class
        text = ""
    return text[:_MAX_TEXT].encode("utf-8", "replace").decode() or type(error).__name__


def failure_of(error: BaseException) -> tuple[ErrorCode, str]:
    """The code and the words with which a run fails that raised this."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    text = sayable(error)
    match error:
        case ToolError():
            return ErrorCode.TOOL_ERROR, text
        case ModelError():
            return ErrorCode.PROVIDER_ERROR, text
        case _:
            return ErrorCode.INTERNAL, f"{type(error).__name__}: {text}"


def refusal_of(error: Exception, said: str) -> tuple[ErrorCode, str]:
    """The code and the words for who asked for something that was not put into the log; `said` is what that was."""
    match error:
        case SessionError() | OSError():
            return ErrorCode.STORAGE_FULL, said
        case LocalProtocolError():
            return ErrorCode.TOO_LARGE, f"{said}: {sayable(error)}"
        case _:
            return ErrorCode.INTERNAL, said
