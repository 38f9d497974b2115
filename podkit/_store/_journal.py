"""An append-only file of records, with a header. Anybody may read; who appends holds a lock that is not this file's business."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from podkit._store._journal_record import DamagedError, Mark, decode_records, encode_record

_READ = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_MAKE = _READ | os.O_CREAT | os.O_TRUNC
_CHUNK = 2**20


class Journal:
    """An open journal. `mark` is behind the last record read, `previous` behind the one before it.

    `header` is what the journal was made with, a JSON object; its member `base` says after which number the entries begin.
    """

    def __init__(self, path: str, fd: int) -> None:
        self.path, self._fd = path, fd
        self.header: Mapping[str, Any] = {}
        self.mark = self.previous = Mark()

    @classmethod
    def create(cls, path: str, header: Mapping[str, Any], entries: Sequence[bytes] = ()) -> Journal:
        """Put a new journal in place of whatever is at `path`: all of it, or nothing when this fails (`OSError`)."""
        temporary = path + ".new"
        fd = os.open(temporary, _MAKE, 0o600)
        try:
            journal = cls(path, fd)
            journal._write_header(header)
            if entries:
                journal.append(entries)
            os.rename(temporary, path)
        except BaseException:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        return journal

    @classmethod
    def open(cls, path: str) -> Journal:
        """Open a journal and read its header. Raises `FileNotFoundError`, other `OSError`s, `DamagedError`."""
        journal = cls(path, os.open(path, _READ))
        try:
            journal._read_header()
        except BaseException:
            journal.close()
            raise
        return journal

    @property
    def base(self) -> int:
        """The number after which the entries of this file begin."""
        return int(self.header["base"])

    def catch_up(self) -> list[bytes]:
        """The entries that were appended since the last call, by anybody. Raises `DamagedError`, `OSError`.

        A file that became shorter than what was read of it before is damaged too.
        """
        data = self._tail()
        records = decode_records(data, self.mark)
        for _, mark in records:
            self.previous, self.mark = self.mark, mark
        return [entry for entries, _ in records for entry in entries]

    def append(self, entries: Sequence[bytes]) -> None:
        """Append one record, in one write: all of it counts or none. Only for who holds the lock and has caught up.

        What a writer that died left unfinished is cut off first. Raises `OSError`; then nothing was appended.
        """
        line, mark = encode_record(self.mark, entries)
        if os.fstat(self._fd).st_size > self.mark.offset:
            os.ftruncate(self._fd, self.mark.offset)
        try:
            written = os.write(self._fd, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, "only a part of the record could be written", self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.mark.offset)
            raise
        self.previous, self.mark = self.mark, mark

    def close(self) -> None:
        """Let go of the file. May be called again."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _tail(self) -> bytes:
        size = os.fstat(self._fd).st_size
        if size < self.mark.offset:
            raise DamagedError(f"the file has {size} bytes, and had {self.mark.offset} before", self.mark.line, size)
        chunks, at = [], self.mark.offset
        while at < size and (chunk := os.pread(self._fd, min(_CHUNK, size - at), at)):
            chunks.append(chunk)
            at += len(chunk)
        return b"".join(chunks)

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
        self.header, self.mark = header, records[0][1]
        self._begin()

    def _begin(self) -> None:
        self.mark = self.previous = attrs.evolve(self.mark, sequence=self.base)
