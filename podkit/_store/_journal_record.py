"""What a journal's lines are: one record a line, numbered, each with a digest over itself and the record before it. Pure.

    <digest> <number of the first entry> TAB <entry> TAB <entry> ... LF

The line feed is what makes a record count: bytes after the last one were never committed. Record 0 is the header.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

import attrs

_DIGEST = 32
_LINE = re.compile(rb"([0-9a-f]{%d}) (0|[1-9][0-9]{0,15})\t(.+)" % _DIGEST, re.DOTALL)


@attrs.define(eq=False)
class DamagedError(Exception):
    """A committed part of a file is not what was written. `line` counts from 1, `offset` in bytes from 0."""

    reason: str
    line: int
    offset: int

    def __str__(self) -> str:
        return self.reason


class NewerError(DamagedError):
    """Nothing is wrong with a file, but another version of podkit wrote it, and may be using it."""


@attrs.frozen
class Mark:
    """A place between two records: where it is, how many entries were before it, and the digest that the next one continues."""

    offset: int = 0
    line: int = 0
    sequence: int = -1
    digest: bytes = b""


def encode_record(mark: Mark, entries: Sequence[bytes]) -> tuple[bytes, Mark]:
    """The line that holds `entries` after `mark`, and the mark behind it. `ValueError` for entries that no line can hold."""
    if not entries or any(not entry or b"\n" in entry or b"\t" in entry for entry in entries):
        raise ValueError("a record holds at least one entry, and an entry is not empty and has no tab and no line feed")
    body = b"%d\t%b" % (mark.sequence + 1, b"\t".join(entries))
    digest = _digest(mark.digest, body)
    line = b"%b %b\n" % (digest, body)
    return line, Mark(mark.offset + len(line), mark.line + 1, mark.sequence + len(entries), digest)


def decode_records(data: bytes, mark: Mark) -> list[tuple[list[bytes], Mark]]:
    """The committed records of `data`, which starts at `mark`, each with the mark behind it.

    Bytes after the last line feed are no record. Raises `DamagedError` for a line that is not what was written there.
    """
    records = []
    for line in data.split(b"\n")[:-1]:
        match = _LINE.fullmatch(line)
        if match is None:
            raise DamagedError("this is not a record", mark.line + 1, mark.offset)
        digest, first, body = match.groups()
        if digest != _digest(mark.digest, line[_DIGEST + 1 :]):
            raise DamagedError("the record does not have the digest it was written with", mark.line + 1, mark.offset)
        if int(first) != mark.sequence + 1:
            raise DamagedError(f"record {int(first)} where {mark.sequence + 1} comes next", mark.line + 1, mark.offset)
        entries = body.split(b"\t")
        mark = Mark(mark.offset + len(line) + 1, mark.line + 1, mark.sequence + len(entries), digest)
        records.append((entries, mark))
    return records


def _digest(before: bytes, body: bytes) -> bytes:
    return hashlib.sha256(before + b"\0" + body).hexdigest()[:_DIGEST].encode()


def boot_of(data: bytes) -> str | None:
    """The boot that a file was begun in, by its header; None when there is no header that is what was written."""
    try:
        records = decode_records(data[: data.find(b"\n") + 1], Mark())
        boot = json.loads(records[0][0][0])["boot"]
    except (DamagedError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return boot if isinstance(boot, str) else None


def readable_entries(data: bytes) -> list[bytes]:
    """What looks like entries in a damaged file, whatever came before: evidence of what may have been written, and no more."""
    found = (_LINE.fullmatch(line) for line in data.split(b"\n"))
    return [entry for match in found if match is not None for entry in match[3].split(b"\t")]
