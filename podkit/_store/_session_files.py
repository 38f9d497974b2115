"""The files of one pod's sessions: a directory for each session it ever had, and in it a file for each segment.

<store>/<name>/lock                     the lock and the anchor
<store>/<name>/<n>.<session>/           the n-th session of that name
<store>/<name>/<n>.<session>/<m>.<segment>.log
<store>/<name>/<n>.<session>/manifest
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from podkit._os import Disk
from podkit._store._journal import TEMPORARY, Journal, syncing
from podkit._store._journal_record import DamagedError, Mark, NewerError, decode_records, encode_record
from podkit.errors import CorruptLogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podkit._store._session_anchor import SessionAnchor

FORMAT = 1
LOCK = "lock"
LONGEST = 63 + 1 + 16 + 1 + 64 + 1 + 16 + 1 + 64 + len(".log" + TEMPORARY)  # characters below the store's directory
_NUMBER, _ID = r"([1-9][0-9]{0,15})", r"([a-z0-9-]{1,64})"
_SESSION = re.compile(rf"{_NUMBER}\.{_ID}")
_SEGMENT = re.compile(rf"{_NUMBER}\.{_ID}\.log")
_MANIFEST = "manifest"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


def sessions(place: str, disk: Disk) -> dict[int, str]:
    """The sessions that ever left a trace in the directory of a name: number -> id. Raises `OSError`."""
    found = (_SESSION.fullmatch(name) for name in disk.listdir(place))
    return {int(match[1]): match[2] for match in found if match is not None}


class SessionFiles:
    """The files of session `number`, whose id is `session`, in the directory `place` of its name. All raise `OSError`."""

    def __init__(self, place: str, number: int, session: str, *, disk: Disk) -> None:
        self.directory = os.path.join(place, f"{number}.{session}")
        self.session, self._disk = session, disk
        self._manifest = os.path.join(self.directory, _MANIFEST)

    def path(self, number: int, segment: str) -> str:
        """Where the m-th segment is."""
        return os.path.join(self.directory, f"{number}.{segment}.log")

    def segments(self) -> list[tuple[int, str]]:
        """Number and id of every segment file that is there, in order."""
        found = (_SEGMENT.fullmatch(name) for name in self._disk.listdir(self.directory))
        return sorted((int(match[1]), match[2]) for match in found if match is not None)

    def known(self, anchor: SessionAnchor) -> list[str]:
        """The ids of the segments that the anchor vouches for, in order. Raises `CorruptLogError` when one is missing."""
        try:
            found = [(number, segment) for number, segment in self.segments() if number <= anchor.segments]
        except FileNotFoundError:
            raise CorruptLogError(self.directory, "it is missing, and the anchor says that it is the session") from None
        numbers = [number for number, _ in found]
        if numbers != list(range(1, anchor.segments + 1)) or (found and found[-1][1] != anchor.segment):
            raise CorruptLogError(
                self.directory,
                f"it should have the segments 1 to {anchor.segments}, and has {', '.join(map(str, numbers)) or 'none'}",
            )
        return [segment for _, segment in found]

    def tidy(self, anchor: SessionAnchor) -> None:
        """Remove what was never finished: temporary files, and a segment that the anchor does not know.

        Raises `CorruptLogError` for such a segment that was in use all the same: more was appended to it than it began with.
        """
        for name in self._disk.listdir(self.directory):
            path = os.path.join(self.directory, name)
            match = _SEGMENT.fullmatch(name)
            if match is not None and int(match[1]) > anchor.segments:
                if self._records(path) > 2:  # its header, and what it began with
                    raise CorruptLogError(path, f"it was in use, and the anchor knows of {anchor.segments} segments")
                self._disk.unlink(path)
            elif name.endswith(TEMPORARY):
                self._disk.unlink(path)

    def make_segment(self, number: int, segment: str, entries: Sequence[bytes], before: Mark | None, *, durable: bool) -> Journal:
        """Make a segment that follows one which ends at `before`: whole, or not at all."""
        header = {"podkit": "session", "format": FORMAT, "session": self.session, "segment": segment, "number": number, "base": 0}
        if before is not None:
            header["before"] = [before.sequence, before.digest.decode()]
        path = self.path(number, segment)
        try:
            return Journal.create(path, header, entries, durable=durable, disk=self._disk)
        except BaseException:
            self.drop_segment(number, segment)
            raise

    def drop_segment(self, number: int, segment: str) -> None:
        """Remove a segment that never counted. When that fails, whoever opens the session next does it."""
        with contextlib.suppress(OSError):
            self._disk.unlink(self.path(number, segment))

    def open_segment(self, number: int, segment: str) -> Journal:
        """Open a segment and look at its header. Raises `CorruptLogError` too."""
        path = self.path(number, segment)
        with damage(path):
            journal = Journal.open(path, disk=self._disk)
            try:
                self._check_header(journal.header, number, segment)
            except BaseException:
                journal.close()
                raise
        return journal

    def read_segment(self, number: int, segment: str, *, until: int | None = None) -> tuple[list[bytes], Journal]:
        """Every entry of a segment, or those before the byte `until`, verified, and the journal. Raises `CorruptLogError` too."""
        journal = self.open_segment(number, segment)
        try:
            with damage(journal.path):
                return journal.catch_up(until=until), journal
        except BaseException:
            journal.close()
            raise

    def read_manifest(self) -> bytes | None:
        """What was saved last; None when nothing was. Raises `CorruptLogError` too."""
        try:
            fd = self._disk.open(self._manifest, _READ)
        except FileNotFoundError:
            return None
        try:
            data = self._disk.pread(fd, self._disk.fstat(fd).st_size, 0)
        finally:
            self._disk.close(fd)
        with damage(self._manifest):
            records = decode_records(data, Mark())
            if len(records) != 1 or records[0][1].offset != len(data):
                raise DamagedError("it is not one manifest", 1, 0)
        return records[0][0][0]

    def write_manifest(self, data: bytes, *, durable: bool) -> None:
        """Put this in place of the manifest, whole or not at all. Raises `SyncError` when it is there, and may not last."""
        temporary = self._manifest + TEMPORARY
        line, _ = encode_record(Mark(), [data])
        fd = self._disk.open(temporary, _MAKE, 0o600)
        try:
            try:
                if self._disk.write(fd, line) != len(line):
                    raise OSError(errno.ENOSPC, "only a part of the manifest could be written", temporary)
                if durable:
                    self._disk.sync(fd)  # a refusal leaves the manifest as it was
            finally:
                self._disk.close(fd)
            self._disk.rename(temporary, self._manifest)
        except BaseException:
            with contextlib.suppress(OSError):
                self._disk.unlink(temporary)
            raise
        if durable:
            with syncing(self._manifest):
                self._disk.sync_dir(self.directory)

    def keep_copy(self, path: str, data: bytes) -> None:
        """Keep what is to be cut off as evidence."""
        fd = self._disk.open(path, _MAKE, 0o600)
        try:
            if self._disk.write(fd, data) != len(data):
                raise OSError(errno.ENOSPC, "the evidence could not be kept", path)
        finally:
            self._disk.close(fd)

    def _records(self, path: str) -> int:
        fd = self._disk.open(path, _READ)
        try:
            return self._disk.pread(fd, self._disk.fstat(fd).st_size, 0).count(b"\n")
        finally:
            self._disk.close(fd)

    def _check_header(self, header: Mapping[str, Any], number: int, segment: str) -> None:
        fmt = header.get("format")
        if type(fmt) is int and fmt > FORMAT:
            raise NewerError(f"it was written by a newer podkit (format {fmt})", 1, 0)
        expected = {"podkit": "session", "format": FORMAT, "session": self.session, "segment": segment, "number": number, "base": 0}
        if any(header.get(name) != value for name, value in expected.items()):
            raise DamagedError("the header is of another session or segment than the file's name", 1, 0)


def check_end(journal: Journal, follower: Mapping[str, Any]) -> None:
    """Raise `CorruptLogError` unless the segment ends where the header of the one after it says."""
    if follower.get("before") != [journal.mark.sequence, journal.mark.digest.decode()]:
        raise CorruptLogError(
            journal.path, "it does not end where the segment after it began", journal.mark.line, journal.mark.offset
        )


@contextlib.contextmanager
def damage(path: str) -> Iterator[None]:
    """Say which file is damaged."""
    try:
        yield
    except DamagedError as error:
        raise CorruptLogError(path, error.reason, error.line, error.offset) from error
