"""Where sessions are kept: the log of each pod, and what is needed to open the pod again. Drivers store bytes and no more.

Above sits the pod, which says what is committed and makes sense of it; below are files, or memory.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


class Durability(enum.StrEnum):
    """What a committed entry survives."""

    MEMORY = "memory"
    """Nothing: it is gone with the program (D0)."""
    PROCESS = "process"
    """The end of the program at any instant, not a loss of power (D1)."""
    POWER = "power"
    """A loss of power as well, once `sync` returned (D2)."""


class Session(ABC):
    """One pod's session, in the hands of the one who may write it. Used with `async with`, it is let go at the end of the block.

    `name` is the pod's. A session is a chain of segments, each a log of its own that can be read without the ones before;
    `segment` is the current one, None before the first. Ids are 1 to 64 characters of `[a-z0-9-]`. An entry is one JSON object in
    bytes, without a line feed or a tab, up to 16 MiB; that it begins with `{` and ends with `}` is all that is looked at inside.

    A `SessionError` that the system caused has its `errno`. After `aclose`, and once the session was lost to somebody else, every
    change raises `SessionError`.
    """

    name: str
    id: str
    segment: str | None
    durability: Durability

    @property
    @abstractmethod
    def entries(self) -> Sequence[bytes]:
        """What was committed to the current segment when the session was opened, in order. Empty when it was made just now.

        What is committed later does not appear here; `read` has it.
        """

    def forget(self) -> None:  # noqa: B027 - to keep them is no mistake
        """`entries` were read and are not asked for again, so they need not take up memory. They may be empty from here."""

    @property
    @abstractmethod
    def segments(self) -> tuple[str, ...]:
        """The ids of all segments, oldest first; the last one is the current one."""

    @property
    @abstractmethod
    def manifest(self) -> Mapping[str, Any] | None:
        """What was saved last with `save`; None when nothing was. The caller's own copy."""

    @abstractmethod
    def append(self, entries: Sequence[bytes]) -> None:
        """Commit entries to the current segment, all or none, in one write. Does not wait. No entries are nothing to do.

        Raises `SessionError` when they are not committed; then the log is as before, and may be tried again, unless a `sync`
        failed, or the log could not be brought back to what it was: then nothing is ever committed again. There must be a segment,
        else `SessionError`. Raises `ValueError` for what is no entry.
        """

    @abstractmethod
    async def sync(self) -> None:
        """Return when everything committed so far is as durable as `durability` says. All who wait are served by one write-out.

        May be cancelled; what is on its way goes on. Raises `SessionError` when the disk would not say so; from then on nothing is
        committed any more, since what it lost is not known.
        """

    @abstractmethod
    def rotate(self, segment: str, entries: Sequence[bytes]) -> None:
        """Begin another segment with these entries; it is the current one from here. The earlier ones stay as they are.

        All or nothing, at whatever instant the program ends. Raises `SessionError`, also for an id that a segment of this session
        has; then the current segment is the one before. Raises `ValueError` for what is no id or no entry.
        """

    @abstractmethod
    def read(self, segment: str) -> list[bytes]:
        """The committed entries of any segment, every one verified. Raises `CorruptLogError`, `KeyError` for an unknown segment.

        Raises `SessionError` when it cannot be read.
        """

    @abstractmethod
    def save(self, manifest: Mapping[str, Any]) -> None:
        """Keep a JSON object beside the log, in place of the one before: whole, or as it was.

        Raises `SessionError`, and `ValueError` for what is not JSON.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of the session. May be called again."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


@attrs.frozen
class StoredSession:
    """A session as it was found, whoever holds it. `entries` are those of the current segment, the last of `segments`."""

    name: str
    id: str
    segments: tuple[str, ...]
    entries: tuple[bytes, ...]
    manifest: Mapping[str, Any] | None

    @property
    def segment(self) -> str | None:
        """The current segment; None before the first."""
        return self.segments[-1] if self.segments else None


class SessionStore(ABC):
    """A place for sessions, one for each name of a pod. Whoever opens a session holds it until they let go or are gone.

    `locator` is a string from which another process opens the same store; None: it can be used by this program only.
    """

    locator: str | None = None
    directory: str | None = None
    """Where it keeps files, which is outside of every scope; None: nowhere."""

    @abstractmethod
    async def open(self, name: str, *, create: str | None = None) -> Session:
        """Open the session of the pod `name` for writing, or with `create` make a new one with that id.

        With `create` an earlier session of that name is put aside, never lost and never mixed with the new one. What a writer that
        died left unfinished is cut off; damage further inside is refused and kept as it is. Raises `SessionBusyError` while
        somebody else holds it, `UnknownSessionError` when there is none, `CorruptLogError`, `InvalidNameError`, `SessionError`, and
        `ValueError` when `create` is no id. Cancelled or failed, it holds nothing.
        """

    @abstractmethod
    async def read(self, name: str) -> StoredSession:
        """The session of the pod `name` as it is now, every entry of the current segment verified. It is only looked at.

        Who holds it is not asked and goes on; what they commit meanwhile is there or is not, from one entry on. Raises
        `UnknownSessionError`, `CorruptLogError`, `InvalidNameError` and `SessionError`.
        """

    @abstractmethod
    async def names(self) -> tuple[str, ...]:
        """The names that have a session, in order. Raises `SessionError`."""
