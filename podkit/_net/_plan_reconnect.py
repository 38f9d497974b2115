"""How a client comes back after it lost its connection: when, and how long it goes on trying. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

_DOUBLINGS = 30


def _seconds(_policy: Reconnect, field: attrs.Attribute[float], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise ValueError(f"{field.name} is more than 0 seconds and finite, not {value!r}")


@attrs.frozen(kw_only=True)
class Reconnect:
    """That a client connects again after a lost connection, and how patiently. Times are in seconds, more than 0 and finite.

    The first pause is about `first`, every next one about twice as long, none longer than `longest`. Each is shortened by up
    to a half at random, so that many clients do not come back at one moment; `chance()` gives a number from 0 to 1 for that
    (None: the system's). Without a connection for `give_up` seconds the client ends. Raises ValueError for other times.
    """

    first: float = attrs.field(default=0.1, validator=_seconds)
    longest: float = attrs.field(default=5.0, validator=_seconds)
    give_up: float = attrs.field(default=60.0, validator=_seconds)
    chance: Callable[[], float] | None = attrs.field(default=None, repr=False)

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds to wait before attempt number `attempt`, counted from 0."""
        ceiling = min(self.longest, self.first * 2.0 ** min(attempt, _DOUBLINGS))
        return ceiling * (0.5 + min(max(chance, 0.0), 1.0) / 2)
