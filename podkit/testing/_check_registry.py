"""The contract of registries as a check that any registry can be held to. Needs no test framework."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from podkit._store import open_registry
from podkit.errors import RegistryError

from . import _check_registry_leases, _check_registry_log, _check_registry_rows
from ._check_registry_ground import Ground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from podkit.abc import Registry

_clauses = _check_registry_log.clause.and_then(_check_registry_leases.clause, _check_registry_rows.clause)

REGISTRY_CLAUSES: tuple[tuple[str, str], ...] = tuple(_clauses)
"""The clauses of the contract of registries, (id, sentence), in the order in which they are checked."""


async def check_registry(make: Callable[[], Registry], *, make_second: Callable[[Registry], Registry] | None = None) -> None:
    """Hold a registry to the contract of `podkit.abc.Registry`: `trio.run(check_registry, MyRegistry)`.

    `make` gives a fresh and empty registry, once per clause. `make_second` opens another one on the same facts and leases, as
    another program would; without it that is done by the `locator`, where podkit knows how, and else the first one plays both
    parts, which finds less. What is optional (`compact`, the descriptors of leases) is checked where it is there.

    Raises `AssertionError`, which begins with the id of the first clause of `REGISTRY_CLAUSES` that does not hold. Every clause
    has ten seconds.
    """

    @asynccontextmanager
    async def ground() -> AsyncIterator[Ground]:
        first = make()
        with Ground(first, (make_second or _by_locator)(first)) as it:
            yield it

    await _clauses.check(ground)


def _by_locator(first: Registry) -> Registry:
    try:
        return first if first.locator is None else open_registry(first.locator)
    except RegistryError:
        return first
