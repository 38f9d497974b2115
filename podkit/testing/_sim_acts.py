"""What can go wrong at once, as soon as it is drawn: with a program, a connection, a clock, a place in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from podkit.errors import PodkitError
from podkit.logic import State, decide_adopt
from podkit.protocol import Hello, PodEventMethod, PodShutDown, encode_method

from ._sim_registry import SimRegistry

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ._sim_link import Link
    from ._sim_program import Program
    from ._sim_world import SimWorld


class Acts:
    """One method for each kind of fault that needs nobody to come by; each answers whether it found something to happen to.

    `fire(kind, what)` is told of what happens. While `full` nothing more fits on the disk.
    """

    full: bool

    def __init__(self, world: SimWorld, chance: random.Random, fire: Callable[[str, object], None]) -> None:
        self._world, self._chance, self._fire = world, chance, fire
        self.full = False

    def _some(self) -> Program | None:
        programs = living(self._world)
        return self._chance.choice(programs) if programs else None

    def kill(self) -> bool:
        program = self._some()
        if program is not None:
            self._fire("kill", program.name)
            program.kill()
        return program is not None

    def freeze(self) -> bool:
        program = self._some()
        if program is None or program.frozen:
            return False
        self._fire("freeze", program.name)
        program.freeze()
        self.later(20 * self._chance.random() ** 2, program.thaw)
        return True

    def descriptors(self) -> bool:
        program = self._some()
        if program is None or program.short:
            return False
        program.short = True
        self._fire("descriptors", program.name)
        self.later(10 * self._chance.random(), program.has_descriptors)
        return True

    def cancel(self) -> bool:
        under_way = list(self._world.cancellable)
        if not under_way:
            return False
        scope = self._chance.choice(under_way)
        self._fire("cancel", self._world.cancellable[scope])
        scope.cancel()
        return True

    def partition(self) -> bool:
        programs = living(self._world)
        if len(programs) < 2:
            return False
        a, b = self._chance.sample(programs, 2)
        self._fire("partition", f"{a.name} {b.name}")
        self._world.net.partition(a, b)
        self.later(12 * self._chance.random(), lambda: self._world.net.heal(a, b))
        return True

    def _link(self) -> Link | None:
        links = [link for link in self._world.net.links if link.caller is None or link.caller.alive]
        return self._chance.choice(links) if links else None

    def cut(self, *, torn: bool = False) -> bool:
        link = self._link()
        if link is not None:
            self._fire("torn" if torn else "cut", link)
            link.cut(lost=self._chance.randrange(1 if torn else 0, 4), torn=torn)
        return link is not None

    def torn(self) -> bool:
        return self.cut(torn=True)

    def half_close(self) -> bool:
        link = self._link()
        if link is not None:
            self._fire("half_close", link)
            self._chance.choice((link.forth, link.back)).half_close()
        return link is not None

    def slow_reader(self) -> bool:
        link = self._link()
        if link is not None:
            self._fire("slow_reader", link)
            self.hold_up(link, 8 * self._chance.random(), back=self._chance.random() < 0.7)
        return link is not None

    def vanished(self) -> bool:
        link = self._link()
        if link is not None:
            self._fire("vanished", link)
            self.hold_up(link, None, back=True)
        return link is not None

    def hold_up(self, link: Link, seconds: float | None, *, back: bool) -> None:
        pipe = link.back if back else link.forth
        pipe.stall()
        if seconds is None:
            self._world.to_mend.append(_once(pipe.flow))
        else:
            self.later(seconds, pipe.flow)

    def disk_full(self) -> bool:
        if self.full:
            return False
        self.full = True
        self._fire("disk_full", "")
        self.later(10 * self._chance.random(), self._has_room)
        return True

    def _has_room(self) -> None:
        self.full = False

    def clock_jump(self) -> bool:
        self._world.wall_offset += self._chance.uniform(-1e6, 1e6)
        self._fire("clock_jump", f"{self._world.wall_offset:.0f}")
        return True

    def stranger(self) -> bool:
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

    def spoof(self) -> bool:
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
        self._world.nursery.start_soon(say, self._world, address, frames)
        return True

    def reboot(self) -> bool:
        self._fire("reboot", "")
        self._world.reboot()
        return True

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        then = _once(then)
        self._world.nursery.start_soon(_after, seconds, then)
        self._world.to_mend.append(then)


def living(world: SimWorld) -> list[Program]:
    """The programs that run, or would if they were not stopped."""
    return [program for program in world.programs if program.alive]


def _once(then: Callable[[], None]) -> Callable[[], None]:
    waiting = [then]

    def call() -> None:
        if waiting:
            waiting.pop()()

    return call


async def _after(seconds: float, then: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    then()


async def say(world: SimWorld, address: str, frames: tuple[bytes, ...]) -> None:
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
