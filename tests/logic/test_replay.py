"""What a log comes to, and what a restore adds to it."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.logic import (
    RUNS,
    Family,
    Hold,
    Life,
    Phase,
    Waiting,
    close_interrupted,
    plan_rewind,
    replay,
    restored_life,
    segment_start,
)
from podkit.logic._family import REMEMBERED_REPORTS
from podkit.protocol import (
    AssistantItemEntry,
    ConfigChangedEntry,
    ExtensionEntry,
    FileAttachmentItem,
    InvokeEntry,
    InvokeKind,
    LlmUsageEntry,
    MessageItem,
    NoticeEntry,
    NoticeReturnedEntry,
    NotificationItem,
    PausedTurnAbandonedEntry,
    PodTurnEnded,
    ReasoningItem,
    RewindTarget,
    RunCompletedEntry,
    RunErroredEntry,
    RunResult,
    SegmentOrigin,
    SegmentStartEntry,
    SystemItemEntry,
    Text,
    TextPart,
    ToolCallItem,
    ToolResultEntry,
    ToolResultItem,
    TurnEndEntry,
    UnknownEntry,
    UnknownItem,
    UserInputEntry,
    decode_entry,
    encode_entry,
)

SEGMENT, OTHER = "01890000-0000-7000-8000-000000000001", "01890000-0000-7000-8000-000000000002"


def user(text):
    return MessageItem("user", (TextPart(text),))


def invoke(run, cause=InvokeKind.USER_SEND):
    return InvokeEntry(run, cause, run=run)


def asked(run, text):
    return [invoke(run), UserInputEntry(run, text, run=run)]


def call(run, id="c"):
    return AssistantItemEntry(run, ToolCallItem(id, "look", "{}"), run=run)


def result(run, id="c"):
    return ToolResultEntry(run, ToolResultItem(id, "seen"), run=run)


def ended(run, result=RunResult.FINISHED):
    return RunCompletedEntry(run, result, run=run)


def notice(id, *, sender="client", wake=True):
    return NoticeEntry(1, id, sender, f"body of {id}", wake=wake)


def seen(id, run=1):
    return SystemItemEntry(1, NotificationItem("m", f"body of {id}", notice=id), run=run)


START = SegmentStartEntry(1, "s", "be kind", {"model": "m"}, (user("before"),))
LOOSE = [
    START,
    SegmentStartEntry(1, "s", None, {}, ()),
    InvokeEntry(1, InvokeKind.NOTIFY),
    *(invoke(run) for run in (1, 2, 3)),
    UserInputEntry(1, "hi", run=1),
    *(call(run, each) for run in (1, 2) for each in "cd"),
    *(result(run, each) for run in (1, 2) for each in "cd"),
    AssistantItemEntry(1, MessageItem("assistant", (TextPart("hello"),)), run=1),
    AssistantItemEntry(1, ReasoningItem("hm"), run=1),
    AssistantItemEntry(1, UnknownItem("new", {"kind": "new"}), run=1),
    *(ended(run, how) for run in (1, 2) for how in (RunResult.FINISHED, RunResult.PAUSED, RunResult.CANCELLED)),
    RunErroredEntry(1, "no", run=1),
    PausedTurnAbandonedEntry(1, run=1),
    TurnEndEntry(1, 1, run=1),
    *(notice(each, sender=sender, wake=wake) for each in "ab" for sender in ("client", "kid") for wake in (True, False)),
    *(seen(each) for each in "abz"),
    SystemItemEntry(1, FileAttachmentItem("/f", "text"), run=1),
    SystemItemEntry(1, UnknownItem("new", {"kind": "new"}), run=1),
    NoticeReturnedEntry(1, "a"),
    ConfigChangedEntry(1, {"model": "n"}),
    LlmUsageEntry(1, run=1),
    ExtensionEntry(1, "x", {"any": [1]}),
    ExtensionEntry(1, RUNS, {"run": 9}),
    ExtensionEntry(1, RUNS, "nine"),
    UnknownEntry("later", {"kind": "later", "ts": 5}),
]
LOGS = st.lists(st.sampled_from(LOOSE), max_size=40)


@pytest.mark.proves("I24", "I25", "F33")
@given(LOGS)
def test_any_log_can_be_closed_and_closing_it_again_adds_nothing(entries):
    closing = close_interrupted(replay(entries), 7)
    closed = replay([*entries, *closing])
    assert not closed.orphans
    assert closed.under_way is None
    assert close_interrupted(closed, 8) == ()
    assert closed.notices == replay(entries).notices
    assert closed.paused == replay(entries).paused


@given(LOGS)
def test_what_is_read_does_not_depend_on_how_it_was_kept(entries):
    assert replay(decode_entry(encode_entry(entry)) for entry in entries) == replay(entries)


@given(LOGS, st.integers(0, 40))
def test_a_log_read_up_to_any_entry_and_then_on_is_the_log(entries, cut):
    """A restore in the middle of a closing finds the rest of it."""
    closing = close_interrupted(replay(entries), 7)
    some = [*entries, *closing[:cut]]
    assert (*some, *close_interrupted(replay(some), 7)) == (*entries, *closing)


def test_a_state_says_everything_that_was_logged():
    state = replay(
        [
            START,
            notice("n"),
            *asked(1, "hi"),
            seen("n"),
            call(1),
            result(1),
            LlmUsageEntry(1, input_total_tokens=5, run=1),
            TurnEndEntry(1, 1, run=1),
            ended(1),
            ConfigChangedEntry(2, {"model": "n"}),
            ExtensionEntry(2, "mine", {"a": 1}),
            UnknownEntry("later", {"kind": "later"}),
        ]
    )
    assert state.start is START
    assert state.history == (user("before"), user("hi"), user("body of n"), call(1).item, result(1).item)
    assert (state.run, state.turns, state.under_way, state.paused, state.entries) == (1, 1, None, None, 13)
    assert state.config == {"model": "n"}
    assert [usage.input_total_tokens for usage in state.usage] == [5]
    assert [extension.domain for extension in state.extensions] == ["mine"]
    assert state.unknown == 1
    assert [(at.index, at.begin, at.turns) for at in state.inputs] == [(3, 2, 0)]


def test_a_segment_that_begins_inside_a_log_leaves_nothing_of_what_was_before():
    state = replay([START, *asked(1, "hi"), call(1), LlmUsageEntry(1), notice("n"), TurnEndEntry(1, 3), START])
    assert attrs.evolve(state, entries=1) == replay([START])
    assert state.entries == 8


@pytest.mark.proves("I24", "I25", "F31")
def test_a_run_that_was_under_way_ended_as_interrupted_and_its_calls_say_that_they_were_not_run_again():
    entries = [START, *asked(1, "hi"), TurnEndEntry(1, 4, run=1), call(1, "a"), call(1, "b"), result(1, "a")]
    answer, turn, end = close_interrupted(replay(entries), 9)
    assert (answer.item.call_id, answer.item.is_error, answer.run, answer.ts) == ("b", True, 1, 9)
    assert "not run again" in answer.item.summary
    assert (turn.turn_count, turn.run) == (5, 1)
    assert (end.interrupted, end.run) == (True, 1)


def test_a_call_of_a_later_run_may_have_the_id_of_an_earlier_one():
    state = replay([*asked(1, "a"), call(1), result(1), ended(1), *asked(2, "b"), call(2)])
    assert [(orphan.call_id, orphan.run) for orphan in state.orphans] == [("c", 2)]


@pytest.mark.proves("F47", "H14")
def test_paused_is_what_the_last_word_on_the_run_says():
    paused = [*asked(1, "hi"), ended(1, RunResult.PAUSED)]
    assert (replay(paused).paused, replay(paused).input) == (1, (Text("hi"),))
    resumed = replay([*paused, invoke(2)])
    assert (resumed.paused, resumed.under_way, resumed.input) == (None, 2, (Text("hi"),)), "resumed with the same input"
    assert replay([*paused, PausedTurnAbandonedEntry(1, run=1)]).paused is None
    assert replay([*paused, *asked(2, "new")]).input == (Text("new"),)
    assert replay([*asked(1, "hi"), ended(1), invoke(2, InvokeKind.NOTIFY)]).input == ()


def test_what_a_cancel_holds_back_is_held_until_a_client_speaks_or_a_run_begins():
    cancelled = [*asked(1, "hi"), ended(1, RunResult.CANCELLED)]
    assert replay(cancelled).held
    assert replay([*cancelled, notice("n", sender="kid"), notice("m", wake=False)]).held
    assert not replay([*cancelled, notice("n")]).held
    assert not replay([*cancelled, *asked(2, "on")]).held
    assert replay([*asked(1, "hi"), ended(1, RunResult.PAUSED), PausedTurnAbandonedEntry(1, run=1)]).held


def test_a_run_without_a_number_is_the_next_one():
    assert replay([invoke(4), ended(4), InvokeEntry(1, InvokeKind.NOTIFY)]).under_way == 5


QUEUE = (Waiting("n", wake=True),)


@pytest.mark.parametrize(
    ("entries", "queue", "phase", "hold"),
    [
        ([], (), Phase.IDLE, Hold.NONE),
        ([notice("n")], QUEUE, Phase.IDLE, Hold.BACKOFF),
        ([notice("n", wake=False)], (Waiting("n", wake=False),), Phase.IDLE, Hold.NONE),
        ([*asked(1, "a"), ended(1, RunResult.PAUSED), notice("n")], QUEUE, Phase.PAUSED, Hold.NONE),
        ([notice("n"), *asked(1, "a"), ended(1, RunResult.CANCELLED)], QUEUE, Phase.IDLE, Hold.ASKED),
    ],
)
def test_the_life_of_a_restored_pod_goes_on_where_the_log_left_it(entries, queue, phase, hold):
    life = restored_life(Life(notices=queue, room=5), replay(entries))
    assert (life.phase, life.hold, life.shown, life.room) == (phase, hold, phase.status, 5)
    assert (life.timer is None) == (hold is not Hold.BACKOFF)
    assert life.numbers == life.run == replay(entries).run


def rewind(entries, index, **changes):
    asked = {
        "target": RewindTarget(SEGMENT, index),
        "expected": len(entries),
        "segment": SEGMENT,
        "session": "s",
        "ts": 9,
    } | changes
    return plan_rewind(entries, **asked)


def test_a_segment_that_continues_another_says_its_prompt_and_configuration_word_for_word():
    state = replay([START, ConfigChangedEntry(1, {"model": "n"})])
    start = segment_start("s", 5, before=state, compacted_from=SegmentOrigin(SEGMENT, 2), history=state.history)
    assert (start.system_prompt, start.config, start.history) == ("be kind", {"model": "n"}, (user("before"),))
    fresh = segment_start("s", 5)
    assert (fresh.system_prompt, fresh.config, fresh.history) == (None, {}, ())


@pytest.mark.proves("F37")
def test_going_back_keeps_what_was_before_and_what_nobody_has_seen_yet():
    first = [START, notice("old"), notice("kept"), *asked(1, "one"), call(1), result(1), TurnEndEntry(1, 1, run=1), ended(1)]
    entries = [*first, notice("late"), *asked(2, "two"), seen("old", 2), call(2), result(2), ended(2), notice("last")]
    plan = rewind(entries, len(first) + 2)
    state = replay(plan.entries)
    assert state.start.forked_from == SegmentOrigin(SEGMENT, 1)
    assert state.start.history == START.history
    assert state.history == replay(first).history
    assert [waiting.id for waiting in state.notices] == ["kept", "late", "last"], "what was seen stays seen"
    assert state.run == 2, "its number is not used again"
    assert (plan.input, plan.summary.tool_side_effect_warning) == ((Text("two"),), True)
    assert plan.summary.truncated_to_entries == len(plan.entries)
    assert not rewind([*asked(1, "one"), ended(1)], 1).summary.tool_side_effect_warning


@pytest.mark.proves("F37")
def test_going_back_is_refused_when_what_it_names_is_not_there():
    entries = [START, *asked(1, "one"), ended(1)]
    assert "another segment" in rewind(entries, 2, target=RewindTarget(OTHER, 2))
    assert "list the targets again" in rewind(entries, 2, expected=3)
    assert "no user input" in rewind(entries, 1)


@given(LOGS, st.data())
def test_what_going_back_keeps_is_as_it_was_whatever_the_log(entries, data):
    state = replay(entries)
    if not state.inputs:
        return
    at = data.draw(st.sampled_from(state.inputs))
    plan = rewind(entries, at.index)
    after = replay(plan.entries)
    assert {waiting.id for waiting in after.notices} == {waiting.id for waiting in state.notices}
    assert after.run >= state.run
    assert plan.input == at.segments


@pytest.mark.proves("I21")
def test_the_reports_of_children_that_counted_are_known_to_a_state_and_to_the_family_that_recalls_them():
    told = PodTurnEnded("kid", id="1.run.1", incarnation="1")
    entries = [
        NoticeEntry(1, "n1", "kid", "b", event=told),
        NoticeEntry(1, "n2", "kid", "b", event=attrs.evolve(told, id=None)),
        NoticeEntry(1, "n3", "kid", "b", event=attrs.evolve(told, incarnation=None)),
        notice("n4"),
    ]
    state = replay(entries)
    assert state.reports == (("1", "1.run.1"),)
    family = Family().recall(state.reports)
    assert family.knows("1", "1.run.1")
    assert not family.knows("2", "1.run.1")
    assert Family().recall(("1", str(number)) for number in range(2000)) == Family().recall(
        ("1", str(number)) for number in range(2000 - REMEMBERED_REPORTS, 2000)
    )
