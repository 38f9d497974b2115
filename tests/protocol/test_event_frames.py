"""Events with their envelopes: what is read in C, in large frames and in chunks is what reading with every check makes of it."""

import copy
import json
import math
import pickle
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit.errors import LocalProtocolError, RemoteProtocolError
from podkit.protocol import (
    Completion,
    CompletionKind,
    CompletionsEvent,
    EventFrame,
    Greeting,
    PodInspection,
    Shutdown,
    Snapshot,
    Status,
    StatusEvent,
    Text,
    TextDelta,
    TextDone,
    ToolCallDone,
    UnknownEvent,
    UserMessage,
    encode_event,
    read_event,
    read_events,
)
from podkit.protocol import _events_codec as codec
from podkit.protocol._bounded import LARGE, json_type, read_bounded
from podkit.protocol._json import MismatchError, check_json

GREETING = Greeting("p", "/w", "anthropic", "m", "", ["Read"])
GOLDEN = [
    json.loads(line)["line"].encode()
    for line in (Path(__file__).parent.parent / "golden" / "messages.jsonl").read_text().splitlines()
]


def outcome(frame, large):
    """What reading makes of a frame when those from `large` bytes on are read by bounded types, in a form that can be compared."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "LARGE", large)
        patch.setattr(codec, "SHORTEST_DEEP", 0)
        return said(frame)


def said(frame):
    try:
        return exactly(read_event(frame))
    except RemoteProtocolError as error:
        return told(error)


def exactly(frame):
    # 1 == 1.0 == True: the text tells them apart.
    return frame, repr(frame)


def told(error):
    return error.reason, error.frame, error.fatal


# One type of frame to everybody.


def test_a_frame_that_was_read_is_like_one_that_was_made():
    read, made = read_event(b'{"event":"text_delta","data":{"text":"a"},"re":"7","seq":4}'), EventFrame(TextDelta("a"), "7", 4)
    assert isinstance(read, EventFrame)
    assert read == made
    assert made == read
    assert not read != made  # noqa: SIM202 - asked on its own
    assert hash(read) == hash(made)
    assert repr(read) == repr(made)
    for same in (copy.copy(read), copy.deepcopy(read), pickle.loads(pickle.dumps(read))):
        assert same == made
    match read:
        case EventFrame(event, re, seq, first):
            assert (event, re, seq, first) == (TextDelta("a"), "7", 4, None)
    with pytest.raises(AttributeError):
        read.seq = 5


def test_frames_differ_when_anything_in_them_does():
    made = EventFrame(TextDelta("a"), "7", 4, 3)
    others = [EventFrame(TextDone("a"), "7", 4, 3), EventFrame(TextDelta("a"), "8", 4, 3), EventFrame(TextDelta("a"), "7", 5, 3)]
    for other in [*others, EventFrame(TextDelta("a"), "7", 4), TextDelta("a"), None]:
        assert made != other
        assert not made == other  # noqa: SIM201 - asked on its own


# Large frames.

EDGES = st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**30, -(10**30)])
LEAVES = st.none() | st.booleans() | st.integers() | EDGES | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
FREE = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3), max_leaves=8
)


@st.composite
def nested(draw):
    """Any JSON value in some levels of arrays and objects: around the depth of the bounded types, or around the limit."""
    value = draw(FREE)
    for _ in range(draw(st.integers(0, 8) | st.integers(56, 66))):
        value = draw(st.sampled_from([[value], {"k": value}, [0, value]]))
    return value


@settings(max_examples=400, deadline=None)
@given(nested(), st.sampled_from(["pod", "snapshot", "in_flight", "item", "unknown"]), st.booleans())
@pytest.mark.proves("I17")
def test_a_large_frame_is_read_as_a_small_one_is(value, where, escaped):
    greeting = {"pod_name": "p", "cwd": "", "provider": "", "model": "", "scope_summary": "", "tools": ["a"]}
    frames = {
        "pod": {"event": "pod_inspection", "data": {"pod": value}, "seq": 4},
        "snapshot": {"event": "snapshot", "data": {"entries": [value, value], "greeting": greeting, "status": "new"}},
        "in_flight": {"event": "snapshot", "data": {"entries": [], "greeting": greeting, "in_flight": value}, "re": "1"},
        "item": {"event": "system_item", "data": {"item": {"kind": "dream", "n": value}}},
        "unknown": {"event": "text_done", "data": {"text": "a", "newer": value}, "newer": value},
    }
    text = json.dumps(frames[where], ensure_ascii=escaped, separators=(",", ":"))
    frame = text.encode("utf-8", "surrogatepass")
    assert outcome(frame, 0) == outcome(frame, math.inf)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_every_event_is_read_in_a_large_frame_as_in_a_small_one(wire, data):
    event, re, seq = data.draw(wire.events), data.draw(wire.ids), data.draw(wire.counts)
    frame = encode_event(event, re=re, seq=seq)
    assert outcome(frame, 0) == outcome(frame, math.inf) == exactly(EventFrame(event, re, seq))


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_a_damaged_frame_is_refused_in_the_same_words_however_large_it_is(data):
    frame = bytearray(data.draw(st.sampled_from(GOLDEN)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(frame)))
        end = min(len(frame), at + data.draw(st.integers(0, 4)))
        frame[at:end] = data.draw(
            st.binary(max_size=3)
            | st.sampled_from([b'"', b"{", b"]", b"\\ud800", b"1e999", b"-1", b"null", b",", b"\xff", b"9" * 30, b'"event":"x",'])
        )
    assert outcome(bytes(frame), 0) == outcome(bytes(frame), math.inf)


def test_what_usual_large_frames_hold_is_read_without_looking_twice(monkeypatch):
    """The way of every check is not gone for these at all."""
    entries = tuple({"kind": "x", "item": {"content": [{"n": number, "text": "ü[[{"}]}} for number in range(200))
    events = [
        Snapshot(entries, GREETING, status=Status("new"), in_flight={"blocks": []}),
        TextDone("[{" * LARGE, run=3),
        ToolCallDone("i", "n", "{" * LARGE, run=1),
        UserMessage([Text("a" * LARGE)]),
        CompletionsEvent(CompletionKind.FILE, [Completion("/" * LARGE, is_dir=True)]),
    ]
    frames = [encode_event(event, seq=9) for event in events]
    assert all(len(frame) >= LARGE for frame in frames)
    monkeypatch.setattr(codec, "nested_too_deep", None)
    assert [read_event(frame) for frame in frames] == [EventFrame(event, None, 9) for event in events]


@pytest.mark.parametrize(
    "frame",
    [
        b'{"seq":1,"event":"text_done","data":{"text":"a"}}',
        b'{"event":"text_done","data":{"text":"a"},"newer":1}',
        b'{"event":"text_done","data":{"text":"a","newer":1}}',
        b'{"event":"text_d\\u006fne","data":{"text":"a"}}',
        b'{"event":"thinking_start","data":null}',
        b'{"event":"shutdown"}',
        b'{"event":"turn_start","data":{"turn":18446744073709551615}}',
        b'{"event":"from_the_future","data":{}}',
        b'{"event":"' + b"x" * 200 + b'"}',
        b'{"event":"pod_inspection","data":{"pod":[[[[[[[0]]]]]]]}}',
    ],
)
def test_what_the_bounded_types_do_not_say_is_left_to_the_complete_way(frame):
    assert read_bounded(frame) is None
    assert outcome(frame, 0) == said(frame)
    assert isinstance(said(frame)[0], EventFrame)


def test_a_large_frame_that_is_wrong_is_refused_as_it_always_was():
    long = b"x" * LARGE
    for frame, match in [
        (b'{"event":"text_done","data":{"text":"%b","run":-1}}' % long, "run"),
        (b'{"event":"text_done","data":{"text":"%b\xff"}}' % long, "not UTF-8"),
        (b'{"event":"text_done","data":{"text":"%b","x":"\xff"}}' % long, "not UTF-8"),
        (b'{"event":"text_done","x":' + b"[" * LARGE, "64 levels"),
        (b'{"event":"text_done","data":{"text":"a","x":' + b"[" * LARGE + b"]" * LARGE + b"}}", "64 levels"),
        (b'{"event":"pod_inspection","data":{"pod":["%b",18446744073709551616]}}' % long, "out of range"),
        (b'{"event":"system_item","data":{"item":{"n":"%b"}}}' % long, "kind"),
    ]:
        with pytest.raises(RemoteProtocolError, match=match) as caught:
            read_event(frame)
        assert caught.value.fatal == (match == "not UTF-8")


def test_a_type_of_json_without_levels_is_a_leaf():
    assert list not in {getattr(part, "__origin__", part) for part in json_type(0).__args__}


# Chunks.


def each(lines):
    return [said(line) for line in lines if line and not line.isspace()]


def together(chunk):
    return [told(item) if isinstance(item, RemoteProtocolError) else exactly(item) for item in read_events(chunk)]


PIECES = st.one_of(
    st.sampled_from(GOLDEN),
    st.sampled_from(
        [
            *(b"", b" ", b"\t\r", b"\x0b", b"null", b"{}", b'{"event":', b'"shutdown"}'),
            b'{"event":"shutdown"}{"event":"shutdown"}',
            b'{"event":"thinking_start"}',
            b'{"event":"turn_start","data":{"turn":18446744073709551616}}',
            b'{"event":"turn_start","data":{"turn":18446744073709551615}}',
            b'{"event":"from_the_future"}',
            b'{"event":"text_delta","data":{"text":"\\ud800"}}',
            '{"event":"text_delta","data":{"text":"ü"}}'.encode(),
            b'{"event":"text_delta","data":{"text":"\xff"}}',
            b'{"event":"text_delta","data":{"text":"a","x":' + b"[" * 63 + b"]" * 63 + b"}}",
            b'{"event":"text_delta","data":{"text":"' + b"[{" * 40 + b'"}}',
            b'{"event":"text_delta","data":{"text":"' + b"a" * 200 + b'"}}\r',
            encode_event(Snapshot(["x" * LARGE], GREETING), seq=3),
        ]
    ),
    st.integers(0, 9).map(lambda number: b'{"event":"text_delta","data":{"text":"a","run":1},"seq":%d}' % number),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES, max_size=8), st.booleans())
@pytest.mark.proves("I17")
def test_a_chunk_is_read_as_its_lines_are(pieces, ended):
    chunk = b"\n".join(pieces) + b"\n" * ended
    assert together(chunk) == each(chunk.split(b"\n"))


def test_events_come_in_the_order_of_their_lines_with_errors_in_their_place():
    delta = b'{"event":"text_delta","data":{"text":"a"},"seq":1}'
    chunk = delta + b'\n\nnonsense\n{"event":"shutdown","seq":2}\n{"event":"newer","seq":3}\n'
    first, wrong, second, third = read_events(chunk)
    assert first == EventFrame(TextDelta("a"), None, 1)
    assert told(wrong) == said(b"nonsense")
    assert wrong.__traceback__ is None
    assert (second, third) == (EventFrame(Shutdown(), None, 2), EventFrame(UnknownEvent("newer"), None, 3))


@pytest.mark.parametrize("chunk", [b"", b"\n", b"\n\n", b" \n\t", b"\r\n"])
def test_a_chunk_without_events_holds_none(chunk):
    assert read_events(chunk) == []


def test_one_line_is_one_event():
    both = b'{"event":"text_delta","data":{"text":"a"}}'
    assert [type(item) for item in read_events(both + both + b"\n" + both)] == [RemoteProtocolError, type(read_event(both))]
    assert [type(item) for item in read_events(b'{"event":\n"text_delta","data":{"text":"a"}}\n')] == [RemoteProtocolError] * 2


# Writing.


@pytest.mark.parametrize("seq", [True, -1, 2**63, 1.0, "1"])
def test_a_number_that_is_none_is_not_written(seq):
    for event in (TextDelta("a", run=1), TextDelta("a"), StatusEvent(Status.IDLE), Shutdown(), Snapshot([], GREETING)):
        with pytest.raises(LocalProtocolError, match="seq is a number"):
            encode_event(event, seq=seq)


def test_the_number_of_the_run_and_of_the_event_are_checked_each():
    for run, seq in [(2**63 - 1, 2**63 - 1), (0, 0), (0, 2**63 - 1)]:
        assert read_event(encode_event(TextDelta("a", run=run), seq=seq)) == EventFrame(TextDelta("a", run=run), None, seq)
    for run, seq in [(2**63, 1), (1, 2**63), (-1, 1), (1, -1), (True, 1), (1, True)]:
        with pytest.raises(LocalProtocolError, match=r"run|seq"):
            encode_event(TextDelta("a", run=run), seq=seq)


@pytest.mark.parametrize("levels", [0, 1, 58, 59, 60, 61, 62, 63])
def test_free_values_nest_as_deep_as_the_frame_may(levels):
    value = []
    for _ in range(levels):
        value = [value]
    deep = levels + 1  # of these arrays
    for event, above in [(Snapshot([value], GREETING), 3), (Snapshot([], GREETING, in_flight=value), 2), (PodInspection(value), 2)]:
        if deep + above <= 64:
            assert read_event(encode_event(event)).event == event
        else:
            with pytest.raises(LocalProtocolError, match="64 levels"):
                encode_event(event)


def test_entries_that_are_no_tuple_are_not_written():
    snapshot = Snapshot([], GREETING)
    object.__setattr__(snapshot, "entries", [1])
    with pytest.raises(LocalProtocolError, match="entries: expected a tuple"):
        encode_event(snapshot)


@settings(max_examples=300, deadline=None)
@given(nested())
def test_how_deep_values_nest_is_found(value):
    def inner(item):
        return list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []

    def depth(item):
        return isinstance(item, dict | list) + max(map(depth, inner(item)), default=0)

    def fits(item):
        return all(map(fits, inner(item))) and (not isinstance(item, int) or -(2**63) <= item < 2**64)

    if fits(value) and depth(value) <= 64:
        assert check_json(value) == check_json(1, value, "x") == depth(value)
    else:
        with pytest.raises(MismatchError):
            check_json(value)


@pytest.mark.parametrize("parts", [1, 2, 300, 1000, 5000])
@pytest.mark.proves("I16")
def test_a_value_that_holds_itself_is_refused_and_soon(parts):
    loop, tree = [], {"name": "root"}
    loop.extend([loop] * parts)
    tree["children"] = [{"name": number, "parent": tree} for number in range(parts)]
    begin = time.process_time()
    for value in (loop, tree):
        for event in (PodInspection(value), Snapshot([value], GREETING), UnknownEvent("newer", value)):
            with pytest.raises(LocalProtocolError, match="64 levels"):
                encode_event(event)
    assert time.process_time() - begin < 20  # seconds in all; without a bound it takes the memory of the machine


def test_many_values_are_all_looked_at_however_many_are_the_same():
    same = {"a": 1}
    assert check_json([same] * 200_000) == 2
    for odd in (2**64, math.nan, b"", (), {1: 2}):
        with pytest.raises(MismatchError):
            check_json([[same, [odd]]] * 200_000)
