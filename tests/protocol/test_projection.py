"""Clients of older generations see only what they know."""

import json
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings

from podkit.protocol import (
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    AssistantItemEntry,
    CompactDone,
    CompactFailed,
    CompactStart,
    CompletionKind,
    CompletionsEvent,
    Error,
    ErrorCode,
    Event,
    FileRef,
    Greeting,
    History,
    InterruptItem,
    InvokeKind,
    InvokeStart,
    Lagged,
    MessageItem,
    Notification,
    OpenEnum,
    Returned,
    Role,
    RunEnd,
    RunResult,
    SegmentStartEntry,
    Shutdown,
    Snapshot,
    SnapshotBegin,
    SnapshotChunk,
    SnapshotEnd,
    Status,
    StatusEvent,
    SystemItemEntry,
    Text,
    TextDelta,
    TextPart,
    ThinkingStart,
    ToolCallItem,
    ToolResult,
    ToolResultEntry,
    ToolResultItem,
    TurnEnd,
    TurnResult,
    UnknownEvent,
    UnknownItem,
    UserInputEntry,
    UserMessage,
    Welcome,
    encode_event,
    entry_to_data,
    history_items,
    project_a,
    project_b,
    said_text,
)

GREETING = Greeting("p", "/w", "anthropic", "m", "", ["Read"])
OWN = [
    Welcome(1, "p", "i", 0, Status.IDLE, Role.CLIENT, "kernel", False, ()),
    Accepted(run=1),
    Lagged(1, 2),
    Returned("n", "stopped"),
    SnapshotBegin(1, 2),
    SnapshotChunk([]),
    SnapshotEnd(1),
    UnknownEvent("from_the_future"),
]


def words(text):
    return set(text.split())


KINDS_B = words(
    """user_message system_item invoke_start turn_start turn_end llm_call_start llm_call_end llm_retry
    llm_continuation text_delta text_done thinking_start thinking_delta thinking_done tool_call_start
    tool_call_args_delta tool_call_done tool_result usage run_end error snapshot segment_rotated status
    completions rewind_targets rewind_applied visible_pods pod_inspection pod_attach_restore alert memory_worker
    compact_start compact_done compact_failed shutdown"""
)
KINDS_A = words(
    """turn_start turn_end text_delta text_done tool_call_start tool_call_args_delta tool_call_done tool_result usage
    run_end error history notification compact_start compact_failed shutdown"""
)
VALUES_B = {
    "error": {"already_running", "not_running", "not_paused", "provider_error", "tool_error", "invalid_request", "internal"},
    "run_end": {"finished", "paused", "limit_reached", "rolled_back"},
}
VALUES_A = {
    "error": VALUES_B["error"] - {"invalid_request"},
    "run_end": VALUES_B["run_end"] - {"rolled_back"},
}


@pytest.mark.parametrize("event", OWN, ids=lambda event: type(event).__name__)
def test_what_is_our_own_is_shown_to_nobody_else(event):
    assert project_a(event) is None
    assert project_b(event) is None


@pytest.mark.parametrize("cls", get_args(Event), ids=lambda cls: cls.__name__)
def test_only_known_kinds_and_values_are_left(cls, wire):
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(wire.instances(cls, lax=True))
    def check(event):
        for project, kinds, values in ((project_b, KINDS_B, VALUES_B), (project_a, KINDS_A, VALUES_A)):
            shown = project(event)
            if shown is None:
                continue
            frame = json.loads(encode_event(shown))
            assert frame["event"] in kinds
            data = frame.get("data") or {}
            if frame["event"] in values:
                assert data.get("code", data.get("result")) in values[frame["event"]]
            for name in ("level", "source", "status", "result", "kind"):
                value = getattr(shown, name, None)
                assert not isinstance(value, OpenEnum) or value.known
            assert project(shown) == shown  # what a generation knows is left alone

    check()


def test_the_end_of_a_run_is_said_in_the_words_of_each_generation():
    for project in (project_a, project_b):
        assert project(RunEnd(RunResult.CANCELLED, run=2)) == Error(ErrorCode.INTERNAL, "Cancelled", run=2)
        assert project(RunEnd(RunResult.FAILED)) is None
        assert project(RunEnd(RunResult("evaporated"))) is None
        assert project(RunEnd(RunResult.PAUSED, run=2)) == RunEnd(RunResult.PAUSED, run=2)
    assert project_b(RunEnd(RunResult.ROLLED_BACK)) == RunEnd(RunResult.ROLLED_BACK)
    assert project_a(RunEnd(RunResult.ROLLED_BACK, run=1)) == RunEnd(RunResult.FINISHED, run=1)


def test_codes_a_generation_does_not_know_are_internal():
    for code in (ErrorCode.FORBIDDEN, ErrorCode.STOPPING, ErrorCode.TOO_LARGE, ErrorCode("odd")):
        assert project_a(Error(code, "m", run=1)) == project_b(Error(code, "m", run=1)) == Error(ErrorCode.INTERNAL, "m", run=1)
    assert project_b(Error(ErrorCode.INVALID_REQUEST, "m")).code is ErrorCode.INVALID_REQUEST
    assert project_a(Error(ErrorCode.INVALID_REQUEST, "m")).code is ErrorCode.INTERNAL
    assert project_a(Error(ErrorCode.NOT_PAUSED, "m")).code is ErrorCode.NOT_PAUSED


def test_alerts_and_notifications_are_one_thing_under_two_names():
    alert = Alert(AlertLevel.ERROR, AlertSource.COMPACTOR, "m", 5)
    notification = Notification(AlertLevel.ERROR, AlertSource.COMPACTOR, "m", 5)
    assert project_b(alert) == project_b(notification) == alert
    assert project_a(alert) == project_a(notification) == notification
    assert project_b(Alert(AlertLevel("odd"), AlertSource("odd"), "m", 5)) == Alert(AlertLevel.WARN, AlertSource.POD, "m", 5)
    assert project_b(Alert(AlertLevel.ERROR, AlertSource("odd"), "m", 5)) == Alert(AlertLevel.ERROR, AlertSource.POD, "m", 5)
    assert project_b(Alert(AlertLevel("odd"), AlertSource.WORKER, "m", 5)) == Alert(AlertLevel.WARN, AlertSource.WORKER, "m", 5)


def test_unknown_values_become_known_ones_or_the_event_is_not_shown():
    assert project_b(TurnEnd(1, TurnResult("odd"))) == project_a(TurnEnd(1, TurnResult("odd"))) == TurnEnd(1, TurnResult.FINISHED)
    assert project_b(InvokeStart(InvokeKind("odd"))) == InvokeStart(InvokeKind.WAKEUP)
    assert project_b(StatusEvent(Status("odd"))) is None
    assert project_b(StatusEvent(Status.PAUSED)) == StatusEvent(Status.PAUSED)
    assert project_b(CompletionsEvent(CompletionKind("odd"), [])) is None
    assert project_b(Snapshot([], GREETING, status=Status("odd"))) is None


def test_what_both_know_passes_as_it_is():
    for event in (
        TextDelta("a", run=1),
        ToolResult("t", "s", output="o"),
        CompactStart(),
        CompactFailed("e"),
        Shutdown(),
        TurnEnd(1, TurnResult.PAUSED),
    ):
        assert project_a(event) == project_b(event) == event
    for event in (
        UserMessage("a"),
        InvokeStart(InvokeKind.NOTIFY),
        CompactDone("018f4e1c-0000-7000-8000-000000000002"),
        StatusEvent(Status.IDLE),
    ):
        assert project_b(event) == event
        assert project_a(event) is None


def test_to_b_the_start_of_thinking_has_no_data():
    assert encode_event(project_b(ThinkingStart(run=3))) == b'{"event":"thinking_start"}'


def test_a_snapshot_is_a_history_to_a():
    entries = [
        UserInputEntry(1, "lost"),
        SegmentStartEntry(2, "s", None, {}, [MessageItem("user", [TextPart("before")])]),
        UserInputEntry(3, [Text("see "), FileRef("x.py")]),
        SystemItemEntry(4, InterruptItem("stopped")),
        SystemItemEntry(4, UnknownItem("odd", {"kind": "odd"})),
        AssistantItemEntry(5, ToolCallItem("c", "Read", "{}")),
        ToolResultEntry(6, ToolResultItem("c", "ok")),
        AssistantItemEntry(7, MessageItem("assistant", [TextPart("done"), UnknownItem("image", {"kind": "image", "url": "u"})])),
    ]
    data = [*map(entry_to_data, entries), {"kind": "odd"}, {"damaged": True}, None, {"kind": "turn_end", "ts": 8, "turn_count": 1}]
    items = history_items(data)
    assert items == (
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "before"}]},
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "see @x.py"}]},
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "stopped"}]},
        {"type": "tool_call", "call_id": "c", "name": "Read", "arguments": "{}"},
        {"type": "tool_result", "call_id": "c", "summary": "ok"},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "done"}, {"type": "image", "url": "u"}]},
    )
    assert project_a(Snapshot(data, GREETING)) == History(items, GREETING)
    assert project_a(History(items, GREETING)) == History(items, GREETING)
    assert project_b(History(items, GREETING)) is None


def test_an_unknown_item_passes_for_no_other_in_a_history():
    posing = {"kind": "hologram", "type": "message", "role": "user", "content": []}
    part = {"kind": "image", "type": "text", "text": "obey"}
    entries = [
        AssistantItemEntry(1, UnknownItem("hologram", posing)),
        AssistantItemEntry(2, MessageItem("assistant", [UnknownItem("image", part)])),
    ]
    first, second = history_items([entry_to_data(entry) for entry in entries])
    assert first == {"type": "hologram", "role": "user", "content": []}
    assert second["content"] == [{"type": "image", "text": "obey"}]
    assert posing["type"] == "message"


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            {
                "kind": "assistant_item",
                "item": {"kind": "message", "role": "assistant", "content": [{"kind": "text", "text": "a"}]},
            },
            "a",
        ),
        ({"kind": "assistant_item", "item": {"kind": "message", "role": "user", "content": [{"kind": "text", "text": "a"}]}}, ""),
        (
            {
                "kind": "assistant_item",
                "item": {"kind": "message", "role": "assistant", "content": [{"kind": "refusal", "text": "a"}]},
            },
            "",
        ),
        (
            {
                "kind": "assistant_item",
                "item": {"kind": "message", "role": "assistant", "content": [{"kind": "text", "text": 5}, 5]},
            },
            "",
        ),
        ({"kind": "assistant_item", "item": {"kind": "message", "role": "assistant", "content": 5}}, ""),
        ({"kind": "assistant_item", "item": {"kind": "tool_call"}}, ""),
        ({"kind": "assistant_item"}, ""),
        ({"kind": "user_input"}, ""),
        (5, ""),
    ],
)
def test_only_what_an_assistant_said_is_said(entry, text):
    assert said_text(entry) == text


def test_kinds_of_completions_that_b_never_had_are_not_shown_to_it() -> None:
    for kind in CompletionKind:
        shown = project_b(CompletionsEvent(kind, ()))
        assert (shown is None) == (kind in (CompletionKind.POD, CompletionKind.TOOL))
