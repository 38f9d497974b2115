"""The sessions of a world as one program of it sees them: when the program dies, it holds none any more."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from podkit._store import MemorySessionStore
from podkit.abc import Session, SessionStore, StoredSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sim_program import Program


class SharedSessions(SessionStore):
    """What all programs of a world share. `opened(program, session)` may answer another session in its place, to watch it."""

    opened: Callable[[Program, Session], Session] | None = None
    lost_power = 0
    """How often what was not written out may have been lost."""
    survives_power = True
    """Whether what was synced is never lost."""

    @abstractmethod
    def store_of(self, program: Program) -> SessionStore:
        """The store as that program has it."""

    @abstractmethod
    def committed(self, name: str) -> list[bytes]:
        """The entries of the current segment of that pod's session, whoever holds it."""

    @abstractmethod
    def said(self, name: str) -> list[bytes]:
        """Everything that was ever committed under that name, and is not lost."""

    def hold(self, program: Program, session: Session) -> None:
        """That program holds the session from here, until it dies."""

    def reboot(self) -> None:
        """The machine lost power, and everybody is dead."""


class MemorySessions(MemorySessionStore, SharedSessions):
    """Sessions that nothing can happen to."""

    def store_of(self, program: Program) -> SessionStore:  # noqa: ARG002 - they all have this one
        return self

    def committed(self, name: str) -> list[bytes]:
        segments = self._kept[name].segments
        return list(segments[next(reversed(segments))]) if segments else []

    def said(self, name: str) -> list[bytes]:
        every = [kept for other, kept in (*self._aside, *self._kept.items()) if other == name]
        return [raw for kept in every for segment in kept.segments.values() for raw in segment]

    def hold(self, program: Program, session: Session) -> None:
        program.sessions.append(lambda: self._drop(session))

    def _drop(self, session: Session) -> None:
        """What the kernel does for a dead program: this very session is held no more."""
        kept = self._kept.get(session.name)
        if kept is not None and kept.holder is session:
            kept.holder = None


class SimSessions(SessionStore):
    """The store in the hands of one program."""

    def __init__(self, shared: SharedSessions, program: Program) -> None:
        self._shared, self._program = shared, program
        self.directory = shared.directory

    async def open(self, name: str, *, create: str | None = None) -> Session:
        session = await self._shared.store_of(self._program).open(name, create=create)
        self._shared.hold(self._program, session)
        return session if self._shared.opened is None else self._shared.opened(self._program, session)

    async def read(self, name: str) -> StoredSession:
        return await self._shared.store_of(self._program).read(name)

    async def names(self) -> tuple[str, ...]:
        return await self._shared.store_of(self._program).names()
