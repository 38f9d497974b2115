"""What an answer to a hello means to who said it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.errors import AuthenticationError, MethodRejectedError, PodUnreachableError
from podkit.protocol import Error, ErrorCode, Welcome

if TYPE_CHECKING:
    from podkit.errors import PodkitError
    from podkit.protocol import Event

CLIENT = "podkit/0.1"
WELCOME_SECONDS = 10.0


def refusal(address: str, answer: Event | str | None, *, ended: str | None) -> PodkitError | None:
    """Why this answer does not let us in, None when it does. A text is our own reason: the pod that let us in is not the one meant.

    `AuthenticationError` when the pod does not let us in or is another one, `MethodRejectedError` when it refuses for another
    reason, `PodUnreachableError` when there was no answer; `ended` is why there is no connection any more, if so.
    """
    match answer:
        case Welcome(pod_name=name) if name:
            return None
        case str():
            return AuthenticationError(address, answer)
        case Error(code=ErrorCode.FORBIDDEN, message=message):
            return AuthenticationError(address, f"the pod did not let us in: {message}")
        case Error(code=code, message=message):
            return MethodRejectedError(code, message)
    return PodUnreachableError(address, ended or f"no welcome within {WELCOME_SECONDS:.0f} s")


def check_welcome(address: str, reply: Event | None, expect: tuple[str, str] | None, *, ended: str | None) -> None:
    """Return when `reply` welcomes us to the pod we mean: its name and its incarnation; None: any. Raises what `refusal` says."""
    error = refusal(address, reply, ended=ended)
    if error is not None:
        raise error
    if isinstance(reply, Welcome) and expect is not None and (reply.pod_name, reply.incarnation) != expect:
        raise AuthenticationError(address, f"another pod answers there: {reply.pod_name} {reply.incarnation}")
