"""What a journal's lines are: one record a line, numbered, each with a digest over itself and the record before it. Pure.

    <digest> <number of the first entry> TAB <entry> TAB <entry> ... LF

The line feed is what makes a record count: bytes after the last one were never committed. Record 0 is the header.
"""

from __future__ import annotations

import json
import re
from binascii import b2a_hex
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

import attrs

_DIGEST, _BYTES = 32, 16
_TAB, _LF = b"\t\n"  # a number is looked for in bytes ten times as fast as bytes are
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


class Mark(NamedTuple):
    """A place between two records: where it is, how many entries were before it, and the digest that the next one continues."""

    offset: int = 0
    line: int = 0
    sequence: int = -1
    digest: bytes = b""


_new = tuple.__new__  # a mark for each record: half the time of calling the class


def encode_record(mark: Mark, entries: Sequence[bytes]) -> tuple[bytes, Mark]:
    """The line that holds `entries` after `mark`, and the mark behind it. `ValueError` for entries that no line can hold."""
    check_record(entries)
    offset, number, sequence, before = mark
    line, digest = chain_record(before, sequence + 1, entries)
    return line, Mark(offset + len(line), number + 1, sequence + len(entries), digest)


def check_record(entries: Sequence[bytes]) -> None:
    """Raise `ValueError` for entries that no line can hold."""
    if not entries or not all(entry and _LF not in entry and _TAB not in entry for entry in entries):
        raise ValueError("a record holds at least one entry, and an entry is not empty and has no tab and no line feed")


def chain_record(before: bytes, first: int, entries: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The line that holds `entries`, which were looked at, after the record with the digest `before`; and its own digest."""
    body = b"%d\t%b" % (first, b"\t".join(entries))
    digest = b2a_hex(sha256(before + b"\0" + body).digest()[:_BYTES])
    return b"".join((digest, b" ", body, b"\n")), digest


def decode_records(data: bytes, mark: Mark) -> list[tuple[list[bytes], Mark]]:
    """The committed records of `data`, which starts at `mark`, each with the mark behind it.

    Bytes after the last line feed are no record. Raises `DamagedError` for a line that is not what was written there.
    """
    records = []
    offset, number, sequence, digest = mark
    for line in data.split(b"\n")[:-1]:
        body = line[_DIGEST + 1 :]
        first, _, rest = body.partition(b"\t")
        found = b2a_hex(sha256(digest + b"\0" + body).digest()[:_BYTES])
        if line[: _DIGEST + 1] != found + b" " or first != b"%d" % (sequence + 1) or not rest:
            raise _damage(line, found, Mark(offset, number, sequence, digest))
        entries = rest.split(b"\t")
        offset, number, sequence, digest = offset + len(line) + 1, number + 1, sequence + len(entries), found
        records.append((entries, _new(Mark, (offset, number, sequence, digest))))
    return records


def _damage(line: bytes, digest: bytes, mark: Mark) -> DamagedError:
    """What is wrong with a line that should have this digest and follow this mark."""
    match = _LINE.fullmatch(line)
    if match is None:
        reason = "this is not a record"
    elif match[1] != digest:
        reason = "the record does not have the digest it was written with"
    else:
        reason = f"record {int(match[2])} where {mark.sequence + 1} comes next"
    return DamagedError(reason, mark.line + 1, mark.offset)


def record_number(line: bytes) -> int:
    """The number of the first entry of a record, by itself. Raises `DamagedError` for what is no record."""
    match = _LINE.fullmatch(line)
    if match is None:
        raise DamagedError("this is not a record", 1, 0)
    return int(match[2])


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
