"""Opening a pod: the root of a tree, in this program."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from podkit._os import new_incarnation, new_tree, now, own_process
from podkit.confinement import choose
from podkit.errors import ConfinementError
from podkit.logic import Limits, decide_adopt, decide_free, decide_root
from podkit.protocol import check_name

from ._authority import Authority
from ._house import House
from ._place import Place
from ._pod import Pod, Setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from podkit.abc import Lease, Registry, Tool, Transport, Worker
    from podkit.logic import Scope

_UNDO_SECONDS = 10.0


@asynccontextmanager
async def open_pod(
    name: str,
    worker: Worker,
    *,
    scope: Scope,
    transport: Transport,
    registry: Registry,
    grant: Scope | None = None,
    tools: Sequence[Tool] = (),
    run_dir: str | None = None,
    cwd: str | None = None,
    address: str | None = None,
    plain: str | None = None,
    generation: str = "B",
    confinement: str | None = None,
    require: str | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Pod]:
    """Open a pod: the root of a new tree. It can be connected to inside the block, and it is gone after it.

    `scope` is what it may use, `grant` what it may hand out (None: the scope). `run_dir` is where the tree keeps its files (None:
    below the registry's directory; nowhere when the registry has none). `cwd` is what relative paths mean (None: where this
    program is). `address` is where it listens (None: what the transport says). `plain` ("watch" or "command") serves connections
    that do not say hello, in the words of `generation` ("A" or "B"). `confinement` is the level wished for, `require` the least
    accepted.

    Leaving the block, also by an error or a cancellation: further methods are refused, the run is cancelled, the children are
    stopped, leaves first, notices are returned, clients get `shutdown` and what is queued for them, the row is released and the
    lease last. All of that is bounded in time. When somebody else shuts the pod down, the block goes on and `pod.stopped()`
    returns.

    Raises `InvalidNameError`, `InvalidRuleError`, `WriteConflictError`, `ConfinementError`, `TransportError` and `RegistryError`;
    then nothing is left behind.
    """
    check_name(name)
    limits = Limits() if limits is None else limits
    level = choose(confinement, require)
    _check_plain(plain, generation, transport)
    house = await _build(
        name, worker, scope, transport, registry, grant, tools, run_dir, cwd or os.getcwd(), address, limits, str(level.value)
    )
    house.serve_plain(plain, generation)
    async with living(house) as pod:
        yield pod


@asynccontextmanager
async def living(house: House) -> AsyncIterator[Pod]:
    """Run a house around a block. What the block raises comes out as it is, never wrapped in a group."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            await nursery.start(house.live)
            yield house.pod
        except BaseException as error:  # noqa: BLE001 - raised again below, when the pod is gone
            failure = error
        finally:
            house.ask_to_end()
            with trio.CancelScope(shield=True):
                await house.pod.stopped()
    if failure is not None:
        raise failure


async def _build(
    name: str,
    worker: Worker,
    scope: Scope,
    transport: Transport,
    registry: Registry,
    grant: Scope | None,
    tools: Sequence[Tool],
    run_dir: str | None,
    cwd: str,
    address: str | None,
    limits: Limits,
    level: str,
) -> House:
    tree, incarnation = new_tree(name), new_incarnation()
    place = Place.of_root(registry, run_dir, tree)
    asked = address or transport.address(name, place.run_dir)
    await sweep(registry, incarnation)
    lease = await registry.hold(f"{name}.{incarnation}")
    listener = None
    try:
        await registry.transact(
            lambda table: decide_root(
                table,
                name=name,
                tree=tree,
                incarnation=incarnation,
                scope=scope,
                grant=grant,
                address=asked,
                since=now(),
                run_dir=place.run_dir,
                live=False,
                max_rows=limits.pods,
            )
        )
        place.open()
        place.make(name)
        listener = await transport.listen(asked)
        there = str(getattr(listener, "address", None) or asked)
        pid, started = own_process()
        table = await registry.transact(
            lambda table: decide_adopt(table, name=name, incarnation=incarnation, pid=pid, started=started, address=there)
        )
        row = table[incarnation]
        authority = Authority(registry, table, row, control=control_dirs(registry, place))
        setting = Setting(
            worker=worker, tools=tools, transport=transport, place=place, cwd=cwd, limits=limits, level=level, address=there
        )
        return House(Pod(authority, setting), lease=lease, listener=listener, key=transport.key(there))
    except BaseException:
        with trio.move_on_after(_UNDO_SECONDS, shield=True):
            if listener is not None:
                await listener.aclose()
            await _unbuild(registry, lease, incarnation, place, name)
        raise


async def _unbuild(registry: Registry, lease: Lease, incarnation: str, place: Place, name: str) -> None:
    try:
        await registry.transact(lambda table: decide_free(table, incarnation=incarnation, author=incarnation))
    finally:
        lease.release()
        await registry.forget(lease.key)
        place.clear(name)
        place.close()


async def sweep(registry: Registry, author: str) -> None:
    """Take back what dead pods left behind: rows whose lease is free, and their files."""
    for row in await registry.sweep(author):
        place = Place(row.run_dir, own=row.run_dir is not None and row.run_dir.endswith("/" + row.tree))
        place.clear(row.name)
        if row.parent is None:
            place.close()


def control_dirs(registry: Registry, place: Place) -> tuple[str, ...]:
    """podkit's own directories, which are outside every scope."""
    return tuple(path for path in (registry.directory, place.run_dir) if path is not None)


def _check_plain(plain: str | None, generation: str, transport: Transport) -> None:
    if plain not in (None, "watch", "command"):
        raise ValueError("plain is None, 'watch' or 'command'")
    if generation not in ("A", "B"):
        raise ValueError("generation is 'A' or 'B'")
    if plain == "command" and transport.scheme != "memory":
        raise ConfinementError(
            "advisory",
            "plain='command' would let any tool process that can reach the socket command the pod; open it with plain='watch'",
        )
