"""Events with the number of their run."""

from typing import Any, Final, TypeVar

from ._derive import record_shape
from ._events import RUN_EVENTS
from ._generated import make_with_run

_E = TypeVar("_E")
_MAKERS: Final[dict[type, Any]] = {cls: make_with_run(record_shape(cls, lax=True)) for cls in RUN_EVENTS}


def with_run(event: _E, run: int | None) -> _E:
    """`event` with its run set to `run`. Events that belong to no run come back as they are."""
    make = _MAKERS.get(type(event))
    return event if make is None else make(event, run)
