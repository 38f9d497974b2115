"""Accepting connections for one pod, containing each of them, and leaving in order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import trio

from podkit.protocol import Error, ErrorCode, encode_event

from ._connection import Connection
from ._house import House
from ._receipts import Receipts
from ._record import project

if TYPE_CHECKING:
    from ._desk import Desk

_log = logging.getLogger("podkit.server")

_REFUSALS = 32  # connections over the limit that are told so at the same time; more are just closed
_REFUSAL_SECONDS = 1.0
_BACK_OFF = 0.05  # seconds, doubling up to the next
_MAX_BACK_OFF = 1.0


class Server:
    """Serves one pod to everybody who connects.

    One task for each connection, and nothing that a peer does or a connection raises gets out of it. `key` is what a hello has
    to show (None: nothing). `plain` says what connections without a hello get: None nothing, "watch" the stream, "command" also a
    say. With `generation` "A" those speak that generation's vocabulary.
    """

    def __init__(
        self,
        desk: Desk,
        listener: trio.abc.Listener[trio.abc.Channel[bytes]],
        *,
        key: str | None,
        plain: str | None,
        generation: str = "B",
    ) -> None:
        if plain not in (None, "watch", "command"):
            raise ValueError(f"plain is None, 'watch' or 'command', not {plain!r}")
        if generation not in ("A", "B"):
            raise ValueError(f"generation is 'A' or 'B', not {generation!r}")
        lens: Literal["A", "B"] = "A" if generation == "A" else "B"
        self._house = House(desk=desk, key=key, plain=plain, lens=lens, receipts=Receipts(desk.limits.receipts))
        self._listener = listener
        self._limit = desk.limits.connections
        self._connections: set[Connection] = set()
        self._refusing = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._draining = False
        self._fanning: trio.CancelScope | None = None
        self._drained = trio.Event()

    def __repr__(self) -> str:
        return f"<Server of {self._house.desk.name} with {len(self._connections)} connections>"

    @property
    def connections(self) -> int:
        """How many there are right now."""
        return len(self._connections)

    async def serve(self, *, task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and serve until cancelled or drained. The listener is closed on the way out."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started(self)
                await self._accept(nursery)
                await self._drained.wait()
                if self._fanning is not None:
                    self._fanning.cancel()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _REFUSAL_SECONDS):
                await self._listener.aclose()

    async def drain(self, seconds: float) -> None:
        """Leave in order: accept nobody, write out what is queued, close.

        Who has not taken it after `seconds` is cut off. Returns when no connection is left, and `serve` returns too.
        """
        self._draining = True
        try:
            await self._listener.aclose()
            for connection in tuple(self._connections):
                connection.finish()
            if self._connections:
                with trio.move_on_after(seconds):
                    await self._empty()
        finally:
            if self._connections:
                for connection in tuple(self._connections):
                    connection.cut()
                with trio.CancelScope(shield=True):
                    await self._empty()
            self._drained.set()

    async def _empty(self) -> None:
        while self._connections:
            await self._changed.park()

    async def _accept(self, nursery: trio.Nursery) -> None:
        pause = _BACK_OFF
        while True:
            try:
                channel = await self._listener.accept()
            except trio.ClosedResourceError:
                return
            except Exception as error:  # noqa: BLE001 - logged, and tried again
                # Out of descriptors, or a peer that was gone already: the pod goes on and tries again.
                _log.warning("accepting a connection failed: %s", error)
                await trio.sleep(pause)
                pause = min(pause * 2, _MAX_BACK_OFF)
                continue
            pause = _BACK_OFF
            if self._fanning is None and hasattr(channel, "send_nowait"):
                self._fanning = trio.CancelScope()
                nursery.start_soon(self._fan_out, self._fanning)
            if len(self._connections) >= self._limit:
                nursery.start_soon(self._refuse, channel)
            else:
                connection = Connection(self._house, channel)
                self._connections.add(connection)
                nursery.start_soon(self._contain, connection)

    async def _fan_out(self, scope: trio.CancelScope) -> None:
        with scope:
            await self._house.desk.hub.fan.run()

    async def _contain(self, connection: Connection) -> None:
        """The one place where a peer's failure ends."""
        try:
            if self._draining:
                connection.finish()
            await connection.serve()
        except Exception:  # noqa: BLE001 - contained here and nowhere else
            _log.exception("a connection failed")
        finally:
            self._connections.discard(connection)
            self._changed.unpark_all()

    async def _refuse(self, channel: trio.abc.Channel[bytes]) -> None:
        """Tell one connection too many why it is closed, if it listens."""
        error = Error(ErrorCode.LIMIT_EXCEEDED, f"this pod serves at most {self._limit} connections")
        said = project(error, self._house.lens) if self._house.plain is not None else error
        self._refusing += 1
        try:
            if said is not None and self._refusing <= _REFUSALS:
                with trio.move_on_after(_REFUSAL_SECONDS):
                    await channel.send(encode_event(said))
        except Exception as problem:  # noqa: BLE001 - it is turned away anyway
            _log.debug("a refused connection was gone already: %s", problem)
        finally:
            self._refusing -= 1
            await trio.aclose_forcefully(channel)


async def serve_pod(
    desk: Desk,
    listener: trio.abc.Listener[trio.abc.Channel[bytes]],
    *,
    key: str | None,
    plain: str | None,
    generation: str = "B",
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the pod behind `desk` at `listener` until cancelled, or until the `Server` handed to `task_status` was drained."""
    server = Server(desk, listener, key=key, plain=plain, generation=generation)
    await server.serve(task_status=task_status)
