"""The world of a scenario: everything in it follows from a seed, and what must never happen is looked for at every step."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from podkit.errors import PodkitError

from ._invariants import RegistryWatch
from ._invariants_log import PodWatch
from ._sim_injector import Injector
from ._sim_journal import JournalLog
from ._sim_kept import DiskSessions, sessions_on
from ._sim_processes import ProcessTable
from ._sim_program import Program
from ._sim_sessions import SimSessions
from ._sim_watch import WireWatch
from ._trace import Trace, short
from ._watch_log import LogCheck
from ._watch_writes import WriteWatch
from ._where import waits
from ._world import World

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from podkit._life import Pod

    from ._faults import Faults
    from ._sim_registry import SharedLog
    from ._sim_trio import Scheduler

_QUIET_SECONDS = 60.0
_ROOMS = (2, 8, 64)
EPOCH = 1_700_000_000.0


class SimWorld(World):
    """The world of a scenario. Besides what every world has: `chance` follows the seed, `calm` ends what goes wrong."""

    trace: Trace
    scope: trio.CancelScope
    watch: RegistryWatch
    injector: Injector
    processes: ProcessTable
    bystander: Program
    pids: Callable[[Program], tuple[int, int]] | None
    on_pod: Callable[[Pod], Callable[[], None]] | None
    on_crash: Callable[[str, BaseException], None] | None

    def __init__(self, nursery: trio.Nursery, scheduler: Scheduler, seed: int, faults: Faults, steps: int) -> None:
        registry = _log_for(seed, faults)
        super().__init__(nursery, scheduler, seed, registry=registry, sessions=_sessions_for(seed, registry))
        self.trace = Trace()
        self.operations: Counter[str] = Counter()
        self.cancellable: dict[trio.CancelScope, str] = {}
        self.to_mend: list[Callable[[], None]] = []
        self.logs: dict[str, LogCheck] = {}  # by session
        self.rewinds: set[tuple[str, int]] | None = None  # what may be gone back in; None: whatever is asked for
        self.wall_offset = EPOCH
        self.scope = trio.CancelScope()
        self.broken: tuple[int, str, str, tuple[str, ...], str] | None = None
        self.cause: Exception | None = None
        self.hints: list[str] = []  # where to look, for whoever reads what is broken
        self.watch = RegistryWatch(self.registry, self.programs, self.complain, self.trace.note)
        self.injector = Injector(self, faults, random.Random(f"faults {seed}"))  # noqa: S311 - not a secret
        self.bystander = Program("stranger", -1, nursery, scheduler)
        self._most_steps = steps
        self._before: Program | None = None  # whose step was the last one
        tidy = random.Random(f"init {seed}").random() < 0.5  # noqa: S311 - whether the machine's first process waits for others
        self.processes = ProcessTable(self.complain, self.trace.note, tidy=tidy)
        self.pids = self.processes.number
        self.on_pod, self.on_crash = self._pod_appeared, self._pod_crashed
        self.registry.twice = True
        self.registry.appended, self.registry.trouble = self.watch.appended, self.injector.trouble
        self.net.room = random.Random(f"net {seed}").choice(_ROOMS)  # noqa: S311 - how soon a slow reader is noticed
        self.net.writes = WriteWatch(nursery, self.complain)
        if isinstance(self.registry, JournalLog):
            self.registry.trouble_on_disk, self.registry.renewed = self.injector.trouble_on_disk, self._registry_renewed
        if isinstance(self.sessions, DiskSessions):
            self.sessions.trouble_on_disk = self.injector.trouble_on_disk
        self.net.watch, self.net.reported = self._watch_link, self.injector.reported

    def complain(self, invariant: str, what: str, *where: str) -> None:
        """Something happened that must never happen; only the first such thing counts. `where` are the places to look at."""
        if self.broken is None:
            self.hints = [f"it waits at {place}" for place in where]
            self.trace.note(f"!!! {invariant}: {what}")
            self.broken = (self.trace.step, invariant, what, tuple(self.trace.lines), self.trace.digest)
            self.injector.stop()
            self.scope.cancel()

    def calm(self) -> None:
        """From here nothing goes wrong, and what is stopped, cut off or late goes on."""
        self.injector.stop()
        self.net.heal_all()
        for program in self.programs:
            program.thaw()
        mend, self.to_mend = self.to_mend, []
        for part in mend:
            part()

    @contextmanager
    def operation(self, name: str) -> Iterator[trio.CancelScope]:
        """Count what the block does, and let faults cancel it. The refusals and failures podkit documents end the block quietly."""
        scope = trio.CancelScope()
        self.cancellable[scope] = name
        outcome = "ok"
        try:
            with scope:
                yield scope
        except (PodkitError, trio.TooSlowError, trio.EndOfChannel) as error:
            outcome = type(error).__name__
            self.trace.note(f"{name}: {outcome} {short(error)}")
        else:
            outcome = "cancelled" if scope.cancelled_caught else "ok"
            self.trace.note(f"{name}: {outcome}")
        finally:
            self.cancellable.pop(scope, None)
            self.operations[f"{name.split(maxsplit=1)[0]}: {outcome}"] += 1

    async def settle(self, seconds: float = _QUIET_SECONDS) -> None:
        """Wait until nobody is left, and complain about whoever or whatever stays for longer than this."""
        for program in self.programs:
            if program.alive and (program.kept or program.parent is None):
                program.scope.cancel()  # a SIGTERM to who would stay for ever
        with trio.move_on_after(seconds):
            for program in self.programs:
                await program.over.wait()
        left = [program for program in self.programs if program.stuck or not program.over.is_set()]
        if left:
            waiting = waits(task for program in left for task in self.scheduler.tasks_of(program))
            self.complain("liveness", f"{', '.join(p.name for p in left)} did not end within {seconds:.0f} s", *waiting)
        try:
            await self.registry.sweep()
        except PodkitError as error:
            self.complain("I8", f"the registry cannot be used when all is over: {short(error, 300)}")
        if self.watch.rows:
            self.complain("liveness", f"rows that nobody can take back: {', '.join(self.watch.rows)}")
        if held := self.registry.leases_held():
            self.complain("liveness", f"leases that nobody let go: {', '.join(held)}")
        if self.net.listeners:
            self.complain("liveness", f"somebody still listens at {', '.join(self.net.listeners)}")

    # What happens at every step, and what is told to the world.

    def stepped(self, task: Task) -> None:
        """A task is about to take a step."""
        step, injector, before = self.trace.stepped(task), self.injector, self._before
        if injector.on and injector.heeds(step):
            injector.step(step)
        if before is not None:
            self.watch.believes(before)
        self._before = self.scheduler.stepping  # type: ignore[assignment] # whoever owns tasks here is a program
        if step == self._most_steps:
            self.complain("liveness", f"{step} steps, and no end", *waits([task]))

    def wall(self) -> float:
        """The wall clock of this world."""
        return self.wall_offset + trio.current_time()

    def own_number(self) -> tuple[int, int]:
        """The same of the program that runs right now."""
        owner = self.running()
        return (1, 0) if owner is None else self.processes.number(owner)

    def running(self) -> Program | None:
        """The program whose task runs right now; None: it is the test's."""
        owner = self.scheduler.owner(trio.lowlevel.current_task())
        return owner if isinstance(owner, Program) else None

    def reboot(self) -> None:
        """The machine starts anew, and so does what is watched."""
        super().reboot()
        self.watch.reboot()
        for log in self.logs.values() if self.sessions.lost_power else ():
            log.lost_power()

    def _registry_renewed(self) -> None:
        """The registry began anew in place of one that was damaged: only when nobody holds anything."""
        if held := self.registry.leases_held():
            self.complain("I8", f"the registry began anew while {', '.join(held)} was held")
        self.watch.reboot()

    def _pod_crashed(self, name: str, error: BaseException) -> None:
        """An error got out of a pod that was up: it is dead, and did not end in order."""
        if self.cause is None and isinstance(error, Exception):
            self.cause = error
        self.complain("crash", f"pod {name} died of {type(error).__name__}: {short(error, 300)}")

    def _watch_link(self) -> WireWatch:
        return WireWatch(self.complain)

    def _pod_appeared(self, pod: Pod) -> Callable[[], None]:
        log = None
        store = pod.setting.kept.sessions
        if store is not None:  # then a log is of more than one pod
            log = self.logs.setdefault(pod.log.id, LogCheck(pod.name, self.complain, lambda: self.rewinds))
            committed = self.sessions.committed(pod.name) if isinstance(store, SimSessions) else None
            log.goes_on(pod.log.segment, pod.log.data, committed)
        watch = PodWatch(pod, self.complain, self.trace.note, log)
        pod.hub.subscribe(watch)
        return watch.end


def _log_for(seed: int, faults: Faults) -> SharedLog | None:
    chance = random.Random(f"disk {seed}")  # noqa: S311 - what a loss of power leaves
    return JournalLog(chance, durable=chance.random() < 0.5) if faults.on_disk else None


def _sessions_for(seed: int, registry: SharedLog | None) -> DiskSessions | None:
    """On the disk of the registry, when it is on one."""
    if not isinstance(registry, JournalLog):
        return None
    return sessions_on(registry.files, durable=random.Random(f"sessions {seed}").random() < 0.5)  # noqa: S311
