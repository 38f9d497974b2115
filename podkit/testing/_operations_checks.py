"""What a random scenario holds podkit to besides what is always watched: wakes, cancellations of one run, births that failed."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from podkit.abc import Tool, ToolOutput
from podkit.errors import CorruptLogError, DeliveryError, PodkitError, UnknownSessionError
from podkit.logic import Hold
from podkit.protocol import ListRewindTargets, RewindTargets, RewindTo, RunResult, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from podkit._life import Pod
    from podkit._net import Client
    from podkit.abc import ToolContext
    from podkit.protocol import RunEnd

    from ._sim_program import Program
    from ._sim_world import SimWorld

_WAKE_SECONDS = 60.0
_FREEZE_SECONDS = 25.0  # who was stopped until just now has so long to catch up


class Look(Tool):
    """A tool that must not run twice for one call, nor for one that is not in the log."""

    name, description = "look", "Look."
    input_schema: Mapping[str, Any] = {"type": "object"}

    def __init__(self, world: SimWorld) -> None:
        self._world = world
        self._ran: set[str] = set()

    async def call(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        call, name = str(arguments["call"]), context.pod.name
        acting = self._world.scheduler.owner(trio.lowlevel.current_task())
        if getattr(acting, "dead", False):  # it is unwound at the end of the world, and what it does is nobody's
            return ToolOutput("")
        if call in self._ran:
            self._world.complain("I25", f"{name} runs the call {call} again")
        self._ran.add(call)
        if not any(call.encode() in raw for raw in self._world.sessions.committed(name)):
            self._world.complain("I27", f"{name} runs the call {call}, which is not in its log")
        await trio.sleep(self._world.chance.choice((0, 0, 1)))
        return ToolOutput("seen")


@attrs.define(eq=False)
class Checks:
    """Looks after what clients and parents of one world were told. `kept`: its pods have sessions, which go on after a crash."""

    world: SimWorld
    kept: bool = attrs.field(default=False, kw_only=True)
    tools: tuple[Tool, ...] = attrs.field(init=False)
    rewinds: set[tuple[str, int]] = attrs.field(init=False)  # segment and length of its log, where going back was right to ask for
    told: int = 0
    accepted: list[tuple[str, str, int]] = attrs.field(factory=list)  # pod, message, losses of power before it
    runs: dict[str, list[int]] = attrs.field(factory=dict)  # incarnation (with sessions: name) -> numbers of its runs
    cancelled: set[tuple[str, int]] = attrs.field(factory=set)
    wakes: list[tuple[Program, Pod, str]] = attrs.field(factory=list)
    bearing: dict[tuple[str, str], list[list[bool]]] = attrs.field(factory=dict)  # name and parent: births under way, if alone

    def __attrs_post_init__(self) -> None:
        self.tools = (Look(self.world),)
        self.rewinds = self.world.rewinds = set()

    def _whose(self, client: Client) -> str:
        """With sessions a run may be over in a later incarnation than the one it began in."""
        return client.name if self.kept else client.incarnation

    def _homes(self) -> Iterator[tuple[Program, Pod]]:
        return ((program, pod) for program in self.world.programs for pod in program.pods())

    def _home(self, incarnation: str) -> tuple[Program, Pod] | None:
        """The program that a pod is in, and the pod."""
        return next((home for home in self._homes() if home[1].incarnation == incarnation), None)

    # A cancellation that names a run leaves every other run alone.

    async def run(self, client: Client, text: str) -> int:
        run = await client.run(text)
        self.runs.setdefault(self._whose(client), []).append(run)
        return run

    async def run_and_wait(self, client: Client) -> None:
        """In a world in which everybody who cancels says which run: only those end as cancelled."""
        run, began = await self.run(client, "do it and say how it ended"), client.incarnation
        end: RunEnd = await client.wait(run)
        home = self._home(client.incarnation)
        stopping = home is None or home[1].actor.stopping or not home[0].alive or began != client.incarnation
        if end.result is RunResult.CANCELLED and (self._whose(client), run) not in self.cancelled and not stopping:
            self.world.complain("I23", f"run {run} of {client.name} was cancelled, and nobody asked for that")

    async def cancel(self, client: Client) -> None:
        """Cancel the latest run, or one that is over."""
        runs = self.runs.get(self._whose(client)) or [1]
        run = self.world.chance.choice(runs[-3:])
        self.cancelled.add((self._whose(client), run))
        await client.cancel(run=run)

    # Going back happens for what was listed and is still so, and for nothing else.

    async def rewind(self, client: Client) -> None:
        """Go back to before an input, or ask for that with a target that is none."""
        chance, listed = self.world.chance, await client.send(ListRewindTargets())
        if not isinstance(listed, RewindTargets) or not listed.targets:
            return
        chosen = chance.choice(listed.targets)
        target, expected = chosen.id, chosen.expected_head_entries
        match chance.randrange(6):
            case 0:
                target = attrs.evolve(target, segment_id=str(uuid.UUID(int=chance.getrandbits(128))))
            case 1:
                target = attrs.evolve(target, user_input_entry_index=10**6)
            case 2:
                expected += chance.choice((1, 100))
                self.rewinds.add((target.segment_id, expected))  # by the time it arrives that may be so
            case _:
                self.rewinds.add((target.segment_id, expected))
                await trio.sleep(chance.choice((0, 0, 1)))  # somebody else may be quicker
        await client.send(RewindTo(target, expected))

    # A session that was kept is there again, whatever happened; only a loss of power may take one that was not to survive it.

    @contextmanager
    def restores(self, name: str) -> Iterator[None]:
        sessions = self.world.sessions
        try:
            yield
        except (CorruptLogError, UnknownSessionError) as error:
            if sessions.survives_power or not sessions.lost_power:
                self.world.complain("I29", f"the session of {name} cannot be opened again: {error}")
            raise

    # A message that wakes an idle pod starts a run within a minute.

    async def wake(self, client: Client) -> None:
        self.told += 1
        text = f"news {self.told}."
        lost = self.world.sessions.lost_power
        await client.notify(text)
        if self.kept:
            self.accepted.append((client.name, text, lost))
        home = self._home(client.incarnation)
        if home is not None:
            self.wakes.append((*home, text))
            self.world.nursery.start_soon(self._woken, *home, text)

    async def settled(self) -> None:
        """Nothing goes wrong any more, and nobody asks for anything: who was told to wake up does so in time."""
        if any(self._sleeps(*wake) for wake in self.wakes):
            await trio.sleep(_WAKE_SECONDS)
        for program, pod, text in self.wakes:
            if self._sleeps(program, pod, text):
                self.world.complain("I26", f"{pod.name} was told to wake up ({text}), and sleeps")
        sessions = self.world.sessions
        for name, text, lost in self.accepted:
            promised = sessions.survives_power or lost == sessions.lost_power
            if promised and not any(text.encode() in raw for raw in self.world.sessions.said(name)):
                self.world.complain("I26", f"{name} accepted a message ({text}), and never heard of it")

    async def _woken(self, program: Program, pod: Pod, text: str) -> None:
        await trio.sleep(_WAKE_SECONDS)
        if self._sleeps(program, pod, text):
            await trio.sleep(_FREEZE_SECONDS)
            if self._sleeps(program, pod, text):
                self.world.complain("I26", f"{pod.name} was told to wake up a minute ago ({text}), and sleeps")

    def _sleeps(self, program: Program, pod: Pod, text: str) -> bool:
        """Whether it is idle with this message unseen, and does not hold it back on purpose: after a cancellation or a failure."""
        if self.kept:
            same = (home for home in self._homes() if home[1].log.id == pod.log.id and home[0].alive and not home[1].actor.stopping)
            program, pod = next(same, (program, pod))
        up = program.alive and not program.frozen and not pod.actor.stopping
        life = pod.actor.life
        begins = life.hold is Hold.BACKOFF and not life.failures  # a restored pod holds back until it can be reached, no longer
        idle = up and pod.status is Status.IDLE and (begins or not life.held)
        waiting = None
        for entry in pod.log.data if idle else ():
            if entry["kind"] == "notice" and text in str(entry):
                waiting = entry["id"]
            elif waiting is not None and waiting in (entry.get("item", {}).get("notice"), entry.get("id")):
                return False
        return waiting is not None

    # A birth that failed leaves nobody, however late the child was.

    async def birth(self, pod: Pod, name: str, spawn: Callable[[], Awaitable[object]]) -> None:
        whose = (name, pod.incarnation)
        before, lodged = len(self.world.programs), {lodger for program, lodger in self._homes() if lodger in program.lodgers}
        with self._alone(whose) as alone:
            try:
                await spawn()
            except DeliveryError:
                raise
            except (PodkitError, trio.Cancelled):
                home = self._home(pod.incarnation)
                born = [other for other in self.world.programs[before:] if (other.name, other.parent) == whose and other.alive]
                lodgers = home[0].lodgers if home else ()
                tasks = [p for p in lodgers if (p.name, p.authority.row.parent) == whose and p not in lodged]
                if home is not None and home[0].alive and (born or tasks) and alone():
                    self.world.complain("I32", f"the birth of {name} failed, and it lives")
                raise

    @contextmanager
    def _alone(self, whose: tuple[str, str]) -> Iterator[Callable[[], bool]]:
        """Whether nobody else tried to bear a child of that name for that parent while the block runs: it might be theirs."""
        others = self.bearing.setdefault(whose, [])
        mine = [not others]
        for other in others:
            other[0] = False
        others.append(mine)
        try:
            yield lambda: mine[0]
        finally:
            others[:] = [other for other in others if other is not mine]
