"""The gate between what a pod does with files and the taking away of authority over them.

Operations pass it together, each for as long as it lasts; a revocation passes it alone. So when a revocation is through, nothing
that was begun under the old scope is still going on, and what was kept waiting meanwhile sees the new scope.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import attrs
import trio

from podkit.errors import ScopeError, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@attrs.define(eq=False)
class _Pass:
    what: str
    alone: bool
    task: trio.lowlevel.Task = attrs.field(factory=trio.lowlevel.current_task)
    admitted: trio.Event = attrs.field(factory=trio.Event)


_held: ContextVar[tuple[_Pass, ...]] = ContextVar("podkit_gate_passes", default=())


@attrs.define(eq=False, init=False, repr=False)
class Gate:
    """Many share it, or one has it alone. First come, first served: who waits to be alone keeps later ones out.

    What a task that is inside starts there (calls, and tasks in nurseries of its own) is inside with it: another `shared` in it
    passes at once, so an operation made of operations cannot wait for itself.
    """

    _inside: dict[_Pass, None]
    _queue: deque[_Pass]

    def __init__(self) -> None:
        self._inside = {}
        self._queue = deque()

    def __repr__(self) -> str:
        return f"<Gate {len(self._inside)} inside, {len(self._queue)} waiting>"

    @property
    def busy(self) -> tuple[str, ...]:
        """What is going on inside, oldest first: for saying what somebody waited for."""
        return tuple(one.what for one in self._inside)

    @asynccontextmanager
    async def shared(self, what: str) -> AsyncIterator[None]:
        """Be inside together with others; `what` says in a few words what for. Waits while somebody is alone, or waits to be."""
        async with self._pass(_Pass(what, alone=False), nested=self._held_here()):
            yield

    @asynccontextmanager
    async def alone(self, what: str = "a revocation") -> AsyncIterator[None]:
        """Be inside alone: waits until everybody has left, and keeps new ones out from now on.

        Raises `ScopeError` when called from inside, because it would wait for itself. A task elsewhere that somebody inside waits
        for waits too; whoever asks to be alone bounds that with a deadline of their own.
        """
        if self._held_here():
            inside = ", ".join(self.busy)
            raise ScopeError(f"{what} was asked for in the middle of what it has to wait for: {shown(inside, 200)}")
        async with self._pass(_Pass(what, alone=True), nested=False):
            yield

    def stay(self, what: str) -> Callable[[], None]:
        """From inside: be inside on, whoever waits to be alone, until the answer is called. For what outlives its call."""
        one = _Pass(what, alone=False)
        self._inside[one] = None

        def leave() -> None:
            if one in self._inside:
                self._leave(one)

        return leave

    @asynccontextmanager
    async def _pass(self, one: _Pass, *, nested: bool) -> AsyncIterator[None]:
        await trio.lowlevel.checkpoint_if_cancelled()
        if nested:
            self._inside[one] = None
        else:
            self._queue.append(one)
            self._admit()
            try:
                await one.admitted.wait()
            except BaseException:
                self._leave(one)
                raise
        before = _held.get()
        _held.set((*before, one))
        try:
            yield
        finally:
            _held.set(before)
            self._leave(one)

    def _held_here(self) -> bool:
        # A context is copied to every task that is started in it, also to tasks of a nursery elsewhere, for which nobody inside
        # waits: so the visitor must be an ancestor as well.
        held = [one for one in _held.get() if one in self._inside]
        return bool(held) and not _ancestors().isdisjoint(one.task for one in held)

    def _leave(self, one: _Pass) -> None:
        if one in self._inside:
            del self._inside[one]
        else:
            self._queue.remove(one)
        self._admit()

    def _admit(self) -> None:
        while self._queue:
            first = self._queue[0]
            if self._inside and (first.alone or any(one.alone for one in self._inside)):
                return
            self._queue.popleft()
            self._inside[first] = None
            first.admitted.set()


def _ancestors() -> set[trio.lowlevel.Task]:
    """The running task, the tasks that have it in a nursery of theirs, and so on up."""
    task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
    found = set()
    while task is not None:
        found.add(task)
        task = task.parent_nursery.parent_task if task.parent_nursery is not None else None
    return found
