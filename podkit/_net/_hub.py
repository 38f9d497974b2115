"""The one place where a pod's events get their number and go out to everybody who listens."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec

from podkit.errors import LocalProtocolError
from podkit.logic import InFlight
from podkit.protocol import Alert, AlertLevel, AlertSource, Shutdown, encode_event, project_a, project_b

from ._fan import Fan
from ._plan_late import LONGEST, most_bytes, waits
from ._ring import Ring
from ._view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podkit.logic import Limits
    from podkit.protocol import Event

    from ._desk import Desk

_log = logging.getLogger("podkit.hub")

_GATHERED = 64  # short pieces that wait for the end of the turn

Lens: TypeAlias = Literal["full", "A", "B"]
"""How much of the vocabulary a connection sees: all of it, or what clients of one generation know."""


class Record(msgspec.Struct, eq=False, gc=False):
    """One published event and its number, encoded at most once for all connections that see the same of it.

    `first` is the number of the first event that was merged into it, None for one that stands for itself. `size` is what it
    counts for in bytes: the length of `whole`, or until that is known an upper bound of it.
    """

    seq: int
    event: Event
    first: int | None = None
    size: int = 0
    _whole: bytes | None = None
    sayable: bool = True
    """False when it cannot be encoded and something else stands in its place. What has a bound can be said."""
    _frames: dict[Lens, bytes | None] | None = None  # what is left of it for plain connections

    def __repr__(self) -> str:
        return f"<Record {self.seq} {type(self.event).__name__}>"

    @property
    def late(self) -> bool:
        """Nobody has needed it as bytes yet."""
        return self._whole is None

    @property
    def whole(self) -> bytes:
        """All of it, as bytes."""
        if self._whole is None:
            try:
                self._whole = encode_event(self.event, seq=self.seq, first=self.first)
                if len(self._whole) > LONGEST:
                    raise LocalProtocolError(f"it has {len(self._whole)} bytes, and clients read {LONGEST}")
            except LocalProtocolError as error:
                # The number is given away already: something has to stand there, or every reader would see a gap.
                self.sayable = False
                _log.error("event %d cannot be said on the wire: %s", self.seq, error)
                self._whole = encode_event(_stand_in(self.event), seq=self.seq)
        return self._whole

    def frame(self, lens: Lens) -> bytes | None:
        """The event as bytes, None when this lens does not show it."""
        if lens == "full":
            return self.whole
        frames = self._frames
        if frames is None:
            frames = self._frames = {}
        if lens not in frames:
            frames[lens] = self._projected(lens)
        return frames[lens]

    def _projected(self, lens: Lens) -> bytes | None:
        event = self.event if self.sayable else _stand_in(self.event)
        shown = project(event, lens)
        if shown is None:
            return None
        return self.whole if shown is event else encode_event(shown, seq=self.seq, first=self.first)


def record_of(seq: int, event: Event, first: int | None = None) -> Record:
    """`event` as a record. It is encoded here unless it is known to be sayable and how long it can be."""
    size = most_bytes(event) if first is None else None
    if size is not None:
        return Record(seq, event, None, size)
    record = Record(seq, event, first)
    record.size = len(record.whole)
    return record


def _written(seq: int, events: list[Event]) -> tuple[list[Record], list[bytes]]:
    """`events`, the first of them with the number `seq`, as records that are about to be written, and as what is written."""
    try:
        frames = [encode_event(event, seq=number) for number, event in enumerate(events, seq)]
    except LocalProtocolError:
        records = [record_of(number, event) for number, event in enumerate(events, seq)]
        return records, [record.whole for record in records]
    numbers = range(seq, seq + len(events))
    return [Record(n, event, None, len(frame), frame) for n, event, frame in zip(numbers, events, frames, strict=True)], frames


def _stand_in(event: Event) -> Alert:
    return Alert(AlertLevel.ERROR, AlertSource.POD, f"an event could not be encoded: {type(event).__name__}", 0)


def project(event: Event, lens: Lens) -> Event | None:
    """What a connection with this lens is shown instead of `event`; None for nothing at all."""
    if lens == "full":
        return event
    return project_b(event) if lens == "B" else project_a(event)


class Subscriber(Protocol):
    """Who is handed every record. Neither call may wait; what raises is dropped from the round."""

    def offer(self, record: Record) -> None: ...
    def hub_closed(self) -> None: ...


class Fanned(Subscriber, Protocol):
    """A subscriber that can also be written to directly."""

    def tear(self) -> None:
        """Part of what was written directly is still to go, before anything else."""


class Hub:
    """One ordered stream of events.

    `seq` is the number of the last event, 0 before the first; `alerts` holds the last alerts, oldest first, and `in_flight` what
    was streamed and not committed. Nothing a subscriber does makes `publish` wait or fail. A `Shutdown` is the last event of a
    pod: nobody misses it, however far behind, and who subscribes after it is handed it too.

    Short pieces of a stream are gathered while nobody is handed them one by one: what they cost is paid once for all of a
    turn, and they become bytes only when somebody reads bytes. `settle` does what is owed; whoever looks finds it done.
    """

    seq: int
    closed: bool
    alerts: deque[Alert]
    fan: Fan

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.seq = 0
        self.alerts = deque(maxlen=limits.alerts)
        self.closed = False
        self.fan = Fan(self._fell, self.settle)
        self._pending: list[Event] = []  # published, and not in any of these:
        self._in_flight = InFlight(limits.in_flight)
        self._ring = Ring(events=limits.resume_events, size=limits.resume_bytes)
        self._final: Record | None = None
        self._subscribers: dict[Subscriber, None] = {}
        self._round: tuple[Subscriber, ...] = ()

    def __repr__(self) -> str:
        return f"<Hub at {self.seq} with {len(self._subscribers)} subscribers{', closed' if self.closed else ''}>"

    @property
    def in_flight(self) -> InFlight:
        """What was streamed and not committed."""
        self.settle()
        return self._in_flight

    def publish(self, event: Event) -> int:
        """Give `event` the next number and hand it to every subscriber; return the number. After `close` nothing happens."""
        if self.closed:
            return self.seq
        pending = self._pending
        if waits(event) and not self._subscribers and len(pending) < _GATHERED:
            self.seq += 1
            pending.append(event)
            if len(pending) == 1:
                self.fan.wake()
            return self.seq
        self.settle()
        self.seq += 1
        if type(event) is Shutdown:
            self._final = record_of(self.seq, event)
            self._level_off()
            self._hand_out(self._final)
        else:
            self._take_one(event)
        return self.seq

    def settle(self) -> None:
        """Take in what was published and only gathered. Never waits."""
        if self._pending:
            events, self._pending = self._pending, []
            if len(events) == 1:
                self._take_one(events[0])
            else:
                self._take_in(events)

    def _take_one(self, event: Event) -> None:
        """Give the last event to everybody and everything."""
        record = record_of(self.seq, event)
        self._ring.put([record], record.size)
        if type(event) is Alert:
            self.alerts.append(event if record.sayable else _stand_in(event))
        if record.sayable:
            # What cannot be said was not said: a snapshot that showed it could not be sent either.
            self._in_flight.fold(event)
        if self._subscribers:
            self._hand_out(record)
        if self.fan:
            self.fan.offer([record], [record.whole], record.size)

    def _take_in(self, events: list[Event]) -> None:
        """The same for the last events, while no subscriber is handed any."""
        seq = self.seq - len(events) + 1
        frames: list[bytes] = []
        if self.fan:
            records, frames = _written(seq, events)
        else:
            records = [record_of(number, event) for number, event in enumerate(events, seq)]
        size = sum([record.size for record in records])
        self._ring.put(records, size)
        self._in_flight.fold_all([record.event for record in records if record.sayable])
        if self.fan:
            self.fan.offer(records, frames, size)

    def _hand_out(self, record: Record) -> None:
        if not self._round:
            self._round = tuple(self._subscribers)
        for subscriber in self._round:
            try:
                subscriber.offer(record)
            except Exception:  # noqa: BLE001 - a subscriber never breaks the pod
                _log.exception("a subscriber failed and was dropped")
                self.unsubscribe(subscriber)

    @property
    def head(self) -> int:
        """The number of a snapshot taken now: that of the last event, but for a `Shutdown`, which no snapshot shows."""
        return self.seq - 1 if self._final is not None and self._final.seq == self.seq else self.seq

    def after(self, seq: int) -> Iterable[Record] | None:
        """What was published after event `seq`, a `Shutdown` aside; None when it is no longer held, or `seq` was never given."""
        self.settle()
        return self._ring.after(seq, self.head)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Hand every event from the next one on to `subscriber`. Subscribing twice is subscribing once."""
        if subscriber in self._subscribers or subscriber in self.fan:
            return
        self.settle()
        if not self.closed:
            self._subscribers[subscriber] = None
            self._round = tuple(self._subscribers)
        if self._final is not None:
            subscriber.offer(self._final)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Hand it nothing more. Unknown subscribers are ignored."""
        self.fan.drop(subscriber)
        if self._subscribers.pop(subscriber, self) is None:
            self._round = tuple(self._subscribers)

    def level(self, subscriber: Fanned, write: Callable[[bytes], bool]) -> None:
        """`subscriber` was written everything until now: from here on it is written to directly, as long as that goes without
        waiting.

        Nothing happens for who is not subscribed, after the last event, and where nobody runs `fan`.
        """
        if self.fan.running and self._final is None and subscriber in self._subscribers:
            self.fan.join(subscriber, write)
            del self._subscribers[subscriber]
            self._round = ()

    def catch_up(self, subscriber: Fanned) -> None:
        """Write `subscriber` the events until now, if it is written to directly. It may fall while that is tried."""
        if subscriber in self.fan:
            self.fan.flush()

    def step_back(self, subscriber: Fanned) -> None:
        """Hand events to `subscriber` again, after writing it those until now: it has something else to write in between."""
        if subscriber in self.fan:
            self.fan.leave(subscriber)
            self._subscribers[subscriber] = None
            self._round = ()

    def _level_off(self) -> None:
        """Everybody is handed events again."""
        self._subscribers.update(dict.fromkeys(self.fan.dissolve()))
        self._round = ()

    def _fell(self, subscriber: Fanned, records: list[Record], torn: bool) -> None:
        self._subscribers[subscriber] = None
        self._round = ()
        if torn:
            subscriber.tear()
            return
        for record in records:
            subscriber.offer(record)

    def open_view(self, desk: Desk) -> View:
        """A view from inside this program: a snapshot as of now, then every event once, in order."""
        view = View(self, desk)
        self.subscribe(view)
        if self.closed:
            view.hub_closed()
        return view

    def close(self) -> None:
        """No more events. Views end after what they still hold; connections are ended by their server."""
        if self.closed:
            return
        self.closed = True
        self._level_off()
        leaving, self._subscribers, self._round = tuple(self._subscribers), {}, ()
        for subscriber in leaving:
            subscriber.hub_closed()
