"""Opening a pod: the root of a tree, in this program."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from podkit._os import Wards, new_incarnation, new_tree, new_uuid, now, own_process
from podkit.confinement import choose, settle_targets
from podkit.errors import ConfinementError, RegistryError
from podkit.logic import Limits, decide_adopt, decide_free, decide_root
from podkit.protocol import check_name, check_path

from ._authority import Authority
from ._house import House
from ._kept import Kept, open_log
from ._place import Place
from ._plan_manifest import Manifest
from ._pod import Pod
from ._scratch import clear_scratch
from ._setting import Setting
from ._tools import tool_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from podkit.abc import Lease, Registry, Session, SessionStore, Tool, Transport, Worker
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
    sessions: SessionStore | None = None,
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

    `sessions` is where the pod keeps its log and what it was opened with, for `restore_pod` (None: nowhere, and all of it is gone
    with the pod). A session belongs to the name: each opening begins a new one, and an earlier one is put aside. One store serves
    the pods of one tree: the children keep theirs in it.

    Raises `InvalidNameError`, `InvalidRuleError` (also for `cwd`), `WriteConflictError`, `ConfinementError`, `TransportError`,
    `RegistryError`, `SessionError`, and ValueError for tools of one name; then all is as it was.
    """
    check_name(name)
    check_plain(plain, generation, transport)
    tree = new_tree(name)
    manifest = Manifest(
        name=name,
        session=tree if sessions is None else new_uuid(),
        tree=tree,
        incarnation=new_incarnation(),
        scope=scope,
        grant=grant,
        cwd=cwd or os.getcwd(),
        address=address,
        run_dir=run_dir,
        plain=plain,
        generation=generation,
        level=str(choose(confinement, require).value),
        limits=Limits() if limits is None else limits,
    )
    house = await Opening(manifest, worker=worker, transport=transport, registry=registry, tools=tools, sessions=sessions).build()
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


class Opening:
    """One attempt to open a root, or to restore one from its `session`. `build` answers its house, or has undone everything."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        worker: Worker,
        transport: Transport,
        registry: Registry,
        tools: Sequence[Tool],
        sessions: SessionStore | None,
        session: Session | None = None,
    ) -> None:
        check_path(manifest.cwd)  # before an earlier session is put aside for this one
        tool_table(tools)
        self._manifest = manifest
        self._worker, self._transport, self._registry, self._tools = worker, transport, registry, tools
        self._sessions, self._session = sessions, session
        self._place = Place.of_root(registry, manifest.run_dir, manifest.tree)
        self._address = manifest.address or transport.address(manifest.name, self._place.run_dir)

    async def build(self) -> House:
        """Take the lease and the row, listen, open the log. Raises what `open_pod` and `restore_pod` raise."""
        manifest, registry = self._manifest, self._registry
        settled = settle_targets(manifest.scope, make=None) if registry.paths_are_real else None
        await sweep(registry, manifest.incarnation)
        lease = await registry.hold(f"{manifest.name}.{manifest.incarnation}")
        listener = kept = None
        try:
            await registry.transact(lambda table: self._reserve(table, settled))
            self._place.open()
            self._place.make(manifest.name)
            listener = await self._transport.listen(self._address)
            self._address = str(getattr(listener, "address", None) or self._address)
            table = await registry.transact(self._adopt)
            kept = await open_log(self._sessions, manifest, restore=self._session is not None, session=self._session)
            house = House(
                self._pod(table, kept), lease=lease, listener=listener, key=self._transport.key(self._address), own_wards=True
            )
        except BaseException:
            with trio.move_on_after(_UNDO_SECONDS, shield=True):
                if kept is not None:
                    await kept.log.aclose()
                if listener is not None:
                    await listener.aclose()
                await self._undo(lease)
            raise
        house.serve_plain(manifest.plain, manifest.generation)
        return house

    def _reserve(self, table: Table, settled: Settled | None) -> Iterable[Fact]:
        manifest = self._manifest
        return decide_root(
            table,
            name=manifest.name,
            tree=manifest.tree,
            incarnation=manifest.incarnation,
            scope=manifest.scope,
            grant=manifest.grant,
            address=self._address,
            since=now(),
            run_dir=self._place.run_dir,
            live=False,
            born_of=manifest.session,
            where=None if settled is None else settled.where,
            pins=() if settled is None else settled.pins,
            takes_back=self._session is not None,
            max_rows=manifest.limits.pods,
        )

    def _adopt(self, table: Table) -> Iterable[Fact]:
        pid, started = own_process()
        manifest = self._manifest
        return decide_adopt(
            table, name=manifest.name, incarnation=manifest.incarnation, pid=pid, started=started, address=self._address
        )

    def _pod(self, table: Table, kept: Kept) -> Pod:
        manifest = kept.manifest
        control = control_dirs(self._registry, self._place, self._sessions)
        setting = Setting(
            worker=self._worker,
            tools=self._tools,
            transport=self._transport,
            place=self._place,
            cwd=manifest.cwd,
            limits=manifest.limits,
            level=manifest.level,
            address=self._address,
            wards=Wards(),
            kept=kept,
        )
        return Pod(Authority(self._registry, table, table[manifest.incarnation], control=control), setting)

    async def _undo(self, lease: Lease) -> None:
        own = self._manifest.incarnation
        try:
            await self._registry.transact(lambda table: decide_free(table, incarnation=own, author=own))
        except (RegistryError, OSError) as error:
            # The lease stays, to be found free: a row whose lease is missing would count as held.
            _log.warning("the row of pod %s may be left until somebody looks: %s", self._manifest.name, error)
            lease.release()
        else:
            lease.release()
            await self._registry.forget(lease.key)
        finally:
            self._place.clear(self._manifest.name)
            self._place.close()


async def sweep(registry: Registry, author: str) -> None:
    """Take back what dead pods left behind: rows whose lease is free, and their files."""
    for row in await registry.sweep(author):
        place = Place(row.run_dir, own=row.run_dir is not None and row.run_dir.endswith("/" + row.tree))
        place.clear(row.name)
        await clear_scratch(registry, row.incarnation)
        if row.parent is None:
            place.close()


def control_dirs(registry: Registry, place: Place, sessions: SessionStore | None) -> tuple[str, ...]:
    """podkit's own directories, which are outside every scope."""
    kept = None if sessions is None else sessions.directory
    return tuple(path for path in (registry.directory, place.run_dir, kept) if path is not None)


def check_plain(plain: str | None, generation: str, transport: Transport) -> None:
    if plain not in (None, "watch", "command"):
        raise ValueError("plain is None, 'watch' or 'command'")
    if generation not in ("A", "B"):
        raise ValueError("generation is 'A' or 'B'")
    if plain == "command" and transport.scheme != "memory":
        raise ConfinementError(
            "advisory",
            "plain='command' would let any tool process that can reach the socket command the pod; open it with plain='watch'",
        )
