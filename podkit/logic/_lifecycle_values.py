"""The state of a pod's life: its phase, its run, who waits for what, and the notices nobody saw yet. Frozen values only."""

from __future__ import annotations

import enum
from operator import attrgetter
from typing import Any

import attrs

from podkit.protocol import InvokeKind, Status

Ask = int
"""Who waits for an answer: a number the caller chose. Each one is answered exactly once."""


class Phase(enum.Enum):
    """Where a pod is in its life. Clients see only `status`."""

    IDLE = "idle"
    STARTING = "starting"
    """A run's input is being committed."""
    RUNNING = "running"
    PAUSING = "pausing"
    """The run was asked to pause and has not ended yet."""
    CANCELLING = "cancelling"
    """The run was cancelled and has not ended yet, or its input is still being committed."""
    BUSY = "busy"
    """The log is being rewritten (compaction, rewind): no run may start."""
    PAUSED = "paused"
    STOPPING = "stopping"
    """The pod ends as soon as what is under way is over."""
    STOPPED = "stopped"
    """The end. Nothing leads out of it."""

    @property
    def status(self) -> Status:
        """What clients are told: idle (also when stopped), paused, or running (all the rest)."""
        if self is Phase.PAUSED:
            return Status.PAUSED
        return Status.IDLE if self in (Phase.IDLE, Phase.STOPPED) else Status.RUNNING


class Hold(enum.Enum):
    """Why waking notices wait although the pod could start a run for them."""

    NONE = "none"
    ASKED = "asked"
    """Somebody cancelled or abandoned a run: until a run, a resume or a client's notice."""
    BACKOFF = "backoff"
    """A run or a commit failed: until the back-off is over, or as above."""


@attrs.frozen
class Waiting:
    """A notice in the queue. `child`: whose words or news it is, None for a client's."""

    id: str
    wake: bool
    child: str | None = None


@attrs.frozen
class Attempt:
    """A run whose input is being committed."""

    run: int
    ask: Ask | None
    cause: InvokeKind
    notices: tuple[str, ...]
    origin: Phase


@attrs.frozen(kw_only=True, repr=False)
class Life:
    """The state of one pod's life. `Life()` is a fresh pod; a restored one starts as `Life(phase=Phase.PAUSED, run=7)`."""

    phase: Phase = Phase.IDLE
    run: int = 0
    """The number of the last run that was committed: the current one, or the last."""
    cause: InvokeKind = InvokeKind.USER_SEND
    """Why that run was started."""
    numbers: int = 0
    """The last run number that was given out. A number whose commit failed is not used again."""
    attempt: Attempt | None = None
    """The run being committed."""
    pausers: tuple[Ask, ...] = ()
    """Who waits for the pause."""
    job: int | None = None
    """The job under way."""
    jobs: int = 0
    """The last job number that was given out."""
    notices: tuple[Waiting, ...] = ()
    """What arrived and was not seen, oldest first."""
    room: int = 128
    """How many notices may wait; more are refused. News of children is not refused, but put together in one place more."""
    wakes: int = 16
    """How many runs the words and news of one child may start before it has to wait for more."""
    spent: tuple[tuple[str, int], ...] = ()
    """How many of them each child has used up; one of each comes back with every `Refilled`."""
    refill: int | None = None
    """The timer that counts until then. There is one while anything is spent."""
    hold: Hold = Hold.NONE
    timer: int | None = None
    """The back-off timer that counts."""
    timers: int = 0
    """The last timer token that was given out."""
    failures: int = 0
    """How often in a row a run or a commit failed."""
    shown: Status = attrs.field(default=attrs.Factory(lambda self: self.phase.status, takes_self=True))
    """The status that was last published."""

    @property
    def queued(self) -> tuple[str, ...]:
        """The ids of the notices that nobody saw yet, oldest first."""
        return tuple(notice.id for notice in self.notices)

    @property
    def committing(self) -> tuple[str, ...]:
        """The ids of the notices that are just being committed as seen."""
        return () if self.attempt is None else self.attempt.notices

    @property
    def waking(self) -> bool:
        """Whether a notice in the queue may start a run, unless something holds it."""
        return any(notice.wake and self.may_wake(notice.child) for notice in self.notices)

    def may_wake(self, child: str | None) -> bool:
        """Whether that child's notices may start a run now. A client's always may."""
        return child is None or dict(self.spent).get(child, 0) < self.wakes

    @property
    def held(self) -> int:
        """How many waking notices are kept from starting a run: by a hold, or because their children did so too often lately."""
        if self.hold is Hold.NONE and self.phase is not Phase.IDLE:
            return 0
        return sum(notice.wake for notice in self.notices)

    @property
    def current(self) -> int | None:
        """The number that a cancel or a pause means now: the run being committed, under way or paused."""
        if self.attempt is not None:
            return self.attempt.run
        return self.run if self.phase is Phase.PAUSED or self.under_way else None

    @property
    def under_way(self) -> bool:
        """Whether a worker runs now."""
        if self.attempt is not None or self.job is not None:
            return False
        return self.phase in (Phase.RUNNING, Phase.PAUSING, Phase.CANCELLING, Phase.STOPPING)

    def __repr__(self) -> str:
        """The phase, and whatever else is not as in a fresh pod of that phase."""
        fresh = Life(phase=self.phase)
        fields = ((field.name, getattr(self, field.name)) for field in attrs.fields(Life)[1:])
        told = [f"{name}={value!r}" for name, value in fields if value != getattr(fresh, name)]
        return f"Life({', '.join([self.phase.name, *told])})"


_NAMES = tuple(field.name for field in attrs.fields(Life))
_values = attrgetter(*_NAMES)


def changed(life: Life, **changes: Any) -> Life:
    """The same life with these fields changed: what `attrs.evolve` does, which looks at each field one by one."""
    return Life(**(dict(zip(_NAMES, _values(life), strict=True)) | changes))
