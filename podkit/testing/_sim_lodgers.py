"""Children that are tasks: they live in the program of their parent, and are watched there like any pod with one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from podkit._life import House

if TYPE_CHECKING:
    from ._sim_program import Program


def lodging(program: Callable[[], Program | None]) -> type[House]:
    """The house of a child for one simulated run. `program()` is the program that runs right now."""

    class Lodging(House):
        def __init__(self, *args: Any, own_program: bool = False, **more: Any) -> None:
            super().__init__(*args, own_program=own_program, **more)
            host = None if own_program else program()
            self._host = host
            self._in_order = None if host is None else host.lodges(self.pod)

        async def live(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            try:
                await super().live(task_status)
            except Exception as error:
                if self._host is not None:
                    self._host.crashed(self.pod, error)
                raise
            else:
                killed = self.scope.cancel_called or (self._host is not None and self._host.dead)
                if self._in_order is not None and not killed:
                    self._in_order()
            finally:
                if self._host is not None:
                    self._host.lodgers.remove(self.pod)

    return Lodging
