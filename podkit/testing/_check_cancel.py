"""Cancelling at every step: what a cancellation may interrupt is found by counting, not by chance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.frozen
class Cut(Generic[T]):
    """What became of a call that was cancelled at one of its steps.

    `reached` is whether it had that many steps; `returned` whether it came to its end all the same, with `value`.
    """

    reached: bool
    returned: bool
    value: T | None = None


class _CancelAt(trio.abc.Instrument):
    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._task, self._scope, self._left = trio.lowlevel.current_task(), scope, steps
        self.reached = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task and not self.reached:
            self._left -= 1
            if self._left <= 0:
                self.reached = True
                self._scope.cancel()


async def cancel_at(step: int, call: Callable[[], Awaitable[T]]) -> Cut[T]:
    """Await `call()` and cancel it when its task has paused for the `step`-th time; 0: before it begins. Raises what it raises."""
    with trio.CancelScope() as scope:
        if step == 0:
            scope.cancel()
        watch = _CancelAt(scope, step)
        if step:
            trio.lowlevel.add_instrument(watch)
        try:
            value = await call()
        finally:
            if step:
                trio.lowlevel.remove_instrument(watch)
        return Cut(watch.reached or step == 0, True, value)
    return Cut(True, False)
