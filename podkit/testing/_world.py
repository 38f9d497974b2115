"""A whole world in memory: registry, network and programs, without files, sockets, threads or a wall clock."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from podkit._life import Pod, living, open_pod, restored_house
from podkit._net import Client, connect
from podkit.abc import Tool, Worker
from podkit.errors import LaunchFailedError, PodUnreachableError
from podkit.logic import Scope

from ._sim_journal import RUN_DIR, JournalLog
from ._sim_launcher import ProgramLauncher, ProgramProcess, adopt
from ._sim_net import Net, SimListener, SimTransport
from ._sim_program import Program, first
from ._sim_registry import SharedLog, SimRegistry
from ._sim_sessions import MemorySessions, SharedSessions, SimSessions
from ._sim_trio import Scheduler

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Unpack

    from podkit.abc import Child, Launcher, Process, Registry, Transport

    from ._sim_files import SimFiles
    from ._world_options import ConnectOptions, OpenOptions

T = TypeVar("T")

END_SECONDS = 60.0


class World:
    """One registry and one network that everything in this world shares. Made by `open_world`.

    Every pod that is opened here, and every child of a `launcher()`, is a program of its own: it can be crashed, frozen and cut
    off from the others. A child of a `TaskLauncher` lives and dies with its parent's program. `programs` are all there ever were.
    """

    registry: SharedLog
    sessions: SharedSessions
    transport: SimTransport
    net: Net
    programs: list[Program]
    chance: random.Random
    scheduler: Scheduler
    nursery: trio.Nursery
    pids: Callable[[Program], tuple[int, int]] | None
    on_pod: Callable[[Pod], Callable[[], None]] | None
    on_crash: Callable[[str, BaseException], None] | None

    def __init__(
        self,
        nursery: trio.Nursery,
        scheduler: Scheduler,
        seed: int | None = None,
        *,
        registry: SharedLog | None = None,
        sessions: SharedSessions | None = None,
    ) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - to choose what happens in a test
        self.registry = SharedLog() if registry is None else registry
        self.sessions = MemorySessions() if sessions is None else sessions
        self.net = Net()
        self.transport = SimTransport(self.net)
        self.programs = []
        self.pids = None
        self.scheduler = scheduler
        self.nursery = nursery
        self.on_pod = self.on_crash = None

    def __repr__(self) -> str:
        alive = sum(program.alive for program in self.programs)
        return f"<World of {alive} programs, {self.registry!r}>"

    # What podkit offers, in this world.

    @asynccontextmanager
    async def open_pod(self, name: str, worker: Worker, *, scope: Scope, **options: Unpack[OpenOptions]) -> AsyncIterator[Pod]:
        """Like `podkit.open_pod`, in a program of this world. `options` are those of `podkit.open_pod`.

        With `sessions=world.sessions` it can be restored, here or in any later program. When that program is crashed, the block
        goes on with a pod that is gone.
        """
        options.setdefault("cwd", "/")
        options.setdefault("confinement", "advisory")  # no program outside of this world is started in it
        program = self._program(name)
        if options.get("sessions") is self.sessions:
            options["sessions"] = SimSessions(self.sessions, program)
        options.setdefault("transport", program.transport)
        options.setdefault("registry", program.registry)
        async with self._living(program, lambda: open_pod(name, worker, scope=scope, **options)) as pod:
            yield pod

    @asynccontextmanager
    async def restore_pod(
        self,
        name: str,
        worker: Worker,
        *,
        tools: Sequence[Tool] = (),
        transport: Transport | None = None,
        registry: Registry | None = None,
    ) -> AsyncIterator[Pod]:
        """Like `podkit.restore_pod`, in a new program of this world, from `sessions` of the world."""
        program = self._program(name)
        sessions = SimSessions(self.sessions, program)
        carrier, laws = transport or program.transport, registry or program.registry

        @asynccontextmanager
        async def restored() -> AsyncIterator[Pod]:
            house = await restored_house(name, worker, sessions=sessions, transport=carrier, registry=laws, tools=tools)
            program.watches(house.pod)  # what it kept may make it speak as soon as it lives
            async with living(house) as pod:
                yield pod

        async with self._living(program, restored) as pod:
            yield pod

    @asynccontextmanager
    async def _living(self, program: Program, make: Callable[[], AbstractAsyncContextManager[Pod]]) -> AsyncIterator[Pod]:
        name, opened, leave = program.name, trio.Event(), trio.Event()
        failed: list[Exception] = []

        async def main() -> None:
            try:
                async with make() as pod:
                    program.houses(pod)
                    opened.set()
                    await leave.wait()
            except Exception as error:
                failed.append(error)
                raise

        program.start(main)
        try:
            await first(opened, program.over)
            if program.pod is None:
                raise failed[0] if failed else PodUnreachableError(name, "its program died while it was opened")
            yield program.pod
        finally:
            leave.set()
            program.thaw()
            if program.pod is None:
                program.scope.cancel()
            with trio.move_on_after(END_SECONDS * 2, shield=True):
                await program.over.wait()
            if program.alive:
                program.stuck = True
                program.kill()
        if failed and not program.dead:
            raise failed[0]

    def connect(self, address: str, **options: Unpack[ConnectOptions]) -> AbstractAsyncContextManager[Client]:
        """Like `podkit.connect`, in this world. Who connects is the test itself, which nobody can crash or cut off."""
        return connect(address, transport=self.transport, **options)

    def launcher(self, make_worker: Callable[..., Worker], *, tools: Sequence[Tool] = (), late: float = 0.0) -> Launcher:
        """A launcher that starts each child as a program of its own. `make_worker` is as for `TaskLauncher`.

        `late` are the seconds that the program takes before it does anything.
        """
        return ProgramLauncher(self, make_worker, tools, late)

    @property
    def clock(self) -> trio.abc.Clock:
        """The clock of this world, which is that of the run of trio it is in."""
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.abc.Clock)
        return clock

    @property
    def disk(self) -> SimFiles | None:
        """The files of this world's machine, in memory; None when it has none (see `open_world`)."""
        return self.registry.files if isinstance(self.registry, JournalLog) else None

    @property
    def run_dir(self) -> str | None:
        """Where podkit's own files are on that disk."""
        return None if self.disk is None else RUN_DIR

    # What happens to programs.

    def program(self, which: Pod | Child | Program | str) -> Program:
        """The program of a pod, a child or a name: the youngest one that runs, else the youngest. `KeyError` when there is none."""
        if isinstance(which, Program):
            return which
        name = which if isinstance(which, str) else which.name
        incarnation = None if isinstance(which, str) else which.incarnation
        found = [
            program
            for program in self.programs
            if program.name == name and (incarnation is None or program.incarnation == incarnation)
        ]
        if not found:
            there = ", ".join(dict.fromkeys(program.name for program in self.programs)) or "none"
            raise KeyError(f"no program of this world is called {name}: there are {there}, and a task is in its parent's program")
        return max(found, key=lambda program: (program.alive, program.number))

    def crash(self, which: Pod | Child | Program | str) -> None:
        """Like SIGKILL: nothing of that program runs any more, its connections end, its lease goes free. Its children live on."""
        self.program(which).kill()

    def freeze(self, which: Pod | Child | Program | str) -> None:
        """Like SIGSTOP: nothing of that program runs until `thaw`; connections stand and its lease is held."""
        self.program(which).freeze()

    def thaw(self, which: Pod | Child | Program | str) -> None:
        """Like SIGCONT: what it would have done meanwhile it does now."""
        self.program(which).thaw()

    def partition(self, a: Pod | Child | Program | str, b: Pod | Child | Program | str) -> None:
        """Nothing passes between these two programs until `heal`. Their connections stand."""
        self.net.partition(self.program(a), self.program(b))

    def heal(self, a: Pod | Child | Program | str | None = None, b: Pod | Child | Program | str | None = None) -> None:
        """What was on the way between the two (between all, without arguments) arrives, and everything passes again."""
        if a is None or b is None:
            self.net.heal_all()
        else:
            self.net.heal(self.program(a), self.program(b))

    def reboot(self) -> None:
        """The machine starts anew: every program is dead, no lease is held, and the registry begins with an empty log."""
        for program in self.programs:
            program.kill()
            program.reaped = True
        self.registry.reboot()
        self.sessions.reboot()

    async def inside(self, which: Pod | Child | Program | str, task: Callable[[], Awaitable[T]]) -> T:
        """Run `task` as a part of that program and return what it returns: it stops and dies with the program.

        Raises what `task` raises, and `PodUnreachableError` when the program died meanwhile.
        """
        program = self.program(which)
        done = trio.Event()
        result: list[T] = []
        raised: list[BaseException] = []
        scope = trio.CancelScope()

        async def run() -> None:
            try:
                with scope:
                    result.append(await task())
            except Exception as error:  # noqa: BLE001 - raised again where it was asked for
                raised.append(error)
            finally:
                done.set()

        if not program.alive:
            raise PodUnreachableError(program.name, "its program is over")
        program.start_soon(run, name=f"inside {program.name}")
        try:
            await first(done, program.over)
        except trio.Cancelled:
            scope.cancel()
            with trio.CancelScope(shield=True):
                await first(done, program.over)
            raise
        if raised:
            raise raised[0]
        if not result:
            raise PodUnreachableError(program.name, "its program died")
        return result[0]

    # What the launcher and the end of the world need.

    def _program(self, name: str) -> Program:
        program = Program(name, len(self.programs), self.nursery, self.scheduler)
        program.registry = SimRegistry(self.registry, program)
        program.transport = SimTransport(self.net, program)
        program.on_pod, program.on_crash = self.on_pod, self.on_crash
        self.programs.append(program)
        return program

    def _adopt(self, birth: Any, worker: Worker, tools: Sequence[Tool], late: float) -> Process:
        """Start the program of a child: the lease and the listener are its own from here."""
        if not isinstance(birth.listener, SimListener):
            raise LaunchFailedError(birth.name, "its transport is not that of this world, in which programs are connected")
        program = self._program(birth.name)
        program.incarnation, program.parent = birth.incarnation, birth.parent.incarnation
        program.kept = birth.document.on_parent_death == "keep"
        birth._handed = True
        for other in self.programs:
            if birth.lease in other.leases:
                other.leases.remove(birth.lease)
        program.leases.append(birth.lease)
        birth.listener.give(program)
        own = None if self.pids is None else self.pids(program)
        store = birth.parent.setting.kept.sessions
        sessions = SimSessions(self.sessions, program) if isinstance(store, SimSessions) else store
        program.start(lambda: adopt(birth, program, worker, tools, own, sessions, late))
        return ProgramProcess(program)
