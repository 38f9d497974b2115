"""What goes wrong in a simulated world, and how often."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import attrs

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "kill": "a program is killed between two of its steps",
        "kill_in_spawn": "during a birth the parent, its own parent or the child is killed",
        "kill_in_stop": "while a child is stopped the parent, its own parent or the child is killed",
        "freeze": "a program is stopped for up to 20 seconds and goes on",
        "descriptors": "for up to 10 seconds a program can open nothing more: no connection, no lease and no file",
        "cancel": "an operation is cancelled at one of its steps",
        "partition": "nothing passes between two programs for a while",
        "cut": "a connection is lost, and the end of what was sent with it",
        "torn": "a connection is lost in the middle of a frame",
        "half_close": "one direction of a connection ends and the other goes on",
        "slow_reader": "what is sent in one direction arrives seconds later",
        "vanished": "a peer takes nothing any more and does not say so",
        "event_lost": "what a child tells its parent does not arrive",
        "event_late": "what a child tells its parent arrives seconds later",
        "event_twice": "what a child tells its parent arrives once more, later",
        "event_reordered": "what a child tells its parent arrives after what it says next",
        "registry_read": "the registry cannot be read",
        "registry_before": "the registry cannot be written to",
        "registry_after": "the registry was written to, and says that it was not",
        "registry_busy": "the registry is busy for longer than anybody waits",
        "disk_full": "for up to 10 seconds nothing more fits on the disk that the registry and sessions are on",
        "disk_error": "a call on podkit's own files fails with an input/output error",
        "disk_interrupted": "a call on podkit's own files is interrupted",
        "disk_short": "of what is written to podkit's own files only a half gets there",
        "disk_sync": "the disk that the registry and sessions are on does not say that it has what was written",
        "disk_killed": "a program is killed while it changes podkit's own files",
        "clock_jump": "the wall clock is set, forward or back",
        "stranger": "somebody who was not born tries to take the place of a child",
        "spoof": "somebody who is no child reports as one",
        "reboot": "the machine loses power and starts anew",
    }
)
_ON_DISK = frozenset(kind for kind in KINDS if kind.startswith("disk_"))


def _checked(rates: Mapping[str, float]) -> Mapping[str, float]:
    unknown = sorted(set(rates) - set(KINDS))
    if unknown:
        raise ValueError(f"there is no fault called {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if not all(isinstance(rate, int | float) and 0 <= rate < math.inf for rate in rates.values()):
        raise ValueError("a rate is a number, 0 or more")
    return MappingProxyType({kind: rates[kind] for kind in KINDS if rates.get(kind)})


def _count(_self: object, _field: object, most: int) -> None:
    if not isinstance(most, int) or most < 0:
        raise ValueError("the most faults of a run are a whole number, 0 or more")


@attrs.frozen
class Faults:
    """How often each kind of fault happens. `KINDS` says what they are.

    `rates` is the mean number of each kind in 1,000 steps of the schedule (a run of a dozen pods has some thousands); `most` is how
    many faults there are in one run at the most. With `disk` the registry, and the sessions that a scenario keeps, are in files (in
    memory, behind podkit's own file module), so that journals, lock files and anchors run too, and a restart of the machine may
    lose what was not synced. None: they are when a kind that needs it has a rate.
    """

    rates: Mapping[str, float] = attrs.field(factory=dict, converter=_checked)
    most: int = attrs.field(default=50, kw_only=True, validator=_count)
    disk: bool | None = attrs.field(default=None, kw_only=True)

    @property
    def on_disk(self) -> bool:
        """Whether the registry is in files."""
        return bool(_ON_DISK & set(self.rates)) if self.disk is None else self.disk

    @classmethod
    def none(cls, *, disk: bool = False) -> Faults:
        """Nothing goes wrong."""
        return cls(disk=disk)

    @classmethod
    def only(cls, *kinds: str, rate: float = 1.0, most: int = 50) -> Faults:
        """These kinds and no other."""
        return cls(dict.fromkeys(kinds, rate), most=most)

    @classmethod
    def default(cls) -> Faults:
        """Everything goes wrong now and then; the machine is not restarted."""
        rates = {kind: 0.15 for kind in KINDS if kind != "reboot"}
        return cls({**rates, "kill": 0.1, "vanished": 0.05})
