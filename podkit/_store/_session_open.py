"""Opening a session in files: what the anchor names is looked for, verified and brought in order; or a new one is made."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

import attrs

from podkit._os import UNKNOWN, Disk
from podkit._store._journal_record import NewerError
from podkit._store._session_anchor import SessionAnchor
from podkit._store._session_files import SessionFiles, sessions
from podkit.abc import Durability
from podkit.errors import CorruptLogError, UnknownSessionError

if TYPE_CHECKING:
    from podkit._store._journal import Journal
    from podkit._store._session_lock import SessionLock

_log = logging.getLogger("podkit.session")


@attrs.define
class Found:
    """What opening a session found: its files, and what they say."""

    files: SessionFiles
    anchor: SessionAnchor
    segments: list[str] = attrs.field(factory=list)
    journal: Journal | None = None
    entries: tuple[bytes, ...] = ()
    manifest: bytes | None = None
    torn: CorruptLogError | None = None  # where a loss of power left what is no record, behind all that was promised


def resume_session(name: str, place: str, lock: SessionLock, *, boot: str, durability: Durability, disk: Disk) -> Found:
    """The session of `name`, in order. Only for who holds the lock. Raises `OSError` and `SessionError`'s kin."""
    anchor = lock.anchor()
    if anchor is None:
        check_unused(place, disk)
        raise UnknownSessionError(name)
    found = find_session(place, anchor, boot=boot, disk=disk)
    try:
        found.files.tidy(anchor)
        if found.journal is not None:
            if found.torn is not None:
                found.files.keep_copy(f"{found.journal.path}.lost-{found.journal.mark.offset}", found.journal.rest())
                _log.warning("%s: the machine was restarted; what was not written out is kept beside it", found.torn)
            found.journal.cut()
            mark = found.journal.mark
            anchor = attrs.evolve(anchor, sequence=mark.sequence, digest=mark.digest.decode())
        _vouch(found, lock, attrs.evolve(anchor, boot=boot, durability=durability.value))
    except BaseException:
        if found.journal is not None:
            found.journal.close()
        raise
    return found


def find_session(place: str, anchor: SessionAnchor, *, boot: str, disk: Disk) -> Found:
    """What the anchor names, read and verified; nothing is changed. Raises `OSError`, `CorruptLogError`."""
    files = SessionFiles(place, anchor.number, anchor.id, disk=disk)
    found = Found(files, anchor, files.known(anchor), manifest=files.read_manifest())
    if anchor.segment is None:
        return found
    try:
        entries, journal = files.read_segment(anchor.segments, anchor.segment)
    except CorruptLogError as error:
        if not restarted(anchor, boot) or not error.offset:
            raise
        entries, journal = files.read_segment(anchor.segments, anchor.segment, until=error.offset)
        found.torn = error
    try:
        if found.torn is not None and not journal.ended(anchor.sequence, anchor.digest):
            raise found.torn
        judge(journal, anchor, boot)
    except BaseException:
        journal.close()
        raise
    found.journal, found.entries = journal, tuple(entries)
    return found


def judge(journal: Journal, anchor: SessionAnchor, boot: str) -> None:
    """Raise `CorruptLogError` when a log is not the one that the anchor vouches for, or lost its end.

    A loss of power may take the end of a log that was not to survive one: that is said in a warning, and the log is what is left.
    """
    mark = journal.mark
    if journal.ended(anchor.sequence, anchor.digest):
        return
    reason = f"it ends with entry {mark.sequence}, which does not go with its anchor ({anchor.sequence})"
    if lost_end(mark.sequence, anchor, boot):
        _log.warning("%s: the machine was restarted; %s", journal.path, reason)
        return
    raise CorruptLogError(journal.path, reason, mark.line, mark.offset)


def lost_end(sequence: int, anchor: SessionAnchor, boot: str) -> bool:
    """Whether a log that ends with this entry may have lost its end with the power, and nobody promised otherwise."""
    return sequence < anchor.sequence and anchor.may_be_ahead and restarted(anchor, boot)


def restarted(anchor: SessionAnchor, boot: str) -> bool:
    """Whether the machine was restarted since: behind what the anchor names, a loss of power may have left anything."""
    return anchor.boot != boot and UNKNOWN not in (anchor.boot, boot)


def check_unused(place: str, disk: Disk) -> None:
    """Raise `CorruptLogError` when there are logs where the anchor says that there never was a session."""
    for number, session in sessions(place, disk).items():
        files = SessionFiles(place, number, session, disk=disk)
        if files.segments():
            raise CorruptLogError(files.directory, "the anchor of this session is missing")


def begin_session(place: str, lock: SessionLock, session: str, *, boot: str, durability: Durability, disk: Disk) -> Found:
    """Make a new session; the earlier ones stay where they are. Raises `OSError`, `CorruptLogError` for a newer podkit's."""
    earlier, damaged = None, b""
    there = sessions(place, disk)
    try:
        earlier = lock.anchor()
    except CorruptLogError as error:
        if isinstance(error.__cause__, NewerError):
            raise
        damaged = lock.raw()
    number = max(0 if earlier is None else earlier.number, max(there, default=0)) + 1
    files = SessionFiles(place, number, session, disk=disk)
    if damaged:
        files.keep_copy(f"{lock.path}.{number}", damaged)
    anchor = SessionAnchor(boot=boot, number=number, id=session, durability=durability.value)
    disk.mkdir(files.directory, 0o700)
    durable = durability is Durability.POWER
    try:
        if durable:
            disk.sync_dir(place)
            disk.sync_dir(os.path.dirname(place))
            lock.sync()  # the earlier anchor, which has to count when this one is lost
        lock.replace(earlier, anchor, durable=durable)
    except BaseException:
        with contextlib.suppress(OSError):  # it is empty, and never counted
            disk.rmdir(files.directory)
        raise
    return Found(files, anchor)


def _vouch(found: Found, lock: SessionLock, anchor: SessionAnchor) -> None:
    """Bring the anchor up to what was found. With power durability that has to be on the disk first."""
    if anchor.may_be_ahead:
        with contextlib.suppress(OSError):  # what it says still holds
            lock.write(anchor)
            found.anchor = anchor
        return
    if found.journal is not None:
        found.journal.sync()
    lock.sync()  # what a program that died wrote, before the other place is written to
    lock.write(anchor)
    lock.sync()
    found.anchor = anchor
