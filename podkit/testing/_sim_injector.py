"""Makes things go wrong: by a count of steps, so that a fault can come between any two steps of anything."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import trio

from ._sim_acts import Acts, living, say
from ._sim_registry import FAIL_AFTER, FAIL_BEFORE, FAIL_BUSY, FAIL_READ

if TYPE_CHECKING:
    import random

    from ._faults import Faults
    from ._sim_link import Link
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
        self._acts = Acts(world, chance, self._fire)
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
        act = getattr(self._acts, kind, None)
        if act is None or not act():
            self._armed.append(kind)

    # What waits for its chance.

    def _look_for_victims(self, step: int) -> None:
        for kind in self._armed:
            if kind in _DURING:
                if self._kill_at is None and self._doom(kind, step):
                    self._armed.remove(kind)
                    return
            elif kind not in _WAITING and step % 4 == 0 and getattr(self._acts, kind)():
                self._armed.remove(kind)
                return

    def _doom(self, kind: str, step: int) -> bool:
        programs = living(self._world)
        for program in programs:
            victims: list[Program] = []
            for pod in program.pods():
                if kind == "kill_in_spawn" and pod.births:
                    victims += [program, *(other for other in programs if other.parent == pod.incarnation and other.pod is None)]
                elif kind == "kill_in_stop":
                    stopping = [child.incarnation for child in pod.children.handles() if child.stopping.locked()]
                    victims += [program] if stopping else []
                    victims += [other for other in programs if other.incarnation in stopping]
            if victims:
                victims += [other for other in programs if other.incarnation == program.parent and program.parent]
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
        if self._acts.full and call in _WRITING:
            return "full"
        if program.short and call == "open":
            return "descriptors"
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
            self._acts.hold_up(link, 1 + 7 * self._chance.random(), back=False)
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
        await say(self._world, address, (hello, frame))
