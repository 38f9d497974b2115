"""Waiting for a child that was launched: until it says that it is ready, and answers as itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from podkit.errors import LaunchFailedError, PodkitError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podkit.abc import Process

    from ._birth import Birth

_STATUS_SECONDS = 1.0


async def until_ready(birth: Birth, process: Process) -> None:
    """Tell the child who it is, and wait until it says that it is ready. Raises `LaunchFailedError` when it is over before."""
    ready = False
    async with trio.open_nursery() as nursery:

        async def until_over() -> None:
            await process.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(until_over)
        await birth.tell()
        ready = await birth.wait_ready()
        nursery.cancel_scope.cancel()
    if not ready:
        await _ended_early(birth, process)


async def _ended_early(birth: Birth, process: Process) -> None:
    status = None
    with trio.move_on_after(_STATUS_SECONDS):
        status = await process.wait()
    raise LaunchFailedError(birth.name, "ended before it was ready", stderr_tail=process.stderr_tail(), status=status)


@contextmanager
def as_itself(birth: Birth, process: Process) -> Iterator[None]:
    """A child that does not answer as the very pod that was born has failed to start: `LaunchFailedError`."""
    try:
        yield
    except (PodkitError, OSError) as error:
        reason = f"does not answer as itself: {error}"
        raise LaunchFailedError(birth.name, reason, stderr_tail=process.stderr_tail()) from error
