"""Where chance, the wall clock and process numbers enter podkit: for one simulated run all of them come from the world."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from podkit.errors import ConfinementError

if TYPE_CHECKING:
    import random

    from podkit._life import House

    from ._sim_processes import ProcessTable

_SMALL = 8192  # bytes of a log that drops its past in a simulated run, so that some do
_POLL = 0.05  # seconds between two looks at a process


class _Secrets:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token_hex(self, length: int) -> str:
        return self._chance.randbytes(length).hex()


class _Time:
    def __init__(self, wall: Callable[[], float]) -> None:
        self.time = wall

    def monotonic_ns(self) -> int:
        return int(trio.current_time() * 1e9)


class _System:
    """What stands for `os` where processes are looked after."""

    def __init__(self, processes: Callable[[], ProcessTable]) -> None:
        self._processes = processes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._processes(), name)


async def _no_programs(_wards: object) -> None:
    await trio.lowlevel.checkpoint()
    reason = "a simulated run starts no programs; stand in for what would, or test it in real time"
    raise ConfinementError("advisory", reason)


def _who() -> bytes:
    return b"a program of the world".ljust(128)


@contextmanager
def seats(
    chance: random.Random,
    *,
    wall: Callable[[], float],
    own: Callable[[], tuple[int, int]],
    processes: Callable[[], ProcessTable],
    house: Callable[..., House],
) -> Iterator[None]:
    """Take these seats for the block: `own()` is the number of the running process, `processes()` are all of them,
    `house` makes what children live in."""

    taken: list[tuple[Any, str, Any]] = []
    places = (
        ("podkit._os._ids", "secrets", _Secrets(chance)),
        ("podkit._os._ids", "time", _Time(wall)),
        ("podkit._store._log_state", "secrets", _Secrets(chance)),
        ("podkit.abc._registry", "_SMALL", _SMALL),
        ("podkit._store._turns", "time", _Time(wall)),
        ("podkit._store._turns", "random", chance),
        ("podkit._store._lockfile", "random", chance),
        ("podkit._store._lockfile", "who", _who),
        ("podkit._store._session_lock", "who", _who),
        ("podkit._store._turns", "_EAGER", 0.0),  # asking again at once for a while never ends where time stands still meanwhile
        ("podkit._store._lockfile", "_EAGER", 0.0),
        ("podkit._life._open", "own_process", own),
        ("podkit._life._adopt", "House", house),
        ("podkit._os:Wards", "_launch", _no_programs),
        ("podkit._os._pidfd", "os", _System(processes)),
        ("podkit._os._pidfd", "process_state", lambda pid: processes().state(pid)),
        ("podkit._os._pidfd", "alive", lambda pid, started: processes().alive(pid, started)),
        ("podkit._os._pidfd", "_POLL", _POLL),
    )
    try:
        for module, name, seat in places:
            room: Any = importlib.import_module(module.partition(":")[0])
            room = getattr(room, module.partition(":")[2], room)
            taken.append((room, name, getattr(room, name)))
            setattr(room, name, seat)
        yield
    finally:
        for room, name, before in reversed(taken):
            setattr(room, name, before)
