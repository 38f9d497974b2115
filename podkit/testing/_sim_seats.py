"""Where chance, the wall clock and process numbers enter podkit: for one simulated run all of them come from the world."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    import random

_SMALL = 8192  # bytes of a log that drops its past in a simulated run, so that some do
_NEVER = 0.05  # seconds between two looks at a process


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


def _who() -> bytes:
    return b"a program of the world".ljust(128)


@contextmanager
def seats(
    chance: random.Random,
    *,
    wall: Callable[[], float],
    own: Callable[[], tuple[int, int]],
    tell: Callable[[int, int, int], bool],
    alive: Callable[[int, int], bool],
) -> Iterator[None]:
    """Take these seats for the block: `own()` is the number of the running process, `tell(pid, started, signal)` signals one."""

    def signal_process(pid: int, started: int, sig: int, *, group: bool = False) -> bool:  # noqa: ARG001 - as the real one
        return tell(pid, started, sig)

    async def wait_process(pid: int, started: int) -> None:
        while alive(pid, started):  # noqa: ASYNC110 - as the real one where nothing tells of it
            await trio.sleep(_NEVER)

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
        ("podkit._life._deaths", "signal_process", signal_process),
        ("podkit._life._deaths", "wait_process", wait_process),
    )
    try:
        for module, name, seat in places:
            room = importlib.import_module(module)
            taken.append((room, name, getattr(room, name)))
            setattr(room, name, seat)
        yield
    finally:
        for room, name, before in reversed(taken):
            setattr(room, name, before)
