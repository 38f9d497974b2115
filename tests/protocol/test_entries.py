"""Log entries: known kinds are read strictly, unknown kinds are kept whole."""

import json

import pytest

from podkit.errors import LocalProtocolError, RemoteProtocolError
from podkit.protocol import (
    AssistantItemEntry,
    ExtensionEntry,
    Greeting,
    InvokeEntry,
    InvokeKind,
    LlmUsageEntry,
    MessageItem,
    NoticeEntry,
    NotificationItem,
    PausedTurnAbandonedEntry,
    PodEventItem,
    PodShutDown,
    ReasoningItem,
    RunCompletedEntry,
    RunResult,
    SegmentOrigin,
    SegmentStartEntry,
    Snapshot,
    SystemItemEntry,
    TaskReminderItem,
    Text,
    TextPart,
    ToolCallItem,
    ToolResultItem,
    UnknownEntry,
    UnknownItem,
    UserInputEntry,
    decode_entry,
    decode_event,
    encode_entry,
    encode_event,
    entry_from_data,
    entry_to_data,
    logged_item_from_data,
    logged_item_to_data,
    system_item_from_data,
    system_item_to_data,
)


def test_entries_are_written_as_others_write_them():
    assert entry_to_data(InvokeEntry(5, InvokeKind.NOTIFY, run=2)) == {"kind": "invoke", "ts": 5, "trigger": "notify", "run": 2}
    assert entry_to_data(UserInputEntry(5, "hi")) == {
        "kind": "user_input",
        "ts": 5,
        "segments": [{"kind": "text", "content": "hi"}],
    }
    item = ToolResultItem("c", "s")
    assert entry_to_data(AssistantItemEntry(5, item))["item"] == {"kind": "tool_result", "call_id": "c", "summary": "s"}
    assert entry_to_data(RunCompletedEntry(5, RunResult("yielded"))) == {
        "kind": "run_completed",
        "ts": 5,
        "result": "yielded",
        "interrupted": False,
    }
    assert entry_to_data(NoticeEntry(5, "n1", "child", "text")) == {
        "kind": "notice",
        "ts": 5,
        "id": "n1",
        "from": "child",
        "body": "text",
    }
    assert entry_to_data(NoticeEntry(5, "n1", "c", "t", wake=False))["wake"] is False
    assert entry_to_data(LlmUsageEntry(5, output_tokens=3))["output_tokens"] == 3
    start = SegmentStartEntry(5, "s1", None, {"a": [1.5]}, [ReasoningItem("t")], forked_from=SegmentOrigin("s0", 2))
    assert entry_to_data(start)["forked_from"] == {"segment_id": "s0", "at_turn_index": 2}
    assert "compacted_from" not in entry_to_data(start)
    pod_event = SystemItemEntry(5, PodEventItem(PodShutDown("x"), "x is gone", notice="n1"))
    assert entry_to_data(pod_event)["item"]["event"] == {"kind": "shut_down", "pod_name": "x"}


@pytest.mark.proves("F5")
def test_an_entry_of_an_unknown_kind_is_kept_whole():
    line = b'{"kind":"dream","ts":7,"deep":{"a":[1,2.5,null]}}'
    entry = decode_entry(line)
    assert entry == UnknownEntry("dream", json.loads(line))
    assert entry.ts == 7
    assert encode_entry(entry) == line
    for data in ({"kind": "x"}, {"kind": "x", "ts": "7"}, {"kind": "x", "ts": True}):
        assert entry_from_data(data).ts == 0


def test_items_of_unknown_kinds_are_kept_whole_inside_of_known_entries():
    item = {"kind": "hologram", "x": [1]}
    part = {"kind": "image", "url": "u"}
    data = {"kind": "assistant_item", "ts": 1, "item": item}
    assert entry_from_data(data) == AssistantItemEntry(1, UnknownItem("hologram", item))
    message = {"kind": "message", "role": "user", "content": [{"kind": "text", "text": "a"}, part]}
    assert logged_item_from_data(message) == MessageItem("user", [TextPart("a"), UnknownItem("image", part)])
    assert logged_item_to_data(logged_item_from_data(message)) == message
    reminder = {"kind": "task_reminder", "source": "s", "body": "b"}
    assert system_item_to_data(system_item_from_data(reminder)) == reminder
    assert system_item_from_data(reminder) == TaskReminderItem("s", "b")
    assert system_item_from_data({"kind": "interrupt"}) == UnknownItem("interrupt", {"kind": "interrupt"})


@pytest.mark.parametrize(
    ("line", "match"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", "an object"),
        (b"{}", "'kind'"),
        (b'{"kind":5,"ts":1}', "'kind'"),
        (b'{"kind":"invoke","trigger":"notify"}', "'ts' is missing"),
        (b'{"kind":"invoke","ts":"1","trigger":"notify"}', "ts: expected an integer"),
        (b'{"kind":"invoke","ts":9223372036854775808,"trigger":"notify"}', "ts"),
        (b'{"kind":"user_input","ts":1,"segments":"hi"}', "segments: expected an array"),
        (b'{"kind":"assistant_item","ts":1,"item":{"kind":"message"}}', "item: 'role' is missing"),
        (b'{"kind":"system_item","ts":1,"item":{"kind":"interrupt"}}', "item: 'body' is missing"),
        (b'{"kind":"notice","ts":1,"id":"n","sender":"x","body":""}', "'from' is missing"),
        (b'{"kind":"x","n":18446744073709551616}', "out of range"),
        (b'{"kind":"x","n":"\xff"}', "UTF-8"),
        (b'{"kind":"x","n":' + b"[" * 61 + b"]" * 61 + b"}", "61 levels"),
    ],
)
@pytest.mark.proves("F5")
def test_a_damaged_entry_is_refused_and_not_guessed_at(line, match):
    with pytest.raises(RemoteProtocolError, match=match):
        decode_entry(line)


@pytest.mark.parametrize(
    "data", [None, [], {}, {"kind": "invoke"}, {"kind": "x", "n": float("nan")}, {"kind": "x", 5: 1}, {"kind": "x", "n": ()}]
)
def test_values_that_are_no_entry_are_refused(data):
    with pytest.raises(RemoteProtocolError, match="not a log entry"):
        entry_from_data(data)


def test_values_that_are_no_items_are_refused():
    with pytest.raises(RemoteProtocolError, match="not a logged item: 'role' is missing"):
        logged_item_from_data({"kind": "message"})
    with pytest.raises(RemoteProtocolError, match="not a system item"):
        system_item_from_data([])


@pytest.mark.parametrize(
    ("entry", "match"),
    [
        (InvokeEntry(5, "notify"), "trigger: expected a InvokeKind"),
        (InvokeEntry(2**63, InvokeKind.NOTIFY), "ts: an integer"),
        (UserInputEntry(5, [Text("\ud800")]), "surrogate"),
        (AssistantItemEntry(5, NotificationItem("a", "b")), "item: expected one of message"),
        (AssistantItemEntry(5, ToolCallItem("a", "b", {})), "item.arguments: expected text"),
        (SystemItemEntry(5, UnknownItem("interrupt", {"kind": "interrupt"})), "'interrupt' is a known kind"),
        (UnknownEntry("invoke", {"kind": "invoke"}), "'invoke' is a known kind"),
        (UnknownEntry("x", {"kind": "x", "n": float("nan")}), "not finite"),
        (UnknownEntry("x", {"kind": "y"}), "object of its kind"),
        (SegmentStartEntry(5, "s", "p", float("inf"), []), "config: a number is not finite"),
        (Text("a"), "expected one of segment_start"),
        (None, "expected one of segment_start"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(entry, match):
    with pytest.raises(LocalProtocolError, match=match):
        encode_entry(entry)


def test_an_abandoned_pause_has_nothing_but_its_time_and_run():
    assert decode_entry(b'{"kind":"paused_turn_abandoned","ts":3}') == PausedTurnAbandonedEntry(3)
    assert encode_entry(PausedTurnAbandonedEntry(3, run=1)) == b'{"kind":"paused_turn_abandoned","ts":3,"run":1}'


@pytest.mark.parametrize("leaf", [1, None, "x", [], {}])
@pytest.mark.proves("I15", "I17")
def test_an_entry_that_is_written_is_read_again_and_a_snapshot_can_carry_it(leaf):
    """The deepest entry there may be; one level more is refused before anything is kept."""
    around = isinstance(leaf, list | dict)
    value = leaf
    for _ in range(60 - around):
        value = [value]
    entry = ExtensionEntry(1, "d", value)
    assert decode_entry(encode_entry(entry)) == entry
    snapshot = Snapshot([entry_to_data(entry)], Greeting("p", "/w", "", "", "", []))
    assert decode_event(encode_event(snapshot)) == snapshot
    with pytest.raises(LocalProtocolError, match="61 levels"):
        encode_entry(ExtensionEntry(1, "d", [value]))


def test_a_name_that_is_no_text_is_refused_even_when_it_equals_one():
    class Twin:
        def __hash__(self):
            return hash("a")

        def __eq__(self, other):
            return other == "a"

    for payload in ({Twin(): 1}, [{"a": 1}, {Twin(): 1}], {"a": {Twin(): 1}}):
        with pytest.raises(LocalProtocolError, match=r"text|str-like"):
            encode_entry(ExtensionEntry(1, "d", payload))
