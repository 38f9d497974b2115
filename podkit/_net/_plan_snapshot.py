"""A snapshot as frames: one, or many when one would be too long for a reader's patience. Pure."""

from __future__ import annotations

from typing import Any

from podkit.errors import RemoteProtocolError
from podkit.protocol import Snapshot, SnapshotBegin, SnapshotChunk, SnapshotEnd, encode_event

WHOLE = 2**20
"""Up to so many bytes a snapshot is one frame."""


def plan_snapshot(snapshot: Snapshot, seq: int, *, whole: int = WHOLE) -> list[bytes]:
    """The frames that say `snapshot`, taken at `seq`, to an admitted connection.

    Over `whole` bytes it is cut between entries: a beginning with everything but the entries, pieces of about `whole` bytes, at
    most twice that (an entry that is longer stands alone), and an end. Raises `LocalProtocolError` when an entry cannot be said.
    """
    frame = encode_event(snapshot, seq=seq)
    if len(frame) <= whole:
        return [frame]
    begin = SnapshotBegin(
        seq,
        len(snapshot.entries),
        greeting=snapshot.greeting,
        status=snapshot.status,
        in_flight=snapshot.in_flight,
    )
    pieces = -(-len(frame) // whole)
    size = -(-len(snapshot.entries) // pieces) or 1
    groups = [snapshot.entries[at : at + size] for at in range(0, len(snapshot.entries), size)]
    chunks = [chunk for group in groups for chunk in _chunks(group, 2 * whole)]
    return [encode_event(begin), *chunks, encode_event(SnapshotEnd(seq))]


def _chunks(entries: tuple[Any, ...], most: int) -> list[bytes]:
    """The entries in as few halvings as keep each frame within `most` bytes: entries are rarely all of one size."""
    frame = encode_event(SnapshotChunk(entries))
    if len(frame) <= most or len(entries) == 1:
        return [frame]
    middle = len(entries) // 2
    return _chunks(entries[:middle], most) + _chunks(entries[middle:], most)


def session_of(snapshot: Snapshot) -> str | None:
    """The session that the log in a snapshot belongs to; None where it does not say, because nothing is kept."""
    first = snapshot.entries[0] if snapshot.entries else None
    session = first.get("session_id") if isinstance(first, dict) and first.get("kind") == "segment_start" else None
    return session if isinstance(session, str) else None


class Assembly:
    """Puts a snapshot together again. `begin`, `chunk` and `end` in this order, else `RemoteProtocolError`."""

    def __init__(self) -> None:
        self._begin: SnapshotBegin | None = None
        self._entries: list[Any] = []

    def begin(self, event: SnapshotBegin) -> None:
        """A snapshot starts. One that was not finished is forgotten: the pod started over."""
        self._begin = event
        self._entries = []

    def chunk(self, event: SnapshotChunk) -> None:
        """Some entries; never more than were announced."""
        if self._begin is None:
            raise RemoteProtocolError("a piece of a snapshot that never began")
        self._entries.extend(event.entries)
        if len(self._entries) > self._begin.entries:
            raise RemoteProtocolError(f"a snapshot of {self._begin.entries} entries has more of them")

    def end(self, event: SnapshotEnd) -> tuple[Snapshot, int]:
        """The whole snapshot and its number."""
        begin, self._begin = self._begin, None
        if begin is None or begin.seq != event.seq or begin.entries != len(self._entries) or begin.greeting is None:
            raise RemoteProtocolError("a snapshot ended that is not complete")
        entries, self._entries = self._entries, []
        return Snapshot(tuple(entries), begin.greeting, status=begin.status, in_flight=begin.in_flight), begin.seq
