"""What the clauses of the transport contract stand on: a fresh transport each, connected pairs, and failures with a reason."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from podkit.abc import Transport

    Channel = trio.abc.Channel[bytes]
    Listener = trio.abc.Listener[Channel]

_SETTLED = 0.02  # seconds in which nothing moved


def require(condition: object, message: str) -> None:
    """Like `assert`, and also under `python -O`."""
    if not condition:
        raise AssertionError(message)


@attrs.frozen(eq=False)
class Ground:
    """One transport, made for one clause."""

    transport: Transport
    new_address: Callable[[], str] | None

    @property
    def limit(self) -> int:
        """The longest frame that the listening side reads."""
        return int(getattr(self.transport, "max_method", 2**20))

    @property
    def flood(self) -> list[bytes]:
        """Frames of 64 MiB together, which no bounded buffer takes."""
        frame = b"x" * min(2**16, self.limit)
        return [frame] * (2**26 // len(frame))

    def address(self) -> str:
        if self.new_address is not None:
            return self.new_address()
        return self.transport.address(f"check-{secrets.token_hex(4)}", None)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[Listener, str]]:
        """A listener and the address it really listens at."""
        asked = self.address()
        listener = await self.transport.listen(asked)
        try:
            yield listener, str(getattr(listener, "address", None) or asked)
        finally:
            await close(listener)

    @asynccontextmanager
    async def pair(self) -> AsyncIterator[tuple[Channel, Channel]]:
        """Two connected channels: the one that connected and the one that was accepted."""
        async with self.listening() as (listener, address):
            ours = await self.transport.connect(address)
            try:
                theirs = await listener.accept()
                try:
                    yield ours, theirs
                finally:
                    await close(theirs)
            finally:
                await close(ours)


async def close(resource: trio.abc.AsyncResource) -> None:
    with trio.move_on_after(2, shield=True):
        await resource.aclose()


async def settled() -> None:
    """Return when every task waits for something that does not come."""
    await trio.testing.wait_all_tasks_blocked(_SETTLED)


async def raises(
    expected: type[BaseException] | tuple[type[BaseException], ...], call: Callable[[], Awaitable[Any]], what: str
) -> Any:
    """Await `call()` and return the exception it was to raise."""
    try:
        result = await call()
    except expected as error:
        return error
    except Exception as error:
        raise AssertionError(f"{what} raised {error!r}, not {_named(expected)}") from error
    raise AssertionError(f"{what} returned {str(result)[:60]}, and did not raise {_named(expected)}")


async def fill(channel: Channel, frame: bytes, *, at_most: int) -> int:
    """Send `frame` until sending has to wait, then cancel that send; how many were sent. Fails when it never waits."""
    sent = 0

    async def flood() -> None:
        nonlocal sent
        for _ in range(at_most):
            await channel.send(frame)
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        await settled()
        nursery.cancel_scope.cancel()
    require(sent < at_most, f"{sent} frames of {len(frame)} bytes were taken though nobody reads")
    return sent


async def send_all(channel: Channel, frames: list[bytes]) -> None:
    for frame in frames:
        await channel.send(frame)


async def drain(channel: Channel) -> tuple[list[bytes], Exception]:
    """Everything that can be received, and what ended it."""
    frames = []
    while True:
        try:
            frames.append(await channel.receive())
        except (trio.EndOfChannel, trio.BrokenResourceError) as error:
            return frames, error


def _named(expected: type[BaseException] | tuple[type[BaseException], ...]) -> str:
    return " or ".join(e.__name__ for e in (expected if isinstance(expected, tuple) else (expected,)))


def difference(got: list[bytes], frames: list[bytes]) -> str:
    """Where the two begin to differ."""
    place = next((n for n, (a, b) in enumerate(zip(got, frames, strict=False)) if a != b), min(len(got), len(frames)))
    return f"frame {place} came as {got[place : place + 1]}, {len(got)} of {len(frames)} frames came"
