"""What a session that is forked off begins with, from the log alone."""

from __future__ import annotations

import pytest

from podkit.logic import CLIENT, FORKED, RUNS, ForkPlan, UnknownTurn, close_interrupted, plan_fork, replay
from podkit.protocol import (
    AssistantItemEntry,
    ConfigChangedEntry,
    ExtensionEntry,
    InvokeEntry,
    InvokeKind,
    LogEntry,
    LoggedItem,
    MessageItem,
    NoticeEntry,
    RunCompletedEntry,
    RunResult,
    SegmentOrigin,
    SegmentStartEntry,
    Text,
    TextPart,
    ToolCallItem,
    ToolResultEntry,
    ToolResultItem,
    TurnEndEntry,
    UserInputEntry,
)


def said(role: str, text: str) -> LoggedItem:
    return MessageItem(role, (TextPart(text),))


def run(number: int, text: str, result: RunResult = RunResult.FINISHED) -> list[LogEntry]:
    return [
        InvokeEntry(number, InvokeKind.USER_SEND, run=number),
        UserInputEntry(number, (Text(text),), run=number),
        AssistantItemEntry(number, said("assistant", f"re {text}"), run=number),
        TurnEndEntry(number, 1, run=number),
        RunCompletedEntry(number, result, run=number),
    ]


START = SegmentStartEntry(0, "s-1", "be kind", {"model": "m"}, (said("user", "long ago"),))
LOG: list[LogEntry] = [START, *run(1, "a"), *run(2, "b")]


def fork(entries: list[LogEntry], at: int | None = None) -> ForkPlan:
    plan = plan_fork(entries, at=at, segment="seg", session="s-2", ts=7)
    assert isinstance(plan, ForkPlan)
    return plan


def start(plan: ForkPlan) -> SegmentStartEntry:
    first = plan.entries[0]
    assert isinstance(first, SegmentStartEntry)
    return first


def test_a_fork_begins_with_everything_the_model_was_told_and_said() -> None:
    plan = fork([*LOG, ConfigChangedEntry(2, {"model": "n"})])
    first = start(plan)
    texts = [item.content[0].text for item in first.history if isinstance(item, MessageItem)]
    assert texts == ["long ago", "a", "re a", "b", "re b"]
    assert (first.session_id, first.system_prompt, first.config, first.ts) == ("s-2", "be kind", {"model": "n"}, 7)
    assert first.forked_from == plan.origin == SegmentOrigin("seg", 2)
    assert plan.history == 5


@pytest.mark.parametrize(
    ("at", "texts"), [(0, ["long ago"]), (1, ["long ago", "a", "re a"]), (2, ["long ago", "a", "re a", "b", "re b"])]
)
def test_a_fork_at_a_turn_ends_with_that_turn_and_0_is_what_the_segment_began_with(at: int, texts: list[str]) -> None:
    plan = fork(LOG, at)
    assert [item.content[0].text for item in start(plan).history if isinstance(item, MessageItem)] == texts
    assert plan.origin == SegmentOrigin("seg", at)


@pytest.mark.parametrize("at", [-1, 3, 2**70])
def test_a_turn_that_did_not_end_is_refused_and_never_taken_for_the_whole_log(at: int) -> None:
    assert plan_fork(LOG, at=at, segment="seg", session="s-2", ts=7) == UnknownTurn(turn=at, turns=2)


def test_a_log_without_a_beginning_has_its_turns_too() -> None:
    assert start(fork(LOG[1:], 1)).history == (said("user", "a"), said("assistant", "re a"))
    assert fork([], 0).entries == (SegmentStartEntry(7, "s-2", None, {}, (), forked_from=SegmentOrigin("seg", 0)),)


def test_only_the_turns_after_the_last_beginning_count() -> None:
    again = SegmentStartEntry(3, "s-1", None, {}, ())
    assert plan_fork([*LOG, again], at=1, segment="seg", session="s-2", ts=7) == UnknownTurn(turn=1, turns=0)
    assert start(fork([*LOG, again, *run(3, "c")], 0)).history == ()


def test_a_call_without_a_result_gets_one_that_says_so() -> None:
    calls = [AssistantItemEntry(3, ToolCallItem(call_id=call, name="rm", arguments="{}"), run=3) for call in ("x", "y")]
    log = [*LOG, *run(3, "c")[:2], *calls, ToolResultEntry(3, ToolResultItem("x", "done"), run=3)]
    *_, result, made = start(fork(log)).history
    assert result == ToolResultItem("x", "done")
    assert made == ToolResultItem("y", FORKED, is_error=True)


def test_what_is_under_way_or_waits_stays_where_it_is() -> None:
    notice = NoticeEntry(3, "n-1", CLIENT, "look")
    log = [*LOG, *run(3, "c", RunResult.PAUSED), notice, *run(4, "d")[:2]]
    state = replay(fork(log).entries)
    assert (state.run, state.under_way, state.paused, state.notices, state.inputs, state.turns) == (0, None, None, (), (), 0)
    assert close_interrupted(state, 1) == ()


def test_extensions_go_along_without_the_runs_they_were_made_in() -> None:
    todo = ExtensionEntry(1, "todo", {"open": 2}, run=1)
    plan = fork([*LOG, todo, ExtensionEntry(2, RUNS, {"run": 2})])
    assert plan.entries[1:] == (ExtensionEntry(1, "todo", {"open": 2}),)


def test_a_fork_of_a_fork_says_where_it_is_from_and_has_all_of_the_history() -> None:
    first = fork(LOG, 1)
    second = plan_fork([*first.entries, *run(1, "c")], at=None, segment="seg-2", session="s-3", ts=8)
    assert isinstance(second, ForkPlan)
    assert [item.content[0].text for item in start(second).history if isinstance(item, MessageItem)] == [
        "long ago",
        "a",
        "re a",
        "c",
        "re c",
    ]
    assert second.origin == SegmentOrigin("seg-2", 1)
