"""A client's connection: what goes out in order, what comes in, and who waits for which reply."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

import trio

from podkit.errors import LocalProtocolError, PodUnreachableError, ProtocolError, RemoteProtocolError
from podkit.protocol import Error, ErrorCode, encode_method, read_event, read_events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from podkit.protocol import Event, EventFrame, Method

_log = logging.getLogger("podkit.client")

_SHORT = 1024  # bytes of a method that no pod calls too large
_MANY = 16  # events after whose reading others run before more is read
PORTION = 8192  # bytes that are decoded before others run
_LAST_WORDS = 5.0  # seconds in which a pod that reads no more is still listened to
_CLOSING = 1.0  # seconds that closing may take


class Link:
    """One channel to a pod. `run` reads and writes; `heard` is called with the events that came together and are no replies,
    and `told` once when the connection ends. `ids` gives the names of methods, and never one twice.

    A method is written at once when nothing is before it and the channel can be tried without waiting; else only the writing task
    touches the channel's sending side, so a caller that gives up leaves no half line behind. `ended` is None while the connection
    stands, then why it does not.
    """

    def __init__(
        self,
        channel: trio.abc.Channel[bytes],
        address: str,
        *,
        ids: Iterator[str],
        heard: Callable[[list[EventFrame]], None],
        told: Callable[[], None],
    ) -> None:
        self.ended: str | None = None
        self._channel, self._address, self._heard, self._ids = channel, address, heard, ids
        self._waiting: dict[str, Callable[[Event | None], None]] = {}
        self._out: deque[tuple[str, bytes]] = deque()
        self._long: dict[str, int] = {}  # methods that were not answered yet, and may be longer than the pod reads
        self._writer = trio.lowlevel.ParkingLot()
        self._direct: Callable[[bytes], bool] | None = getattr(channel, "send_nowait", None)
        self._idle = self._torn = False  # the writer waits for something to write; the channel keeps the rest of a direct write
        self._reading = trio.CancelScope()
        self._told = told

    def __repr__(self) -> str:
        return f"<Link to {self._address}, {self.ended or 'open'}, {len(self._waiting)} waiting>"

    def post(self, method: Method, then: Callable[[Event | None], None], *, run: int | None = None, id: str | None = None) -> str:
        """Queue a method. `then` is called once with its reply, or with None when the connection ended first.

        Returns the id it is sent under. Raises `PodUnreachableError` when the connection has ended, `LocalProtocolError` for what
        cannot be said.
        """
        if self.ended is not None:
            raise PodUnreachableError(self._address, self.ended)
        name = id if id is not None else next(self._ids)
        if name in self._waiting:
            raise LocalProtocolError(f"a method with the id {name} is under way on this connection")
        frame = encode_method(method, id=name, run=run)
        self._waiting[name] = then
        if len(frame) > _SHORT:
            self._long[name] = len(frame)
        if not self._written(frame):
            self._out.append((name, frame))
            self._writer.unpark()
        return name

    def _written(self, frame: bytes) -> bool:
        """Write it at once, if that can be done."""
        if self._direct is None or not self._idle or self._out or self._torn:
            return False
        try:
            self._torn = not self._direct(frame + b"\n")
        except Exception:  # noqa: BLE001 - there is no room, or the connection's trouble, which the writer will meet again
            return False
        if self._torn:
            self._writer.unpark()
        return True

    async def ask(self, method: Method, *, run: int | None = None, id: str | None = None) -> Event:
        """Send a method and return its reply. When cancelled, the reply is dropped, and the method too if it was not sent yet."""
        await trio.lowlevel.checkpoint_if_cancelled()
        answered = trio.Event()
        replies: list[Event | None] = []

        def then(reply: Event | None) -> None:
            replies.append(reply)
            answered.set()

        name = self.post(method, then, run=run, id=id)
        try:
            await answered.wait()
        finally:
            self.forget(name, then)
        reply = replies[0]
        if reply is None:
            sent = all(waiting != name for waiting, _frame in self._out)
            raise PodUnreachableError(self._address, self.ended or "the connection ended", may_have_run=sent)
        return reply

    def forget(self, name: str, then: Callable[[Event | None], None]) -> None:
        """Nobody waits for that reply any more."""
        if self._waiting.get(name) is then:
            del self._waiting[name]
            unsent = deque(item for item in self._out if item[0] != name)
            if len(unsent) < len(self._out):
                self._out = unsent
                self._long.pop(name, None)

    def end(self, reason: str) -> None:
        """The connection is over; everybody who waits is told. Only the first reason counts."""
        if self.ended is not None:
            return
        self.ended = reason
        waiting, self._waiting = self._waiting, {}
        for then in waiting.values():
            then(None)
        self._told()
        self._writer.unpark_all()
        self._reading.cancel()

    async def run(self) -> None:
        """Read and write until the connection ends, and close it."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                await self._read()
                nursery.cancel_scope.cancel()
        finally:
            self.end("this client was closed")
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connection."""
        self.end("this client was closed")
        with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING):
            await self._channel.aclose()

    async def _read(self) -> None:
        """Hand out what comes in until the connection ends."""
        receive = self._receive()
        reason = "the pod reads no more"
        try:
            with self._reading:
                while True:
                    for lines in portions(await receive()):
                        if self._take_in(lines) >= _MANY:
                            # They are read before more of them come.
                            await trio.lowlevel.checkpoint()
        except trio.EndOfChannel:
            reason = "the pod closed the connection"
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            reason = "the connection was lost"
        except ProtocolError as error:
            reason = f"the pod does not speak the protocol: {error}"
        except Exception as error:  # noqa: BLE001 - becomes the reason why the connection ended
            _log.exception("reading from a pod failed")
            reason = f"reading failed: {error!r}"
        finally:
            self.end(reason)

    async def _write(self) -> None:
        """Send what is queued until the connection ends."""
        try:
            while self.ended is None:
                if self._torn:
                    self._torn = False
                    await self._channel.send_many(())  # type: ignore[attr-defined]
                elif self._out:
                    _name, frame = self._out.popleft()
                    await self._channel.send(frame)
                else:
                    await self._work()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            # What the pod said before it stopped reading is still on its way to us.
            self._reading.deadline = trio.current_time() + _LAST_WORDS
        except Exception as error:  # noqa: BLE001 - becomes the reason why the connection ended
            _log.exception("writing to a pod failed")
            self.end(f"writing failed: {error!r}")

    async def _work(self) -> None:
        """Return when there may be something to write."""
        self._idle = True
        try:
            await self._writer.park()
        finally:
            self._idle = False

    def _receive(self) -> Callable[[], Awaitable[bytes]]:
        """How lines that are here are had from this channel."""
        lines: Callable[[], Awaitable[bytes]] | None = getattr(self._channel, "receive_lines", None)
        many: Callable[[], Awaitable[list[bytes]]] | None = getattr(self._channel, "receive_many", None)

        async def join() -> bytes:
            assert many is not None
            return b"\n".join(await many())

        return lines or (self._channel.receive if many is None else join)

    def _take_in(self, lines: bytes) -> int:
        """Hand out what came together, in order; returns how much that is. Raises `ProtocolError` for what is no event, after
        what stands before it."""
        if lines.find(b"\n", 0, -1) < 0 and not lines.isspace():
            self._hand_out([read_event(lines.removesuffix(b"\n"))])
            return 1
        read = read_events(lines)
        if RemoteProtocolError in set(map(type, read)):
            first = next(at for at, frame in enumerate(read) if isinstance(frame, RemoteProtocolError))
            self._hand_out(read[:first])  # type: ignore[arg-type]
            raise read[first]  # type: ignore[misc]
        self._hand_out(read)  # type: ignore[arg-type]
        return len(read)

    def _hand_out(self, said: list[EventFrame]) -> None:
        if self._long:
            self._look_for_refusal(said)
        if not [frame for frame in said if frame.re is not None]:
            if said:
                self._heard(said)
            return
        stream: list[EventFrame] = []
        for frame in said:
            if frame.re is None:
                stream.append(frame)
                continue
            if stream:
                self._heard(stream)
                stream = []
            # A reply that nobody waits for belongs to somebody who gave up.
            self._answered(frame.re, frame.event)
        if stream:
            self._heard(stream)

    def _look_for_refusal(self, said: list[EventFrame]) -> None:
        """A pod that is sent too long a line says so without an id, as it did not read one, and reads no further. So the longest
        method that has no answer was not read either: it is the one, or came after it."""
        for frame in said:
            error = frame.event
            if frame.re is None and frame.seq is None and isinstance(error, Error) and error.code is ErrorCode.TOO_LARGE:
                self._answered(max(self._long, key=self._long.__getitem__), error)
                return

    def _answered(self, name: str, reply: Event) -> None:
        self._long.pop(name, None)
        then = self._waiting.pop(name, None)
        if then is not None:
            then(reply)


def portions(lines: bytes) -> Iterator[bytes]:
    """Some lines at a time. What was read last is still close at hand when it is handed out, and most of it never grows old."""
    begin = 0
    while begin < len(lines):
        end = lines.rfind(b"\n", begin, begin + PORTION) + 1 or lines.find(b"\n", begin) + 1 or len(lines)
        yield lines[begin:end]
        begin = end
