"""Talking with one program while it runs: what it is fed, what it says, and the end of everything it started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from podkit.errors import ConfinementError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podkit._os import Ward

    from ._plan_programs import Kept, Request

_CHUNK = 65536
_PATIENCE = (1.0, 9.0)  # seconds for a tree to end; between them a ward that was stopped is told to go on
_LAST_WORDS = 1.0  # seconds that a pipe has to be read to its end when nobody is left to write into it


async def talk(
    ward: Ward,
    request: Request,
    kept: Mapping[trio.abc.ReceiveStream, Kept],
    *,
    ask: trio.Event | None = None,
) -> tuple[bool, tuple[tuple[int, str], ...]]:
    """Feed it and listen to it until it ends, its time is up or `ask` is set; then end all of it. Answers whether its time was
    up, and who could not be ended."""
    async with trio.open_nursery() as nursery:
        for stream, into in kept.items():
            nursery.start_soon(_listen, stream, into)
        if ward.stdin is not None:
            nursery.start_soon(_feed, ward.stdin, request.input or b"")
        with trio.move_on_after(float("inf") if request.timeout is None else request.timeout) as limit:
            await _over_or_asked(ward, ask)
        ward.end()
        left = await ward.ended()
        # Whoever could write is gone; what is still in the pipes is read at once.
        nursery.cancel_scope.deadline = trio.current_time() + _LAST_WORDS
    return limit.cancelled_caught, left


async def is_over(ward: Ward) -> bool:
    """End it and wait a while; whether nobody is left of it, as far as anybody can tell."""
    ward.end()
    for patience in _PATIENCE:
        with trio.move_on_after(patience):
            try:
                return not await ward.ended()
            except ConfinementError:
                return False
        ward.wake()
    return False


async def _over_or_asked(ward: Ward, ask: trio.Event | None) -> None:
    if ask is None:
        await ward.wait()
        return
    async with trio.open_nursery() as nursery:

        async def asked() -> None:
            await ask.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(asked)
        await ward.wait()
        nursery.cancel_scope.cancel()


async def _listen(stream: trio.abc.ReceiveStream, into: Kept) -> None:
    while data := await stream.receive_some(_CHUNK):
        into.add(data)


async def _feed(stream: trio.abc.SendStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        await trio.lowlevel.checkpoint()  # it does not want to hear more
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()
