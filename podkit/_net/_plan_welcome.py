"""What an answer to a hello means to who said it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit.errors import AuthenticationError, MethodRejectedError, PodUnreachableError
from podkit.protocol import Error, ErrorCode, Welcome

if TYPE_CHECKING:
    from podkit.protocol import Event

CLIENT = "podkit/0.1"
WELCOME_SECONDS = 10.0


def check_welcome(address: str, reply: Event | None, expect: tuple[str, str] | None, *, ended: str | None) -> None:
    """Return when `reply` welcomes us to the pod we mean: its name and its incarnation; None: any.

    Raises `AuthenticationError` when the pod does not let us in or is another one, `MethodRejectedError` when it refuses for
    another reason, `PodUnreachableError` when there was no answer; `ended` is why there is no connection any more, if so.
    """
    if isinstance(reply, Error):
        if reply.code is ErrorCode.FORBIDDEN:
            raise AuthenticationError(address, f"the pod did not let us in: {reply.message}")
        raise MethodRejectedError(reply.code, reply.message)
    if not isinstance(reply, Welcome) or not reply.pod_name:
        raise PodUnreachableError(address, ended or f"no welcome within {WELCOME_SECONDS:.0f} s")
    if expect is not None and (reply.pod_name, reply.incarnation) != expect:
        raise AuthenticationError(address, f"another pod answers there: {reply.pod_name} {reply.incarnation}")
