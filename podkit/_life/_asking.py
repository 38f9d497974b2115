"""A method from the pod's own program: no wire, the same rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from podkit._net import Ask, Origin
from podkit.errors import MethodRejectedError
from podkit.protocol import Error, ErrorCode, encode_method

if TYPE_CHECKING:
    from podkit.protocol import Event, Method

    from ._desk import PodDesk


async def ask_here(desk: PodDesk, method: Method, run: int | None) -> Event:
    """Ask, and return the one terminal reply. What could not be said on a wire is not said here either.

    Raises `LocalProtocolError` for that, and `MethodRejectedError` when the pod refuses.
    """
    if len(encode_method(method, run=run)) > desk.limits.method_bytes:
        raise MethodRejectedError(ErrorCode.TOO_LARGE, f"a method of more than {desk.limits.method_bytes} bytes")
    await trio.lowlevel.checkpoint()
    answered = trio.Event()
    answers: list[Event] = []

    def answer(event: Event) -> None:
        answers.append(event)
        answered.set()

    desk.submit(Ask(method=method, run=run, origin=Origin(role="client", instance=None, child=None, local=True), answer=answer))
    await answered.wait()
    reply = answers[0]
    if isinstance(reply, Error):
        raise MethodRejectedError(reply.code, reply.message)
    return reply
