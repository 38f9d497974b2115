"""Makes things go wrong: by a count of steps, so that a fault can come between any two steps of anything."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import trio

from podkit.errors import PodkitError
from podkit.logic import State, decide_adopt
from podkit.protocol import Hello, PodEventMethod, PodShutDown, encode_method

from ._sim_registry import FAIL_AFTER, FAIL_BEFORE, FAIL_BUSY, FAIL_READ, SimRegistry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from podkit._life import Child

    from ._faults import Faults
    from ._sim_net import Link
    from ._sim_program import Program
    from ._sim_world import SimWorld

_APPEND, _READ = (FAIL_BEFORE, FAIL_AFTER, FAIL_BUSY), (FAIL_READ,)
_EVENTS = ("event_lost", "event_late", "event_twice", "event_reordered")
_DISK = ("disk_error", "disk_interrupted", "disk_short", "disk_sync", "disk_killed")
_FAILS_AS = {"disk_error": "error", "disk_interrupted": "interrupted", "disk_short": "short", "disk_sync": "error"}
_WRITING = ("write", "pwrite")
_WAITING = {*_APPEND, *_READ, *_EVENTS, *_DISK}
_DURING = {"kill_in_spawn", "kill_in_stop"}


class Injector:
    """Draws faults by their rates. One that finds nothing to happen to waits for its chance; `fired` counts what happened."""

    fired: Counter[str]
    on: bool

    def __init__(self, world: SimWorld, faults: Faults, chance: random.Random) -> None:
        self._world, self._faults, self._chance = world, faults, chance
        self._kinds, self._weights = list(faults.rates), list(faults.rates.values())
        self._total = sum(self._weights)
        self.fired = Counter()
        self.on = self._total > 0
        self._armed: list[str] = []
        self._full = False
        self._kill_at: tuple[int, Program, str] | None = None
        self._next = 0
        self._draw(0)

    def _draw(self, step: int) -> None:
        self._next = step + 1 + int(self._chance.expovariate(self._total / 1000)) if self.on else -1

    def stop(self) -> None:
        """Nothing goes wrong any more, and what went wrong for a while is over."""
        self.on, self._next, self._kill_at = False, -1, None
        self._armed.clear()

    def heeds(self, step: int) -> bool:
        """Whether something may happen at this step."""
        return step == self._next or bool(self._armed) or self._kill_at is not None

    def step(self, step: int) -> None:
        """Called before every step that `heeds` says yes to; whatever happens now happens between two steps."""
        if step == self._next:
            self._draw(step)
            if sum(self.fired.values()) + len(self._armed) < self._faults.most:
                self._begin(self._chance.choices(self._kinds, self._weights)[0])
        if self._kill_at is not None and step >= self._kill_at[0]:
            _, program, kind = self._kill_at
            self._kill_at = None
            if program.alive:
                self._fire(kind, program.name)
                program.kill()
        elif self._armed:
            self._look_for_victims(step)

    def _fire(self, kind: str, what: object = "") -> None:
        self.fired[kind] += 1
        self._world.trace.note(f"*** {kind} {what}")

    def _begin(self, kind: str) -> None:
        act = getattr(self, f"_{kind}", None)
        if act is None or not act():
            self._armed.append(kind)

    # What waits for its chance.

    def _look_for_victims(self, step: int) -> None:
        for kind in self._armed:
            if kind in _DURING:
                if self._kill_at is None and self._doom(kind, step):
                    self._armed.remove(kind)
                    return
            elif kind not in _WAITING and step % 4 == 0 and getattr(self, f"_{kind}")():
                self._armed.remove(kind)
                return

    def _doom(self, kind: str, step: int) -> bool:
        for program in self._alive():
            pod = program.pod
            if pod is None:
                continue
            if kind == "kill_in_spawn":
                victims = [program] if pod.births else []
                victims += [other for other in self._alive() if victims and other.parent == pod.incarnation and other.pod is None]
            else:
                stopping = [child for child in pod.children.handles() if child.stopping.locked()]
                victims = [program] if stopping else []
                victims += [other for child in stopping if (other := self._of(child)) is not None]
            if victims:
                victims += [other for other in self._alive() if other.incarnation == program.parent and program.parent]
                self._kill_at = (step + self._chance.randrange(60), self._chance.choice(victims), kind)
                return True
        return False

    def trouble(self, program: Program, append: bool) -> str | None:
        """What goes wrong with this append or this reading, if anything."""
        if not self.on or program is self._world.bystander:
            return None
        for kind in self._armed:
            if kind in (_APPEND if append else _READ):
                self._armed.remove(kind)
                self._fire(kind, program.name)
                if kind == FAIL_AFTER:
                    self._world.watch.unsure(program)
                return kind
        return None

    def trouble_on_disk(self, program: Program, call: str) -> str | None:
        """What goes wrong with this call of a program on the registry's files, if anything."""
        if self._full and call in _WRITING:
            return "full"
        for kind in self._armed if self.on else ():
            if kind in _DISK and self._strikes(kind, call):
                self._armed.remove(kind)
                self._fire(kind, f"{program.name} {call}")
                if kind == "disk_killed" and call in _WRITING and self._chance.random() < 0.5:
                    return "killed within"
                return _FAILS_AS.get(kind, "killed")
        return None

    def _strikes(self, kind: str, call: str) -> bool:
        """Whether it happens to this call. Now and then it waits for a later one, so that each of a change's calls has its turn."""
        where = {"disk_short": _WRITING, "disk_sync": ("sync", "sync_dir")}.get(kind)
        return (where is None or call in where) and self._chance.random() < 0.3

    def reported(self, link: Link, frame: bytes) -> None:
        """A child is about to tell its parent something."""
        for kind in self._armed if self.on else ():
            if kind in _EVENTS:
                self._armed.remove(kind)
                self._fire(kind, link)
                self._disturb(kind, link, frame)
                return

    def _disturb(self, kind: str, link: Link, frame: bytes) -> None:
        world = self._world
        if kind == "event_late":
            self._hold_up(link, 1 + 7 * self._chance.random(), back=False)
        if kind in ("event_lost", "event_reordered"):
            link.cut()
        if kind in ("event_twice", "event_reordered"):
            hello = link.watch.hello if link.watch is not None else None
            assert hello is not None
            if self._chance.random() < 0.5:  # as somebody who comes back under another name
                hello = hello.replace(b'"instance":"', b'"instance":"x')
            world.nursery.start_soon(self._replay, link.address, hello, frame, 3 * self._chance.random())

    async def _replay(self, address: str, hello: bytes, frame: bytes, seconds: float) -> None:
        await trio.sleep(seconds)
        await _say(self._world, address, (hello, frame))

    # What happens at once. Each answers whether it found something to happen to.

    def _alive(self) -> list[Program]:
        return [program for program in self._world.programs if program.alive]

    def _some(self) -> Program | None:
        alive = self._alive()
        return self._chance.choice(alive) if alive else None

    def _of(self, child: Child) -> Program | None:
        return next((program for program in self._alive() if program.incarnation == child.incarnation), None)

    def _kill(self) -> bool:
        program = self._some()
        if program is not None:
            self._fire("kill", program.name)
            program.kill()
        return program is not None

    def _freeze(self) -> bool:
        program = self._some()
        if program is None or program.frozen:
            return False
        self._fire("freeze", program.name)
        program.freeze()
        self._later(20 * self._chance.random() ** 2, program.thaw)
        return True

    def _cancel(self) -> bool:
        under_way = list(self._world.cancellable)
        if not under_way:
            return False
        scope = self._chance.choice(under_way)
        self._fire("cancel", self._world.cancellable[scope])
        scope.cancel()
        return True

    def _partition(self) -> bool:
        alive = self._alive()
        if len(alive) < 2:
            return False
        a, b = self._chance.sample(alive, 2)
        self._fire("partition", f"{a.name} {b.name}")
        self._world.net.partition(a, b)
        self._later(12 * self._chance.random(), lambda: self._world.net.heal(a, b))
        return True

    def _link(self) -> Link | None:
        links = [link for link in self._world.net.links if link.caller is None or link.caller.alive]
        return self._chance.choice(links) if links else None

    def _cut(self, *, torn: bool = False) -> bool:
        link = self._link()
        if link is not None:
            self._fire("torn" if torn else "cut", link)
            link.cut(lost=self._chance.randrange(1 if torn else 0, 4), torn=torn)
        return link is not None

    def _torn(self) -> bool:
        return self._cut(torn=True)

    def _half_close(self) -> bool:
        link = self._link()
        if link is not None:
            self._fire("half_close", link)
            self._chance.choice((link.forth, link.back)).half_close()
        return link is not None

    def _slow_reader(self) -> bool:
        link = self._link()
        if link is not None:
            self._fire("slow_reader", link)
            self._hold_up(link, 8 * self._chance.random(), back=self._chance.random() < 0.7)
        return link is not None

    def _vanished(self) -> bool:
        link = self._link()
        if link is not None:
            self._fire("vanished", link)
            self._hold_up(link, None, back=True)
        return link is not None

    def _hold_up(self, link: Link, seconds: float | None, *, back: bool) -> None:
        pipe = link.back if back else link.forth
        pipe.stall()
        if seconds is None:
            self._world.to_mend.append(_once(pipe.flow))
        else:
            self._later(seconds, pipe.flow)

    def _disk_full(self) -> bool:
        if self._full:
            return False
        self._full = True
        self._fire("disk_full")
        self._later(10 * self._chance.random(), self._has_room)
        return True

    def _has_room(self) -> None:
        self._full = False

    def _clock_jump(self) -> bool:
        self._world.wall_offset += self._chance.uniform(-1e6, 1e6)
        self._fire("clock_jump", f"{self._world.wall_offset:.0f}")
        return True

    def _stranger(self) -> bool:
        rows = [row for row in self._world.registry.table_now() if row.parent is not None]
        if not rows:
            return False
        row = self._chance.choice([row for row in rows if row.state is State.RESERVED] or rows)
        if row.state is not State.RESERVED and self._chance.random() < 0.8:
            return False  # a place that is not taken yet is worth waiting for
        self._fire("stranger", f"{row.name} {row.state.value}")
        secret = None if self._chance.random() < 0.5 else self._chance.randbytes(32).hex()
        self._world.nursery.start_soon(self._try_to_adopt, row.name, row.incarnation, secret)
        return True

    async def _try_to_adopt(self, name: str, incarnation: str, secret: str | None) -> None:
        registry = SimRegistry(self._world.registry, self._world.bystander)
        before = registry.log.table_now().get(incarnation)
        try:
            await registry.transact(lambda table: decide_adopt(table, name=name, incarnation=incarnation, secret=secret))
        except PodkitError:
            return
        if before is not None and before.state is State.RESERVED:
            self._world.complain("I6", f"a stranger adopted {name}")

    def _spoof(self) -> bool:
        addresses = list(self._world.net.listeners)
        if not addresses:
            return False
        address = f"memory://{self._chance.choice(addresses)}"
        rows = list(self._world.registry.table_now())
        about = self._chance.choice(rows) if rows else None
        self._fire("spoof", address)
        incarnation = about.incarnation if about is not None else "0" * 16
        name = about.name if about is not None else "nobody"
        event = PodShutDown(name, id=self._chance.randbytes(4).hex(), incarnation=incarnation)
        hello: Any = Hello((1,), "spoof/1", self._chance.randbytes(4).hex())
        frames = (encode_method(hello, id="1"), encode_method(PodEventMethod(event), id="2"))
        self._world.nursery.start_soon(_say, self._world, address, frames)
        return True

    def _reboot(self) -> bool:
        self._fire("reboot")
        self._world.reboot()
        return True

    def _later(self, seconds: float, then: Callable[[], None]) -> None:
        then = _once(then)
        self._world.nursery.start_soon(_after, seconds, then)
        self._world.to_mend.append(then)


def _once(then: Callable[[], None]) -> Callable[[], None]:
    waiting = [then]

    def call() -> None:
        if waiting:
            waiting.pop()()

    return call


async def _after(seconds: float, then: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    then()


async def _say(world: SimWorld, address: str, frames: tuple[bytes, ...]) -> None:
    """Say this to whoever listens there, and listen for a while."""
    with trio.move_on_after(5):
        try:
            channel = await world.transport.connect(address)
        except PodkitError:
            return
        try:
            for frame in frames:
                await channel.send(frame)
            for _ in frames:
                await channel.receive()
        except (trio.BrokenResourceError, trio.EndOfChannel):
            return
        finally:
            await trio.aclose_forcefully(channel)
