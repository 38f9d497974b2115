"""The pod: its identity, its authority and its parts, put together. What it decides is in `logic`, who performs it beside this."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

import podkit.abc as ports
from podkit._net import Controls, Hub, Origin
from podkit.confinement import Files, Level
from podkit.logic import WAKE_TIMER, BackoffOver, restored_life
from podkit.protocol import Event, Method, RunEnd, RunResult, Status

from ._actor import Actor
from ._asking import ask_here
from ._births import restore, spawn
from ._children import Children
from ._confirmations import Confirmations
from ._desk import PodDesk
from ._members import Members
from ._notices import NoticeBox
from ._plan_programs import plan_request
from ._plan_reports import report_of, speaks_for_parent
from ._programs import Programs
from ._scratch import Scratch
from ._tools import call_tool, tool_table
from ._turn import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from podkit.abc import Child, Completed, Job, Launcher, Tool, ToolOutput, Transport
    from podkit.logic import Input, Limits, Scope

    from ._authority import Authority
    from ._log import SessionLog
    from ._place import Place
    from ._setting import Setting


class Pod(Controls, ports.Pod):
    """A running pod, in the program that opened or adopted it."""

    name: str
    incarnation: str
    tree: str
    address: str
    setting: Setting
    authority: Authority
    limits: Limits
    transport: Transport
    place: Place
    confinement: str
    hub: Hub
    log: SessionLog
    notices: NoticeBox
    actor: Actor
    desk: PodDesk
    members: Members
    programs: Programs
    confirmations: Confirmations

    def __init__(self, authority: Authority, setting: Setting) -> None:
        row = authority.row
        self.name, self.incarnation, self.tree = row.name, row.incarnation, row.tree
        self.address = setting.address
        self.setting, self.authority = setting, authority
        self.limits, self.transport, self.place = setting.limits, setting.transport, setting.place
        self.confinement = setting.level
        self.tools: Mapping[str, Tool] = tool_table(setting.tools)
        self._children = Children()
        self.births: set[trio.CancelScope] = set()
        self.hub = Hub(self.limits)
        self.log, self.members = setting.kept.log, Members(setting.kept)
        self._files = authority.files(cwd=setting.cwd, level=setting.level)
        self.programs = Programs(
            key=row.key,
            authority=authority,
            wards=setting.wards,
            level=Level(setting.level),
            cwd=setting.cwd,
            scratch=Scratch.of(authority.registry.directory, row.incarnation),
            start=self.start_soon,
        )
        self._leaving, self._stopped = trio.Event(), trio.Event()
        self._nursery: trio.Nursery | None = None
        self.notices = NoticeBox(self.log, incarnation=self.incarnation, text_limit=self.limits.event_text)
        turn = Turn(
            worker=setting.worker,
            pod=self,
            hub=self.hub,
            log=self.log,
            notices=self.notices,
            feed=self._feed,
            start=self.start_soon,
            arm=self.arm,
            cancel_grace=self.limits.cancel_grace,
            ended=self._run_ended,
        )
        self.confirmations = Confirmations(self.log, self.start_soon)
        self.actor = Actor(
            hub=self.hub,
            notices=self.notices,
            turn=turn,
            arm=self.arm,
            leave=self._leaving.set,
            once_kept=self.confirmations.once_kept,
            limits=self.limits,
        )
        if setting.kept.restored:
            turn.restore(setting.kept.state)
            self.actor.life = restored_life(self.actor.life, setting.kept.state)
        self.desk = PodDesk(self)

    def __repr__(self) -> str:
        return f"<Pod {self.name} {self.incarnation} {self.status.value} at {self.address}>"

    @property
    def status(self) -> Status:
        return self.actor.status

    @property
    def scope(self) -> Scope:
        return self.authority.scope

    @property
    def grant(self) -> Scope:
        return self.authority.grant

    @property
    def children(self) -> Children:
        return self._children

    @property
    def files(self) -> Files:
        return self._files

    @property
    def jobs(self) -> Mapping[str, Job]:
        return self.programs.jobs

    # What the house calls.

    def begin(self) -> None:
        """The pod can be reached: meet the children it had, and start the run that waiting notices ask for."""
        if self.setting.kept.restored:
            self.members.meet(self)
            self._feed(BackoffOver(WAKE_TIMER))

    def enter(self, nursery: trio.Nursery) -> None:
        """From here tasks of the pod run in `nursery`."""
        self._nursery = nursery

    async def leaving(self) -> None:
        """Return when the table says that the pod ends."""
        await self._leaving.wait()

    def gone(self) -> None:
        """Everything is over."""
        self._leaving.set()
        self._stopped.set()

    def start_soon(self, task: Callable[..., Any], *args: object) -> None:
        """Run a task beside the pod, until the pod is gone."""
        if self._nursery is not None:
            self._nursery.start_soon(task, *args)

    def arm(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after a while, unless the pod is gone by then."""
        self.start_soon(_later, seconds, then)

    def _feed(self, item: Input) -> None:
        self.actor.feed(item)

    def _run_ended(self, origin: Origin | None, end: RunEnd, message: str) -> None:
        """Tell the parent how a run ended that it asked for, and of no other: so two pods never wake each other for ever."""
        upward = self.setting.upward
        if upward is not None and self._is_parent(origin) and end.result is not RunResult.PAUSED:
            upward.tell(report_of(self.name, self.incarnation, end, message))

    def unseen_of_parent(self) -> tuple[str, ...]:
        """The notices of our parent that were given back."""
        return tuple(notice for notice, ask in self.notices.returned if self._is_parent(ask.origin))

    def _is_parent(self, origin: Origin | None) -> bool:
        return origin is not None and speaks_for_parent(origin.instance, self.setting.parent_instance)

    # Controls, without a wire.

    async def _send(self, method: Method, *, run: int | None = None) -> Event:
        return await ask_here(self.desk, method, run)

    @asynccontextmanager
    async def _watch(self) -> AsyncIterator[trio.abc.ReceiveChannel[Event]]:
        async with self.hub.open_view(self.desk) as view:
            yield view

    async def stopped(self) -> None:
        """Return when the pod is gone, whoever stopped it."""
        await self._stopped.wait()

    async def spawn(
        self,
        name: str,
        *,
        scope: Scope,
        launcher: Launcher,
        task: str | None = None,
        grant: Scope | None = None,
        cwd: str | None = None,
        on_parent_death: str = "stop",
        ready_timeout: float = 10.0,
    ) -> Child:
        """Start a child with a part of our authority, and return a handle on it.

        From the first step on our own tools and file operations may no longer write what is lent; the child is launched only when
        everything that began before is over. `scope` is what the child may use, `grant` what it may hand out (None: its scope);
        both lie within our grant. `cwd` is where it starts and what its relative paths mean. `on_parent_death` is "stop" or "keep".
        `ready_timeout` (seconds) bounds the wait for our own operations and, again, the wait for the child.

        Raises `InvalidNameError`, `InvalidRuleError`, `NotSubsetError`, `WriteConflictError`, `DuplicatePodError`,
        `LimitExceededError`, `LaunchFailedError`, `NeverReadyError`, `PathRefusedError` for a target, and `TransportError`,
        `RegistryError`, `SessionError` and `OSError` for trouble of the system: nothing is left of it, and our write is back.
        `DeliveryError`: the child lives and is among the children, but did not accept its task.
        """
        return await spawn(
            self,
            name,
            scope=scope,
            launcher=launcher,
            task=task,
            grant=grant,
            cwd=cwd,
            on_parent_death=on_parent_death,
            ready_timeout=ready_timeout,
        )

    async def restore_child(self, name: str, *, launcher: Launcher, ready_timeout: float = 10.0) -> Child:
        """Start a child again that is gone, from its session: a birth as `spawn` has it, with the scope, the grant and the working
        directory it was given then, which leave our authority anew. Its history is what it was, and it gets no task.

        Raises `UnknownPodError` when we have no such child to restore, `DuplicatePodError` while it lives, and what `spawn` raises;
        then it can be restored still.
        """
        return await restore(self, name, launcher=launcher, ready_timeout=ready_timeout)

    async def run_process(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        input: bytes | str | None = None,
        timeout: float | None = None,
        unix_sockets: bool = False,
        job: str | None = None,
        env: Mapping[str, str] | None = None,
        network: bool = True,
    ) -> Completed:
        """Run the program `argv` to its end, and end everything it started; return what came of it.

        It runs at the pod's level of confinement, compiled from the scope as it is now: at `kernel` and above it cannot read or
        write what the scope does not allow, whatever it is. What it may do less than the scope says is in `Completed.shortfalls`.
        It starts in `cwd`, which has to be readable (None: where the pod is, or `/` when the pod may not read that), with a clean
        environment, a HOME and a TMPDIR of the pod's own, and `env` added. `input` is its stdin; without it stdin is empty.
        `timeout` (seconds) ends it. `unix_sockets` lets it make Unix sockets, with which it may reach programs that are not
        confined; the level is called `kernel+sockets` then. `network=False` leaves it no network. Of each output 8 MiB are kept.

        With `job` it goes on when this returns, under that name in `jobs`; it ends with the pod at the latest.

        Raises `InvalidArgumentError` and `InvalidNameError` for what cannot be run so, `AccessDeniedError` and `PathRefusedError`
        for `cwd`, `FileNotFoundError` and other `OSError`s when the program cannot be started, `ConfinementError` when it cannot be
        confined (then it is not run), `StopFailedError` when something it started cannot be ended.
        """
        request = plan_request(
            argv,
            cwd=cwd,
            input=input,
            timeout=timeout,
            unix_sockets=unix_sockets,
            network=network,
            job=job,
            env=env,
        )
        return await self.programs.run(request)

    async def shortfalls(self) -> tuple[str, ...]:
        """What the scope allows right now and a program could not do, in sentences. Empty when the kernel can be told exactly."""
        return await self.programs.shortfalls()

    async def call_tool(self, name: str, arguments: Mapping[str, Any], *, call_id: str = "") -> ToolOutput:
        """Call one of our tools as a model would. Raises `ToolError` with what the model should read."""
        return await call_tool(self, self.tools, name, arguments, call_id)


async def _later(seconds: float, then: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    then()
