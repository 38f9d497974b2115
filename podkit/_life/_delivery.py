"""One attempt at a birth: the steps of its plan in order, and undone in reverse when one fails or the caller is cancelled."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from podkit._net import Exchange, open_exchange
from podkit._os import new_incarnation, new_secret, now
from podkit.confinement import Settled, check_pins, settle_targets
from podkit.errors import LaunchFailedError, NeverReadyError, RegistryError, StaleIncarnationError
from podkit.logic import BirthRequest, BirthStep, BirthUndo, decide_birth, secret_digest
from podkit.protocol import Permission

from ._birth import Birth
from ._child import Child
from ._deaths import take_back, watch_child
from ._meeting import as_itself, until_ready
from ._plan_document import Document
from ._plan_manifest import ChildRecord
from ._plan_reports import parent_instance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from podkit.abc import Launcher, Lease, Process
    from podkit.logic import Allocation, BirthPlan

    from ._pod import Pod

_log = logging.getLogger("podkit.births")
_UNDO_SECONDS = 5.0


class Delivery:
    """One attempt. `perform` returns the child, or has undone everything."""

    def __init__(
        self, pod: Pod, request: BirthRequest, launcher: Launcher, on_parent_death: str, timeout: float, *, restore: bool
    ) -> None:
        self.restore = restore
        self.pod, self.request, self.launcher = pod, request, launcher
        self.on_parent_death, self.timeout = on_parent_death, timeout
        self.incarnation, self.secret = new_incarnation(), new_secret()
        self.secret_sha256 = secret_digest(self.secret)
        self.instance = parent_instance(self.secret_sha256)
        self.lease: Lease | None = None
        self.birth: Birth | None = None
        self.process: Process | None = None
        self.settled: list[Settled] = []
        self.row: Allocation | None = None
        self.deadline: float | None = None
        self.met: Exchange | None = None

    async def perform(self, plan: BirthPlan) -> Child:
        """Do the steps in their order. The task is delivered by the caller: from RECORD on the child lives, whatever fails."""
        done: set[BirthStep] = set()
        began = trio.current_time()
        perform: dict[BirthStep, Callable[[], Awaitable[None]]] = {
            BirthStep.LEASE: self._take_lease,
            BirthStep.SETTLE: self._settle,
            BirthStep.RESERVE: self._reserve,  # REVOKE comes with it: the transaction takes the new table over at once
            BirthStep.DRAIN: self._drain,
            BirthStep.LISTEN: self._listen,
            BirthStep.LAUNCH: self._launch,
            BirthStep.READY: lambda: self._in_time(until_ready, began),
            BirthStep.VERIFY: lambda: self._in_time(self._verify, began),
        }
        try:
            for step in plan.steps:
                if step is BirthStep.RECORD:
                    break
                done.add(step)  # also when it fails half way
                if step in perform:
                    await perform[step]()
            return self._record()
        except BaseException:
            with trio.CancelScope(shield=True):
                if self.met is not None:
                    await self.met.aclose()
                for undo in plan.undo(done):
                    await self._undo(undo)
            raise

    async def _take_lease(self) -> None:
        self.lease = await self.pod.authority.registry.hold(f"{self.request.name}.{self.incarnation}")

    async def _settle(self) -> None:
        """See what the targets are. Missing ones are made only where other programs share the registry: paths in memory may be
        imagined."""
        pod, registry = self.pod, self.pod.authority.registry
        if not registry.paths_are_real:
            return
        check_pins(pod.authority.row.pins)
        make = self._may_make if registry.locator is not None else None
        self.settled.append(settle_targets(self.request.scope, make=make, lender=pod.authority.scope))
        if self.request.grant is not None:
            self.settled.append(settle_targets(self.request.grant, make=None))

    def _may_make(self, path: str) -> bool:
        return self.pod.grant.at(path) is Permission.WRITE

    async def _reserve(self) -> None:
        pod = self.pod
        settled = self.settled[0] if self.settled else None
        table = await pod.authority.transact(
            lambda table: decide_birth(
                table,
                parent=pod.incarnation,
                parent_name=pod.name,
                name=self.request.name,
                incarnation=self.incarnation,
                scope=self.request.scope,
                grant=self.request.grant,
                address=self._address(),
                since=now(),
                run_dir=pod.place.run_dir,
                secret_sha256=self.secret_sha256,
                born_of=pod.authority.row.born_of,
                where=None if settled is None else settled.where,
                pins=() if settled is None else settled.pins,
                max_depth=pod.limits.depth,
                max_rows=pod.limits.pods,
            )
        )
        self.row = table.get(self.incarnation)
        if self.row is None:
            raise StaleIncarnationError(pod.name, pod.incarnation)

    def _address(self) -> str:
        return self.pod.transport.address(self.request.name, self.pod.place.run_dir)

    async def _listen(self) -> None:
        pod, name = self.pod, self.request.name
        assert self.lease is not None
        pod.place.make(name)
        listener = await pod.transport.listen(self._address())
        address = getattr(listener, "address", None) or self._address()
        self.birth = Birth(pod, self._document(address), lease=self.lease, listener=listener, stderr=pod.place.stderr(name))

    def _record(self) -> Child:
        pod, row, birth = self.pod, self.row, self.birth
        assert row is not None
        assert birth is not None
        self._remember(birth.document)
        child = Child(pod, row, address=birth.document.address, process=self.process, instance=self.instance, met=self.met)
        pod.children.add(child)
        pod.start_soon(watch_child, pod, child, row)
        return child

    def _remember(self, document: Document) -> None:
        self.pod.members.keep(
            ChildRecord(
                name=document.name,
                incarnation=document.incarnation,
                scope=document.scope,
                grant=document.grant,
                cwd=self.request.cwd,
                on_parent_death=document.on_parent_death,
            )
        )

    def _document(self, address: str) -> Document:
        pod = self.pod
        sessions = pod.setting.kept.sessions
        return Document(
            name=self.request.name,
            incarnation=self.incarnation,
            tree=pod.tree,
            scope=self.request.scope,
            grant=self.request.grant or self.request.scope,
            parent=pod.name,
            parent_incarnation=pod.incarnation,
            parent_address=pod.address,
            parent_instance=self.instance,
            address=address,
            run_dir=pod.place.run_dir,
            locator=pod.authority.registry.locator or "",
            cwd=self.request.cwd or pod.setting.cwd,
            on_parent_death=self.on_parent_death,
            confinement=pod.confinement,
            limits=pod.limits,
            sessions="" if sessions is None else sessions.locator or "",
            restore=self.restore,
            secret=self.secret,
        )

    async def _drain(self) -> None:
        """Wait until nothing of ours that began under the old scope is under way."""
        gate = self.pod.authority.gate
        if not gate.busy:
            return
        with trio.move_on_after(self.timeout) as deadline:
            async with gate.alone():
                return
        if deadline.cancelled_caught:
            busy = ", ".join(gate.busy) or "an operation"
            raise NeverReadyError(self.request.name, waited=self.timeout, blocked_by=busy)

    async def _launch(self) -> None:
        birth = self.birth
        assert birth is not None
        try:
            self.process = await self.launcher.launch(birth)
        except OSError as error:
            raise LaunchFailedError(birth.name, f"could not be started: {error}") from error
        birth.let_go()

    async def _in_time(self, step: Callable[[Birth, Process], Awaitable[None]], began: float) -> None:
        """Do one of the steps that wait for the child, within what is left of the time since `began`."""
        birth, process = self.birth, self.process
        assert birth is not None
        assert process is not None
        if self.deadline is None:
            self.deadline = trio.current_time() + self.timeout
        with trio.move_on_at(self.deadline) as limit:
            await step(birth, process)
        if limit.cancelled_caught:
            waited = trio.current_time() - began
            raise NeverReadyError(birth.name, waited=waited, stderr_tail=process.stderr_tail())

    async def _verify(self, birth: Birth, process: Process) -> None:
        """Readiness is a full handshake with the very pod that was born, not a connection that somebody accepts.

        Its task is said on the same connection.
        """
        expect, instance = (birth.name, birth.incarnation), f"{self.instance}.{new_incarnation()}"
        with as_itself(birth, process):
            self.met = await open_exchange(birth.document.address, transport=self.pod.transport, instance=instance, expect=expect)
            await self.pod.authority.refresh()

    async def _undo(self, undo: BirthUndo) -> None:
        """Take one step back. After all of them nothing is left: no process, no socket, no lease, no row, no directory."""
        match undo:
            case BirthUndo.END if (process := self._begun()) is not None:
                process.kill()
                with trio.move_on_after(_UNDO_SECONDS):
                    await process.wait()
            case BirthUndo.CLOSE if self.birth is not None:
                await self.birth.abandon()
            case BirthUndo.RELEASE if self.lease is not None and self.birth is None:
                self.lease.release()
                if self.row is None:
                    await self._look_for_row(self.lease)
            case BirthUndo.UNMAKE:
                for settled in reversed(self.settled):
                    settled.unmake()
            case BirthUndo.FREE if self.row is not None:
                await self._free(self.row)
            case _:  # nothing was done, or what comes back comes with another step
                return

    async def _look_for_row(self, lease: Lease) -> None:
        """An append that failed may have been kept. Only a lease without a row is forgotten: a missing one would count as held."""
        try:
            self.row = (await self.pod.authority.refresh()).get(self.incarnation)
            if self.row is None:
                await self.pod.authority.registry.forget(lease.key)
        except (RegistryError, OSError) as error:  # whoever looks next finds the lease free, and frees the row if there is one
            _log.warning("what became of the birth of %s cannot be told: %s", self.request.name, error)

    def _begun(self) -> Process | None:
        """What was started, also when its launcher was cancelled before it could hand it to us."""
        return self.process or (None if self.birth is None else self.birth.process)

    async def _free(self, row: Allocation) -> None:
        with trio.move_on_after(_UNDO_SECONDS) as deadline:
            await self.pod.authority.registry.gone(row.key)
        if deadline.cancelled_caught:
            _log.error("pod %s does not end; its scope stays taken until it does", row.name, extra={"incarnation": row.incarnation})
            self.pod.start_soon(_free_later, self.pod, row)
            return
        await take_back(self.pod, row)


async def _free_later(pod: Pod, row: Allocation) -> None:
    await pod.authority.registry.gone(row.key)
    await take_back(pod, row)
