"""Running a scenario in a world where everything follows from a seed: the schedule, the clock, the ids and what goes wrong."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from podkit.errors import PodkitError

from ._faults import Faults
from ._invariants import RegistryWatch
from ._invariants_log import PodWatch
from ._sim_injector import Injector
from ._sim_journal import JournalLog
from ._sim_kept import DiskSessions, sessions_place
from ._sim_program import Program, only
from ._sim_registry import SharedLog
from ._sim_seats import seats
from ._sim_trio import Scheduler, seeded, seldom_collected, virtual_clock
from ._sim_watch import WireWatch
from ._trace import Trace, short
from ._watch_log import LogCheck
from ._watch_writes import WriteWatch
from ._world import World, world_of

if TYPE_CHECKING:
    from trio.lowlevel import Task

    from podkit._life import Pod

_MOST_STEPS = 2_000_000
_MOST_SECONDS = 24 * 3600.0
_QUIET_SECONDS = 60.0
_PIDS = 9  # so many process numbers there are, so that they are used again and again
_ROOMS = (2, 8, 64)
_EPOCH = 1_700_000_000.0


@attrs.frozen(kw_only=True)
class Report:
    """What a simulated run was: the same for the same seed, the same faults and the same podkit.

    `hash` covers every step of every task and everything noted; `seconds` are those of the world's clock.
    """

    seed: int
    steps: int
    hash: str
    seconds: float
    programs: int
    facts: int
    faults: Mapping[str, int]
    operations: Mapping[str, int]

    def __str__(self) -> str:
        faults = ", ".join(f"{kind} {count}" for kind, count in self.faults.items()) or "none"
        operations = ", ".join(f"{name} {count}" for name, count in self.operations.items()) or "none"
        return (
            f"seed {self.seed}: {self.steps} steps in {self.seconds:.1f} simulated seconds, {self.programs} programs, "
            f"{self.facts} facts, hash {self.hash}\n  faults: {faults}\n  operations: {operations}"
        )


class SimulationError(AssertionError):
    """A run in which something happened that must never happen. `simulate` with the same seed does it again.

    `invariant` is its id ("I1" to "I32"), "liveness" when something never ended, "crash" when an error got out of a pod, or
    "scenario" when the scenario itself raised (then that is the cause). `trace` are the last things that happened before, `hash`
    is over all of them.
    """

    seed: int
    step: int
    invariant: str
    what: str
    trace: tuple[str, ...]
    hash: str

    def __init__(self, seed: int, step: int, invariant: str, what: str, trace: tuple[str, ...], hash: str) -> None:
        super().__init__(seed, step, invariant, what, trace, hash)
        self.seed, self.step, self.invariant, self.what, self.trace, self.hash = seed, step, invariant, what, trace, hash

    def __str__(self) -> str:
        tail = "\n".join(self.trace)
        return f"{self.invariant}: {self.what}\nseed {self.seed}, step {self.step}, hash {self.hash}; before it:\n{tail}"


class SimWorld(World):
    """The world of a scenario. Besides what every world has: `chance` follows the seed, `calm` ends what goes wrong."""

    trace: Trace
    scope: trio.CancelScope
    watch: RegistryWatch
    injector: Injector
    bystander: Program
    pids: Callable[[Program], tuple[int, int]] | None
    on_pod: Callable[[Pod], Callable[[], None]] | None
    on_crash: Callable[[Program, BaseException], None] | None

    def __init__(self, nursery: trio.Nursery, scheduler: Scheduler, seed: int, faults: Faults, steps: int) -> None:
        registry = _log_for(seed, faults)
        super().__init__(nursery, scheduler, seed, registry=registry, sessions=_sessions_for(seed, registry))
        self.trace = Trace()
        self.operations: Counter[str] = Counter()
        self.cancellable: dict[trio.CancelScope, str] = {}
        self.to_mend: list[Callable[[], None]] = []
        self.logs: dict[str, LogCheck] = {}  # by session
        self.rewinds: set[tuple[str, int]] | None = None  # what may be gone back in; None: whatever is asked for
        self.wall_offset = _EPOCH
        self.scope = trio.CancelScope()
        self.broken: tuple[int, str, str, tuple[str, ...], str] | None = None
        self.cause: Exception | None = None
        self.watch = RegistryWatch(self.registry, self.programs, self.complain, self.trace.note)
        self.injector = Injector(self, faults, random.Random(f"faults {seed}"))  # noqa: S311 - not a secret
        self.bystander = Program("stranger", -1, nursery, scheduler)
        self._most_steps = steps
        self._stepping: Program | None = None
        self._numbers: dict[Program, tuple[int, int]] = {}
        self.pids = self.number
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

    def complain(self, invariant: str, what: str) -> None:
        """Something happened that must never happen; only the first such thing counts."""
        if self.broken is None:
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
        left = [program.name for program in self.programs if program.stuck or not program.over.is_set()]
        if left:
            self.complain("liveness", f"{', '.join(left)} did not end within {seconds:.0f} s")
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
        step = self.trace.stepped(task)
        if self.injector.heeds(step):
            self.injector.step(step)
        if self._stepping is not None:
            self.watch.believes(self._stepping)
        self._stepping = self.scheduler.owner(task)  # type: ignore[assignment] # whoever owns tasks here is a program
        if step == self._most_steps:
            self.complain("liveness", f"{step} steps, and no end")

    def wall(self) -> float:
        """The wall clock of this world."""
        return self.wall_offset + trio.current_time()

    def number(self, program: Program) -> tuple[int, int]:
        """The process number of a program, and when it started."""
        if program not in self._numbers:
            taken = {pid for other, (pid, _) in self._numbers.items() if other.alive}
            pid = next(pid for pid in range(2, 10_000) if pid not in taken)
            self._numbers[program] = (pid, len(self._numbers))
        return self._numbers[program]

    def own_number(self) -> tuple[int, int]:
        """The same of the program that runs right now."""
        owner = self.scheduler.owner(trio.lowlevel.current_task())
        return self.number(owner) if isinstance(owner, Program) else (1, 0)

    def numbered(self, pid: int, started: int) -> Program | None:
        """The living program with that number."""
        found = (program for program, number in self._numbers.items() if number == (pid, started))
        return next((program for program in found if program.alive), None)

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

    def _pod_crashed(self, program: Program, error: BaseException) -> None:
        """An error got out of a pod that was up: it is dead, and did not end in order."""
        if self.cause is None and isinstance(error, Exception):
            self.cause = error
        self.complain("crash", f"pod {program.name} died of {type(error).__name__}: {short(error, 300)}")

    def _watch_link(self) -> WireWatch:
        return WireWatch(self.complain)

    def _pod_appeared(self, pod: Pod) -> Callable[[], None]:
        log = None
        if pod.setting.kept.sessions is not None:  # then a log is of more than one pod
            log = self.logs.setdefault(pod.log.id, LogCheck(pod.name, self.complain, lambda: self.rewinds))
            log.goes_on(pod.log.segment, pod.log.data, self.sessions.committed(pod.name))
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
    sessions_place(registry.files)
    return DiskSessions(registry.files, durable=random.Random(f"sessions {seed}").random() < 0.5)  # noqa: S311


Scenario = Callable[[SimWorld], Awaitable[object]]


def simulate(scenario: Scenario, *, seed: int, faults: Faults | None = None, steps: int | None = None) -> Report:
    """Run `scenario(world)` under the schedule, the ids and the faults that follow from `seed`, in virtual time.

    The real controllers, registry logic, server and client run; only the drivers are the world's. What must never happen is
    looked for at every change. When the scenario returns, nothing goes wrong any more, and within 60 simulated seconds nobody
    and nothing may be left. `steps` bounds the run (None: two million steps of tasks). Raises `SimulationError`, with the seed.

    It may not be called from inside of trio, nor by two threads at a time: trio's schedule and podkit's ids belong to the run.
    """
    found: list[SimWorld] = []
    faults = Faults.none() if faults is None else faults
    most = _MOST_STEPS if steps is None else steps

    async def main() -> float:
        def make(nursery: trio.Nursery, scheduler: Scheduler) -> SimWorld:
            world = SimWorld(nursery, scheduler, seed, faults, most)
            scheduler.on_step = world.stepped
            found.append(world)
            return world

        async with world_of(make, None) as world:
            with world.scope:
                await _play(world, scenario)
            scheduler = world.scheduler
            scheduler.on_step = None
            world.injector.stop()
            world.net.writes = None
            world.net.watch = world.registry.appended = None
            return trio.current_time()

    with _seats(seed, found), seeded(seed), seldom_collected():
        seconds = trio.run(main, clock=virtual_clock())
    world = found[0]
    if world.broken is not None:
        step, invariant, what, lines, digest = world.broken
        raise SimulationError(seed, step, invariant, what, lines, digest) from world.cause
    return Report(
        seed=seed,
        steps=world.trace.step,
        hash=world.trace.digest,
        seconds=seconds,
        programs=len(world.programs),
        facts=world.watch.changes,
        faults=dict(sorted(world.injector.fired.items())),
        operations=dict(sorted(world.operations.items())),
    )


async def _play(world: SimWorld, scenario: Scenario) -> None:
    try:
        with trio.move_on_after(_MOST_SECONDS) as watchdog:
            await scenario(world)
    except Exception as error:  # noqa: BLE001 - told with the seed
        world.cause = error
        what = only(error)
        world.complain("scenario", f"{type(what).__name__}: {short(what, 500)}")
        return
    if watchdog.cancelled_caught:
        world.complain("liveness", "the scenario did not end within a simulated day")
    world.calm()
    await world.settle()


@contextmanager
def _seats(seed: int, found: list[SimWorld]) -> Iterator[None]:
    def tell(pid: int, started: int, sig: int) -> bool:
        from ._sim_launcher import send

        program = found[0].numbered(pid, started)
        if program is not None:
            found[0].trace.note(f"signal {int(sig)} to {program.name}")
            send(program, sig)
        return program is not None

    with seats(
        random.Random(f"ids {seed}"),  # noqa: S311 - ids of a test
        wall=lambda: found[0].wall() if found else _EPOCH,
        own=lambda: found[0].own_number(),  # noqa: PLW0108 - the world comes later
        tell=tell,
        alive=lambda pid, started: found[0].numbered(pid, started) is not None,
    ):
        yield
