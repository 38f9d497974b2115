"""An append-only file of records, with a header. Anybody may read; who appends holds a lock that is not this file's business."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from podkit._os import DISK, Disk
from podkit._store._journal_record import DamagedError, Mark, chain_record, check_record, decode_records

_READ = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_MAKE = _READ | os.O_CREAT | os.O_TRUNC
_CHUNK = 2**20
TEMPORARY = ".new"


class SyncError(OSError):
    """The disk would not say that what was written will last. It may be lost, and asking again proves nothing."""


class Journal:
    """An open journal. `mark` is behind the last record read.

    `header` is what the journal was made with, a JSON object; its member `base` says after which number the entries begin.
    """

    def __init__(self, path: str, fd: int, disk: Disk) -> None:
        self.path, self._fd, self._disk = path, fd, disk
        self.header: Mapping[str, Any] = {}
        self._offset, self._line, self._sequence, self._digest = Mark()  # by themselves, since each record changes them
        self._ends: dict[int, bytes] | None = {}  # sequence -> digest, of every record; None: not kept any more
        self._size: int | None = None  # of the file, as last seen; None: unknown

    @classmethod
    def create(
        cls,
        path: str,
        header: Mapping[str, Any],
        entries: Sequence[bytes] = (),
        *,
        durable: bool = False,
        lasting: bool = False,
        disk: Disk = DISK,
    ) -> Journal:
        """Put a new journal in place of whatever is at `path`: all of it, or nothing when this fails (`OSError`).

        With `durable` it is on the disk, name and all, when this returns; a disk that refuses raises `SyncError`. With `lasting`
        what it begins with is: if its name survives a loss of power, so does its header.
        """
        temporary = path + TEMPORARY
        journal = cls(path, disk.open(temporary, _MAKE, 0o600), disk)
        try:
            journal._write_header(header)
            if entries:
                journal.append(entries)
            if durable:
                journal.sync()
            elif lasting:
                disk.sync(journal._fd)
            disk.rename(temporary, path)
            if durable:
                with syncing(path):
                    disk.sync_dir(os.path.dirname(path))
        except BaseException:
            journal.close()
            with contextlib.suppress(OSError):
                disk.unlink(temporary)
            raise
        return journal

    @classmethod
    def open(cls, path: str, *, disk: Disk = DISK) -> Journal:
        """Open a journal and read its header. Raises `FileNotFoundError`, other `OSError`s, `DamagedError`."""
        journal = cls(path, disk.open(path, _READ), disk)
        try:
            journal._read_header()
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def mark(self) -> Mark:
        """The place behind the last record that was read or appended."""
        return Mark(self._offset, self._line, self._sequence, self._digest)

    @property
    def base(self) -> int:
        """The number after which the entries of this file begin."""
        return int(self.header["base"])

    @property
    def unfinished(self) -> int:
        """Bytes behind the last record, when it was last looked: what a writer that died left."""
        return 0 if self._size is None else self._size - self._offset

    def ended(self, sequence: int, digest: str) -> bool:
        """Whether a record read so far ended with that number and has that digest. The header counts as one."""
        return self._ends is not None and self._ends.get(sequence) == digest.encode()

    def forget(self) -> None:
        """Stop keeping where records ended: `ended` is of no use from here, and a long log takes less memory."""
        self._ends = None

    def catch_up(self, *, until: int | None = None) -> list[bytes]:
        """The entries that were appended since the last call, by anybody, or those before the byte `until`.

        Raises `DamagedError`, `OSError`. A file that became shorter than what was read of it before is damaged too.
        """
        data = self._tail()[: None if until is None else until - self._offset]
        if not data:
            return []
        records = decode_records(data, self.mark)
        for _, mark in records:
            self._advance(mark)
        return [entry for entries, _ in records for entry in entries]

    def append(self, entries: Sequence[bytes]) -> None:
        """Append one record, in one write: all of it counts or none. Only for who holds the lock and has just caught up.

        What a writer that died left unfinished is cut off first. Raises `OSError`; then nothing was appended.
        """
        check_record(entries)
        self.append_checked(entries)

    def append_checked(self, entries: Sequence[bytes]) -> None:
        """`append` for entries that were looked at before: at least one, none empty, without tabs and line feeds."""
        offset = self._offset
        if self._size != offset:
            self._trim(offset)
        line, digest = chain_record(self._digest, self._sequence + 1, entries)
        length, self._size = len(line), None
        try:
            if self._disk.write(self._fd, line) < length:
                raise OSError(errno.ENOSPC, "only a part of the record could be written", self.path)
        except OSError:
            with contextlib.suppress(OSError):
                self._disk.truncate(self._fd, offset)
            raise
        self._offset = self._size = offset + length
        self._line += 1
        self._sequence += len(entries)
        self._digest = digest
        if self._ends is not None:
            self._ends[self._sequence] = digest

    def rest(self) -> bytes:
        """What is behind the last record that was read. Raises `OSError`, `DamagedError`."""
        return self._tail()

    def cut(self) -> None:
        """Cut off what a writer left unfinished behind the last record. Only for who holds the lock. Raises `OSError`."""
        if self._disk.fstat(self._fd).st_size > self._offset:
            self._disk.truncate(self._fd, self._offset)
        self._size = self._offset

    def sync(self) -> None:
        """Return when all that was appended is on the disk. Raises `SyncError`."""
        with syncing(self.path):
            self._disk.sync(self._fd)

    def close(self) -> None:
        """Let go of the file. May be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):  # what counts was written long before
                self._disk.close(fd)

    def _trim(self, offset: int) -> None:
        size, self._size = self._size, None
        if size is None:
            size = self._disk.fstat(self._fd).st_size
        if size > offset:
            self._disk.truncate(self._fd, offset)

    def _tail(self) -> bytes:
        size = self._size = self._disk.fstat(self._fd).st_size
        if size < self._offset:
            raise DamagedError(f"the file has {size} bytes, and had {self._offset} before", self._line, size)
        chunks, at = [], self._offset
        while at < size and (chunk := self._disk.pread(self._fd, min(_CHUNK, size - at), at)):
            chunks.append(chunk)
            at += len(chunk)
        return b"".join(chunks)

    def _advance(self, mark: Mark) -> None:
        self._offset, self._line, self._sequence, self._digest = mark
        if self._ends is not None:
            self._ends[mark.sequence] = mark.digest

    def _write_header(self, header: Mapping[str, Any]) -> None:
        self.header = header
        self.append([json.dumps(header, separators=(",", ":")).encode()])
        self._begin()

    def _read_header(self) -> None:
        data = self._tail()
        end = data.find(b"\n") + 1
        records = decode_records(data[:end], Mark())
        if not records:
            raise DamagedError("there is no header", 1, 0)
        try:
            header = json.loads(records[0][0][0])
            sound = type(header["base"]) is int and header["base"] >= 0
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise DamagedError("the header is not one", 1, 0)
        self.header = header
        self._advance(records[0][1])
        self._begin()

    def _begin(self) -> None:
        self._ends = {}
        self._advance(self.mark._replace(sequence=self.base))


@contextlib.contextmanager
def syncing(path: str) -> Iterator[None]:
    """Raise a refusal to sync as `SyncError`."""
    try:
        yield
    except OSError as error:
        raise SyncError(error.errno, f"it could not be synced: {error.strerror or error}", path) from error
