"""Children that are tasks: they live in the program of their parent, and are watched there like any pod with one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from podkit._life import House

if TYPE_CHECKING:
    from ._sim_program import Program


def lodging(program: Callable[[], Program | None]) -> Callable[..., House]:
    """What makes the houses of children in one simulated run. `program()` is the program that runs right now."""

    def house(*args: Any, own_program: bool = False, **more: Any) -> House:
        host = None if own_program else program()
        return House(*args, own_program=own_program, **more) if host is None else Lodging(host, *args, **more)

    return house


class Lodging(House):
    """The house of a child that is a task, in the program `host`."""

    def __init__(self, host: Program, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._host, self._in_order = host, host.lodges(self.pod)

    async def live(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            await super().live(task_status)
        except Exception as error:
            self._host.crashed(self.pod, error)
            raise
        else:
            if not (self.scope.cancel_called or self._host.dead):  # else it was killed
                self._in_order()
        finally:
            self._host.lodgers.remove(self.pod)
