"""Whatever bytes come, the answer is a value or a typed error, soon."""

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit.errors import RemoteProtocolError
from podkit.protocol import (
    decode_entry,
    decode_event,
    decode_method,
    encode_entry,
    encode_event,
    encode_method,
    peek_id,
)

LINES = [
    json.loads(line)["line"].encode()
    for line in (Path(__file__).parent.parent / "golden" / "messages.jsonl").read_text().splitlines()
]
PAIRS = [(decode_method, encode_method), (decode_event, encode_event), (decode_entry, encode_entry)]


def survives(frame):
    peek_id(frame)
    for decode, encode in PAIRS:
        try:
            value = decode(frame)
        except RemoteProtocolError as error:
            refusal = error
        else:
            assert decode(encode(value)) == value  # what was read can be said again
            continue
        assert len(refusal.frame) <= 128
        assert str(refusal).isprintable()
        assert len(str(refusal)) < 3000  # escaping makes it longer


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_survived(frame):
    survives(frame)


def test_what_a_peer_says_is_escaped_and_cut_in_our_errors():
    survives(b'{"event":"\x7f"}x')
    survives(b'{"event":"' + b"x" * 100_000 + b'"')
    survives(b'{"event":"' + b"x" * 100_000 + b'","seq":-1}')
    survives(b'{"method":"' + b"\x7f" * 100_000 + b'"}')
    survives(b'{"kind":"invoke","ts":1,"trigger":"' + b"\x7f" * 100_000 + b'","run":-1}')


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_mutated_messages_are_survived(data):
    frame = bytearray(data.draw(st.sampled_from(LINES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        end = min(len(frame), at + data.draw(st.integers(0, 6)))
        piece = st.binary(max_size=3) | st.sampled_from(
            [b'"', b"{", b"]", b"\\", b"\\ud800", b"1e999", b"-1", b"null", b"true", b",", b"\xff", b"9" * 30]
        )
        frame[at:end] = data.draw(piece)
    survives(bytes(frame))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(
        [
            "run",
            "notify",
            "pod_event",
            "hello",
            "rewind_to",
            "list_completions",
            "text_delta",
            "snapshot",
            "user_message",
            "usage",
            "invoke",
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["kind", "input", "message", "event", "text", "entries", "greeting", "run", "ts", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ),
)
def test_messages_of_odd_shapes_are_survived(name, params):
    for frame in ({"method": name, "params": params}, {"event": name, "data": params}, {"kind": name, "ts": 1, "item": params}):
        survives(json.dumps(frame).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "frame",
    [
        b"[" * 2**20,
        b'{"a":' * 2**18,
        b"[]" * 2**19,
        b'{"method":"run","params":{"input":[' + b",".join([b'{"kind":"x"}'] * 80_000) + b"]}}",
        b'{"method":"resume","x":[' + b",".join([b"[" * 60 + b"]" * 60] * 8_000) + b"]}",
        b'{"method":"notify","params":{"message":"' + b"\\u0041" * 170_000 + b'"}}',
        b'{"method":"notify","params":{"message":"' + b"\\\\" * 500_000 + b'"}}',
        b'{"method":"resume","x":' + b"9" * 2**20 + b"}",
        b'{"method":"resume","x":1.' + b"9" * 2**20 + b"}",
        b'{"method":"resume",' + b",".join(b'"%d":0' % n for n in range(90_000)) + b"}",
        b'{"event":"pod_inspection","data":{"pod":' + b"9" * 2**20 + b"}}",
        b'{"event":"x","data":"' + b"[" * 2**20 + b'"}',
        b" " * 2**20,
        b'"' * 2**20,
        b"\\" * 2**20,
    ],
    ids=range(15),
)
def test_a_megabyte_of_malice_takes_seconds_and_not_minutes(frame):
    begin = time.process_time()
    survives(frame)
    # Three decoders, and what they read written again: two seconds, or five where each branch is counted beside a busy neighbour.
    # What grows with the square of a megabyte takes minutes.
    assert time.process_time() - begin < 20
