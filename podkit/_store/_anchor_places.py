"""The places for an anchor in a lock file: always as long, whatever is written there, and checked when read. Pure."""

from __future__ import annotations

from hashlib import sha256

SIZE = 512
PLACES = 2
_CHECK = 16


def fill_place(body: bytes) -> bytes:
    """A line of `SIZE` bytes that holds `body`, padded, so that writing it again never changes the file's length."""
    line = b"%b %b" % (_check(body), body)
    return line.ljust(SIZE - 1) + b"\n"


def place_body(data: bytes) -> bytes | None:
    """What `fill_place` was given; None for bytes that were never written, or are not what was written."""
    check, _, body = data.rstrip(b" \n").partition(b" ")
    return body if len(data) == SIZE and check == _check(body) else None


def put_anchor(data: bytes, anchor: bytes, place: int) -> bytes:
    """The first bytes of a lock file with an anchor put into one of its places."""
    data = data.ljust(PLACES * SIZE, b"\0")
    return data[: place * SIZE] + anchor + data[(place + 1) * SIZE :]


def next_place(place: int) -> int:
    """Where the anchor after the one in this place goes."""
    return (place + 1) % PLACES


def _check(body: bytes) -> bytes:
    return sha256(body).hexdigest()[:_CHECK].encode()
