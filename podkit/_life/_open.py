"""Opening a pod: the root of a tree, in this program."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os import Wards, new_incarnation, new_tree, now, own_process
from podkit.confinement import choose, settle_targets
from podkit.errors import ConfinementError, RegistryError
from podkit.logic import Limits, decide_adopt, decide_free, decide_root
from podkit.protocol import check_name

from ._authority import Authority
from ._house import House
from ._place import Place
from ._pod import Pod, Setting
from ._scratch import clear_scratch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from podkit.abc import Lease, Registry, Tool, Transport, Worker
    from podkit.confinement import Settled
    from podkit.logic import Fact, Scope, Table

_log = logging.getLogger("podkit.open")
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
    tree = new_tree(name)
    place = Place.of_root(registry, run_dir, tree)
    house = await _Opening(
        name=name,
        worker=worker,
        scope=scope,
        grant=grant,
        transport=transport,
        registry=registry,
        tools=tools,
        place=place,
        tree=tree,
        cwd=cwd or os.getcwd(),
        address=address or transport.address(name, place.run_dir),
        limits=limits,
        level=str(level.value),
    ).build()
    house.serve_plain(plain, generation)
    async with living(house) as pod:
        yield pod


@asynccontextmanager
async def living(house: House) -> AsyncIterator[Pod]:
    """Run a house around a block. What the block raises comes out as it is, never wrapped in a group."""
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            # Cancelled in here, `start` would wait for a house that nobody asks to end; it takes no time, and waits for nobody.
            with trio.CancelScope(shield=True):
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


@attrs.define(eq=False, kw_only=True)
class _Opening:
    """One attempt to open a root. `build` answers its house, or has undone everything."""

    name: str
    worker: Worker
    scope: Scope
    grant: Scope | None
    transport: Transport
    registry: Registry
    tools: Sequence[Tool]
    place: Place
    tree: str
    cwd: str
    address: str
    limits: Limits
    level: str
    incarnation: str = attrs.field(factory=new_incarnation)

    async def build(self) -> House:
        settled = settle_targets(self.scope, make=None) if self.registry.paths_are_real else None
        await sweep(self.registry, self.incarnation)
        lease = await self.registry.hold(f"{self.name}.{self.incarnation}")
        listener = None
        try:
            await self.registry.transact(lambda table: self._reserve(table, settled))
            self.place.open()
            self.place.make(self.name)
            listener = await self.transport.listen(self.address)
            self.address = str(getattr(listener, "address", None) or self.address)
            table = await self.registry.transact(self._adopt)
            return House(self._pod(table), lease=lease, listener=listener, key=self.transport.key(self.address), own_wards=True)
        except BaseException:
            with trio.move_on_after(_UNDO_SECONDS, shield=True):
                if listener is not None:
                    await listener.aclose()
                await self._undo(lease)
            raise

    def _reserve(self, table: Table, settled: Settled | None) -> Iterable[Fact]:
        return decide_root(
            table,
            name=self.name,
            tree=self.tree,
            incarnation=self.incarnation,
            scope=self.scope,
            grant=self.grant,
            address=self.address,
            since=now(),
            run_dir=self.place.run_dir,
            live=False,
            born_of=self.tree,
            where=None if settled is None else settled.where,
            pins=() if settled is None else settled.pins,
            max_rows=self.limits.pods,
        )

    def _adopt(self, table: Table) -> Iterable[Fact]:
        pid, started = own_process()
        return decide_adopt(table, name=self.name, incarnation=self.incarnation, pid=pid, started=started, address=self.address)

    def _pod(self, table: Table) -> Pod:
        control = control_dirs(self.registry, self.place)
        setting = Setting(
            worker=self.worker,
            tools=self.tools,
            transport=self.transport,
            place=self.place,
            cwd=self.cwd,
            limits=self.limits,
            level=self.level,
            address=self.address,
            wards=Wards(),
        )
        return Pod(Authority(self.registry, table, table[self.incarnation], control=control), setting)

    async def _undo(self, lease: Lease) -> None:
        try:
            await self.registry.transact(lambda table: decide_free(table, incarnation=self.incarnation, author=self.incarnation))
        except (RegistryError, OSError) as error:
            # The lease stays, to be found free: a row whose lease is missing would count as held.
            _log.warning("the row of pod %s may be left until somebody looks: %s", self.name, error)
            lease.release()
        else:
            lease.release()
            await self.registry.forget(lease.key)
        finally:
            self.place.clear(self.name)
            self.place.close()


async def sweep(registry: Registry, author: str) -> None:
    """Take back what dead pods left behind: rows whose lease is free, and their files."""
    for row in await registry.sweep(author):
        place = Place(row.run_dir, own=row.run_dir is not None and row.run_dir.endswith("/" + row.tree))
        place.clear(row.name)
        await clear_scratch(registry, row.incarnation)
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
