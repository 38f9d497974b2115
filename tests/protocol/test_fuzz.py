"""Tens of thousands of hostile inputs for the readers: a value or a typed error, and the same frames however bytes are cut.

Hypothesis makes batches, because most of what one example costs is the example itself. `PODKIT_LONG=1` makes 25 times as many.
"""

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podkit.errors import RemoteProtocolError
from podkit.protocol import (
    LineDecoder,
    decode_entry,
    decode_event,
    decode_method,
    encode_entry,
    encode_event,
    encode_method,
    peek_id,
)

pytestmark = pytest.mark.proves("I16", "I17")

INPUTS, BATCH = 20_000 * (25 if os.environ.get("PODKIT_LONG") else 1), 50
GOLDEN = Path(__file__).parent.parent / "golden" / "messages.jsonl"
LINES = [json.loads(line)["line"].encode() for line in GOLDEN.read_text().splitlines()]
PIECES = [
    *(b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b" ", b"\r", b"\0", b"[" * 70),
    *(b"\\u0000", b"\\ud800", b"\\udc00\\ud800", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf"),
    *(b"1e999", b"-0", b"-1", b"0.1", b"9" * 30, b"18446744073709551616", b"null", b"true", b"NaN"),
    *(b'"method"', b'"event"', b'"params"', b'"data"', b'"kind"', b'"id":"1",', b'"run":1', b'"seq":-1', b'"method":"run",'),
]

BYTES = st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
EDITS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 8), st.sampled_from([b"", *PIECES])), min_size=1, max_size=4)
READERS = [(decode_method, encode_method), (decode_event, encode_event), (decode_entry, encode_entry)]


def batches(strategy, size=BATCH):
    return st.lists(strategy, min_size=size, max_size=size)


def many(inputs, size=BATCH):
    quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]
    return settings(max_examples=inputs // size, deadline=None, suppress_health_check=quiet, database=None)


def mutated(line, edits):
    frame = bytearray(line)
    for at, length, piece in edits:
        frame[min(at, len(frame)) : at + length] = piece
    return bytes(frame)


def survives(frame):
    name = peek_id(frame)
    assert name is None or 1 <= len(name) <= 64
    for decode, encode in READERS:
        try:
            value = decode(frame)
        except RemoteProtocolError as error:
            refusal = error
        else:
            assert decode(encode(value)) == value, frame
            continue
        assert len(refusal.frame) <= 128
        assert str(refusal).isprintable()


@many(INPUTS)
@given(batches(BYTES))
def test_bytes_are_survived(frames):
    for frame in frames:
        survives(frame)


@many(INPUTS)
@given(batches(st.tuples(st.sampled_from(LINES), EDITS)))
def test_messages_with_something_changed_are_survived(changes):
    for line, edits in changes:
        survives(mutated(line, edits))


@pytest.mark.proves("F18")
@many(INPUTS, 20)
@given(
    st.lists(BYTES | st.sampled_from(LINES) | st.just(b"\n") | st.just(b"\r\n \t\n"), max_size=8),
    batches(st.lists(st.integers(0, 2000), max_size=8), 20),
    st.integers(1, 400),
)
def test_a_stream_cut_anywhere_is_the_same_frames_and_the_same_end(pieces, cuts_of_all, most):
    data = b"\n".join(pieces)
    whole = read_in([data], most)
    for cuts in cuts_of_all:
        places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
        assert read_in([data[a:b] for a, b in itertools.pairwise(places)], most) == whole


def read_in(chunks, most):
    """The frames, and whether an overlong line ended them for good."""
    decoder, frames = LineDecoder(max_line=most), []
    try:
        for chunk in chunks:
            frames += decoder.feed(chunk)
        frames += decoder.finish()
    except RemoteProtocolError as error:
        return frames, error.fatal
    return frames, None
