"""Starting a child as a task beside its parent, in the same program."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import trio

import podkit.abc as ports

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from podkit.abc import Process, Tool, Worker

    from ._birth import Birth

_log = logging.getLogger("podkit.tasks")


class TaskLauncher(ports.Launcher):
    """Runs the child in this program. `make_worker` is called for each child, with the birth if it takes an argument.

    `tools` are the child's. What the parent does to the whole program (blocking it, ending it) it does to the child.
    """

    def __init__(self, make_worker: Callable[..., Worker], *, tools: Sequence[Tool] = ()) -> None:
        self._make_worker, self._tools = make_worker, tuple(tools)
        self._wants_birth = wants_birth(make_worker)

    def __repr__(self) -> str:
        return f"TaskLauncher({self._make_worker!r})"

    async def launch(self, birth: ports.Birth) -> Process:
        await trio.lowlevel.checkpoint()

        async def run() -> None:
            worker = self._make_worker(birth) if self._wants_birth else self._make_worker()
            await birth.adopt(worker, tools=self._tools)

        return birth.task(run)


def wants_birth(make: Callable[..., Any]) -> bool:
    try:
        inspect.signature(make).bind()
    except TypeError:
        return True
    except ValueError:  # a callable without a signature
        return False
    return False


class TaskProcess(ports.Process):
    """A task as a process: its status is 0 when it came to its end, 1 when it raised, -9 when it was killed."""

    def __init__(self, birth: Birth, run: Callable[[], Awaitable[Any]]) -> None:
        self._birth, self._run = birth, run
        self._polite = trio.CancelScope()
        self._over = trio.Event()
        self._status = 0
        self._said = ""
        self.house: trio.CancelScope | None = None

    def __repr__(self) -> str:
        state = f"status {self._status}" if self._over.is_set() else "running"
        return f"<TaskProcess {self._birth.name} {state}>"

    async def live(self) -> None:
        """Run the child; nothing it raises gets out."""
        try:
            with self._polite:
                await self._run()
        except Exception as error:  # noqa: BLE001 - a child's failure is its own; the parent sees the status
            self._status, self._said = 1, f"{type(error).__name__}: {error}"
            _log.warning(
                "pod %s ended with an error", self._birth.name, exc_info=error, extra={"incarnation": self._birth.incarnation}
            )
        finally:
            self._birth.lease.release()
            with trio.move_on_after(1, shield=True):
                await self._birth.listener.aclose()
            self._over.set()

    async def wait(self) -> int:
        await self._over.wait()
        return self._status

    def terminate(self) -> None:
        self._polite.cancel()

    def kill(self) -> None:
        if not self._over.is_set():
            self._status = -9
        if self.house is not None:
            self.house.cancel()
        self._polite.cancel()

    def stderr_tail(self) -> str:
        return self._said
