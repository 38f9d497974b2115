"""Deaths: asking, terminating, killing, and the watch that sees a child's lease go free and takes the scope back."""

from __future__ import annotations

import logging
import signal
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from podkit._net import exchange
from podkit._os import signal_process, wait_process
from podkit.abc import StopReport
from podkit.errors import MethodRejectedError, PodkitError, RegistryError, StopFailedError
from podkit.logic import decide_free
from podkit.protocol import ErrorCode, ShutdownMethod

from ._reports import tell_of_end
from ._scratch import clear_scratch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from podkit.abc import Registry
    from podkit.logic import Allocation

    from ._child import Child
    from ._pod import Pod

T = TypeVar("T")
_log = logging.getLogger("podkit.deaths")
_RETRY = 1.0
_EXIT_SECONDS = 1.0
_RECHECK = 0.25  # seconds; a lease that was forgotten meanwhile wakes nobody, so the table is looked at again


async def stop_child(child: Child, *, grace: float) -> StopReport:
    """End a child and everything below it. See `Child.stop`."""
    async with child.stopping:
        if child.report is not None:
            return child.report
        began = trio.current_time()
        await child.parent.authority.refresh()
        below = _below(child)
        how = "gone"
        if not child.gone.is_set():
            how = await _end(child, below, grace)
        left = await _wait_below(child.parent, [*below, *child.orphans], grace)
        if left:
            raise StopFailedError(child.name, tuple(left))
        child.report = StopReport(
            name=child.name,
            incarnation=child.incarnation,
            how=how,
            returned=child.scope,
            seconds=trio.current_time() - began,
        )
        child.parent.members.forget(child)
        child.parent.children.remove(child)
        return child.report


async def _end(child: Child, below: list[Allocation], grace: float) -> str:
    with trio.move_on_after(grace):
        await _ask(child)
        await child.gone.wait()
        return "asked"
    below[:] = _below(child) or below
    for how, sig in (("terminated", signal.SIGTERM), ("killed", signal.SIGKILL)):
        for row in below:  # leaves first
            _signal(row, sig)
        if child.process is not None:
            if sig == signal.SIGTERM:
                child.process.terminate()
            else:
                child.process.kill()
        else:
            own = child.parent.authority.table.get(child.incarnation)
            if own is not None:
                _signal(own, sig)
        with trio.move_on_after(grace):
            await child.gone.wait()
            return how
    raise StopFailedError(child.name, (f"{child.name} ({child.incarnation})",))


async def _ask(child: Child) -> None:
    try:
        await child.shutdown()
    except MethodRejectedError as error:
        if error.code is not ErrorCode.STOPPING:
            _log.warning("pod %s refuses to shut down: %s", child.name, error, extra={"incarnation": child.incarnation})
    except (PodkitError, OSError) as error:
        _log.info("pod %s cannot be asked to shut down: %s", child.name, error, extra={"incarnation": child.incarnation})
        if child.process is None:
            return
        child.process.terminate()  # nobody hears us: there is nothing to wait for politely


def _below(child: Child) -> list[Allocation]:
    return list(child.parent.authority.table.descendants(child.incarnation))


def _signal(row: Allocation, sig: int) -> None:
    if row.pid is not None and row.started is not None:
        signal_process(row.pid, row.started, sig, group=True)


async def end_rows(pod: Pod, grace: float) -> list[str]:
    """End whoever is below us without being a child of ours any more: pods whose parent died. Returns who is left."""
    return await _wait_below(pod, list((await pod.authority.refresh()).descendants(pod.incarnation)), grace)


async def _wait_below(pod: Pod, below: list[Allocation], grace: float) -> list[str]:
    """Wait until nobody of the subtree holds a lease, ending whoever stays; return the names of who is left."""
    asked: set[str] = set()
    if not below:
        return []
    for sig in (None, signal.SIGTERM, signal.SIGKILL):
        with trio.move_on_after(grace):
            while left := await _still_there(pod, below):
                for row in left:
                    if sig is not None:
                        _signal(row, sig)
                    elif row.incarnation not in asked:
                        asked.add(row.incarnation)
                        await _ask_row(pod, row)
                with trio.move_on_after(_RECHECK):
                    for row in left:
                        await pod.authority.registry.gone(row.key)
            return []
    return [row.name for row in await _still_there(pod, below)]


async def _ask_row(pod: Pod, row: Allocation) -> None:
    try:
        expect = (row.name, row.incarnation)
        await exchange(row.address, ShutdownMethod(), transport=pod.transport, expect=expect)
    except (PodkitError, OSError) as error:
        _log.info("pod %s cannot be asked to shut down: %s", row.name, error, extra={"incarnation": row.incarnation})


async def _still_there(pod: Pod, below: list[Allocation]) -> list[Allocation]:
    """Rows of `below` that still exist and are held; a row that nobody holds is taken back on the way."""
    table = await pod.authority.refresh()
    left = []
    for row in below:
        if table.get(row.incarnation) is None:
            continue
        if await pod.authority.registry.held(row.key):
            left.append(row)
        else:
            await take_back(pod, row)
    return left


async def take_back(pod: Pod, row: Allocation) -> None:
    """The lease of that row is free: end the row, forget the lease, remove its files. Safe to do twice."""
    if row.pid is not None and row.started is not None:
        # A dying process closes its descriptors, and with them its lease, a moment before it is over.
        with trio.move_on_after(_EXIT_SECONDS):
            await wait_process(row.pid, row.started)
    with trio.CancelScope(shield=True):
        await pod.authority.transact(lambda table: decide_free(table, incarnation=row.incarnation, author=pod.incarnation))
        await pod.authority.registry.forget(row.key)
    pod.place.clear(row.name)
    await clear_scratch(pod.authority.registry, row.incarnation)


async def insist_on_taking_back(pod: Pod, row: Allocation) -> None:
    """The same, again and again until it works."""
    await _insist(row, lambda: take_back(pod, row))


async def _insist(row: Allocation, step: Callable[[], Awaitable[T]]) -> T:
    """Do this until it works: a registry that is busy or cannot be read, or a disk that is full, is no reason to lose scope."""
    while True:
        try:
            return await step()
        except (RegistryError, OSError) as error:
            where = {"incarnation": row.incarnation}
            _log.error("the scope of pod %s cannot be taken back yet: %s", row.name, error, extra=where)
            await trio.sleep(_RETRY)


async def watch_child(pod: Pod, child: Child, row: Allocation) -> None:
    """Wait for a child's end, whoever caused it, and take its scope back. What it leaves alive is ours from then on."""
    await _insist(row, lambda: pod.authority.registry.gone(row.key))
    status = None
    if child.process is not None:
        with trio.move_on_after(5.0):
            status = await child.process.wait()
    orphans = [] if status == 0 else list((await _insist(row, pod.authority.refresh)).children(row.incarnation))
    child.orphans = orphans
    await insist_on_taking_back(pod, row)
    state = pod.children.state(child)
    if status != 0 and not child.stopping.locked() and pod.members.knows(child):
        pod.children.lose(child)
    else:
        pod.members.forget(child)
        pod.children.remove(child)
    child.gone.set()
    for orphan in orphans:
        pod.start_soon(watch_orphan, pod, orphan)
    await tell_of_end(pod, child, status, state)


async def watch_beyond(pod: Pod) -> None:
    """What pods further below hold of ours comes back when they end. Others end their rows: we only look again."""
    registry, table = pod.authority.registry, pod.authority.table
    while rows := table.beyond(pod.incarnation):
        await _any_gone(registry, rows)
        seen, table = table, await _insist(rows[0], pod.authority.refresh)
        if table is seen:
            await _insist(rows[0], partial(registry.changed, table.sequence))
            table = await _insist(rows[0], pod.authority.refresh)


async def _any_gone(registry: Registry, rows: Iterable[Allocation]) -> None:
    """Return when nobody holds the lease of one of them."""
    async with trio.open_nursery() as nursery:

        async def wait(row: Allocation) -> None:
            await _insist(row, lambda: registry.gone(row.key))
            nursery.cancel_scope.cancel()

        for row in rows:
            nursery.start_soon(wait, row)


async def watch_orphan(pod: Pod, row: Allocation) -> None:
    """A pod whose parent died is ours now, as a row: when it ends, its scope comes back to us."""
    await _insist(row, lambda: pod.authority.registry.gone(row.key))
    for below in (await _insist(row, pod.authority.refresh)).children(row.incarnation):
        pod.start_soon(watch_orphan, pod, below)
    await insist_on_taking_back(pod, row)
