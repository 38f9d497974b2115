"""One connection: a task that reads and a task that writes, and neither waits for the other."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import trio

from podkit.errors import RemoteProtocolError
from podkit.protocol import Error, ErrorCode, Hello, Role, Subscribe, Welcome, peek_id, read_method

from ._asks import Asks
from ._desk import Origin
from ._house import peer_of
from ._outbox import Outbox
from ._plan_admission import PROTOCOL, Doorstep, Refused, judge_hello

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podkit.protocol import Event, ResumePoint, Snapshot

    from ._house import House
    from ._record import Record

_log = logging.getLogger("podkit.server")

FEATURES = ("receipts", "snapshot_chunks", "resume", "in_flight", "merged_deltas")

_LAST_WORDS = 5.0  # seconds in which a peer that reads no more is still listened to
_CLOSING = 1.0  # seconds that closing may take


class Connection:
    """One peer. `serve` runs until the peer leaves, is cut off, or everything was written after `finish`."""

    def __init__(self, house: House, channel: trio.abc.Channel[bytes]) -> None:
        desk = house.desk
        self._house, self._desk, self._channel = house, desk, channel
        # Where a channel takes frames at once, a writer is there only from the first time that something has to wait.
        self._put_many: Callable[[list[bytes]], int] | None = getattr(channel, "put_many", None)
        self._nursery: trio.Nursery | None = None  # for the writer, until there is one
        self._rest: list[bytes] = []  # what is to be written before what the outbox holds
        self._reading = False  # whether lines are being handled, so that what is said now is written at the end of that
        self._origin: Origin | None = None
        self._left = False  # nothing more is read
        self._scope = trio.CancelScope()
        self._doorstep = Doorstep(desk.limits.hello_bytes)
        self._outbox = Outbox(
            desk.limits,
            lens=house.lens if house.plain else "full",
            fresh=self._fresh,
            cut=self.cut,
            hub=desk.hub,
            direct=getattr(channel, "send_nowait", None),
            stir=None if self._put_many is None else self._stir,
        )
        self._asks = Asks(house, self._outbox.reply)

    def __repr__(self) -> str:
        return f"<Connection of {self._origin or 'nobody yet'}, {self._outbox!r}>"

    def finish(self) -> None:
        """Write what is queued, then leave."""
        self._outbox.finish()

    def say(self, event: Event) -> None:
        """Queue something that answers no method of this connection."""
        self._outbox.reply(event, None)

    def cut(self) -> None:
        """Leave now."""
        self._scope.cancel()

    async def serve(self) -> None:
        """Read and write until it is over, and close."""
        try:
            with self._scope:
                if self._house.plain is not None:
                    self._open_plain(self._house.plain)
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    if self._put_many is None or not self._outbox.idle:
                        self._start_writer()
                    try:
                        await self._read()
                    finally:
                        written, self._nursery = self._nursery is not None, None
                    self._left = True
                    if written:
                        return  # nothing ever had to wait
                    # No more will be asked. What is answered already is still written, as long as that may take.
                    self._outbox.finish()
                    self._end_within(self._desk.limits.drain)
        finally:
            peer = peer_of(self._origin)
            if self._house.peers.get(peer) is self:
                del self._house.peers[peer]
            self._desk.hub.unsubscribe(self._outbox)
            self._outbox.kill()
            hang_up: Callable[[], None] | None = getattr(self._channel, "hang_up", None)
            if hang_up is not None:
                hang_up()
            else:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + _CLOSING):
                    await self._channel.aclose()

    def _end_within(self, seconds: float) -> None:
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + seconds)

    def _fresh(self) -> tuple[Snapshot, int]:
        return self._desk.snapshot(), self._desk.hub.head

    # Writing.

    def _stir(self) -> None:
        if not self._reading:
            self._start_writer()

    def _start_writer(self) -> None:
        nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.start_soon(self._write)

    def _write_now(self) -> None:
        """Write what the outbox holds as far as that goes without waiting, unless there is a writer."""
        if self._put_many is None or self._nursery is None:
            return
        try:
            while frames := self._outbox.take():
                sent = self._put_many(frames)
                if sent < len(frames):
                    self._rest = frames[sent:]
                    self._start_writer()
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._nursery = None  # nothing will be written any more
            self._deaf()
        if not self._outbox.idle:
            self._start_writer()

    async def _write(self) -> None:
        """Write what the outbox holds. When the peer takes nothing any more, it is still heard for a while: what it sent counts."""
        send_many: Callable[[list[bytes]], Any] | None = getattr(self._channel, "send_many", None)
        try:
            while self._rest or not self._outbox.done:
                frames, self._rest = self._rest or self._outbox.take(), []
                if not frames and not self._outbox.mend():
                    await self._outbox.wait()
                elif send_many is not None:
                    await send_many(frames)
                else:
                    for frame in frames:
                        await self._channel.send(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
            self._deaf()
        except Exception:  # noqa: BLE001 - the peer is told nothing more, and still heard
            _log.exception("writing to a connection failed")
            self._deaf()
        else:
            if not self._left:
                self.cut()

    def _deaf(self) -> None:
        self._desk.hub.unsubscribe(self._outbox)
        self._outbox.kill()
        self._end_within(_LAST_WORDS)

    # Reading.

    async def _read(self) -> None:
        """Handle every line until the peer leaves or has to."""
        receive_many: Callable[[], Any] | None = getattr(self._channel, "receive_many", None)
        if self._origin is None:
            self._end_within(self._desk.limits.hello_seconds)  # until there is a hello
            self._read_at_most(self._desk.limits.hello_bytes)
        while True:
            try:
                frames = [await self._channel.receive()] if receive_many is None else await receive_many()
            except (trio.EndOfChannel, trio.ClosedResourceError, trio.BrokenResourceError, OSError):
                return
            except RemoteProtocolError as error:
                self._give_up(error.reason)
                return
            if not await self._lines(frames):
                return

    async def _lines(self, frames: list[bytes]) -> bool:
        """Handle these lines and write what is answered at once; False when one of them was the last."""
        self._reading = True
        self._outbox.corked = len(frames) > 1
        try:
            for frame in frames:
                if not self._line(frame):
                    return False
                if self._outbox.crowded:
                    self._write_now()
                    await self._outbox.room()
            return True
        finally:
            self._reading = self._outbox.corked = False
            self._write_now()

    def _read_at_most(self, count: int | None) -> None:
        """Tell a channel that can be told not to take in more than that of a peer that was not let in yet."""
        limit: Callable[[int | None], None] | None = getattr(self._channel, "read_at_most", None)
        if limit is not None:
            limit(count)

    def _give_up(self, reason: str, id: str | None = None) -> None:
        """The peer sends more than we read in one line; none of its lines is read any more."""
        if self._origin is not None:
            code = ErrorCode.INVALID_REQUEST if self._origin.plain else ErrorCode.TOO_LARGE
            self._outbox.reply(Error(code, reason), id)

    def _line(self, frame: bytes) -> bool:
        """Handle one line; False when it was the last one."""
        if self._origin is None and not self._doorstep.passes(frame):
            return False
        if frame.isspace():
            return True
        if self._origin is None:
            return self._first_line(frame)
        if len(frame) > (most := self._desk.limits.method_bytes):
            self._give_up(f"a method of more than {most} bytes", peek_id(frame))
            return False
        try:
            said = read_method(frame)
        except RemoteProtocolError as error:
            self._outbox.reply(Error(ErrorCode.INVALID_REQUEST, f"invalid method: {error.reason}"), peek_id(frame))
            return _is_text(frame)
        if isinstance(said.method, Hello):
            return self._hello(said.method, said.id)
        self._asks.take(said, self._origin)
        return True

    def _first_line(self, frame: bytes) -> bool:
        """Nothing but a good hello is listened to before one is known."""
        try:
            said = read_method(frame)
        except RemoteProtocolError:
            return False
        return isinstance(said.method, Hello) and self._hello(said.method, said.id)

    # Coming in.

    def _open_plain(self, plain: str) -> None:
        """Without a hello: the alerts so far, a snapshot, and everything from there on. A hello may still come and start over."""
        self._origin = Origin(Role.CLIENT if plain == "command" else Role.WATCHER, plain=True)
        if self._house.lens == "B":
            for alert in tuple(self._desk.hub.alerts):
                self._outbox.show(alert)
            self._outbox.show_snapshot()
        self._desk.hub.subscribe(self._outbox)

    def _hello(self, hello: Hello, id: str | None) -> bool:
        desk = self._desk
        # What is subscribed to goes out with the answer, and the writer then sees whether it is level.
        self._outbox.corked = True
        verdict = judge_hello(hello, key=self._house.key, admits_birth=desk.admits_birth, now=self._origin)
        if isinstance(verdict, Refused):
            # Who says hello knows these codes, whatever the connection spoke until now.
            self._outbox.reply(Error(verdict.code, verdict.message), id, lens="full")
            return False
        if self._origin is None:
            self._scope.deadline = math.inf
        self._origin = Origin(verdict.role, hello.instance, verdict.child)
        self._house.peers[peer_of(self._origin)] = self
        self._read_at_most(None)
        desk.hub.unsubscribe(self._outbox)
        self._outbox.restart("full")
        # A child reports upward; what its parent does is not its to watch.
        subscribes = hello.subscribe is not Subscribe.NONE and verdict.child is None
        missed = self._missed(hello.resume) if subscribes and hello.resume is not None else None
        welcome = Welcome(
            PROTOCOL,
            desk.name,
            desk.incarnation,
            desk.hub.head,
            desk.status(),
            verdict.role,
            desk.confinement,
            resumed=missed is not None,
            features=FEATURES,
        )
        self._outbox.reply(welcome, id)
        if subscribes:
            if missed is not None:
                for record in missed:
                    self._outbox.offer(record)
            elif hello.subscribe is Subscribe.SNAPSHOT or hello.resume is not None:
                self._outbox.show_snapshot()
            desk.hub.subscribe(self._outbox)
        return True

    def _missed(self, point: ResumePoint) -> Iterable[Record] | None:
        """What was said since `point`; None when that is not known any more, or was never said by this incarnation."""
        return self._desk.hub.after(point.seq) if point.incarnation == self._desk.incarnation else None


def _is_text(frame: bytes) -> bool:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True
