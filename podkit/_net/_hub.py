"""The one place where a pod's events get their number and go out to everybody who listens."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from podkit.logic import InFlight
from podkit.protocol import Alert, Shutdown

from ._burst import burst_of, burst_of_one
from ._fan import Fan
from ._plan_late import waits
from ._record import record_of, stand_in
from ._ring import Ring
from ._view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podkit.logic import Limits
    from podkit.protocol import Event

    from ._burst import Burst
    from ._desk import Desk
    from ._record import Record

_log = logging.getLogger("podkit.hub")

_GATHERED = 64  # short pieces that wait for the end of the turn


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
        if not self._subscribers and len(pending) < _GATHERED and waits(event):
            if not pending:
                self.fan.wake()
            pending.append(event)
            self.seq += 1
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
            burst = burst_of(self.seq - len(events) + 1, events, exact=bool(self.fan))
            self._keep(burst)
            if self.fan:
                self.fan.offer(burst)

    def _take_one(self, event: Event) -> None:
        """Give the last event to everybody and everything."""
        record = record_of(self.seq, event)
        burst = burst_of_one(record, exact=bool(self.fan))
        self._keep(burst)
        if type(event) is Alert:
            self.alerts.append(event if record.sayable else stand_in(event))
        if self._subscribers:
            self._hand_out(record)
        if self.fan:
            self.fan.offer(burst)

    def _keep(self, burst: Burst) -> None:
        self._ring.put(burst)
        # What cannot be said was not said: a snapshot that showed it could not be sent either.
        if len(burst.events) == 1:
            self._in_flight.fold(burst.events[0])
        else:
            self._in_flight.fold_all(burst.events)

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

    def _fell(self, subscriber: Fanned, bursts: list[Burst], torn: bool) -> None:
        self._subscribers[subscriber] = None
        self._round = ()
        if torn:
            subscriber.tear()
            return
        for burst in bursts:
            for record in burst.records():
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
