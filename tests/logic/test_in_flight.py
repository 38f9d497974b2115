"""What is streamed and not committed yet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.logic import InFlight
from podkit.protocol import (
    InvokeKind,
    InvokeStart,
    LlmCallStart,
    LlmContinuation,
    LlmRetry,
    RunEnd,
    RunResult,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallStart,
    ToolResult,
    TurnEnd,
    TurnResult,
    TurnStart,
    encode_event,
)

VOID = [
    InvokeStart(InvokeKind.USER_SEND, run=1),
    TurnStart(turn=1, run=1),
    TurnEnd(turn=1, result=TurnResult.FINISHED, run=1),
    LlmRetry(1, 1, 4, 500, 0, "busy", run=1),
    RunEnd(RunResult.CANCELLED, run=1),
]
STREAM = [
    ThinkingStart(run=1),
    ThinkingDelta("hm", run=1),
    TextDelta("a", run=1),
    TextDelta("b", run=1),
    ToolCallStart(id="c1", name="Read", run=1),
    ToolCallArgsDelta(id="c1", json='{"pa', run=1),
    ToolCallStart(id="c2", name="Write", run=1),
    ToolCallArgsDelta(id="c1", json='th"', run=1),
]
BLOCKS = [
    {"kind": "thinking", "text": "hm", "run": 1},
    {"kind": "text", "text": "ab", "run": 1},
    {"kind": "tool_call", "id": "c1", "name": "Read", "arguments": '{"path"', "run": 1},
    {"kind": "tool_call", "id": "c2", "name": "Write", "arguments": "", "run": 1},
]


def after(*events, limit=2**20):
    state = InFlight(limit)
    for event in events:
        state.fold(event)
    return state.data()


def blocks(*events, limit=2**20):
    data = after(*events, limit=limit)
    return [] if data is None else data["blocks"]


@pytest.mark.proves("F57")
def test_deltas_are_gathered_by_block_in_the_order_in_which_the_blocks_began():
    assert after() is None
    assert blocks(*STREAM) == BLOCKS


@pytest.mark.proves("F57")
@pytest.mark.parametrize(
    ("commit", "gone"),
    [
        (ThinkingDone("hm", run=1), 0),
        (TextDone("ab", run=1), 1),
        (ToolCallDone(id="c1", name="Read", arguments="{}", run=1), 2),
        (ToolResult(id="c2", summary="written", run=1), 3),
    ],
)
def test_a_commit_removes_its_block_and_no_other(commit, gone):
    assert blocks(*STREAM, commit) == [block for at, block in enumerate(BLOCKS) if at != gone]


@pytest.mark.proves("F57")
@pytest.mark.parametrize("event", VOID, ids=lambda event: type(event).__name__)
def test_what_voids_an_answer_or_ends_it_leaves_nothing_in_flight(event):
    assert after(*STREAM, event) is None


def test_what_says_nothing_about_blocks_changes_none():
    others = [LlmCallStart(1, run=1), LlmContinuation(1, 1, 3, "length", run=1), ToolCallDone(id="?", name="x", arguments="")]
    assert blocks(*STREAM, *others) == BLOCKS


def test_a_delta_whose_beginning_was_not_seen_begins_its_block():
    assert blocks(ThinkingDelta("x"), ToolCallArgsDelta(id="text", json="{"), TextDelta("y", run=2)) == [
        {"kind": "thinking", "text": "x"},
        {"kind": "tool_call", "id": "text", "name": "", "arguments": "{"},
        {"kind": "text", "text": "y", "run": 2},
    ]


def test_a_second_beginning_drops_what_was_thought_before():
    assert blocks(ThinkingStart(), ThinkingDelta("x"), ThinkingStart()) == [{"kind": "thinking", "text": ""}]


@pytest.mark.proves("I35")
def test_of_an_endless_text_the_end_is_kept_and_what_is_missing_is_counted():
    said = "".join(chr(97 + number % 26) * (number % 7) for number in range(5000))
    pieces = [said[at : at + 3] for at in range(0, len(said), 3)]
    (block,) = blocks(*(TextDelta(piece) for piece in pieces), limit=1000)
    assert block["missing"] + len(block["text"]) == len(said)
    assert said.endswith(block["text"])
    assert 900 < len(block["text"]) <= 1000


@pytest.mark.proves("I35")
def test_of_endlessly_many_calls_the_last_are_kept():
    calls = [ToolCallStart(id=f"c{number:06d}", name="Read") for number in range(1000)]
    kept = [block["id"] for block in blocks(TextDelta("first"), *calls, limit=1000)]
    assert 5 < len(kept) <= 1000 / 64
    assert kept == [call.id for call in calls][-len(kept) :]


def test_one_block_is_kept_whatever_the_limit():
    assert blocks(TextDelta("abc"), limit=1) == [{"kind": "text", "text": "", "missing": 3}]


@given(
    st.lists(st.sampled_from([*STREAM, *VOID, TextDone("x"), ThinkingDone(""), TextDelta("")]), max_size=60), st.integers(1, 800)
)
def test_whatever_comes_the_bound_holds_and_the_rest_is_exact(events, limit):
    state, oracle = InFlight(limit), {}
    for event in events:
        state.fold(event)
        match event:
            case TextDelta(text=text):
                oracle["text"] = oracle.get("text", "") + text
            case TextDone():
                oracle.pop("text", None)
            case event if event in VOID:
                oracle.clear()
        found = {block["kind"]: block for block in (state.data() or {"blocks": []})["blocks"]}
        if "text" in found:
            assert oracle["text"].endswith(found["text"]["text"])
            if limit > 400:
                assert found["text"]["text"] == oracle["text"]
        assert state._size <= limit or len(state._blocks) == 1


def test_what_is_kept_can_be_said_on_the_wire():
    from podkit.protocol import Greeting, Snapshot, decode_event

    snapshot = Snapshot((), Greeting("p", "/", "x", "y", "z", ()), in_flight=after(*STREAM))
    assert decode_event(encode_event(snapshot)) == snapshot


def test_a_text_in_very_many_pieces_is_one_text():
    state = InFlight(2**20)
    for number in range(3000):
        state.fold(TextDelta(f"{number} "))
    assert state.data() == {"blocks": [{"kind": "text", "text": "".join(f"{number} " for number in range(3000))}]}
    assert "1 blocks" in repr(state)
    assert max(len(block._parts) + len(block._fresh) for block in state._blocks.values()) <= 1027


@pytest.mark.proves("I35")
def test_a_text_over_the_limit_is_copied_no_more_often_for_being_in_many_pieces():
    class Piece(str):
        """A text that knows how much of it was copied."""

        copied = 0
        __slots__ = ()

        def __getitem__(self, part):
            made = Piece(str.__getitem__(self, part))
            Piece.copied += len(made)
            return made

    state, limit = InFlight(100_000), 100_000
    state.fold(TextDelta(Piece("a" * limit)))
    state._blocks["text"]._gather()
    state._blocks["text"]._parts[0] = Piece(state._blocks["text"]._parts[0])
    for _ in range(limit):
        state.fold(TextDelta("b"))
    assert 0 < Piece.copied <= limit
    (block,) = state.data()["blocks"]
    assert (block["text"], block["missing"]) == ("b" * (limit - 64), limit + 64)


@given(
    st.lists(
        st.lists(st.sampled_from([*STREAM, *VOID, TextDone("x"), TextDelta(""), TextDelta("xyz" * 9)]), max_size=30), max_size=9
    ),
    st.integers(1, 800),
)
def test_many_events_at_once_leave_what_one_after_the_other_leaves(batches, limit):
    one, many = InFlight(limit), InFlight(limit)
    for batch in batches:
        for event in batch:
            one.fold(event)
        many.fold_all(batch)
        assert many.data() == one.data()
        assert many._size == one._size
