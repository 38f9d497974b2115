"""What the clauses of the launcher contract stand on: a real pod that spawns, and children of every temper."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._life import Pod, open_pod
from podkit._net import MemoryTransport
from podkit._store import MemoryRegistry
from podkit.abc import Birth, Launcher, Process, Worker
from podkit.logic import Scope
from podkit.protocol import RunResult, TextDone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from podkit.abc import Child, Emit, Registry, Run, Transport

_BASE = os.path.realpath(tempfile.gettempdir())  # a scope names no links
WORDS = "words of a child that fails"
PROGRAM = '''\
"""A child of a temper, for podkit.testing.check_launcher."""

import os
import signal
import sys
import time

temper = sys.argv[1]
if temper == "failing":
    print({words!r}, file=sys.stderr, flush=True)
    sys.exit(3)
if temper == "silent":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)

import trio

import podkit
from podkit.protocol import TextDone
from podkit_transports import UnixTransport


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


class Answering(podkit.abc.Worker):
    async def work(self, run, emit):
        what, _, rest = run.text.partition(" ")
        if what == "die":
            os._exit(int(rest))
        if what == "open":
            emit(TextDone(text=str(is_open(int(rest)))))
        elif what == "environment":
            emit(TextDone(text=" ".join(sorted(os.environ))))
        else:
            emit(TextDone(text=f"{{run.pod.name}} {{run.pod.incarnation}}"))


if __name__ == "__main__":
    trio.run(lambda: podkit.adopt_pod(Answering(), transport=UnixTransport()))
'''


@attrs.frozen
class ChildToBe:
    """A child to be started, told in both ways; a launcher takes the one that it can start.

    `argv` is a program that becomes a pod over `UnixTransport`. `make_worker` makes the worker of a task, and raises for a child
    that is to fail.
    """

    argv: tuple[str, ...]
    make_worker: Callable[[], Worker]


class Answering(Worker):
    """Says who it is."""

    async def work(self, run: Run, emit: Emit) -> RunResult | None:
        emit(TextDone(text=f"{run.pod.name} {run.pod.incarnation}"))
        await trio.lowlevel.checkpoint()
        return None


class Watching(Launcher):
    """Another launcher, with an eye on what it launches."""

    def __init__(self, inner: Launcher) -> None:
        self.inner = inner
        self.births: list[Birth] = []
        self.processes: list[Process] = []
        self.launching = trio.Event()

    async def launch(self, birth: Birth) -> Process:
        self.births.append(birth)
        self.launching.set()
        process = await self.inner.launch(birth)
        self.processes.append(process)
        return process


@attrs.frozen(eq=False)
class Ground:
    """A pod that spawns with what `make` gives, in a directory of its own."""

    make: Callable[[ChildToBe], Launcher]
    root: Pod
    home: str
    registry: Registry
    known: dict[str, bool]
    """What one clause learnt for the others: whether "programs" are started."""

    def scope(self, name: str = "kid") -> Scope:
        return Scope.write(f"{self.home}/{name}")

    def launcher(self, temper: str) -> Watching:
        """For a child that is "answering", "failing" before it is ready, "silent" for ever, or "absent"."""

        def make_worker() -> Worker:
            if temper == "failing":
                raise RuntimeError(WORDS)
            return Answering()

        program = f"{self.home}.py" if temper != "absent" else f"{self.home}.missing"
        python = (sys.executable, "-P") if temper != "absent" else ()
        return Watching(self.make(ChildToBe((*python, program, temper), make_worker)))

    async def spawn(self, launcher: Launcher, name: str = "kid", *, ready_timeout: float = 20.0) -> Child:
        return await self.root.spawn(name, scope=self.scope(name), launcher=launcher, ready_timeout=ready_timeout)

    async def starts_programs(self) -> bool:
        """Whether what is launched is a program of its own."""
        if "programs" not in self.known:
            launcher = self.launcher("answering")
            child = await self.spawn(launcher, "probe")
            await child.stop()
            self.known["programs"] = launcher.processes[0].pid is not None
        return self.known["programs"]

    async def names(self) -> set[str]:
        return set(await self.registry.table())

    async def until_back(self, name: str = "kid") -> bool:
        """Wait until its scope is back; whether that came soon."""
        with trio.move_on_after(10) as patience:
            while name in (table := await self.registry.rows()).named():
                await self.registry.changed(table.sequence)
            while name in self.root.children:  # noqa: ASYNC110 - a moment after its row
                await trio.sleep(0.01)
        return not patience.cancelled_caught


@asynccontextmanager
async def open_ground(
    make: Callable[[ChildToBe], Launcher],
    transport: Callable[[], Transport] | None,
    registry: Callable[[str], Registry] | None,
    known: dict[str, bool],
) -> AsyncIterator[Ground]:
    """A new ground; what it needs on the disk goes with it."""
    with tempfile.TemporaryDirectory(prefix="pk", dir=_BASE) as where:
        home = f"{where}/w"
        os.mkdir(home)
        with open(f"{home}.py", "w", encoding="utf-8") as program:  # noqa: ASYNC230 - some hundred bytes
            program.write(PROGRAM.format(words=WORDS))
        store = MemoryRegistry() if registry is None else registry(f"{where}/r")
        opened = open_pod(
            "root",
            Answering(),
            scope=Scope.write(home),
            transport=MemoryTransport() if transport is None else transport(),
            registry=store,
            cwd=home,
            confinement="advisory",
        )
        async with opened as root:
            yield Ground(make, root, home, store, known)
