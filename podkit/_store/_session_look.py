"""Looking at sessions in files without holding them: at their end, or at every record. Nothing is changed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from podkit._os import Disk
from podkit._store._journal_record import DamagedError, Mark, decode_records, record_number
from podkit._store._plan_session import decode_manifest
from podkit._store._session_files import SessionFiles, check_end
from podkit._store._session_open import check_unused, find_session, lost_end, restarted
from podkit.abc import StoredSession
from podkit.errors import CorruptLogError, UnknownSessionError

if TYPE_CHECKING:
    from podkit._store._session_anchor import SessionAnchor
    from podkit._store._session_lock import SessionLock

_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_FIRST_LOOK = 2**14


@attrs.frozen
class SessionInfo:
    """What there is of a session: `count` entries in the current segment, which is `segment`."""

    name: str
    id: str
    segments: tuple[str, ...]
    count: int
    manifest: Mapping[str, Any] | None

    @property
    def segment(self) -> str | None:
        """The current segment; None before the first."""
        return self.segments[-1] if self.segments else None


@attrs.frozen
class VerifiedSession:
    """What was found sound: `segments` with `entries` in all. `unfinished` bytes behind the last record were never committed."""

    name: str
    id: str
    segments: int
    entries: int
    unfinished: int


def peek_session(name: str, place: str, lock: SessionLock, *, boot: str, disk: Disk) -> SessionInfo:
    """What there is of a session, by its anchor and its last record. Raises `OSError`, `CorruptLogError`, `UnknownSessionError`."""
    anchor = _anchor(name, place, lock, disk)
    files = SessionFiles(place, anchor.number, anchor.id, disk=disk)
    segments, count = tuple(files.known(anchor)), 0
    if anchor.segment is not None:
        path = files.path(anchor.segments, anchor.segment)
        try:
            count = _count(path, disk)
        except CorruptLogError:
            if not restarted(anchor, boot):
                raise
            count = _sound(place, anchor, boot, disk)
        if count < anchor.sequence and not lost_end(count, anchor, boot):
            raise CorruptLogError(path, f"it ends with entry {count}, and its anchor says {anchor.sequence}")
    return SessionInfo(name, anchor.id, segments, count, decode_manifest(files.read_manifest()))


def verify_session(name: str, place: str, lock: SessionLock, *, boot: str, disk: Disk) -> VerifiedSession:
    """Check every record of a session. Raises `OSError`, `CorruptLogError`, `UnknownSessionError`."""
    anchor = _anchor(name, place, lock, disk)
    found = find_session(place, anchor, boot=boot, disk=disk)
    if found.journal is None:
        return VerifiedSession(name, anchor.id, 0, 0, 0)
    with contextlib.closing(found.journal) as journal:
        total, header, unfinished = len(found.entries), journal.header, journal.unfinished
    for number in range(anchor.segments - 1, 0, -1):
        entries, earlier = found.files.read_segment(number, found.segments[number - 1])
        with contextlib.closing(earlier):
            check_end(earlier, header)
            total, header = total + len(entries), earlier.header
    return VerifiedSession(name, anchor.id, anchor.segments, total, unfinished)


def read_session(name: str, place: str, lock: SessionLock, *, boot: str, disk: Disk) -> StoredSession:
    """A session as it is now, its current segment verified. Raises `OSError`, `CorruptLogError`, `UnknownSessionError`."""
    found = find_session(place, _anchor(name, place, lock, disk), boot=boot, disk=disk)
    if found.journal is not None:
        found.journal.close()
    return StoredSession(name, found.anchor.id, tuple(found.segments), found.entries, decode_manifest(found.manifest))


def _anchor(name: str, place: str, lock: SessionLock, disk: Disk) -> SessionAnchor:
    anchor = lock.anchor()
    if anchor is None:
        check_unused(place, disk)
        raise UnknownSessionError(name)
    return anchor


def _sound(place: str, anchor: SessionAnchor, boot: str, disk: Disk) -> int:
    """How many entries a segment has in front of what a loss of power left."""
    found = find_session(place, anchor, boot=boot, disk=disk)
    assert found.journal is not None
    with contextlib.closing(found.journal) as journal:
        return journal.mark.sequence


def _count(path: str, disk: Disk) -> int:
    """How many entries a segment has, by its last record. Raises `OSError`, `CorruptLogError`."""
    fd = disk.open(path, _READ)
    try:
        size, length, lines = disk.fstat(fd).st_size, _FIRST_LOOK, list[bytes]()
        while len(lines) < 3:  # the last two whole lines, and something before them
            start = max(0, size - length)
            data = disk.pread(fd, size - start, start)
            lines = data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]
            if start == 0:
                break
            length *= 8
    finally:
        disk.close(fd)
    at = data.rfind(lines[-1]) + start if lines else 0
    try:
        if not lines:
            raise DamagedError("there is no header", 1, 0)
        if len(lines) == 1:  # the header itself
            decode_records(lines[0] + b"\n", Mark())
            return 0
        before = Mark(at, sequence=record_number(lines[-1]) - 1, digest=lines[-2][:32])
        return decode_records(lines[-1] + b"\n", before)[-1][1].sequence
    except DamagedError as error:
        raise CorruptLogError(path, error.reason, offset=at) from error
