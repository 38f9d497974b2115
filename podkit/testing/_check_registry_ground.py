"""What the clauses of the registry contract stand on: two openings of one registry, and pods without programs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import attrs
import trio

from podkit.logic import Freed, Scope, decide_adopt, decide_birth, decide_root, encode_fact

if TYPE_CHECKING:
    from types import TracebackType

    from podkit.abc import Lease, Registry
    from podkit.logic import Fact, Table


_TRIES = 200
MOST_STEPS = 200  # of one call that are tried as moments to cancel it


def note(number: int) -> bytes:
    """A fact that may stand in any log and changes no table: the end of a pod that never was."""
    return encode_fact(Freed(author="check", incarnation=f"nobody-{number}"))


@attrs.define(eq=False)
class Ground:
    """One registry, made for one clause, and the same one as another program has it. Leases taken here are let go at the end."""

    first: Registry
    second: Registry
    _leases: ExitStack = attrs.field(factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leases.close()

    @property
    def both(self) -> tuple[Registry, Registry]:
        return self.first, self.second

    async def hold(self, key: str, *, registry: Registry | None = None) -> Lease:
        lease = await (registry or self.first).hold(key)
        return self._leases.enter_context(lease)

    async def last(self, registry: Registry | None = None) -> int:
        """The number of the last fact."""
        return (await (registry or self.first).rows()).sequence

    async def write(self, registry: Registry, facts: list[bytes]) -> None:
        """Append these facts behind whatever is there."""
        for _ in range(_TRIES):
            if await registry.append(await self.last(registry), facts):
                return
        raise AssertionError(f"an append at the last number was refused {_TRIES} times")

    async def open_root(
        self, name: str = "root", target: str = "/w", *, incarnation: str = "", registry: Registry | None = None
    ) -> Lease:
        """A tree with one pod: its lease, then its row."""
        registry, incarnation = registry or self.first, incarnation or f"i-{name}"
        lease = await self.hold(f"{name}.{incarnation}", registry=registry)
        await registry.transact(lambda table: root(table, name, target, incarnation=incarnation), author=incarnation)
        return lease

    async def bear(self, name: str, parent: str, target: str) -> Lease:
        """A child of the incarnation `parent`: its lease, its reservation, its adoption by another program."""
        lease = await self.hold(f"{name}.i-{name}")
        await self.first.transact(
            lambda table: decide_birth(
                table, parent=parent, name=name, incarnation=f"i-{name}", scope=Scope.write(target), address="check://x", since=1.0
            )
        )
        await self.second.transact(lambda table: decide_adopt(table, name=name, incarnation=f"i-{name}"))
        return lease


def root(table: Table, name: str, target: str, *, incarnation: str = "") -> tuple[Fact, ...]:
    """What opens a tree."""
    return decide_root(
        table,
        name=name,
        tree=f"{name}-1",
        incarnation=incarnation or f"i-{name}",
        scope=Scope.write(target),
        address="check://x",
        since=1.0,
    )


def names(table: Table) -> list[str]:
    """The names of the rows."""
    return [row.name for row in table]


async def steps(number: int) -> None:
    """Let the others run that often."""
    for _ in range(number):
        await trio.lowlevel.checkpoint()
