"""The contract of transports as a check that any transport can be held to. Needs no test framework."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from . import _check_transport_channels, _check_transport_doors, _check_transport_waits
from ._check_transport_ground import Ground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from podkit.abc import Transport

_CLAUSES = _check_transport_channels.clause.and_then(_check_transport_waits.clause, _check_transport_doors.clause)

CLAUSES: tuple[tuple[str, str], ...] = tuple(_CLAUSES)
"""The clauses of the contract, (id, sentence), in the order in which they are checked."""


async def check_transport(make: Callable[[], Transport], *, address: Callable[[], str] | None = None) -> None:
    """Hold a transport to the contract of `podkit.abc.Transport`: `trio.run(check_transport, lambda: MyTransport())`.

    `make` is called once per clause. `address` gives a fresh address to listen at; by default the transport is asked for
    one with a fresh name and no run directory. Raises `AssertionError`, which begins with the id of the first clause of
    `CLAUSES` that does not hold; every clause has ten seconds. A transport whose listening side reads frames of another
    length than 1 MiB says so in an attribute `max_method`.
    """

    @asynccontextmanager
    async def ground() -> AsyncIterator[Ground]:
        yield Ground(make(), address)

    await _CLAUSES.check(ground)
