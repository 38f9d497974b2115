"""Which inputs one may go back to, from the log alone."""

from __future__ import annotations

from typing import Any

from podkit.logic import rewind_targets
from podkit.logic._rewind import MOST_TARGETS
from podkit.protocol import (
    InvokeEntry,
    InvokeKind,
    LogEntry,
    Paste,
    RewindTarget,
    Text,
    ToolResultEntry,
    ToolResultItem,
    TurnEndEntry,
    UserInputEntry,
    decode_event,
    encode_event,
    entry_to_data,
)

SEGMENT = "00000000-0000-4000-8000-000000000000"


def logged(*entries: LogEntry) -> list[Any]:
    return [entry_to_data(entry) for entry in entries]


def run(number: int, text: str) -> tuple[LogEntry, ...]:
    return (
        InvokeEntry(number, InvokeKind.USER_SEND, run=number),
        UserInputEntry(number, (Text(text),), run=number),
        TurnEndEntry(number, 1, run=number),
    )


def test_every_input_is_offered_with_what_would_be_cut_off() -> None:
    log = logged(*run(1, "first"), *run(2, "second"))
    found = rewind_targets(log, segment_id=SEGMENT)
    assert found.head_entries == 6
    assert [choice.id for choice in found.targets] == [RewindTarget(SEGMENT, 1), RewindTarget(SEGMENT, 4)]
    assert [(c.preview, c.truncate_entries, c.turn_index, c.timestamp_ms) for c in found.targets] == [
        ("first", 0, 0, 1),
        ("second", 3, 1, 2),
    ]
    assert all(choice.expected_head_entries == 6 and choice.eligible for choice in found.targets)
    assert decode_event(encode_event(found)) == found


def test_an_empty_log_has_none_and_a_reason_holds_for_all() -> None:
    assert rewind_targets([], segment_id=SEGMENT).targets == ()
    (choice,) = rewind_targets(logged(*run(1, "x")), segment_id=SEGMENT, refusal="in memory").targets
    assert (choice.eligible, choice.disabled_reason) == (False, "in memory")


def test_what_tools_did_since_is_pointed_at() -> None:
    log = logged(*run(1, "a"), ToolResultEntry(1, ToolResultItem("c", "deleted"), run=1), *run(2, "b"))
    first, second = rewind_targets(log, segment_id=SEGMENT).targets
    assert first.warning is not None
    assert second.warning is None


def test_a_preview_is_one_short_line() -> None:
    texts = ["a\nb", "x" * 120, "x" * 121, " " * 1000 + "y"]
    found = rewind_targets(logged(*(UserInputEntry(1, (Text(text),)) for text in texts)), segment_id=SEGMENT).targets
    assert [choice.preview for choice in found] == ["a b", "x" * 120, "x" * 119 + "…", "…"]
    assert [choice.truncate_entries for choice in found] == [0, 1, 2, 3]


def test_the_newest_are_offered_and_damaged_entries_are_not() -> None:
    log = logged(*(UserInputEntry(number, (Paste(1, 2, 3, str(number)),)) for number in range(MOST_TARGETS + 1)))
    found = rewind_targets(log, segment_id=SEGMENT).targets
    assert [choice.preview for choice in (found[0], found[-1])] == ["1", str(MOST_TARGETS)]
    damaged = [None, 5, {"kind": "user_input"}, {"kind": "user_input", "ts": 1, "segments": 7}, *logged(*run(1, "x"))]
    assert [choice.preview for choice in rewind_targets(damaged, segment_id=SEGMENT).targets] == ["x"]
