"""The session log of a pod: what was committed, in order. Snapshots and replies are projections of it, and a session keeps it.

One function commits: what the model sees, what clients see and what tools run on was written to the session before.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import trio

from podkit._os import new_uuid
from podkit.abc import Durability
from podkit.errors import CorruptLogError, LocalProtocolError, RemoteProtocolError, SessionError
from podkit.logic import SessionState, replay, said_in, segment_start
from podkit.protocol import SegmentStartEntry, decode_entry, encode_entry, entry_from_data, entry_to_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from podkit.abc import Session
    from podkit.protocol import LogEntry, LoggedItem


class SessionLog:
    """Entries as plain JSON values, in commit order. `clock()` gives seconds since the epoch.

    `session` is what keeps them; None: nothing does, and they are gone with the pod. `segment` is the id of the current segment, a
    UUID; it begins with the first thing that is committed.
    """

    data: list[dict[str, Any]]
    refused: SessionError | None
    """Why what was to be committed last is not kept; None when it is."""
    segment: str
    id: str

    def __init__(self, clock: Callable[[], float], session: Session | None = None) -> None:
        self._clock, self._session = clock, session
        self._owed: list[LogEntry] = []
        self.refused: SessionError | None = None
        self.id = new_uuid() if session is None else session.id
        self.segment = new_uuid()
        self.data = []
        self._history: list[LoggedItem] = []
        self._told: tuple[list[dict[str, Any]], int] = (self.data, 0)  # of what, and how much of it, that is the history

    def __repr__(self) -> str:
        return f"<SessionLog {self.id} of {len(self.data)} entries>"

    @property
    def waits(self) -> bool:
        """Whether what was committed is kept only when `sync` returned."""
        return self._session is not None and self._session.durability is Durability.POWER

    @property
    def owed(self) -> Sequence[LogEntry]:
        """What has happened and could not be kept yet, oldest first."""
        return tuple(self._owed)

    def now(self) -> int:
        """The time of an entry, in milliseconds since the epoch."""
        return int(self._clock() * 1000)

    def load(self) -> SessionState:
        """Take over what the session has, and answer what it comes to. Raises `CorruptLogError`: nothing is skipped."""
        if self._session is None or self._session.segment is None:
            return SessionState()
        self.segment = self._session.segment
        raws = self._session.entries
        read = read_entries(raws, f"session {self.id} of {self._session.name}, segment {self.segment}")
        self.data = [json.loads(raw) for raw in raws]
        self._session.forget()  # from here they are kept as values, once
        return replay(read)

    def entries(self) -> list[LogEntry]:
        """The entries of the current segment."""
        return [entry_from_data(data) for data in self.data]

    def history(self) -> tuple[LoggedItem, ...]:
        """What the model was told and said until now. Every entry is read once, when this is first asked for after it."""
        data, count = self._told
        if data is not self.data:  # a new segment says everything that was before it
            data, count, self._history = self.data, 0, []
        for raw in data[count:]:
            entry = entry_from_data(raw)
            said = said_in(entry)
            if isinstance(entry, SegmentStartEntry):
                self._history = list(entry.history)
            elif said is not None:
                self._history.append(said)
        self._told = data, len(data)
        return tuple(self._history)

    def append(self, *entries: LogEntry) -> None:
        """Commit entries, all or none; they are never changed. Without entries: what is owed, and the beginning of a first segment.

        Raises `LocalProtocolError` for what could not be sent or stored, and `SessionError` when it was not kept: then nobody has
        seen it, and nothing may follow from it.
        """
        committed = [*self._owed, *entries]
        if self._session is not None and not self.data:
            committed.insert(0, segment_start(self.id, self.now()))
        if not committed:
            return
        raw, data = _said(committed)
        if self._session is not None:
            try:
                with _entries_only():
                    if self.data:
                        self._session.append(raw)
                    else:
                        self._session.rotate(self.segment, raw)
            except SessionError as error:
                self.refused = error
                raise
        self.refused, self._owed = None, []
        self.data.extend(data)

    def append_or_owe(self, entry: LogEntry) -> SessionError | None:
        """Commit what has happened whether it can be kept or not: the end of a run. What cannot be kept now is kept with whatever
        can be kept next, before it; a restore that comes first finds the run without an end and says so."""
        try:
            self.append(entry)
        except SessionError as error:
            self._owed.append(entry)
            return error
        return None

    def rotate(self, entries: Sequence[LogEntry]) -> None:
        """Go on in a new segment that begins with `entries`. All or nothing; the segment before stays as it is.

        Nothing may be owed: `append` first. Raises as `append` does.
        """
        segment = new_uuid()
        raw, data = _said(entries)
        if self._session is not None:
            with _entries_only():
                self._session.rotate(segment, raw)
        self.segment, self.data = segment, data

    async def sync(self) -> None:
        """Return when everything committed so far is as durable as the session says. Raises `SessionError`."""
        if self._session is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            try:
                await self._session.sync()
            except SessionError as error:
                self.refused = error
                raise

    def save(self, manifest: dict[str, Any]) -> None:
        """Keep the manifest beside the log. Raises `SessionError`."""
        if self._session is not None:
            self._session.save(manifest)

    async def aclose(self) -> None:
        """Let go of the session."""
        if self._session is not None:
            await self._session.aclose()


def read_entries(raws: Sequence[bytes], file: str) -> list[LogEntry]:
    """The entries in these bytes, which `file` is. Raises `CorruptLogError`: nothing is skipped."""
    read: list[LogEntry] = []
    for number, raw in enumerate(raws, start=1):
        try:
            read.append(decode_entry(raw))
        except RemoteProtocolError as error:
            raise CorruptLogError(file, f"not a log entry: {error}", number) from error
    return read


def _said(entries: Sequence[LogEntry]) -> tuple[list[bytes], list[dict[str, Any]]]:
    return [encode_entry(entry) for entry in entries], [entry_to_data(entry) for entry in entries]


@contextmanager
def _entries_only() -> Iterator[None]:
    """What a session does not take as an entry (it is too long) is the mistake of whoever says it, not of the disk."""
    try:
        yield
    except ValueError as error:
        raise LocalProtocolError(f"this cannot be kept: {error}") from None
