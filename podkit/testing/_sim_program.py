"""A program of a world: what one process is outside of it. It can be stopped, go on, and die at any of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ._sim_trio import lay_open

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from trio.lowlevel import Task

    from podkit._life import Pod
    from podkit.abc import Lease

    from ._sim_disk import SimDisk
    from ._sim_link import SimChannel
    from ._sim_net import SimListener, SimTransport
    from ._sim_registry import SimRegistry
    from ._sim_trio import Scheduler


class Program:
    """One simulated process. `pod` is the pod in it, once there is one; `lodgers` are children of it that are tasks beside it.

    While `held` nothing of it runs. It is `dead` from the moment it was killed: its leases are free, its connections are broken,
    nobody listens at its addresses, and whatever its code still tries (its tasks are ended with the world) has no effect.
    """

    name: str
    number: int
    held: bool
    dead: bool
    frozen: bool
    short: bool  # of descriptors: it can open nothing
    reaped: bool  # who started it has seen it end
    scope: trio.CancelScope
    over: trio.Event
    died: trio.Event
    said: str
    stuck: bool
    registry: SimRegistry
    transport: SimTransport

    def __init__(self, name: str, number: int, nursery: trio.Nursery, scheduler: Scheduler) -> None:
        self.name, self.number = name, number
        self.held = self.dead = self.frozen = self.short = self.reaped = False
        self.waiting: list[Task] = []
        self.pod: Pod | None = None
        self.lodgers: list[Pod] = []
        self.incarnation: str | None = None
        self.leases: list[Lease] = []
        self.disks: list[SimDisk] = []
        self.sessions: list[Callable[[], None]] = []  # how each is let go
        self.channels: dict[SimChannel, None] = {}
        self.listeners: dict[SimListener, None] = {}
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.died = trio.Event()
        self.status: int | None = None
        self.said = ""
        self.parent: str | None = None
        starter = scheduler.owner(trio.lowlevel.current_task())
        self.starter: Program | None = starter if isinstance(starter, Program) else None  # who waits for its end
        self.stuck = False  # did not end when it was time
        self.kept = False  # outlives its parent by choice
        self.on_pod: Callable[[Pod], Callable[[], None]] | None = None
        self.on_crash: Callable[[str, BaseException], None] | None = None
        self._in_order: Callable[[], None] | None = None
        self._coming: Pod | None = None  # the pod, also before it is up
        self._nursery, self._scheduler = nursery, scheduler

    def __repr__(self) -> str:
        state = "dead" if self.dead else "stopped" if self.frozen else "over" if self.over.is_set() else "running"
        return f"<Program {self.name} #{self.number} {state}>"

    @property
    def alive(self) -> bool:
        """Whether it still runs, or would if it were not stopped."""
        return not self.dead and not self.over.is_set()

    def start(self, main: Callable[[], Awaitable[Any]]) -> None:
        """Run `main` as this program."""
        self._scheduler.start(self._nursery, self, self._live, main, name=f"program {self.name}")

    def houses(self, pod: Pod) -> None:
        """This is the pod in it."""
        self.pod, self.incarnation = pod, pod.incarnation
        if self._coming is None:
            self.watches(pod)

    def watches(self, pod: Pod) -> None:
        """This will be the pod in it, and says nothing unheard from here."""
        self._coming = pod
        if self.on_pod is not None and not self.dead:  # else it is unwound at the end of the world
            self._in_order = self.on_pod(pod)

    def pods(self) -> tuple[Pod, ...]:
        """All pods in it that are up."""
        return tuple(self.lodgers) if self.pod is None else (self.pod, *self.lodgers)

    def lodges(self, pod: Pod) -> Callable[[], None]:
        """One more pod lives in it. What is answered is to be called when that ended in order."""
        self.lodgers.append(pod)
        return nothing if self.on_pod is None or self.dead else self.on_pod(pod)

    def crashed(self, pod: Pod, error: BaseException) -> None:
        """An error got out of a pod in it."""
        if self.on_crash is not None and not self.dead:
            self.on_crash(pod.name, only(error))

    def start_soon(self, task: Callable[..., Awaitable[Any]], *args: object, name: str) -> None:
        """Run one more task as a part of this program."""
        self._scheduler.start(self._nursery, self, task, *args, name=name)

    async def _live(self, main: Callable[[], Awaitable[Any]]) -> None:
        try:
            with self.scope:
                await main()
        except* Exception as group:  # noqa: BLE001 - a program's failure is its own; whoever waits for it sees the status
            if not self.dead:
                error = only(group)
                self.status, self.said = 1, f"{type(error).__name__}: {error}"
                if self.pod is not None:
                    self.crashed(self.pod, error)
        finally:
            self.status = 0 if self.status is None else self.status
            if self.status == 0 and self._in_order is not None:
                self._in_order()
            self._let_go()
            self.over.set()

    def freeze(self) -> None:
        """SIGSTOP."""
        if self.alive:
            self.frozen = True
            self._scheduler.hold(self)

    def thaw(self) -> None:
        """SIGCONT."""
        if self.frozen and not self.dead:
            self.frozen = False
            self._scheduler.release(self)

    def has_descriptors(self) -> None:
        """It can open things again."""
        self.short = False

    def kill(self) -> None:
        """SIGKILL: not one more step of it. What the kernel does for a dead process is done at once."""
        if not self.alive:
            return
        self.dead = True
        self._scheduler.hold(self)
        self.status = -9
        self._let_go()
        for pod in (*(() if self._coming is None else (self._coming,)), *self.lodgers):
            # Whoever holds the pod in his hands, outside of its program, sees that it is over.
            pod.hub.close()
            pod.gone()
        self.died.set()
        self.over.set()

    def bury(self) -> None:
        """The world ends: unwind the tasks of a dead program. Nothing they do has an effect any more."""
        self.scope.cancel()
        for task in self._scheduler.tasks_of(self):
            for nursery in task.child_nurseries:  # they are inside of the shields that keep a pod from dying early
                nursery.cancel_scope.cancel()
            lay_open(task, (self.scope, self._nursery.cancel_scope))
        self._scheduler.release(self)

    def _let_go(self) -> None:
        """Close everything, as the kernel does. The lease comes last."""
        for listener in tuple(self.listeners):
            listener.close_now()
        for channel in tuple(self.channels):
            channel.hang_up()
        for disk in self.disks:
            disk.die()
        for let_go in self.sessions:
            let_go()
        for lease in self.leases:
            lease.release()
        self.listeners.clear()
        self.channels.clear()
        self.leases.clear()
        self.sessions.clear()


def nothing() -> None:
    """What there is to do when there is nothing to do."""


def only(error: BaseException) -> BaseException:
    """The error in groups of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def first(*events: trio.Event) -> None:
    """Return when one of these events has happened."""
    if any(event.is_set() for event in events):
        await trio.lowlevel.checkpoint()
        return
    async with trio.open_nursery() as nursery:

        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(wait, event)
