"""Events are read leniently in two things, unknown kinds and unknown enum values, and in nothing else."""

import json

import attrs
import cattrs
import pytest
from cattrs.preconf.json import make_converter
from hypothesis import HealthCheck, given, settings

from podkit import protocol
from podkit.errors import LocalProtocolError, RemoteProtocolError
from podkit.protocol import (
    COMMITTED_EVENTS,
    RUN_EVENTS,
    WORKER_EVENTS,
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    CompactDone,
    CompactStart,
    CompletionKind,
    Error,
    ErrorCode,
    Greeting,
    InvokeStart,
    LlmCallStart,
    LlmRetry,
    NotificationItem,
    PodInspection,
    RunEnd,
    RunResult,
    Shutdown,
    Snapshot,
    Status,
    StatusEvent,
    SystemItemEvent,
    Text,
    TextDelta,
    TextDone,
    ThinkingStart,
    ToolCallDone,
    ToolResult,
    TurnEnd,
    TurnStart,
    Unknown,
    UnknownEvent,
    UnknownItem,
    Usage,
    UserMessage,
    decode_event,
    encode_event,
    read_event,
    with_run,
)

GREETING = Greeting("p", "/w", "anthropic", "m", "", ["Read"])


def refused(frame, match=None):
    with pytest.raises(RemoteProtocolError, match=match) as caught:
        decode_event(frame)
    assert frame.startswith(caught.value.frame)
    assert len(caught.value.frame) <= 128
    return caught.value


def event(kind, data, **more):
    return json.dumps({"event": kind, "data": data, **more}).encode()


def test_an_unknown_kind_is_kept_with_its_data_and_envelope():
    frame = b'{"event":"from_the_future","data":{"deep":[1,{"x":null}]},"re":"7","seq":9,"first":8,"more":1}'
    read = read_event(frame)
    assert read.event == UnknownEvent("from_the_future", {"deep": [1, {"x": None}]})
    assert (read.re, read.seq, read.first) == ("7", 9, 8)
    assert decode_event(b'{"event":"x"}') == decode_event(b'{"event":"x","data":null}') == UnknownEvent("x", None)
    assert encode_event(UnknownEvent("x")) == b'{"event":"x"}'


def test_an_unknown_segment_becomes_unknown_and_a_known_one_must_be_right():
    frame = event("user_message", {"segments": [{"kind": "image_ref", "url": "x"}, {"kind": "text", "content": "a"}]})
    assert decode_event(frame) == UserMessage((Unknown(), Text("a")))
    refused(event("user_message", {"segments": [{"kind": "text"}]}), "segments.0: 'content' is missing")
    refused(event("user_message", {"segments": [{"kind": 5}]}), "'kind'")


def test_a_system_item_of_another_shape_stays_as_it_is():
    for item in (
        {"kind": "notification", "message": "x"},
        {"kind": "dream", "n": 1.5},
        {"kind": "pod_event", "event": {"kind": "odd"}, "body": ""},
    ):
        read = decode_event(event("system_item", {"item": item}))
        assert read == SystemItemEvent(UnknownItem(item["kind"], item))
        assert json.loads(encode_event(read))["data"]["item"] == item
    good = {"kind": "notification", "message": "x", "body": "y", "notice": "n1"}
    assert decode_event(event("system_item", {"item": good})) == SystemItemEvent(NotificationItem("x", "y", notice="n1"))
    refused(event("system_item", {"item": {"message": "x"}}), "'kind'")
    refused(event("system_item", {"item": [1]}), "an object")


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (b"", None),
        (b"null", None),
        (b"[]", None),
        (b"{}", None),
        (b'{"event":5}', None),
        (b'{"data":{}}', None),
        (b'{"event":"text_delta"}', "data"),
        (b'{"event":"text_delta","data":null}', "data"),
        (b'{"event":"text_delta","data":{}}', "text"),
        (b'{"event":"text_delta","data":{"text":5}}', "text"),
        (b'{"event":"text_delta","data":{"text":"a"}', None),
        (b'{"event":"text_delta","data":{"text":"a"}}}', None),
        (b'{"event":"text_delta","data":{"text":"a","run":-1}}', "run"),
        (b'{"event":"text_delta","data":{"text":"a","run":true}}', "run"),
        (b'{"event":"text_delta","data":{"text":"a"},"seq":-1}', "seq"),
        (b'{"event":"text_delta","data":{"text":"a"},"seq":9223372036854775808}', "seq"),
        (b'{"event":"text_delta","data":{"text":"a"},"seq":1.5}', "seq"),
        (b'{"event":"text_delta","data":{"text":"a"},"seq":"1"}', "seq"),
        (b'{"event":"text_delta","data":{"text":"a"},"re":""}', "re"),
        (b'{"event":"text_delta","data":{"text":"a"},"re":5}', "re"),
        (b'{"event":"text_delta","data":{"text":"a"},"re":"a\\n"}', "re"),
        (b'{"event":"text_delta","data":{"text":"\\ud800"}}', None),
        (b'{"event":"text_delta","data":{"text":"a\tb"}}', None),
        (b'{"event":"text_delta","data":{"text":"\xff"}}', "UTF-8"),
        (b'{"event":"text_delta","data":{"text":"a"},"x":"\xed\xa0\x80"}', "UTF-8"),
        (b"\xef\xbb\xbf" + b'{"event":"shutdown"}', None),
        (b'{"event":"shutdown","data":{}}', "data"),
        (b'{"event":"compact_start","data":[]}', "data"),
        (b'{"event":"thinking_start","data":{}}', "run"),
        (b'{"event":"thinking_start","data":{"run":"1"}}', "run"),
        (b'{"event":"run_end","data":{"result":5}}', "result"),
        (b'{"event":"run_end","data":{"result":null}}', "result"),
        (b'{"event":"turn_start","data":{"turn":-1}}', "turn"),
        (b'{"event":"turn_start","data":{"turn":18446744073709551616}}', "turn"),
        (b'{"event":"turn_start","data":{"turn":1' + b"0" * 200 + b"}}", None),
        (b'{"event":"turn_start","data":{"turn":1' + b"0" * 5000 + b"}}", None),
        (b'{"event":"usage","data":{"input_tokens":18446744073709551616}}', "input_tokens"),
        (b'{"event":"usage","data":{"input_tokens":1e3}}', "input_tokens"),
        (b'{"event":"alert","data":{"level":"warn","source":"pod","message":"","timestamp_ms":9223372036854775808}}', "timestamp"),
        (b'{"event":"compact_done","data":{"new_segment_id":"x"}}', "UUID"),
        (b'{"event":"compact_done","data":{"new_segment_id":5}}', "UUID"),
        (b'{"event":"compact_done","data":[]}', None),
        (b'{"event":"pod_inspection","data":{}}', "pod"),
        (b'{"event":"pod_inspection","data":{"pod":1e999}}', None),
        (b'{"event":"pod_inspection","data":{"pod":[18446744073709551616]}}', "out of range"),
        (b'{"event":"pod_inspection","data":{"pod":{"x":-9223372036854775809}}}', "out of range"),
        (b'{"event":"system_item","data":{"item":{"kind":"x","n":18446744073709551616}}}', "out of range"),
        (b'{"event":"from_the_future","data":[18446744073709551616]}', "out of range"),
        (b'{"event":"from_the_future","data":1e999}', "out of range"),
        (b'{"event":"from_the_future","seq":-1}', "seq"),
        (b'{"event":"from_the_future","data":' + b"[" * 64 + b"]" * 64 + b"}", "64 levels"),
        (b'{"event":"pod_inspection","data":{"pod":' + b"[" * 63 + b"]" * 63 + b"}}", "64 levels"),
        (b'{"event":"shutdown","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "64 levels"),
        (b"[" * 1_000_000, "64 levels"),
        (b'{"a":' * 1_000_000, "64 levels"),
    ],
)
def test_everything_else_that_is_wrong_is_refused(frame, match):
    refused(frame, match)


@pytest.mark.parametrize(
    ("field", "bits"),
    [("llm_call", 64), ("failed_attempt", 32), ("max_attempts", 32), ("wait_ms", 64), ("elapsed_ms", 64), ("status", 16)],
)
def test_counts_have_the_width_of_their_field(field, bits):
    good = {"llm_call": 1, "failed_attempt": 1, "max_attempts": 5, "wait_ms": 250, "elapsed_ms": 900, "status": 529, "error": "e"}
    for value in (0, 2**bits - 1):
        read = decode_event(event("llm_retry", good | {field: value}))
        assert getattr(read, field) == value
        assert decode_event(encode_event(read)) == read
    for value in (-1, 2**bits, True, 1.0, "1"):
        refused(event("llm_retry", good | {field: value}))
        wrong = attrs.evolve(decode_event(event("llm_retry", good)), **{field: value})
        with pytest.raises(LocalProtocolError, match=field):
            encode_event(wrong)


def test_timestamps_have_63_bits_and_a_sign():
    for value in (-(2**63), 2**63 - 1):
        alert = Alert(AlertLevel.WARN, AlertSource.POD, "m", value)
        assert decode_event(encode_event(alert)) == alert
    with pytest.raises(LocalProtocolError, match="timestamp_ms"):
        encode_event(Alert(AlertLevel.WARN, AlertSource.POD, "m", 2**63))


def test_long_digits_in_text_are_no_numbers():
    digits = "9" * 40
    assert decode_event(event("pod_inspection", {"pod": digits})) == PodInspection(digits)
    assert decode_event(event("turn_start", {"turn": 1, "more": digits})) == TurnStart(1)
    assert decode_event(event("pod_inspection", {"pod": 2**64 - 1})) == PodInspection(2**64 - 1)


def test_nesting_of_64_levels_is_read():
    deep = b'{"event":"pod_inspection","data":{"pod":' + b"[" * 62 + b"]" * 62 + b"}}"
    assert encode_event(decode_event(deep)) == deep


def test_brackets_in_text_are_no_nesting():
    text = "[{" * 100 + '\\"]'
    assert decode_event(encode_event(TextDelta(text))) == TextDelta(text)


def test_unit_events_are_written_without_data_and_a_run_adds_it():
    assert encode_event(Shutdown()) == b'{"event":"shutdown"}'
    assert encode_event(CompactStart(), seq=3) == b'{"event":"compact_start","seq":3}'
    assert encode_event(ThinkingStart()) == b'{"event":"thinking_start"}'
    assert encode_event(ThinkingStart(run=4)) == b'{"event":"thinking_start","data":{"run":4}}'
    assert encode_event(Accepted()) == b'{"event":"accepted","data":{}}'
    assert decode_event(b'{"event":"thinking_start","data":null}') == ThinkingStart()


def test_defaults_are_written_or_left_out_as_the_wire_has_it():
    assert json.loads(encode_event(Usage()))["data"] == {"input_tokens": None, "output_tokens": None}
    assert json.loads(encode_event(ToolResult("t", "s")))["data"] == {"id": "t", "summary": "s", "is_error": False}
    data = json.loads(encode_event(Snapshot([], GREETING)))["data"]
    assert data["status"] == "idle"
    assert "in_flight" not in data
    assert data["greeting"]["context_window"] == 0
    assert not {"confinement", "exclusive", "held"} & set(data["greeting"])
    assert json.loads(encode_event(StatusEvent(Status.IDLE)))["data"] == {"status": "idle"}
    assert json.loads(encode_event(StatusEvent(Status.IDLE, held=2)))["data"] == {"status": "idle", "held": 2}
    assert json.loads(encode_event(Error(ErrorCode.INTERNAL, "m", run=3)))["data"] == {"code": "internal", "message": "m", "run": 3}


def test_a_uuid_is_kept_in_one_spelling():
    for spelling in (
        "018F4E1C-0000-7000-8000-000000000002",
        "018f4e1c000070008000000000000002",
        "{018f4e1c-0000-7000-8000-000000000002}",
    ):
        assert decode_event(event("compact_done", {"new_segment_id": spelling})) == CompactDone(
            "018f4e1c-0000-7000-8000-000000000002"
        )


@pytest.mark.parametrize(
    ("wrong", "given", "match"),
    [
        (TextDelta("\ud800"), {}, "surrogate"),
        (TextDelta(b"x"), {}, "text: expected text"),
        (TextDelta("x", run=-1), {}, "run"),
        (TextDelta("x", run="1"), {}, "run"),
        (TurnEnd(1, "finished"), {}, "result: expected a TurnResult"),
        (ToolResult("t", "s", is_error=1), {}, "is_error"),
        (ToolResult("t", "s", output=5), {}, "output"),
        (PodInspection(float("nan")), {}, "not finite"),
        (PodInspection({"a": [float("inf")]}), {}, "not finite"),
        (PodInspection({1: 2}), {}, "names"),
        (PodInspection([2**64]), {}, "out of range"),
        (PodInspection((1,)), {}, "tuple is not a JSON value"),
        (PodInspection({"a": b"x"}), {}, "bytes is not a JSON value"),
        (PodInspection("\ud800"), {}, "surrogate"),
        (UnknownEvent("x", {"\ud800": 1}), {}, "surrogate"),
        (UnknownEvent("text_delta", {}), {}, "kind that is not known"),
        (UnknownEvent(5, {}), {}, "kind that is not known"),
        (SystemItemEvent(UnknownItem("x", {"kind": "y"})), {}, "object of its kind"),
        (SystemItemEvent(UnknownItem("x", [])), {}, "object of its kind"),
        (SystemItemEvent("x"), {}, "item: expected one of notification"),
        (UserMessage([TextDelta("a")]), {}, "segments.0: expected one of text"),
        (protocol.Resume(), {}, "not an event"),
        ("shutdown", {}, "not an event"),
        (Shutdown(), {"re": ""}, "an id"),
        (Shutdown(), {"re": "ü"}, "an id"),
        (Shutdown(), {"seq": -1}, "seq is a number"),
        (Shutdown(), {"seq": True}, "seq is a number"),
        (Shutdown(), {"first": 2**63}, "first is a number"),
    ],
)
def test_what_the_wire_does_not_allow_is_not_written(wrong, given, match):
    with pytest.raises(LocalProtocolError, match=match):
        encode_event(wrong, **given)


def test_what_nests_too_deep_or_in_itself_is_not_written():
    deep = []
    for _ in range(61):
        deep = [deep]
    assert decode_event(encode_event(PodInspection(deep))) == PodInspection(deep)
    with pytest.raises(LocalProtocolError, match="64 levels"):
        encode_event(PodInspection([deep]))
    ring = []
    ring.append(ring)
    with pytest.raises(LocalProtocolError, match="64 levels"):
        encode_event(PodInspection(ring))


def test_the_number_of_its_run_is_set_on_events_that_belong_to_one():
    assert with_run(TextDone("a"), 3) == TextDone("a", run=3)
    assert with_run(ThinkingStart(), 3) == ThinkingStart(run=3)
    assert with_run(TextDone("a", run=3), None) == TextDone("a")
    alert = Alert(AlertLevel.WARN, AlertSource.POD, "m", 1)
    assert with_run(alert, 3) is alert
    assert with_run(UnknownEvent("x"), 3) == UnknownEvent("x")


def test_with_run_changes_nothing_else(wire):
    @settings(max_examples=300, deadline=None)
    @given(wire.events)
    def check(event):
        made = with_run(event, 7)
        assert made == (attrs.evolve(event, run=7) if type(event) in RUN_EVENTS else event)

    check()


def test_the_sets_of_events_say_who_may_say_what():
    assert COMMITTED_EVENTS < WORKER_EVENTS
    assert WORKER_EVENTS - {Alert} < RUN_EVENTS
    assert {UserMessage, SystemItemEvent, InvokeStart, RunEnd, Error} == RUN_EVENTS - WORKER_EVENTS
    assert all("run" in attrs.fields_dict(cls) for cls in RUN_EVENTS)
    assert {TextDone, ToolCallDone, ToolResult, Usage, protocol.ThinkingDone} == COMMITTED_EVENTS
    assert LlmCallStart in WORKER_EVENTS


SAMPLE = [
    TextDelta,
    TextDone,
    ToolCallDone,
    ToolResult,
    Usage,
    TurnEnd,
    RunEnd,
    LlmRetry,
    Alert,
    Error,
    StatusEvent,
    protocol.Welcome,
    protocol.CompletionsEvent,
]


@pytest.mark.parametrize("cls", SAMPLE, ids=lambda cls: cls.__name__)
def test_a_slower_converter_reads_the_same(cls, wire):
    oracle = make_converter()
    oracle.register_structure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, str) and kind is not str, lambda value, kind: kind(value)
    )

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(wire.instances(cls, lax=True))
    def check(value):
        frame = encode_event(value)
        assert oracle.structure(json.loads(frame)["data"], cls) == decode_event(frame) == value

    check()
    with pytest.raises((cattrs.ClassValidationError, cattrs.IterableValidationError)):
        oracle.structure({}, cls) if cls is not Usage else oracle.structure({"input_tokens": "x"}, cls)


def test_containers_given_as_lists_are_kept_as_tuples():
    assert GREETING.tools == ("Read",)
    assert Snapshot([1], GREETING).entries == (1,)
    assert protocol.CompletionsEvent(CompletionKind.FILE, [protocol.Completion("a")]).entries == (protocol.Completion("a"),)
    assert hash(RunEnd(RunResult.FINISHED)) == hash(RunEnd(RunResult.FINISHED))


def test_an_entry_of_a_snapshot_that_is_no_json_value_is_named():
    with pytest.raises(LocalProtocolError, match=r"entries\.1: set is not a JSON value"):
        encode_event(Snapshot([{"a": [1]}, {"b": set()}], GREETING))


@pytest.mark.parametrize("text", ['"', "\\", '\\"', '["', '"]', "[[{{", "\\\\[", 'a"b\\n]'])
def test_brackets_and_escapes_in_text_do_not_count_as_nesting(text):
    """However often they stand in one frame, and whatever stands beside them."""
    entries = [{"t": text, "u": [text, {"v": text}]} for _ in range(100)]
    assert decode_event(encode_event(Snapshot(entries, GREETING))).entries == tuple(entries)
    deep = json.loads("[" * 70 + json.dumps(text) + "]" * 70)
    refused(event("snapshot", {"entries": [text, deep], "greeting": {}}), "nested")
