"""A scenario that makes itself up: clients and parents doing anything that is allowed, and some things that are not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._life import TaskLauncher
from podkit._net import Client, Reconnect
from podkit.abc import Emit, Run, Worker
from podkit.errors import ModelError, ToolError
from podkit.logic import Limits, Scope
from podkit.protocol import Permission, RunResult, ScopeRule, TextDone, ToolCallDone, ToolResult, TurnEnd, TurnResult, TurnStart

from ._operations_checks import Checks

if TYPE_CHECKING:
    import random

    from podkit._life import Pod
    from podkit.abc import Launcher

    from ._sim_program import Program
    from ._sim_world import SimWorld
    from ._world_options import ConnectOptions, OpenOptions

_PODS = 12
_QUIET = 60.0
_LETTERS = "abc"


class RandomWorker(Worker):
    """Does something else on every run: speaks, waits, calls tools, listens to notices, fails, pauses."""

    provider, model = "scripted", "random"

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def work(self, run: Run, emit: Emit) -> RunResult | None:
        chance = self._chance
        for turn in range(1, chance.randrange(1, 4)):
            emit(TurnStart(turn=turn))
            for _ in range(chance.randrange(3)):
                await self._step(run, emit)
            if chance.random() < 0.8:
                emit(TurnEnd(turn=turn, result=TurnResult.FINISHED))
        return RunResult.PAUSED if chance.random() < 0.1 else None

    async def _step(self, run: Run, emit: Emit) -> None:
        match self._chance.randrange(8):
            case 0 | 1 | 2:
                emit(TextDone(text=f"word {self._chance.randrange(100)}"))
                await trio.lowlevel.checkpoint()
            case 3:
                await trio.sleep(3 * self._chance.random())
            case 4:
                run.poll_notices()
            case 5:
                call = f"call-{self._chance.randrange(10**6)}"
                emit(ToolCallDone(id=call, name="look", arguments=f'{{"call":"{call}"}}'))
                await run.committed()
                if "look" in run.tools:
                    await run.pod.call_tool("look", {"call": call})
                if self._chance.random() < 0.5:
                    await trio.sleep(2 * self._chance.random())
                if self._chance.random() < 0.9:  # else it forgets
                    emit(ToolResult(id=call, summary="seen"))
            case 6 if self._chance.random() < 0.3:
                raise self._chance.choice((ToolError("the tool broke"), ModelError("no model"), ValueError("a bug")))
            case _:
                await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class Play:
    """One random scenario under way."""

    world: SimWorld
    chance: random.Random
    left: int  # operations
    kept: bool = False  # whether pods have sessions, and who dies is restored
    born: int = 0
    checks: Checks = attrs.field(init=False)
    numbered: bool = attrs.field(init=False)  # whether everybody who cancels says which run
    limits: Limits = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        chance = self.chance
        self.checks, self.numbered = Checks(self.world, kept=self.kept), chance.random() < 0.5
        most = chance.choice((2, 8, 4096))
        self.limits = Limits(outbox_events=most, outbox_bytes=chance.choice((512, 2**16, 2**23)))

    async def play(self) -> None:
        """Do everything, then let it come to its end: first what is under way, then the roots."""
        world = self.world
        over = trio.Event()
        async with trio.open_nursery() as nursery:
            opened = [trio.Event() for _ in range(self.chance.randrange(1, 3))]
            for number, event in enumerate(opened):
                nursery.start_soon(self._root, f"r{number}", f"/{'wv'[number]}", event, over)
            for event in opened:
                await event.wait()
            with trio.move_on_after(_QUIET * 100) as limit:
                async with trio.open_nursery() as doing:
                    for _ in range(4):
                        doing.start_soon(self._client)
                    for _ in range(2):
                        doing.start_soon(self._parent)
                    await self._until_done()
                    world.calm()
                    limit.deadline = trio.current_time() + _QUIET
            if limit.cancelled_caught:
                stuck = ", ".join(world.cancellable.values()) or "somebody"
                world.complain("liveness", f"{stuck} did not come to an end within {_QUIET:.0f} s without faults")
            await self.checks.settled()
            over.set()

    async def _until_done(self) -> None:
        while self.left > 0:  # noqa: ASYNC110 - operations end everywhere, and time is virtual
            await trio.sleep(1)

    async def _root(self, name: str, path: str, opened: trio.Event, over: trio.Event) -> None:
        scope = Scope(allow=[ScopeRule(path, Permission.WRITE)], deny=[ScopeRule(f"{path}/a/.git", Permission.WRITE)])
        try:
            with self.world.operation("open") as opening:
                # What is cancelled by faults is what clients and parents ask for, not the scenario itself.
                self.world.cancellable.pop(opening)
                more: OpenOptions = {"limits": self.limits}
                if self.kept:
                    more |= {"sessions": self.world.sessions, "tools": self.checks.tools}
                async with self.world.open_pod(name, RandomWorker(self.chance), scope=scope, **more) as pod:
                    opened.set()
                    await self._lives(pod, over)
            while self.kept and opened.is_set() and not over.is_set():
                await trio.sleep(2 * self.chance.random())
                with self.world.operation("restore") as restoring, self.checks.restores(name):
                    self.world.cancellable.pop(restoring)
                    async with self.world.restore_pod(name, RandomWorker(self.chance), tools=self.checks.tools) as pod:
                        await self._lives(pod, over)
        finally:
            opened.set()

    async def _lives(self, pod: Pod, over: trio.Event) -> None:
        """Return when all is over; in a world with sessions also when the pod is gone, to be restored."""
        if not self.kept:
            await over.wait()
            return
        async with trio.open_nursery() as nursery:

            async def until_gone() -> None:
                await pod.stopped()
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_gone)
            await over.wait()
            nursery.cancel_scope.cancel()

    # Who asks.

    async def _client(self) -> None:
        while self.left > 0:
            await trio.sleep(self.chance.random())
            someone = self._someone()
            if someone is None:
                self.left -= 1
                continue
            pod = someone[1]
            with self.world.operation(f"connect {pod.name}"):
                chance = self.chance
                more: ConnectOptions = {
                    "subscribe": chance.choice(("snapshot", "live", "none")),
                    "buffer": chance.choice((1, 4, 4096)),
                }
                if self.kept and chance.random() < 0.5:
                    more["reconnect"] = self._patience()
                async with self.world.connect(pod.address, **more) as client:
                    for _ in range(self.chance.randrange(1, 6)):
                        await self._ask(client)
                        if self.left <= 0 and not client.connected:
                            break  # nobody is there any more, and each question would take as long as the client is patient

    def _patience(self) -> Reconnect:
        return Reconnect(longest=1.0, give_up=20.0, chance=self.chance.random)

    async def _ask(self, client: Client) -> None:
        self.left -= 1
        name, ask = self._request(client)
        with self.world.operation(f"{name} {client.name}"), trio.move_on_after(30):
            await ask()

    def _request(self, client: Client) -> tuple[str, Callable[[], Awaitable[object]]]:
        chance, checks = self.chance, self.checks
        requests: list[tuple[str, Callable[[], Awaitable[object]]]] = [
            ("run", lambda: checks.run(client, "do it")),
            ("run", lambda: checks.run_and_wait(client) if self.numbered else checks.run(client, "do that")),
            ("ask", lambda: client.ask("what")),
            ("notify", lambda: checks.wake(client) if chance.random() < 0.7 else client.notify("news", wake=False)),
            ("pause", client.pause),
            ("resume", client.resume),
            ("cancel", lambda: checks.cancel(client) if self.numbered else client.cancel()),
            ("watch", lambda: _listen(client, chance.randrange(1, 10), pause=chance.choice((0, 0, 1)))),
        ]
        if self.kept:
            requests.append(("rewind", lambda: checks.rewind(client)))
        if self.kept:
            requests.append(("rewind", lambda: checks.rewind(client)))
        return chance.choice(requests)

    # Who has children.

    async def _parent(self) -> None:
        while self.left > 0:
            await trio.sleep(2 * self.chance.random())
            self.left -= 1
            someone = self._someone()
            if someone is None:
                continue
            program, pod = someone
            many = sum(1 + len(other.lodgers) for other in self.world.programs if other.alive) >= _PODS
            dead = [child.name for child in pod.children.values() if child.gone.is_set()] if self.kept else []
            if dead and self.chance.random() < 0.5:
                with self.world.operation(f"restore_child in {pod.name}"):
                    await self.world.inside(program, partial(self._restore, pod, self.chance.choice(dead)))
            elif pod.children and (many or self.chance.random() < 0.3):
                with self.world.operation(f"stop in {pod.name}"):
                    await self.world.inside(program, partial(self._stop, pod))
            elif not many:
                with self.world.operation(f"spawn in {pod.name}"):
                    await self.world.inside(program, partial(self._spawn, pod))

    async def _spawn(self, pod: Pod) -> None:
        chance = self.chance
        self.born += 1
        name = chance.choice((f"p{self.born}", f"p{self.born}", chance.choice("xyz")))
        base = chance.choice([rule.target for rule in pod.grant.allow] or ["/w"])
        target = base if chance.random() < 0.1 or base.count("/") > 3 else f"{base.rstrip('/')}/{chance.choice(_LETTERS)}"
        scope = Scope.read(target) if chance.random() < 0.2 else Scope(allow=[self._rule(target)], deny=self._denies(target))
        late = chance.choice((0.0, 0.0, 0.0, 0.3, 3.0))
        patience = chance.choice((0.2, 2.0)) if late else 10.0
        launcher = self._launcher(late)
        grant = Scope.write(target) if chance.random() < 0.2 else None
        task = None if chance.random() < 0.4 else "begin"
        stay = "keep" if chance.random() < 0.2 else "stop"
        await self.checks.birth(
            pod,
            name,
            lambda: pod.spawn(
                name, scope=scope, grant=grant, launcher=launcher, task=task, on_parent_death=stay, ready_timeout=patience
            ),
        )

    async def _restore(self, pod: Pod, name: str) -> None:
        launcher, patience = self._launcher(0.0), self.chance.choice((0.2, 10.0))
        await self.checks.birth(pod, name, lambda: pod.restore_child(name, launcher=launcher, ready_timeout=patience))

    def _launcher(self, late: float) -> Launcher:
        tools = self.checks.tools if self.kept else ()
        if not late and self.chance.random() < 0.2:
            return TaskLauncher(lambda: RandomWorker(self.chance), tools=tools)
        return self.world.launcher(lambda: RandomWorker(self.chance), tools=tools, late=late)

    def _rule(self, target: str) -> ScopeRule:
        return ScopeRule(target, Permission.WRITE, recursive=self.chance.random() < 0.9)

    def _denies(self, target: str) -> list[ScopeRule]:
        chance, denied = self.chance, (Permission.READ, Permission.WRITE)
        below = (f"{target.rstrip('/')}/{letter}" for letter in _LETTERS)
        return [ScopeRule(path, chance.choice(denied), recursive=chance.random() < 0.7) for path in below if chance.random() < 0.2]

    async def _stop(self, pod: Pod) -> None:
        handles = list(pod.children.values())
        if handles:
            await self.chance.choice(handles).stop(grace=1 + 4 * self.chance.random())

    def _someone(self) -> tuple[Program, Pod] | None:
        alive = [(program, pod) for program in self.world.programs if program.alive for pod in program.pods()]
        return self.chance.choice(alive) if alive else None


async def _listen(client: Client, events: int, *, pause: float) -> None:
    """Receive some events, and take one's time; who subscribed to a snapshot gets one first."""
    with trio.move_on_after(5):
        for _ in range(events):
            await client.receive()
            await trio.sleep(pause)


async def random_scenario(world: SimWorld, *, operations: int = 40, sessions: bool = False, sockets: bool = False) -> None:
    """About so many operations, chosen by the world's seed, on one or two trees of at most 12 pods with four clients.

    With `sessions` every pod keeps its log: a root that dies is restored, and its children that died are restored or forgotten.
    With `sockets` connections are written to as sockets are, straight to who is level, and not as those in memory.
    """
    world.net.sockets = sockets
    await Play(world, world.chance, operations, sessions).play()
