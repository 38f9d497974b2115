"""How much of everything a pod takes. All numbers are per pod unless said otherwise."""

from __future__ import annotations

import attrs


def _count(_limits: Limits, field: attrs.Attribute[int], value: object) -> None:
    if type(value) is not int:
        raise TypeError(f"{field.name} is a whole number")
    if value < 1:
        raise ValueError(f"{field.name} is at least 1, not {value}")


def _seconds(_limits: Limits, field: attrs.Attribute[float], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{field.name} is a number of seconds")
    if not 0 < value < float("inf"):
        raise ValueError(f"{field.name} is more than 0 seconds and finite, not {value}")


def _whole(default: int) -> int:
    return attrs.field(default=default, validator=_count)


def _time(default: float) -> float:
    return attrs.field(default=default, validator=_seconds)


@attrs.frozen(kw_only=True)
class Limits:
    """What a pod allows at most. Counts are at least 1 and times are more than 0 seconds.

    Raises TypeError or ValueError for anything else.
    """

    depth: int = _whole(8)
    """Generations of a tree: a root is at depth 1, and a pod at this depth has no children."""
    children: int = _whole(64)
    """Living children of one pod."""
    pods: int = _whole(512)
    """Pods of one tree."""
    connections: int = _whole(1024)
    method_bytes: int = _whole(2**20)
    """Length of one method, from a connection or from the pod's own program. A transport reads no more than its own limit, too."""
    event_text: int = _whole(16 * 1024)
    """Bytes of a text from another pod, as a model or a person reads it."""
    outbox_events: int = _whole(4096)
    """Events waiting for one subscriber."""
    outbox_bytes: int = _whole(8 * 2**20)
    """Bytes waiting for one subscriber."""
    resume_events: int = _whole(4096)
    """Events kept for who comes back after a lost connection."""
    resume_bytes: int = _whole(2**20)
    """Bytes kept for who comes back."""
    in_flight: int = _whole(2**20)
    """Characters of what a run has streamed and not committed, kept for who attaches then; of more the oldest are left out."""
    receipts: int = _whole(1024)
    """Answers remembered, so that a repeated method is answered and not repeated."""
    alerts: int = _whole(512)
    """Alerts kept for who connects later."""
    notices: int = _whole(128)
    """Notices waiting to be seen. One more is refused; news of children goes together into one place more."""
    wakes: int = _whole(16)
    """Runs that the words and news of one child may start in a row, without anybody else asking for one."""
    wake_seconds: float = _time(10.0)
    """Seconds after which it may start one more. Until then its notices wait, and are seen with whatever run there is."""
    stop_grace: float = _time(5.0)
    """Seconds a stop waits for the run before it is cut."""
    cancel_grace: float = _time(5.0)
    """Seconds a cancelled run has before it is cut."""
    drain: float = _time(2.0)
    """Seconds that subscribers have to take the last events of a pod."""
    hello_seconds: float = _time(5.0)
    """Seconds a connection has to be admitted."""
    hello_bytes: int = _whole(65536)
    """Bytes a connection may send before it is admitted."""
