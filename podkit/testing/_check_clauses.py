"""Numbered clauses: what a contract says, sentence by sentence, and how each sentence is held against something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Generic, TypeAlias, TypeVar

import trio

Ground = TypeVar("Ground")
Clause: TypeAlias = Callable[[Ground], Awaitable[None]]


class Clauses(Generic[Ground]):
    """The clauses of one contract. Each is checked on a ground of its own, in `seconds` at most."""

    def __init__(self, letter: str, *, seconds: float = 10.0) -> None:
        self._letter, self._seconds = letter, seconds
        self._said: list[tuple[str, Clause[Ground]]] = []

    def __call__(self, sentence: str) -> Callable[[Clause[Ground]], Clause[Ground]]:
        """Give a clause its sentence and the next number."""

        def add(check: Clause[Ground]) -> Clause[Ground]:
            self._said.append((sentence, check))
            return check

        return add

    def and_then(self, *more: Clauses[Ground]) -> Clauses[Ground]:
        """These clauses and more of the same contract, numbered through."""
        joined: Clauses[Ground] = Clauses(self._letter, seconds=self._seconds)
        joined._said = [said for part in (self, *more) for said in part._said]
        return joined

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(id, sentence) of every clause, in the order in which they are checked."""
        return ((name, sentence) for name, sentence, _ in self._numbered())

    async def check(self, ground: Callable[[], AbstractAsyncContextManager[Ground]], *, only: str | None = None) -> None:
        """Raise `AssertionError`, which begins with the id and the sentence of the first clause that does not hold."""
        for name, sentence, clause in self._numbered():
            if only not in (None, name):
                continue
            try:
                with trio.fail_after(self._seconds):
                    async with ground() as it:
                        await clause(it)
            except trio.TooSlowError as error:
                raise AssertionError(f"{name}: {sentence}; it hangs") from error
            except Exception as error:
                raise AssertionError(f"{name}: {sentence}; but {told(error)}") from error

    def _numbered(self) -> Iterator[tuple[str, str, Clause[Ground]]]:
        return ((f"{self._letter}{number}", sentence, check) for number, (sentence, check) in enumerate(self._said, 1))


def told(error: BaseException) -> str:
    """The one reason inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = next((one for one in error.exceptions if isinstance(one, AssertionError)), error.exceptions[0])
    return str(error) if isinstance(error, AssertionError) else f"{error!r} was raised"
