"""Sessions in memory: for one program, and for tests in virtual time. No thread, no file, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from podkit._store._plan_session import check_entries, check_id, decode_manifest, encode_manifest
from podkit.abc import Durability, Session, SessionStore, StoredSession
from podkit.errors import SessionBusyError, SessionError, UnknownSessionError
from podkit.protocol import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@attrs.define(eq=False)
class Kept:
    """What is kept of one session, whoever holds it: its segments in order, and its manifest as bytes."""

    id: str
    segments: dict[str, list[bytes]] = attrs.field(factory=dict)
    manifest: bytes | None = None
    holder: MemorySession | None = None


class MemorySession(Session):
    """A session of a `MemorySessionStore`, in the hands of whoever opened it."""

    durability = Durability.MEMORY

    def __init__(self, name: str, kept: Kept) -> None:
        self.name, self.id, self._kept = name, kept.id, kept
        self.segment = next(reversed(kept.segments), None)
        self._entries = () if self.segment is None else tuple(kept.segments[self.segment])

    def __repr__(self) -> str:
        return f"<MemorySession {self.name} {self.id}>"

    @property
    def entries(self) -> Sequence[bytes]:
        return self._entries

    def forget(self) -> None:
        self._entries = ()

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(self._kept.segments)

    @property
    def manifest(self) -> Mapping[str, Any] | None:
        return decode_manifest(self._kept.manifest)

    def append(self, entries: Sequence[bytes]) -> None:
        kept = self._held()
        if self.segment is None:
            raise SessionError(f"session {self.id} has no segment yet")
        check_entries(entries)
        kept.segments[self.segment].extend(entries)

    async def sync(self) -> None:
        await trio.lowlevel.checkpoint()
        self._held()

    def rotate(self, segment: str, entries: Sequence[bytes]) -> None:
        kept = self._held()
        check_id(segment)
        check_entries(entries)
        if segment in kept.segments:
            raise SessionError(f"session {self.id} has a segment {segment} already")
        kept.segments[segment] = list(entries)
        self.segment = segment

    def read(self, segment: str) -> list[bytes]:
        return list(self._held().segments[segment])

    def save(self, manifest: Mapping[str, Any]) -> None:
        self._held().manifest = encode_manifest(manifest)

    async def aclose(self) -> None:
        if self._kept.holder is self:
            self._kept.holder = None
        await trio.lowlevel.checkpoint()

    def _held(self) -> Kept:
        if self._kept.holder is not self:
            raise SessionError(f"session {self.id} is not held any more")
        return self._kept


class MemorySessionStore(SessionStore):
    """The sessions of the pods of one program. They outlive the pods, and end with the store.

    A pod that is made to die in a test leaves its session held, as a program would not: `let_go` does what the kernel does for
    files when a program ends.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._aside: list[tuple[str, Kept]] = []  # what `create` replaced

    def __repr__(self) -> str:
        return f"<MemorySessionStore of {len(self._kept)} sessions>"

    async def open(self, name: str, *, create: str | None = None) -> Session:
        check_name(name)
        if create is not None:
            check_id(create)
        await trio.lowlevel.checkpoint()
        kept = self._kept.get(name)
        if kept is None and create is None:
            raise UnknownSessionError(name)
        if kept is not None and kept.holder is not None:
            raise SessionBusyError(name, "a pod of this program")
        if create is not None:
            if kept is not None:
                self._aside.append((name, kept))
            kept = self._kept[name] = Kept(create)
        assert kept is not None
        kept.holder = session = MemorySession(name, kept)
        return session

    async def read(self, name: str) -> StoredSession:
        check_name(name)
        await trio.lowlevel.checkpoint()
        kept = self._kept.get(name)
        if kept is None:
            raise UnknownSessionError(name)
        segments = tuple(kept.segments)
        entries = tuple(kept.segments[segments[-1]]) if segments else ()
        return StoredSession(name, kept.id, segments, entries, decode_manifest(kept.manifest))

    async def names(self) -> tuple[str, ...]:
        await trio.lowlevel.checkpoint()
        return tuple(sorted(self._kept))

    def let_go(self, name: str) -> None:
        """Let go of the session of `name` for a holder that is gone. Whatever it committed stays; it commits nothing more."""
        kept = self._kept.get(name)
        if kept is not None:
            kept.holder = None
