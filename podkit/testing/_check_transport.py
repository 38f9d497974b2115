"""The contract of transports as a check that any transport can be held to. Needs no test framework."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ._check_transport_clauses import ALL
from ._check_transport_ground import Ground

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.abc import Transport

_SECONDS = 10.0

CLAUSES: tuple[tuple[str, str], ...] = tuple((name, sentence) for name, sentence, _ in ALL)
"""The clauses of the contract, (id, sentence), in the order in which they are checked."""


async def check_transport(make: Callable[[], Transport], *, address: Callable[[], str] | None = None) -> None:
    """Hold a transport to the contract of `podkit.abc.Transport`: `trio.run(check_transport, lambda: MyTransport())`.

    `make` is called once per clause. `address` gives a fresh address to listen at; by default the transport is asked for
    one with a fresh name and no run directory. Raises `AssertionError`, which begins with the id of the first clause of
    `CLAUSES` that does not hold; every clause has ten seconds. A transport whose listening side reads frames of another
    length than 1 MiB says so in an attribute `max_method`.
    """
    for name, sentence, clause in ALL:
        try:
            with trio.fail_after(_SECONDS):
                await clause(Ground(make(), address))
        except trio.TooSlowError as error:
            raise AssertionError(f"{name}: {sentence}; it hangs") from error
        except Exception as error:
            raise AssertionError(f"{name}: {sentence}; but {_told(error)}") from error


def _told(error: BaseException) -> str:
    """The one reason inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, AssertionError) else f"{error!r} was raised"
