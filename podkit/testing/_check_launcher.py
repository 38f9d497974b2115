"""The contract of launchers as a check that any launcher can be held to. Needs no test framework."""

from __future__ import annotations

import contextlib
import fcntl
import os
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

from podkit.errors import LaunchFailedError, NeverReadyError, PodUnreachableError
from podkit.protocol import Permission

from ._check_cancel import cancel_at
from ._check_clauses import Clauses
from ._check_launcher_ground import WORDS, ChildToBe, Ground, open_ground
from ._check_transport_ground import raises, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.abc import Launcher, Process, Registry, Transport

_SOON = 10.0  # seconds; what takes longer did not happen
_MOMENTS = (0, 3, 9, 15, 22, 30, 50)  # pauses of the spawn of a program at which it is cancelled
_MOST_STEPS = 200  # of the spawn of a task, which are all tried
_FAR = 200  # a descriptor as high as this no child has of itself

_clause: Clauses[Ground] = Clauses("L", seconds=60)


async def check_launcher(
    make: Callable[[ChildToBe], Launcher],
    *,
    transport: Callable[[], Transport] | None = None,
    registry: Callable[[str], Registry] | None = None,
) -> None:
    """Hold a launcher to the contract of `podkit.abc.Launcher`.

    `make(child)` gives a launcher that starts this child: `child.make_worker` for one that starts tasks, `child.argv` for one that
    starts programs: `check_launcher(lambda child: podkit.TaskLauncher(child.make_worker))`. A launcher of programs needs what two
    programs can share: `transport=UnixTransport, registry=podkit.FileRegistry`, where `registry` is called with a directory. What
    only programs can do is checked where the launched `Process` has a `pid`.

    Raises `AssertionError`, which begins with the id of the first clause of `LAUNCHER_CLAUSES` that does not hold. Every clause
    has a minute.
    """
    await _clause.check(partial(open_ground, make, transport, registry, {}))


@_clause("the child becomes ready, answers as the one that was to be born, and has what it was handed")
async def _born(ground: Ground) -> None:
    launcher = ground.launcher("answering")
    child = await ground.spawn(launcher)
    require(len(launcher.processes) == 1, "launch() did not return a process")
    require((await child.ask("who?")).text == f"kid {child.incarnation}", "somebody else answers")
    require(ground.root.scope.at(f"{ground.home}/kid") is Permission.READ, "the parent still writes what it handed over")
    row = (await ground.registry.table())["kid"]
    require(row.scope.at(f"{ground.home}/kid") is Permission.WRITE, "the child does not write what it was handed")


@_clause("wait() returns when the child is over and not before, the same to everybody and again; 0 is a good end")
async def _waited(ground: Ground) -> None:
    launcher = ground.launcher("answering")
    child = await ground.spawn(launcher)
    process = launcher.processes[0]
    statuses: list[int] = []

    async def wait() -> None:
        statuses.append(await process.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        with trio.move_on_after(0.2):
            await process.wait()
        require(not statuses, f"wait() returned {statuses} of a child that lives")
        require((await child.ask("who?")).text.startswith("kid"), "a wait that was given up ended the child")
        report = await child.stop()
    require(report.how == "asked", f"a child that was asked to stop was {report.how}")
    statuses.append(await process.wait())
    require(statuses == [0, 0, 0], f"a good end was told as {statuses}")


@_clause("when the child is over its scope is back, and its name may be used again")
async def _again(ground: Ground) -> None:
    for _ in range(2):
        child = await ground.spawn(ground.launcher("answering"))
        await child.stop()
        require(ground.root.scope.at(f"{ground.home}/kid") is Permission.WRITE, "the scope is not back")
        require(await ground.names() == {"root"}, "its row is still there")


@_clause(
    "a child that fails before it is ready is LaunchFailedError at once, with what it said where that is kept, and leaves nothing"
)
async def _failing(ground: Ground) -> None:
    launcher = ground.launcher("failing")
    error = await raises(
        LaunchFailedError, partial(_within, _SOON, partial(ground.spawn, launcher)), "the birth of a child that fails"
    )
    process = launcher.processes[0]
    status = await _status(process)
    require(status not in (0, None), f"its status is {status}")
    tail = process.stderr_tail()
    require(not tail or (WORDS in tail and WORDS in error.stderr_tail), f"it said {tail!r}, and the error {error.stderr_tail!r}")
    await _check_nothing_left(ground)


@_clause("what cannot be started is LaunchFailedError, and leaves nothing")
async def _absent(ground: Ground) -> None:
    if not await ground.starts_programs():
        return
    await raises(LaunchFailedError, partial(ground.spawn, ground.launcher("absent")), "the birth of a program that is not there")
    await _check_nothing_left(ground)


@_clause("terminate() ends the child; after its end terminate, kill and stderr_tail do no harm")
async def _terminated(ground: Ground) -> None:
    launcher = ground.launcher("answering")
    await ground.spawn(launcher)
    process = launcher.processes[0]
    process.terminate()
    require(await _status(process) is not None, "it lives on")
    require(await ground.until_back(), "its scope does not come back")
    for _ in range(2):
        process.terminate()
        process.kill()
        require(isinstance(process.stderr_tail(), str), "stderr_tail() is no text")
    require(await _status(process) is not None, "wait() does not return any more")


@_clause("kill() ends the child; when wait() has returned nobody holds its lease")
async def _killed(ground: Ground) -> None:
    launcher = ground.launcher("answering")
    child = await ground.spawn(launcher)
    process = launcher.processes[0]
    process.kill()
    status = await _status(process)
    require(status is not None, "it lives on")
    require(status != 0, "a killed child is told to have come to a good end")
    require(not await ground.registry.held(f"kid.{child.incarnation}"), "its process is over, and its lease is held")
    require(await ground.until_back(), "its scope does not come back")


@_clause("two children of one launcher are two")
async def _two(ground: Ground) -> None:
    launcher = ground.launcher("answering")
    kid, other = await ground.spawn(launcher), await ground.spawn(launcher, "other")
    require(len({id(process) for process in launcher.processes}) == 2, "they are one process")
    launcher.processes[0].kill()
    require(await ground.until_back(), "the first does not end")
    require((await other.ask("who?")).text == f"other {other.incarnation}", "the second went with the first")
    require(kid.incarnation != other.incarnation, "they are one incarnation")


@_clause("launch() does not wait for the child: one that is never ready is NeverReadyError in time, ended, and leaves nothing")
async def _silent(ground: Ground) -> None:
    if not await ground.starts_programs():
        return
    launcher = ground.launcher("silent")
    birth = partial(_within, _SOON, partial(ground.spawn, launcher, ready_timeout=1.0))
    await raises(NeverReadyError, birth, "the birth of a child that is never ready")
    require((await _status(launcher.processes[0])) not in (0, None), "it lives on, though it was killed")
    await _check_nothing_left(ground)


@_clause("a birth that is cancelled at any moment leaves nothing: no process, no row, no scope")
async def _cancelled(ground: Ground) -> None:
    for step in _MOMENTS if await ground.starts_programs() else range(_MOST_STEPS):
        launcher = ground.launcher("answering")
        cut = await cancel_at(step, partial(ground.spawn, launcher))
        if cut.returned:
            require(cut.value is not None and "kid" in await ground.names(), "spawn() returned a child that is not there")
            await ground.root.children["kid"].stop()
            if not cut.reached:
                return
        require(await ground.until_back(), f"cancelled at step {step} the child is still there")
        for process in launcher.processes:
            require(await _status(process) is not None, f"cancelled at step {step} its process lives on")
        await _check_nothing_left(ground)


@_clause("a program inherits what its birth gives it and no other descriptor; its status is the one it ended with")
async def _program(ground: Ground) -> None:
    if not await ground.starts_programs():
        return
    launcher = ground.launcher("answering")
    end, other = os.pipe()
    ours = fcntl.fcntl(end, fcntl.F_DUPFD, _FAR)  # a number under which the child opened nothing itself
    try:
        child = await ground.spawn(launcher)
        require((await child.ask(f"open {ours}")).text == "False", "it inherited a descriptor of the parent's")
    finally:
        for fd in (ours, end, other):
            os.close(fd)
    environment = (await child.ask("environment")).text.split()
    require("PODKIT_BIRTH" not in environment, "the number of its birth is still in its environment")
    with contextlib.suppress(PodUnreachableError):  # it may be quicker than its answer
        await child.run("die 7")
    status = await _status(launcher.processes[0])
    require(status == 7, f"it ended with 7, and wait() told {status}")
    require(await ground.until_back(), "its scope does not come back")


LAUNCHER_CLAUSES: tuple[tuple[str, str], ...] = tuple(_clause)
"""The clauses of the contract of launchers, (id, sentence), in the order in which they are checked."""


async def _status(process: Process) -> int | None:
    """Its status, None when it does not end."""
    with trio.move_on_after(_SOON):
        return await process.wait()
    return None


async def _within(seconds: float, call: Callable[[], object]) -> None:
    with trio.fail_after(seconds):
        await call()  # type: ignore[misc]  # what is called is asynchronous


async def _check_nothing_left(ground: Ground) -> None:
    require(await ground.until_back(), "its row is still there")
    require(ground.root.scope.at(f"{ground.home}/kid") is Permission.WRITE, "the scope is not back")
    require(not ground.root.children, f"the parent has the children {sorted(ground.root.children)}")
