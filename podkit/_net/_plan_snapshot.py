"""A snapshot as frames: one, or many when one would be too long for a reader's patience. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podkit.errors import RemoteProtocolError
from podkit.protocol import Snapshot, SnapshotBegin, SnapshotChunk, SnapshotEnd, encode_event

WHOLE = 2**20
"""Up to so many bytes a snapshot is one frame."""

_PIECES = 4  # pieces of a longer one that are about so long together: nobody else runs while one is made
_PROBE = 256  # entries from which the length of all is estimated


def plan_snapshot(snapshot: Snapshot, seq: int, *, whole: int = WHOLE) -> Iterator[bytes]:
    """The frames that say `snapshot`, taken at `seq`, to an admitted connection, each made when it is asked for.

    Over `whole` bytes it is cut between entries: a beginning with everything but the entries, pieces of about a quarter of that, at
    most half of it (an entry that is longer stands alone), and an end. Raises `LocalProtocolError` when an entry cannot be said.
    """
    entries = snapshot.entries
    length = len(encode_event(SnapshotChunk(entries[:_PROBE]))) * len(entries) // _PROBE if len(entries) > _PROBE else 0
    if length <= whole:
        frame = encode_event(snapshot, seq=seq)
        if len(frame) <= whole:
            yield frame
            return
        length = len(frame)
    yield encode_event(
        SnapshotBegin(seq, len(entries), greeting=snapshot.greeting, status=snapshot.status, in_flight=snapshot.in_flight)
    )
    size = len(entries) * whole // (length * _PIECES) or 1
    for at in range(0, len(entries), size):
        yield from _chunks(entries[at : at + size], 2 * whole // _PIECES)
    yield encode_event(SnapshotEnd(seq))


def _chunks(entries: tuple[Any, ...], most: int) -> Iterator[bytes]:
    """The entries in as few halvings as keep each frame within `most` bytes: entries are rarely all of one size."""
    frame = encode_event(SnapshotChunk(entries))
    if len(frame) <= most or len(entries) == 1:
        yield frame
        return
    middle = len(entries) // 2
    yield from _chunks(entries[:middle], most)
    yield from _chunks(entries[middle:], most)


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
