"""The programs of one pod: each is started in a ward at the pod's level, from the scope as it is then, and ends with its call."""

from __future__ import annotations

import contextlib
import logging
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

import podkit.abc as ports
from podkit._os import Order, Root, open_listing
from podkit.confinement import (
    LAYERS,
    DiskLook,
    KernelForm,
    Level,
    ScopeJudge,
    check_depth,
    check_pins,
    clean_environment,
    device_set,
    existing_sensitive,
    host_secrets,
    in_force,
    kernel_form,
    read_set,
)
from podkit.errors import ConfinementError, InvalidArgumentError, PodkitError, StopFailedError
from podkit.protocol import Permission

from ._job import RunningJob
from ._plan_programs import Kept, Request
from ._talk import is_over, talk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from podkit._os import Ward, WardFacts, Wards
    from podkit.abc import Completed, Lease
    from podkit.logic import Scope

    from ._authority import Authority
    from ._scratch import Scratch

_log = logging.getLogger("podkit.programs")
_OF_THE_DISK = ("rule", "mount", "pin")  # steps that fail when the disk changed since it was looked at
_TRIES = 3
_FRESH = 2.0  # seconds for which it is believed which sensitive names there are
NOT_CONFINED = KernelForm(())
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where the C library makes shared memory; each program tree gets one of its own


@attrs.define(eq=False)
class Programs:
    """Runs programs for one pod. `lease` is the pod's: whoever still runs a program of it holds it too."""

    key: str
    authority: Authority
    wards: Wards
    level: Level
    cwd: str
    scratch: Scratch
    start: Callable[..., None]
    lease: Lease | None = None
    jobs: dict[str, RunningJob] = attrs.field(factory=dict)
    _seen: tuple[Scope, float, tuple[str, ...]] | None = None

    async def run(self, request: Request) -> Completed:
        """Run it to its end, and end everything that it started. A job is begun only."""
        self.authority.check_live()
        if request.job is not None:
            return await self._begin(request.job, request)
        began = trio.current_time()
        async with self._ward(request) as (ward, form, facts):
            out, err = Kept(), Kept()
            late, left = await talk(ward, request, {ward.stdout: out, ward.stderr: err})
            status = await ward.wait()
        if left:
            raise StopFailedError(request.argv[0], tuple(f"{name} (process {pid})" for pid, name in left))
        return attrs.evolve(
            self._begun(request, form, facts),
            status=status,
            stdout=out.bytes(),
            stderr=err.bytes(),
            dropped=out.dropped + err.dropped,
            timed_out=late,
            seconds=trio.current_time() - began,
        )

    async def shortfalls(self) -> tuple[str, ...]:
        """What the scope allows and a program that starts now could not do, in sentences."""
        facts = await self.wards.facts()
        return tuple(map(str, self._form(facts).shortfalls))

    async def aclose(self) -> None:
        """End the jobs, and let the nanny let go of our lease once nobody is left that runs for us."""
        for job in tuple(self.jobs.values()):
            with contextlib.suppress(PodkitError, OSError):  # that is for who asks the job
                await job.stop()
        await self.wards.drop(self.key)
        await self.scratch.remove()

    # One program.

    @asynccontextmanager
    async def _ward(self, request: Request) -> AsyncIterator[tuple[Ward, KernelForm, WardFacts]]:
        facts = await self.wards.facts()
        if self.lease is not None and self.lease.fd is not None:
            await self.wards.hold(self.key, self.lease.fd)
        async with self.authority.gate.shared(request.what):
            ward, form = await self._open(request, facts)
            try:
                yield ward, form, facts
            finally:
                await self._close(ward, request.what)

    async def _open(self, request: Request, facts: WardFacts) -> tuple[Ward, KernelForm]:
        """Open the ward. When the disk changed while it was looked at, look again."""
        keys = () if self.lease is None or self.lease.fd is None else (self.key,)
        tries = 0
        while True:
            order, form = self._order(request, facts)
            try:
                return await self.wards.open(order, keys=keys, stdin=request.input is not None), form
            except ConfinementError as error:
                tries += 1
                if error.step not in _OF_THE_DISK or tries == _TRIES:
                    raise

    def _order(self, request: Request, facts: WardFacts) -> tuple[Order, KernelForm]:
        """The program and its confinement, from what may be done right now."""
        layers = check_depth(os.environ)
        check_pins(self.authority.row.pins)
        home, tmp = self.scratch.make()
        form = self._form(facts, unix_sockets=request.unix_sockets)
        order = Order(
            argv=request.argv,
            env=self._environment(request, home, tmp) | {LAYERS: str(layers)},
            cwd=self._cwd(request.cwd),
            level=self.level.value,
            rules=[(rule.path, rule.access, rule.pin) for rule in form.rules],
            mounts=[(mount.path, mount.how) for mount in form.mounts],
            binds=form.binds,
            unix_sockets=request.unix_sockets,
            network=request.network,
            namespaces=facts.namespaces,
        )
        return order, form

    def _form(self, facts: WardFacts, *, unix_sockets: bool = False) -> KernelForm:
        if self.level is Level.ADVISORY:
            return NOT_CONFINED
        return kernel_form(
            self.authority.effective,
            namespaces=facts.namespaces,
            control=self.authority.control,
            pins={pin.target: (pin.device, pin.inode) for pin in self.authority.row.pins},
            read=read_set(),
            write=(*self.scratch.make(), *device_set()),
            private_root=self.level is Level.STRICT and facts.namespaces,
            sensitive=self._sensitive() if facts.namespaces else (),
            hide=host_secrets(),
            empty=(SHARED_MEMORY,),
            cover=unix_sockets,
        )

    def _sensitive(self) -> tuple[str, ...]:
        """The names below our targets that make other programs run something. Looking takes a while, so it is believed for one."""
        scope = self.authority.effective
        seen = self._seen
        if seen is None or seen[0] != scope or trio.current_time() - seen[1] > _FRESH:
            with Root() as root:
                found = existing_sensitive(DiskLook(root), tuple(scope.write_targets()))
            self._seen = seen = (scope, trio.current_time(), found)
        return seen[2]

    def _environment(self, request: Request, home: str, tmp: str) -> dict[str, str]:
        try:
            return clean_environment(os.environ, home=home, tmp=tmp, extra=request.env)
        except ValueError as error:
            raise InvalidArgumentError(str(error)) from None

    def _cwd(self, asked: str | None) -> str:
        """Where it starts: as asked, which has to be readable; else where the pod is, or `/` when the pod may not read that."""
        scope = self.authority.scope
        if asked is None and scope.at(self.cwd) < Permission.READ:
            return "/"
        with Root() as root:
            fd, place = open_listing(root, asked or self.cwd, ScopeJudge(root, scope, self.authority.control_plane), cwd=self.cwd)
            os.close(fd)
            return place.path

    def _begun(self, request: Request, form: KernelForm, facts: WardFacts) -> Completed:
        """What is known of it when it has begun."""
        return ports.Completed(
            argv=request.argv,
            status=None,
            level=in_force(self.level, unix_sockets=request.unix_sockets),
            tree=facts.tree,
            shortfalls=tuple(map(str, form.shortfalls)),
        )

    async def _close(self, ward: Ward, what: str) -> None:
        """End all of it. Who cannot be ended keeps its place in the gate: as long as they run, nothing they may write is lent."""
        with trio.CancelScope(shield=True):
            if await is_over(ward):
                await ward.aclose()
            else:
                self.start(self._outlive, ward, self.authority.gate.stay(f"what is left of {what}"))

    async def _outlive(self, ward: Ward, leave: Callable[[], None]) -> None:
        try:
            await ward.gone()
        except ConfinementError as error:  # nobody can tell any more: the place is kept until the pod ends
            _log.error("%s", error)
            return
        leave()
        await ward.aclose()

    # Jobs.

    async def _begin(self, name: str, request: Request) -> Completed:
        if name in self.jobs:
            raise InvalidArgumentError(f"there is a job `{name}` already: stop it, or choose another name")
        job = self.jobs[name] = RunningJob(name, request.argv)
        try:
            self.start(self._live, job, request)
            return await job.begun()
        except BaseException:
            with trio.CancelScope(shield=True):
                await job.stop()
            raise

    async def _live(self, job: RunningJob, request: Request) -> None:
        began = trio.current_time()
        try:
            with job.scope:
                async with self._ward(request) as (ward, form, facts):
                    begun = self._begun(request, form, facts)
                    job.start(begun)
                    late, _ = await talk(ward, request, {ward.stdout: job.kept, ward.stderr: job.kept}, ask=job.ask)
                    status = await ward.wait()
                    job.end(
                        attrs.evolve(
                            begun,
                            status=status,
                            stdout=job.kept.bytes(),
                            dropped=job.kept.dropped,
                            timed_out=late,
                            seconds=trio.current_time() - began,
                        )
                    )
        except Exception as error:  # noqa: BLE001 - told to who begins the job, or waits for it
            job.fail(error)
        finally:
            job.over()
            self.jobs.pop(job.name, None)
