"""What waits to be written on one connection: replies and events in the order they happened, bounded in both."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from podkit.errors import LocalProtocolError
from podkit.protocol import Error, ErrorCode, Lagged, Shutdown, encode_event

from ._backlog import Backlog, Begun, Piece, Reply, Whole
from ._plan_snapshot import plan_snapshot
from ._record import Lens, Record, project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podkit.logic import Limits
    from podkit.protocol import Event, Snapshot

    from ._hub import Hub

_log = logging.getLogger("podkit.server")

_BATCH = 2**18  # bytes handed to the writer at once
_UNSENT = 128  # replies a peer may leave unread before we read no more of its methods
_UNSENT_BYTES = 2**22


class Outbox:
    """The queue between a pod and one peer. Everybody puts things in without waiting; one writer takes them out.

    Only events are ever dropped. When they are more than the limits allow, deltas of one block that stand side by side become
    one. When that does not make enough room, an admitted peer is no subscriber of `hub` until the writer gets there; then it
    gets `lagged` and a fresh snapshot and is one again. A plain one is cut off (`cut` is called). `fresh` takes a snapshot and its
    number. Replies are bounded by not reading on while `crowded`. With `direct`, a function that writes lines without waiting, an
    admitted peer whose queue is empty is written to by the hub itself, and a reply to anybody whose queue is empty is written at
    once; `corked` says that more replies are about to come, which then go out together. `stir` is called when something was put in
    and no writer waits for it.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        lens: Lens,
        fresh: Callable[[], tuple[Snapshot, int]],
        cut: Callable[[], None],
        hub: Hub,
        direct: Callable[[bytes], bool] | None = None,
        stir: Callable[[], None] | None = None,
    ) -> None:
        self.lens: Lens = lens
        self.dead = False  # nothing will be written any more
        self.corked = False
        self._fresh, self._cut = fresh, cut
        self.backlog = Backlog(limits)
        self._unsent = self._unsent_bytes = 0
        self._taken = self._taken_bytes = 0  # of the replies, what the writer is busy with
        self._overrun = False
        self._missing: int | None = None
        self._closing = False
        self._parked = False
        self._torn = False  # part of a direct write is still to go
        self._hub, self._direct, self._stir = hub, direct, stir
        self._writer = trio.lowlevel.ParkingLot()
        self._readers = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        state = "dead" if self.dead else "closing" if self._closing else "open"
        return f"<Outbox {state}: {self.backlog.events} events, {self._unsent} replies unsent>"

    # What is put in.

    def reply(self, event: Event, re: str | None, *, lens: Lens | None = None) -> None:
        """Queue a reply. What this peer's vocabulary has no word for is not sent."""
        if self.dead:
            return
        said = project(event, lens or self.lens)
        if said is None:
            return
        try:
            frame = encode_event(said, re=re)
        except LocalProtocolError as error:
            _log.error("a reply cannot be said on the wire: %s", error)
            frame = encode_event(Error(ErrorCode.INTERNAL, "the answer could not be encoded"), re=re)
        if self._written(frame):
            return
        self._step_back()
        self.backlog.add(Reply(frame))
        self._unsent += 1
        self._unsent_bytes += len(frame)
        self._wake()

    def _written(self, frame: bytes) -> bool:
        """Write a reply at once, if nothing is before it and that can be done."""
        if self._direct is None or not self._parked or self.corked:
            return False
        self._hub.catch_up(self)
        if self.backlog or self._torn:
            return False
        try:
            whole = self._direct(frame + b"\n")
        except Exception:  # noqa: BLE001 - there is no room, or the connection's trouble, which the writer will meet again
            return False
        if not whole:
            self._step_back()
            self.tear()
        return True

    def show(self, event: Event) -> None:
        """Queue something of the prelude: a snapshot as of now, or an alert from before."""
        said = project(event, self.lens)
        if said is not None and not self.dead:
            self._step_back()
            self.backlog.add(Piece(encode_event(said)))
            self._wake()

    def show_snapshot(self) -> None:
        """Queue a snapshot as of now."""
        self._step_back()
        self.backlog.add(Whole(*self._fresh()))
        self._wake()

    def offer(self, record: Record) -> None:
        """The hub's side: one event. Never waits."""
        if self.dead:
            return
        last = isinstance(record.event, Shutdown)
        if self._overrun:
            return
        frame = record.frame(self.lens)
        if frame is None:
            return
        if not last and not self.backlog.make_room(len(frame), self.lens):
            self._overflow()
            return
        self.backlog.add_event(record, len(frame))
        self._wake()

    def hub_closed(self) -> None:
        """The hub's side: no more events. What is queued still goes out."""

    def restart(self, lens: Lens) -> None:
        """Forget the stream so far: the peer subscribes anew. Replies stay."""
        self.backlog.keep((Reply,))
        self._overrun, self._missing = False, None
        self.lens = lens

    # What is taken out.

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do for a writer."""
        return not (self.backlog or self._overrun or self._closing or self.dead or self._torn)

    @property
    def done(self) -> bool:
        """Nothing is left to write, and nothing more will come."""
        return self.dead or (self._closing and not (self.backlog or self._overrun or self._torn))

    def take(self) -> list[bytes]:
        """The next frames to write, about 256 KiB of them; what was taken before counts as written."""
        self._unsent -= self._taken
        self._unsent_bytes -= self._taken_bytes
        self._taken = self._taken_bytes = 0
        if not self.crowded:
            self._readers.unpark_all()
        frames: list[bytes] = []
        size = 0
        while size < _BATCH and not self.dead:
            if not self.backlog:
                if not self._overrun:
                    break
                self._catch_up()
            frame = self._pop()
            if frame is not None:
                frames.append(frame)
                size += len(frame)
        return frames

    async def wait(self) -> None:
        """Return when there may be something to take, or nothing more will come. One writer at a time."""
        while self.idle:
            if self._direct is not None and self.lens == "full":
                self._hub.level(self, self._direct)
            self._parked = True
            try:
                await self._writer.park()
            finally:
                self._parked = False

    def tear(self) -> None:
        """The hub's side: part of what it wrote directly is kept by the channel and has to go first."""
        self._torn = True
        self._wake()

    def mend(self) -> bool:
        """Whether the rest of a direct write is to be sent now, even when there is nothing to send after it."""
        torn, self._torn = self._torn, False
        return torn

    # Ends.

    @property
    def crowded(self) -> bool:
        """The peer leaves too many replies unread."""
        return self._unsent >= _UNSENT or self._unsent_bytes >= _UNSENT_BYTES

    async def room(self) -> None:
        """Wait until the peer has read some of its replies, or is known not to read any more."""
        while self.crowded and not self.dead:
            await self._readers.park()

    def finish(self) -> None:
        """Write what is queued, then stop."""
        self._step_back()
        self._closing = True
        self._wake()

    def kill(self) -> None:
        """The peer takes nothing any more: drop everything, now and later."""
        self.dead = True
        self.backlog.clear()
        self._overrun = self._torn = False
        self._wake()
        self._readers.unpark_all()

    def _step_back(self) -> None:
        """Something else than the hub's next event is to be written: after what the hub has, and before what it will have."""
        self._hub.step_back(self)

    def _wake(self) -> None:
        if self._parked:
            self._parked = False
            self._writer.unpark_all()
        elif self._stir is not None:
            self._stir()

    def _overflow(self) -> None:
        if self.lens != "full":
            _log.info("a plain connection fell behind and is cut off")
            self.kill()
            self._cut()
            return
        self._missing = self.backlog.missing_from()
        self.backlog.keep((Reply, Piece, Begun))
        self._overrun = True
        # What happens from now on is in the snapshot, and who reads nothing costs the others nothing.
        self._hub.unsubscribe(self)

    def _catch_up(self) -> None:
        """All replies are out: say what is missing, and how things stand now."""
        snapshot, seq = self._fresh()
        self._overrun = False
        if self._missing is not None:
            self.backlog.add(Piece(encode_event(Lagged(self._missing, seq))))
        self.backlog.add(Whole(snapshot, seq))
        self._hub.unsubscribe(self)  # it may have been made a subscriber since
        self._hub.subscribe(self)

    def _pop(self) -> bytes | None:
        item = self.backlog.pop(self.lens)
        if isinstance(item, Record):
            return item.frame(self.lens)
        if isinstance(item, Whole):
            item = Begun(self._frames_of(item))
        if isinstance(item, Begun):
            made = next(item.frames, None)
            if made is not None:
                self.backlog.put_back(item)
            return made
        if isinstance(item, Reply):
            self._taken += 1
            self._taken_bytes += len(item.frame)
        return item.frame

    def _frames_of(self, item: Whole) -> Iterator[bytes]:
        if self.lens == "full":
            return plan_snapshot(item.snapshot, item.seq)
        said = project(item.snapshot, self.lens)
        return iter(() if said is None else (encode_event(said, seq=item.seq),))
