"""What the clauses of the session contract stand on: two openings of one store, and sessions that are let go at the end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

import attrs
import trio

from ._check_transport_ground import require

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from podkit.abc import Session, SessionStore


def entry(number: int) -> bytes:
    """An entry like any other."""
    return b'{"kind":"check","n":%d}' % number


def entries(*numbers: int) -> list[bytes]:
    """Entries with these numbers."""
    return [entry(number) for number in numbers]


@attrs.define(eq=False)
class Ground:
    """One store, made for one clause, and the same one as another program has it. Sessions opened here are let go at the end."""

    first: SessionStore
    second: SessionStore
    _open: AsyncExitStack = attrs.field(factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with trio.move_on_after(2, shield=True):
            await self._open.aclose()

    @property
    def both(self) -> tuple[SessionStore, SessionStore]:
        return self.first, self.second

    async def open(self, name: str = "root", *, create: str | None = None, store: SessionStore | None = None) -> Session:
        session = await (store or self.first).open(name, create=create)
        self._open.push_async_callback(session.aclose)
        return session

    async def begun(self, *numbers: int, name: str = "root", create: str = "s-1") -> Session:
        """A new session with a first segment, `a`, of these entries."""
        session = await self.open(name, create=create)
        session.rotate("a", entries(*numbers))
        return session

    async def again(self, session: Session) -> Session:
        """The same session, let go and opened by the other opening."""
        await session.aclose()
        return await self.open(session.name, store=self.second)


def refuses(kind: type[Exception], call: Callable[[], object], what: str) -> Exception:
    """The error of that kind which the call raises."""
    try:
        call()
    except kind as error:
        return error
    except Exception as error:
        raise AssertionError(f"{what} raised {error!r}, not {kind.__name__}") from error
    raise AssertionError(f"{what} did not raise {kind.__name__}")


def holds(session: Session, segment: str, expected: Sequence[bytes]) -> None:
    """That the segment has just these entries."""
    found = session.read(segment)
    require(list(found) == list(expected), f"segment {segment} has {len(found)} entries, not the {len(expected)} it was given")
