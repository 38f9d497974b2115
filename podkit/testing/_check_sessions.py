"""The contract of session stores as a check that any store can be held to. Needs no test framework."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from podkit._store import open_sessions
from podkit.errors import SessionError

from . import _check_sessions_hold, _check_sessions_log
from ._check_sessions_ground import Ground

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from podkit.abc import SessionStore

_clauses = _check_sessions_log.clause.and_then(_check_sessions_hold.clause)

SESSION_CLAUSES: tuple[tuple[str, str], ...] = tuple(_clauses)
"""The clauses of the contract of session stores, (id, sentence), in the order in which they are checked."""


async def check_session_store(
    make: Callable[[], SessionStore], *, make_second: Callable[[SessionStore], SessionStore] | None = None
) -> None:
    """Hold a session store to the contract of `podkit.abc.SessionStore`: `trio.run(check_session_store, MyStore)`.

    `make` gives a fresh and empty store, once per clause. `make_second` opens another one on the same sessions, as another
    program would; without it that is done by the `locator`, where podkit knows how, and else the first one plays both parts, which
    finds less. What survives a crash is not checked, since only the store's author knows how to make one.

    Raises `AssertionError`, which begins with the id of the first clause of `SESSION_CLAUSES` that does not hold. Every clause has
    ten seconds.
    """

    @asynccontextmanager
    async def ground() -> AsyncIterator[Ground]:
        first = make()
        async with Ground(first, (make_second or _by_locator)(first)) as it:
            yield it

    await _clauses.check(ground)


def _by_locator(first: SessionStore) -> SessionStore:
    try:
        return first if first.locator is None else open_sessions(first.locator)
    except SessionError:
        return first
