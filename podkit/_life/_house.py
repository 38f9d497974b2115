"""The house of a pod: every task of it lives here, shielded from whoever opened it, until the pod has ended in order."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from podkit._net import Server
from podkit.errors import PodkitError, StopFailedError
from podkit.logic import AskShutdown, decide_free
from podkit.protocol import PodShutDown, Shutdown

from ._deaths import end_rows

if TYPE_CHECKING:
    from podkit.abc import Lease

    from ._child import Child
    from ._pod import Pod

_log = logging.getLogger("podkit.house")
_RELEASE_SECONDS = 20.0
_PROGRAMS_SECONDS = 10.0
_OPERATIONS_SECONDS = 2.0


class House:
    """Runs a pod. The outside ends it through `ask_to_end`, the table through `Pod.leaving`; `scope.cancel()` is its death."""

    def __init__(
        self,
        pod: Pod,
        *,
        lease: Lease,
        listener: trio.abc.Listener[trio.abc.Channel[bytes]],
        key: str | None,
        own_program: bool = False,
        own_wards: bool = False,
    ) -> None:
        self.pod, self.scope = pod, trio.CancelScope(shield=True)
        self._lease, self._listener, self._key = lease, listener, key
        # In a program of its own the lease is left to the kernel, so that it is free exactly when the process is gone.
        self._own_program = own_program
        self._own_wards = own_wards
        pod.programs.lease = lease
        self._plain: str | None = None
        self._generation = "B"

    def serve_plain(self, plain: str | None, generation: str) -> None:
        """Whether, and in which generation's words, connections without a hello are served."""
        self._plain, self._generation = plain, generation

    @trio.lowlevel.enable_ki_protection
    async def live(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until the pod is gone. Started when the pod can be connected to."""
        pod = self.pod
        try:
            with self.scope:
                async with trio.open_nursery() as nursery:
                    pod.enter(nursery)
                    server = Server(pod.desk, self._listener, key=self._key, plain=self._plain, generation=self._generation)
                    nursery.start_soon(server.serve)  # who connects from here on waits until it accepts
                    if pod.setting.upward is not None:
                        nursery.start_soon(pod.setting.upward.run)
                    pod.begin()
                    task_status.started()
                    await pod.leaving()
                    await self._leave(server)
                    nursery.cancel_scope.cancel()
        finally:
            await self._close()

    async def _end_below(self) -> None:
        pod, where = self.pod, {"incarnation": self.pod.incarnation}
        try:
            left = await end_rows(pod, pod.limits.stop_grace)
        except (PodkitError, OSError) as error:
            _log.error("pod %s cannot tell who is below it: %s", pod.name, error, extra=where)
            return
        if left:
            _log.error("pod %s leaves pods behind: %s", pod.name, ", ".join(left), extra=where)

    def ask_to_end(self) -> None:
        """The same as a shutdown that somebody sends."""
        self.pod.actor.feed(AskShutdown(None))

    async def _leave(self, server: Server) -> None:
        pod = self.pod
        pod.members.closed = True
        for birth in tuple(pod.births):
            birth.cancel()
        if children := list(pod.children.handles()):
            async with trio.open_nursery() as nursery:
                for child in children:
                    nursery.start_soon(self._stop, child)
        await self._end_below()
        if pod.setting.upward is not None:
            name, incarnation = pod.name, pod.incarnation
            event = PodShutDown(name, id=f"{incarnation}.shut_down", incarnation=incarnation, unseen=pod.unseen_of_parent())
            pod.setting.upward.tell(event)
            await pod.setting.upward.close()
        with trio.move_on_after(pod.limits.drain):
            await pod.confirmations.settled()
        pod.hub.publish(Shutdown())
        pod.hub.close()
        await server.drain(pod.limits.drain)
        with trio.move_on_after(_RELEASE_SECONDS):
            try:
                await self._free()
            except (PodkitError, OSError) as error:
                _log.error(
                    "the row of pod %s stays until somebody reclaims it: %s",
                    pod.name,
                    error,
                    extra={"incarnation": pod.incarnation},
                )

    async def _free(self) -> None:
        """End our row, unless somebody above us lives: they see our lease go free, and only then is our scope free."""
        pod = self.pod
        table = await pod.authority.refresh()
        for row in table.ancestors(pod.incarnation):
            if await pod.authority.registry.held(row.key):
                return
        await pod.authority.transact(lambda table: decide_free(table, incarnation=pod.incarnation, author=pod.incarnation))

    async def _stop(self, child: Child) -> None:
        try:
            await child.stop(grace=self.pod.limits.stop_grace)
        except (StopFailedError, PodkitError, OSError) as error:
            _log.error("pod %s leaves a child behind: %s", self.pod.name, error, extra={"incarnation": self.pod.incarnation})

    async def _close(self) -> None:
        """Also when the house died: the address refuses, the lease is free, and our files are gone."""
        pod = self.pod
        try:
            with trio.move_on_after(_RELEASE_SECONDS, shield=True):
                pod.authority.end()
                await self._listener.aclose()
                await self._end_programs()
                await self._let_go_of_session()
                self._clear()
                ended = pod.authority.table.get(pod.incarnation) is None
                if ended or not self._own_program:
                    self._lease.release()
                if ended:
                    await self._forget()
        finally:
            pod.gone()

    async def _end_programs(self) -> None:
        """Our lease goes free only after the last of our programs, so their end is waited for; a nanny of our own leaves then."""
        where = {"incarnation": self.pod.incarnation}
        if self.pod.authority.gate.busy:
            with trio.move_on_after(_OPERATIONS_SECONDS):
                async with self.pod.authority.gate.alone("the end of the pod"):
                    pass  # what somebody does with our files elsewhere in this program is over
        with trio.move_on_after(_PROGRAMS_SECONDS) as deadline:
            try:
                await self.pod.programs.aclose()
            except (PodkitError, OSError) as error:
                _log.error("programs of pod %s may be left: %s", self.pod.name, error, extra=where)
        if deadline.cancelled_caught:
            _log.error("programs of pod %s do not end; its scope stays taken until they do", self.pod.name, extra=where)
        if self._own_wards:
            await self.pod.setting.wards.aclose()

    async def _let_go_of_session(self) -> None:
        """Before the lease: whoever finds that free may restore us."""
        pod = self.pod
        try:
            await pod.log.aclose()
        except (PodkitError, OSError) as error:
            _log.warning("the session of pod %s: %s", pod.name, error, extra={"incarnation": pod.incarnation})

    def _clear(self) -> None:
        pod = self.pod
        try:
            pod.place.clear(pod.name)
            pod.place.close()
        except (PodkitError, OSError) as error:
            _log.warning("pod %s leaves files behind: %s", pod.name, error, extra={"incarnation": pod.incarnation})

    async def _forget(self) -> None:
        """We ended our row ourselves: nobody above us is left to look at our lease."""
        try:
            await self.pod.authority.registry.forget(self._lease.key)
        except (PodkitError, OSError) as error:
            _log.warning(
                "the lease of pod %s is left behind: %s", self.pod.name, error, extra={"incarnation": self.pod.incarnation}
            )
