"""The registry of a world as one program of it sees it: the same log and the same leases, through a driver that can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podkit._store import MemoryRegistry
from podkit.abc import Lease, Registry
from podkit.errors import RegistryBusyError, RegistryError
from podkit.logic import Restart, encode_fact, fold_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podkit.logic import Fact, Table

    from ._sim_program import Program

FAIL_READ, FAIL_BEFORE, FAIL_AFTER, FAIL_BUSY = "registry_read", "registry_before", "registry_after", "registry_busy"


class SharedLog(MemoryRegistry):
    """What all programs of a world share. `appended(author, facts)` is called after each change, within it."""

    appended: Callable[[Program | None, Sequence[bytes]], None] | None = None
    trouble: Callable[[Program, bool], str | None] | None = None
    twice = False
    shares_tables = True  # one program folds the facts for all of them

    async def read(self, after: int, *, by: Program | None = None) -> list[bytes]:  # noqa: ARG002 - for who has it open himself
        return await super().read(after)

    async def compact(self, after: int, facts: Sequence[bytes], *, by: Program | None = None) -> bool:  # noqa: ARG002
        return await super().compact(after, facts)

    async def take_turn(self, by: Program | None) -> tuple[int, int] | None:  # noqa: ARG002
        """Wait until it is that program's turn to change something. In memory nobody waits."""
        return None

    def leave_turn(self, by: Program | None, turn: tuple[int, int] | None) -> None:
        """That turn is over."""

    def droppable(self, *, by: Program | None = None) -> int:  # noqa: ARG002
        return super().droppable()

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[bytes, Fact] = {}

    def fact(self, line: bytes) -> Fact:
        """What a line says; each is decoded once, by whoever needs it first."""
        fact = self._read.get(line)
        if fact is None:
            fact = self._read[line] = self._decode(line)
        return fact

    async def append(self, after: int, facts: Sequence[bytes], *, by: Program | None = None) -> bool:
        done = await super().append(after, facts)
        if done and self.appended is not None:
            self.appended(by, facts)
        return done

    def reboot(self) -> None:
        """The machine started anew: no lease is held, and the log begins again."""
        last = self._last
        for lease in self._leases.values():
            lease.release()
        self._leases.clear()
        fact = encode_fact(Restart(author="reboot", sequence=last + 1))
        self._facts, self._dropped, self._size = [fact], last, len(fact)
        self._tell()

    def table_now(self) -> Table:
        """The table as of now, without waiting for anybody."""
        lines = self._facts[max(0, self._folded.sequence - self._dropped) :]
        return self._keep(fold_all(self._folded, [self.fact(line) for line in lines])) if lines else self._folded

    def is_held(self, key: str) -> bool | None:
        """Whether somebody holds this lease right now; None when there is none (any more)."""
        lease = self._leases.get(key)
        return None if lease is None else not lease.gone.is_set()

    def leases_held(self) -> list[str]:
        """The keys of all leases that somebody holds."""
        return [key for key, lease in self._leases.items() if not lease.gone.is_set()]


class SimRegistry(Registry):
    """One program's handle on the log."""

    exclusive: str | None = "exclusive within this world"
    paths_are_real: bool = False
    log: SharedLog
    owner: Program

    def __init__(self, log: SharedLog, owner: Program) -> None:
        self.log, self.owner = log, owner

    def __repr__(self) -> str:
        return f"<SimRegistry of {self.owner.name}>"

    async def transact(self, decide: Callable[[Table], Iterable[Fact]], *, author: str = "witness") -> Table:
        turn = await self.log.take_turn(self.owner)
        try:
            return await super().transact(self._twice(decide) if self.log.twice else decide, author=author)
        finally:
            self.log.leave_turn(self.owner, turn)

    def _twice(self, decide: Callable[[Table], Iterable[Fact]]) -> Callable[[Table], Iterable[Fact]]:
        def decide_twice(table: Table) -> Iterable[Fact]:
            first, again = tuple(decide(table)), tuple(decide(table))
            if first != again:
                raise AssertionError(f"a decision is not pure: {first} and then {again}")
            return first

        return decide_twice

    async def rows(self) -> Table:
        """Every program would fold the same facts to the same table: one of them does it for all."""
        facts = await self.log.read(self._folded.sequence, by=self.owner)
        self._check_alive()
        if self.log.trouble is not None and self.log.trouble(self.owner, False):
            raise RegistryError("the registry cannot be used: input/output error while reading")
        if self.log.shares_tables:
            return self._keep(self.log.table_now())
        return self._keep(fold_all(self._folded, [self._decode(line) for line in facts]))

    def _keep(self, table: Table) -> Table:
        if self.log.shares_tables:
            self.log._keep(table)  # the same facts: nobody folds them again
        return super()._keep(table)

    async def read(self, after: int) -> list[bytes]:
        facts = await self.log.read(after, by=self.owner)
        self._check_alive()
        return facts

    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        self._check_alive()
        trouble = None if self.log.trouble is None else self.log.trouble(self.owner, True)
        if trouble == FAIL_BUSY:
            raise RegistryBusyError(10.0, "a program of the world")
        if trouble == FAIL_BEFORE:
            raise RegistryError("the registry cannot be used: no space left on device")
        done = await self.log.append(after, facts, by=self.owner)
        if done and trouble == FAIL_AFTER:
            raise RegistryError("the registry cannot be used: input/output error while syncing")
        return done

    async def compact(self, after: int, facts: Sequence[bytes]) -> bool:
        self._check_alive()
        return await self.log.compact(after, facts, by=self.owner)

    def droppable(self) -> int:
        return self.log.droppable(by=self.owner)

    async def changed(self, after: int) -> None:
        await self.log.changed(after)

    async def hold(self, key: str) -> Lease:
        if not self.log.shares_tables:
            await self.log.read(0, by=self.owner)  # leases in a registry without a log would say that the log was lost
        if self.owner.short:
            raise RegistryError(f"the lease {key} cannot be taken: too many open files")
        lease = await self.log.hold(key)
        self.owner.leases.append(lease)
        if self.owner.dead:
            lease.release()
        self._check_alive()
        return lease

    async def held(self, key: str) -> bool:
        held = await self.log.held(key)
        self._check_alive()
        return held or self.owner.short  # who cannot look takes nobody for dead

    async def gone(self, key: str) -> None:
        await self.log.gone(key)
        self._check_alive()

    async def forget(self, key: str) -> None:
        self._check_alive()
        await self.log.forget(key)

    def _check_alive(self) -> None:
        if self.owner.dead:
            raise RegistryError(f"the program of pod {self.owner.name} is dead")
