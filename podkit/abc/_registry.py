"""The port for registries: a log of facts that several programs share, and the leases of the pods in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import trio

from podkit.abc._follow import Following
from podkit.abc._lease import Lease
from podkit.errors import (
    CorruptRegistryError,
    LimitExceededError,
    LocalProtocolError,
    PodkitError,
    RegistryBusyError,
    RegistryError,
)
from podkit.logic import LIMIT_ROWS, Allocation, Fact, Freed, Restart, Table, decode_fact, encode_fact, fold, fold_all, snapshot

if TYPE_CHECKING:
    from types import TracebackType

_ROUNDS = 1000
_POLL = 0.05
_SMALL = 64 * 1024
_BULKY = 4
_WITNESS = "witness"


class Registry(ABC):
    """Who holds what, for every program that opens the same registry.

    A driver writes `read`, `append`, `hold`, `held`, `gone` and `forget`: it keeps facts as bytes, in order, and holds leases.
    What the facts mean is decided here and in `podkit.logic`. `locator` is a string from which another process opens the same
    registry, None where only this process can; `directory` is where its files are, if it has any. `exclusive` says how wide its
    exclusivity is, None where that is all programs of this user on this machine. `paths_are_real` says that scopes speak of this
    machine's disk, so that their targets can be looked at; a world in memory has a disk of its own.
    """

    locator: str | None = None
    directory: str | None = None
    exclusive: str | None = None
    paths_are_real: bool = True
    _folded: Table = Table()
    _look_again = 0

    # What a driver writes.

    @abstractmethod
    async def read(self, after: int) -> list[bytes]:
        """The facts after number `after`, oldest first. Facts are numbered from 1, as the table counts them in `sequence`.

        A log that dropped its past answers from its `Restart` on. Raises `CorruptRegistryError`, `RegistryBusyError`.
        """

    @abstractmethod
    async def append(self, after: int, facts: Sequence[bytes]) -> bool:
        """Keep these facts, all or none, when the last one kept has the number `after`; else change nothing and answer False.

        Cancellation never comes once they are kept. Raises `CorruptRegistryError`, `RegistryBusyError`, `RegistryError`.
        """

    @abstractmethod
    async def hold(self, key: str) -> Lease:
        """Take a lease that nobody ever held. Raises `RegistryError` when somebody has."""

    @abstractmethod
    async def held(self, key: str) -> bool:
        """Whether somebody holds this lease. A lease that cannot be found says nothing, and counts as held."""

    @abstractmethod
    async def gone(self, key: str) -> None:
        """Return when nobody holds this lease. One that cannot be found is gone when its row is."""

    async def forget(self, key: str) -> None:  # noqa: B027 - a driver whose leases leave nothing behind has nothing to forget
        """Remove what is left of a lease after its row was freed. Nothing happens while somebody holds it."""

    async def compact(self, after: int, facts: Sequence[bytes]) -> bool:  # noqa: ARG002 - for drivers that do
        """Replace the log by `facts`, which say the same, when the last fact kept has the number `after`. Answers whether it did.

        The first of `facts` has the number `after + 1`. A driver that never drops its past answers False.
        """
        return False

    def droppable(self) -> int:
        """How many bytes the log has, if it is one that may drop its past; 0 for one that never does. Asked before every change."""
        return 0

    async def changed(self, after: int) -> None:
        """Return when there is a fact after number `after`. Looks every 50 ms; a driver that knows better says so."""
        while True:
            if await self.read(after):
                return
            await trio.sleep(_POLL)

    def close(self) -> None:  # noqa: B027 - a driver that keeps nothing open has nothing to close
        """Let go of what this object keeps open, for programs that open many. May be called again.

        Raises `RegistryError` while a pod of this program is open in it. Used with `with`, it is done at the end of the block.
        What is asked of a closed registry is refused with `RegistryError`, unless the driver keeps nothing open.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def lease_from_fd(self, key: str, fd: int) -> Lease:
        """Take over a lease whose descriptor this process inherited. Raises `RegistryError` when it is not that lease."""
        raise RegistryError(f"the leases of this registry have no descriptors, so {fd} is not that of {key}")

    # What every registry does with that.

    async def rows(self) -> Table:
        """The table as of now."""
        table = self._folded
        return self._keep(fold_all(table, await self.facts(table.sequence)))

    async def facts(self, after: int) -> list[Fact]:
        """The facts after number `after`, read. Raises `CorruptRegistryError` also for one that is no fact."""
        return [self._decode(line) for line in await self.read(after)]

    async def table(self) -> Mapping[str, Allocation]:
        """The rows by pod name as of now. Where trees share a name it is `tree/name`, which every row also answers to."""
        return (await self.rows()).named()

    async def transact(self, decide: Callable[[Table], Iterable[Fact]], *, author: str = _WITNESS) -> Table:
        """Append what `decide` answers, and return the table that follows from it. It is the only way the table changes.

        `decide` is pure: when somebody else was quicker it runs again on their table. When it refuses because of a pod
        (the refusal's `incarnation`) whose lease nobody holds, that row is freed by `author` and `decide` runs again; when it
        refuses because there are too many pods, every dead one is freed first. It is tried 1,000 times at most. Raises what
        `decide` raises, `CorruptRegistryError`, `RegistryBusyError`, and `LocalProtocolError` for facts that break a law; then
        nothing of what was decided is kept. Cancelled, it has done all of it or nothing.
        """
        swept, began = False, trio.current_time()
        for _ in range(_ROUNDS):
            table = await self._tidied(author)
            try:
                facts = tuple(decide(table))
            except LimitExceededError as refusal:
                if refusal.limit != LIMIT_ROWS or swept or not await self.sweep(author):
                    raise
                swept = True
                continue
            except PodkitError as refusal:
                if not await self._reclaim(table, getattr(refusal, "incarnation", None), author):
                    raise
                continue
            if not facts:
                return table
            after = _lawful(table, facts)
            if await self.append(table.sequence, [encode_fact(fact) for fact in facts]):
                return self._keep(after)
        raise _outrun(began)

    async def sweep(self, author: str = _WITNESS) -> tuple[Allocation, ...]:
        """Free every row whose lease nobody holds, and return the rows that were freed, children before their parents."""
        table = await self.rows()
        order = [row for root in table.roots() for row in (*table.descendants(root.incarnation), root)]
        dead = [row for row in order if not await self.held(row.key)]
        return tuple([row for row in dead if await self._free(row, author)])

    def follow(self, after: Table | None = None) -> Following:
        """The facts as they come, after those of the table `after` (None: of the table this registry last saw)."""
        return Following(self, self._folded if after is None else after)

    async def _reclaim(self, table: Table, incarnation: str | None, author: str) -> bool:
        """Whether that pod turned out to be dead, and its row is gone now."""
        row = table.get(incarnation)
        if row is None or await self.held(row.key):
            return False
        await self._free(row, author)
        return True

    async def _free(self, row: Allocation, author: str) -> bool:
        """End the row of a pod that is dead. Death is final, so this may be tried until it worked."""
        began = trio.current_time()
        for _ in range(_ROUNDS):
            table = await self.rows()
            if row.incarnation not in table:
                return False
            freed = Freed(author=author, incarnation=row.incarnation)
            if await self.append(table.sequence, [encode_fact(freed)]):
                self._keep(fold(table, freed))
                await self.forget(row.key)
                return True
        raise _outrun(began)

    async def _tidied(self, author: str) -> Table:
        """The table as of now; on the way there the log drops its past, when that makes it much smaller.

        It happens before a change and not after it, so that a cancellation or a failure here never follows what was done.
        """
        table = await self.rows()
        size = self.droppable()
        if size <= max(_SMALL, self._look_again):
            return table
        facts = snapshot(table, author=author)
        lines = [encode_fact(fact) for fact in facts]
        live = sum(map(len, lines))
        self._look_again = size + _SMALL
        if not live or size <= _BULKY * live:
            return table
        try:
            if not await self.compact(table.sequence, lines):
                return await self.rows()
        except RegistryError:
            return table  # it still holds: what went wrong will be met again by the change itself, or does not matter to it
        self._look_again = 0
        return self._keep(fold_all(table, facts))

    def _keep(self, table: Table) -> Table:
        if table.sequence >= self._folded.sequence:
            self._folded = table
        return self._folded

    def _decode(self, line: bytes) -> Fact:
        try:
            return decode_fact(line)
        except CorruptRegistryError as error:
            raise CorruptRegistryError(self.locator or "the registry", f"a fact {error.reason}") from error


def _lawful(table: Table, facts: tuple[Fact, ...]) -> Table:
    """The table after what was decided. What a law forbids never enters the log; a log drops its past by `compact` alone."""
    after = fold_all(table, facts)
    if after.refused > table.refused or any(isinstance(fact, Restart) for fact in facts):
        raise LocalProtocolError("a decision that breaks a law of the registry: nothing of it is kept")
    return after


def _outrun(began: float) -> RegistryBusyError:
    return RegistryBusyError(trio.current_time() - began, f"other programs, which were quicker {_ROUNDS} times")
