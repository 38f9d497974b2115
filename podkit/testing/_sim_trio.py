"""The one place that reaches into trio: a seeded schedule, and tasks that can be held back.

trio shuffles the tasks that are ready at the same time, and has a switch for doing so reproducibly that only Hypothesis' plug-in
sets; it is set here for one run and put back. A held task is a task that trio believes to be ready and never runs: that is
what SIGSTOP and SIGKILL look like from inside a program. All of it is private to trio, so `check_trio` says by name what a
version of trio does not have any more.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio
from trio.lowlevel import Task
from trio.testing import MockClock

_run: Any = trio._core._run  # there is no public way; see above
_threads: Any = trio._threads

_SELDOM = 50_000  # objects more than before, until Python looks for garbage
_NEEDED = ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING", "GLOBAL_RUN_CONTEXT", "CancelShieldedCheckpoint", "Deadlines")
_NEVER = 10**9  # seconds; the loop never sleeps that long, because it jumps before


def check_trio() -> None:
    """Raise `RuntimeError` when this trio cannot be scheduled by a seed."""
    missing = [name for name in _NEEDED if not hasattr(_run, name)]
    missing += [] if hasattr(_threads, "start_thread_soon") else ["start_thread_soon"]
    if missing:
        raise RuntimeError(f"trio {trio.__version__} cannot be scheduled by a seed: it has no {', '.join(missing)}")


def _no_thread(*_args: object, **_more: object) -> None:
    raise RuntimeError("a simulated run has no threads, whose ends would not follow from its seed: call the function itself")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Let everything that trio leaves to chance follow `seed`, for one `trio.run` inside the block. It has no threads."""
    check_trio()
    if _threads.start_thread_soon is _no_thread:
        raise RuntimeError("another simulated run is under way in this process, and there may be one at a time")
    before, state = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    start_thread, _threads.start_thread_soon = _threads.start_thread_soon, _no_thread
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True
    _run._r.seed(seed)
    try:
        yield
    finally:
        _threads.start_thread_soon = start_thread
        _run._ALLOW_DETERMINISTIC_SCHEDULING = before
        _run._r.setstate(state)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Let Python look for garbage seldom in the block: looking every few steps costs a tenth of a run."""
    before = gc.get_threshold()
    if 0 < before[0] < _SELDOM:
        gc.set_threshold(_SELDOM, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def virtual_clock() -> MockClock:
    """Time stands still while anybody has something to do, and jumps to the next deadline when nobody has.

    It is trio's own clock for tests, which trio insists on, less what that knows of real time; and who is woken by a jump runs in
    the same turn of the loop.
    """
    clock: Any = MockClock(autojump_threshold=0)
    now = 0.0

    def jump() -> None:
        nonlocal now
        deadlines = _run.GLOBAL_RUN_CONTEXT.runner.deadlines
        deadline = deadlines.next_deadline()
        if now < deadline < math.inf:
            now = deadline
            deadlines.expire(now)

    clock.current_time = lambda: now
    clock.deadline_to_sleep_time = lambda deadline: 0.0 if deadline <= now else _NEVER
    clock._autojump = jump
    return clock  # type: ignore[no-any-return]


def lay_open(task: Task, tops: Container[trio.CancelScope]) -> None:
    """Take away the shields between this task and one of `tops`, so that a cancellation from there reaches it."""
    status: Any = task._cancel_status
    while status is not None and status._scope not in tops:
        status._scope.shield = False
        status = status._parent


class Holder(Protocol):
    """What tasks belong to. While `held`, none of them takes a step."""

    held: bool
    waiting: list[Task]


def _not_now(_: object) -> object:
    """A step that does nothing and asks for another one."""
    return _run.CancelShieldedCheckpoint


class _Catcher(trio.abc.Instrument):
    """Is asked at every wake-up of a task, so it is there only while somebody is held."""

    def __init__(self, caught: Callable[[Task], None]) -> None:
        self._caught = caught

    def task_scheduled(self, task: Task) -> None:
        self._caught(task)


class Scheduler(trio.abc.Instrument):
    """Knows which task belongs to whom, and holds back the tasks of who is held. `on_step(task)` is called before every step.

    `stepping` is whom the task belongs to that takes it.
    """

    stepping: Holder | None

    def __init__(self, on_step: Callable[[Task], None] | None = None) -> None:
        self._runner: Any = _run.GLOBAL_RUN_CONTEXT.runner
        self._owners: dict[Task, Holder] = {}
        self._put_off: dict[Task, tuple[Any, Any]] = {}
        self._next: Holder | None = None
        self.stepping = None
        self._held: dict[int, Holder] = {}
        self._catcher = _Catcher(self._catch)
        self.on_step = on_step

    def start(self, nursery: trio.Nursery, holder: Holder, task: Callable[..., Any], *args: object, name: str) -> None:
        """Start a task that belongs to `holder`, as will every task that it starts."""
        self._next = holder
        try:
            nursery.start_soon(task, *args, name=name)
        finally:
            self._next = None

    def owner(self, task: Task) -> Holder | None:
        """Whom the task belongs to."""
        return self._owners.get(task)

    def tasks_of(self, holder: Holder) -> list[Task]:
        """The tasks that belong to `holder`."""
        return [task for task, owner in self._owners.items() if owner is holder]

    def hold(self, holder: Holder) -> None:
        """From here none of the tasks of `holder` takes a step."""
        holder.held = True
        if not self._held:
            trio.lowlevel.add_instrument(self._catcher)
        self._held[id(holder)] = holder

    def release(self, holder: Holder) -> None:
        """Let the tasks go on that became ready while they were held."""
        holder.held = False
        if self._held.pop(id(holder), None) is not None and not self._held:
            trio.lowlevel.remove_instrument(self._catcher)
        waiting, holder.waiting = holder.waiting, []
        self._runner.runq.extend(waiting)

    def close(self) -> None:
        """Hold nobody any more."""
        for holder in tuple(self._held.values()):
            self.release(holder)

    # What trio calls.

    def task_spawned(self, task: Task) -> None:
        owner = self._next
        if owner is None and task.parent_nursery is not None:
            owner = self._owners.get(task.parent_nursery.parent_task)
        if owner is not None:
            self._owners[task] = owner

    def task_exited(self, task: Task) -> None:
        self._owners.pop(task, None)

    def _catch(self, task: Task) -> None:
        owner = self._owners.get(task)
        if owner is None or not owner.held:
            return
        real = self._put_off.pop(task, None)
        if real is not None:
            task._next_send_fn, task._next_send = real
        removed = self._runner.runq.pop()
        assert removed is task
        owner.waiting.append(task)

    def before_task_step(self, task: Task) -> None:
        owner = self.stepping = self._owners.get(task)
        if self.on_step is not None:
            self.on_step(task)
        if owner is not None and owner.held:
            # It was ready when its owner was stopped: what it would do now it does later.
            self._put_off[task] = (task._next_send_fn, task._next_send)
            task._next_send_fn = _not_now
