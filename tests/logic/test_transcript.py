"""A transcript: what a front end shows of a pod, folded from a snapshot and events."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.logic import (
    AssistantText,
    AssistantThinking,
    OtherItem,
    SystemNote,
    ToolReply,
    ToolUse,
    Transcript,
    TranscriptLimits,
    UserInput,
    fold_transcript,
)
from podkit.protocol import (
    Accepted,
    Alert,
    AlertLevel,
    AlertSource,
    Error,
    ErrorCode,
    FileRef,
    Greeting,
    InvokeKind,
    InvokeStart,
    Lagged,
    LlmRetry,
    Notification,
    NotificationItem,
    RewindApplied,
    RewindSummary,
    RunEnd,
    RunResult,
    SegmentRotated,
    Shutdown,
    Snapshot,
    Status,
    StatusEvent,
    SystemItemEvent,
    Text,
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
    UnknownEvent,
    UnknownItem,
    Usage,
    UserMessage,
)

GREETING = Greeting("root", "/w", "acme", "m1", "Readable:\n  - /w", ())
START = Snapshot((), GREETING)


def folded(*events, limits=None):
    transcript = Transcript() if limits is None else Transcript(limits=limits)
    for event in events:
        transcript = fold_transcript(transcript, event)
    return transcript


def last_run(*events, limits=None):
    return folded(START, *events, limits=limits).runs[-1]


def test_before_anything_is_known_nothing_is_complete():
    nothing = Transcript()
    assert (nothing.complete, nothing.status, nothing.greeting, nothing.runs) == (False, None, None, ())


def test_a_run_is_shown_from_its_cause_to_its_end():
    run = last_run(
        InvokeStart(InvokeKind.USER_SEND, run=1),
        UserMessage((Text("look at "), FileRef("a.py")), run=1),
        SystemItemEvent(NotificationItem("hi", "you are told: hi"), run=1),
        TurnStart(1, run=1),
        ThinkingStart(run=1),
        ThinkingDelta("hm", run=1),
        ThinkingDone("hmm", run=1),
        TextDelta("I ", run=1),
        TextDone("I look", run=1),
        ToolCallStart("c", "read", run=1),
        ToolCallArgsDelta("c", "{}", run=1),
        ToolCallDone("c", "read", "{}", run=1),
        ToolResult("c", "3 lines", output="a\nb\nc", run=1),
        Usage(input_tokens=10, output_tokens=2, run=1),
        Usage(input_tokens=5, cache_read_input_tokens=1, run=1),
        TurnEnd(1, TurnResult.FINISHED, run=1),
        RunEnd(RunResult.FINISHED, run=1),
    )
    assert (run.number, run.cause, run.turns, run.result, run.error) == (1, InvokeKind.USER_SEND, 1, RunResult.FINISHED, None)
    assert run.items == (
        UserInput("look at @a.py"),
        SystemNote("notification", "you are told: hi"),
        AssistantThinking("hmm"),
        AssistantText("I look"),
        ToolUse("c", "read", "{}", reply=ToolReply("3 lines", "a\nb\nc")),
    )
    assert run.streaming == ()
    assert run.usage == Usage(input_tokens=15, output_tokens=2, cache_read_input_tokens=1)


def test_what_is_streamed_stands_after_what_is_committed_until_it_is_committed_itself():
    begun = (InvokeStart(InvokeKind.USER_SEND, run=1), ThinkingStart(run=1), TextDelta("a", run=1), TextDelta("b", run=1))
    calling = (
        *begun,
        ToolCallStart("c", "read", run=1),
        ToolCallArgsDelta("c", '{"p', run=1),
        ToolCallArgsDelta("c", '":1}', run=1),
    )
    assert last_run(*calling).streaming == (
        AssistantThinking("", done=False),
        AssistantText("ab", done=False),
        ToolUse("c", "read", '{"p":1}', done=False),
    )
    run = last_run(*calling, TextDone("ab!", run=1))
    assert run.items == (AssistantText("ab!"),)
    assert run.streaming == (AssistantThinking("", done=False), ToolUse("c", "read", '{"p":1}', done=False))


@pytest.mark.parametrize(
    "voiding",
    [
        LlmRetry(1, 1, 4, 500, 0, "busy", run=1),
        TurnStart(2, run=1),
        TurnEnd(1, TurnResult.FINISHED, run=1),
        RunEnd(RunResult.CANCELLED, run=1),
        Error(ErrorCode.PROVIDER_ERROR, "gone", run=1),
        InvokeStart(InvokeKind.USER_SEND, run=1),
    ],
    ids=lambda event: event.event,
)
@pytest.mark.proves("F57")
def test_what_was_streamed_and_will_not_be_committed_goes(voiding):
    assert last_run(TextDelta("half", run=1), voiding).streaming == ()


def test_a_reply_stands_with_its_call_also_when_calls_and_replies_interleave():
    run = last_run(
        ToolCallDone("a", "read", "1", run=1),
        ToolCallDone("b", "write", "2", run=1),
        ToolResult("b", "no", is_error=True, run=1),
        ToolResult("a", "yes", run=1),
    )
    assert run.items == (
        ToolUse("a", "read", "1", reply=ToolReply("yes")),
        ToolUse("b", "write", "2", reply=ToolReply("no", is_error=True)),
    )


def test_a_reply_to_a_call_that_was_not_seen_stands_alone():
    run = last_run(ToolCallArgsDelta("x", "{", run=1), ToolResult("x", "late", run=1))
    assert (run.items, run.streaming) == ((ToolUse("x", "", "", reply=ToolReply("late")),), ())


def test_a_failed_run_says_why():
    run = last_run(
        InvokeStart(InvokeKind.NOTIFY, run=4), Error(ErrorCode.TOOL_ERROR, "it broke", run=4), RunEnd(RunResult.FAILED, run=4)
    )
    assert (run.result, run.error) == (RunResult.FAILED, Error(ErrorCode.TOOL_ERROR, "it broke"))


def test_events_without_a_number_belong_to_the_run_that_goes_on():
    transcript = folded(
        START,
        Error(ErrorCode.ALREADY_RUNNING, "to somebody who asked while nothing ran"),
        InvokeStart(InvokeKind.USER_SEND),
        TextDone("one"),
        RunEnd(RunResult.FINISHED),
        TextDone("two"),
        Error(ErrorCode.INTERNAL, "Cancelled"),
        InvokeStart(InvokeKind.USER_SEND),
        InvokeStart(InvokeKind.USER_SEND),
    )
    assert [(run.number, run.items, run.result) for run in transcript.runs] == [
        (None, (AssistantText("one"),), RunResult.FINISHED),
        (None, (AssistantText("two"),), RunResult.FAILED),
        (None, (), None),
        (None, (), None),
    ]


def test_status_and_what_is_held_are_kept_up_to_date():
    held = Snapshot((), attrs.evolve(GREETING, held=3), status=Status.PAUSED)
    assert [(t.status, t.held) for t in (folded(held), folded(held, StatusEvent(Status.IDLE, held=1)))] == [
        (Status.PAUSED, 3),
        (Status.IDLE, 1),
    ]


@pytest.mark.proves("F19")
def test_after_events_were_lost_it_is_complete_again_with_the_next_snapshot():
    lost = (START, TextDone("seen", run=1), Lagged(2, 9))
    assert not folded(*lost).complete
    again = folded(*lost, Snapshot(({"kind": "run_completed", "ts": 0, "result": "finished", "run": 7},), GREETING))
    assert again.complete
    assert [run.number for run in again.runs] == [7]


def test_a_pod_that_left_is_over_until_another_one_greets():
    assert folded(START, Shutdown()).over
    assert not folded(START, Shutdown(), START).over


def test_an_alert_is_shown_once_also_when_it_is_told_again_and_stays_over_a_snapshot():
    first, second = (Alert(AlertLevel.WARN, AlertSource.POD, text, 5) for text in ("low disk", "lower disk"))
    heard = folded(first, START, second, Notification(AlertLevel.WARN, AlertSource.POD, "low disk", 5), START)
    assert heard.alerts == (first, second)


@pytest.mark.parametrize(
    "event",
    [
        UnknownEvent("flux", {"capacitor": 1}),
        Accepted(run=3),
        TurnStart(1, run=3),
        LlmRetry(1, 1, 4, 500, 0, "busy"),
        Snapshot(
            (
                {"kind": "flux", "ts": 1},
                {"kind": "assistant_item", "ts": 1, "item": {"kind": "message", "role": 7}},
                {"kind": "notice", "ts": 1, "id": "n", "from": "x", "body": "y"},
                "no entry",
                None,
            ),
            GREETING,
            in_flight={"blocks": [{"kind": "flux"}, 5, {"kind": "text", "text": 9}, {"kind": "tool_call", "id": "x"}]},
        ),
        Snapshot((), GREETING, in_flight="x"),
        Snapshot((), GREETING, in_flight={"blocks": "x"}),
        Snapshot((), GREETING, in_flight={"blocks": [{"kind": "text", "text": 5, "run": True, "missing": -4}]}),
    ],
    ids=str,
)
def test_what_is_unknown_or_damaged_changes_nothing(event):
    assert folded(START, event) == folded(START)


def test_what_this_version_cannot_show_is_there_by_its_kind():
    def item(data):
        return {"kind": "assistant_item", "ts": 0, "run": 1, "item": data}

    entries = (
        item({"kind": "hologram", "beam": 1}),
        item({"kind": "message", "role": "critic", "content": [{"kind": "text", "text": "no"}, {"kind": "smell"}]}),
        item({"kind": "message", "role": "assistant", "content": [{"kind": "refusal", "text": "I will not"}]}),
        {"kind": "run_errored", "ts": 0, "message": "odd", "run": 1},
    )
    run = folded(Snapshot(entries, GREETING)).runs[0]
    assert run.items == (OtherItem("hologram"), SystemNote("critic", "no"), AssistantText("I will not"))
    assert run.error == Error(ErrorCode.INTERNAL, "odd")
    told = [UnknownItem("x", {"kind": "x", "body": "b"}), UnknownItem("x", {"kind": "x", "body": 5}), UnknownItem("x", "y")]
    assert last_run(*(SystemItemEvent(one, run=1) for one in told)).items == (
        SystemNote("x", "b"),
        SystemNote("x", ""),
        SystemNote("x", ""),
    )


def test_a_log_that_went_on_in_a_new_segment_shows_what_that_segment_begins_with():
    history = [
        {"kind": "message", "role": "user", "content": [{"kind": "text", "text": "hello"}]},
        {"kind": "reasoning", "text": "hm"},
        {"kind": "tool_call", "call_id": "c", "name": "read", "arguments": "{}"},
        {"kind": "tool_result", "call_id": "c", "summary": "ok", "is_error": True},
    ]
    entry = {"kind": "segment_start", "ts": 0, "session_id": "s", "system_prompt": None, "config": {}, "history": history}
    transcript = folded(START, TextDone("before", run=1), SegmentRotated(entry), TextDone("after", run=2))
    assert [(run.number, run.items) for run in transcript.runs] == [
        (
            None,
            (UserInput("hello"), AssistantThinking("hm"), ToolUse("c", "read", "{}", reply=ToolReply("ok", is_error=True))),
        ),
        (2, (AssistantText("after"),)),
    ]


def test_what_was_taken_back_is_gone():
    left = ({"kind": "user_input", "ts": 0, "segments": [{"kind": "text", "content": "first"}], "run": 1},)
    back = RewindApplied(left, (), RewindSummary(1, 5, False))
    assert [run.items for run in folded(START, TextDone("gone", run=2), back).runs] == [(UserInput("first"),)]


# Bounds.


@pytest.mark.proves("I35")
def test_only_the_last_runs_items_and_alerts_are_kept_and_it_is_said_how_much_came_before():
    limits = TranscriptLimits(runs=2, items=3, alerts=1)
    said = [TextDone(f"{run}.{at}", run=run) for run in (1, 2, 3) for at in (1, 2)]
    alerts = [Alert(AlertLevel.WARN, AlertSource.POD, str(at), 0) for at in range(3)]
    transcript = folded(START, *said, *alerts, limits=limits)
    assert transcript.omitted == 1
    assert [(run.number, run.omitted, [item.text for item in run.items]) for run in transcript.runs] == [
        (2, 1, ["2.2"]),
        (3, 0, ["3.1", "3.2"]),
    ]
    assert transcript.alerts == (alerts[-1],)


@pytest.mark.proves("I35")
def test_of_a_long_text_the_last_is_kept_and_it_is_said_how_much_came_before():
    limits = TranscriptLimits(text=4, streaming=2)
    events = [
        (UserMessage("hello", run=1), UserInput("ello", omitted=1)),
        (TextDone("abcdef", run=1), AssistantText("cdef", omitted=2)),
        (ThinkingDone("abcde", run=1), AssistantThinking("bcde", omitted=1)),
        (SystemItemEvent(NotificationItem("m", "abcde"), run=1), SystemNote("notification", "bcde", omitted=1)),
        (ToolCallDone("c", "n", "abcde", run=1), ToolUse("c", "n", "bcde", omitted=1)),
        (ToolResult("c", "abcde", output="abcdef", run=1), ToolUse("c", "", "", reply=ToolReply("bcde", "cdef", omitted=3))),
    ]
    for event, item in events:
        assert last_run(event, limits=limits).items == (item,)
    streamed = last_run(TextDelta("abc", run=1), TextDelta("defg", run=1), limits=limits).streaming
    assert streamed == (AssistantText("defg", done=False, omitted=3),)
    arguments = [ToolCallArgsDelta("c", "abc", run=1), ToolCallArgsDelta("c", "def", run=1)]
    assert last_run(*arguments, limits=limits).streaming == (ToolUse("c", "", "cdef", done=False, omitted=2),)
    calls = [ToolCallStart(str(at), "x" * 1000, run=1) for at in range(5)]
    assert [(call.id, len(call.name)) for call in last_run(*calls, limits=limits).streaming] == [("3", 256), ("4", 256)]


@pytest.mark.parametrize("name", ["runs", "items", "text", "alerts", "streaming"])
def test_a_limit_is_a_whole_number_from_one(name):
    with pytest.raises(TypeError, match=name):
        TranscriptLimits(**{name: True})
    with pytest.raises(ValueError, match=name):
        TranscriptLimits(**{name: 0})


# The law.


class Log:
    """What the log and the in-flight blocks of a pod are after each event, written down independently of the fold."""

    def __init__(self):
        self.entries, self.blocks, self.status, self.held = [], {}, Status.IDLE, 0

    def snapshot(self):
        blocks = {"blocks": list(self.blocks.values())} if self.blocks else None
        return Snapshot(tuple(self.entries), attrs.evolve(GREETING, held=self.held), status=self.status, in_flight=blocks)

    def entry(self, kind, event, **fields):
        self.entries.append({"kind": kind, "ts": 0, "run": event.run, **fields})

    def item(self, event, **item):
        self.entry("tool_result" if item["kind"] == "tool_result" else "assistant_item", event, item=item)

    def stream(self, key, new, field, text):
        block = self.blocks.setdefault(key, new)
        self.blocks[key] = {**block, field: block[field] + text}

    def see(self, event):
        match event:
            case StatusEvent():
                self.status, self.held = event.status, event.held
            case InvokeStart():
                self.entry("invoke", event, trigger=event.kind.value)
                self.blocks.clear()
            case UserMessage(segments=(Text(content=text),)):
                self.entry("user_input", event, segments=[{"kind": "text", "content": text}])
            case SystemItemEvent(item=item):
                self.entry("system_item", event, item={"kind": "notification", "message": item.message, "body": item.body})
            case TurnStart() | LlmRetry():
                self.blocks.clear()
            case TurnEnd():
                self.entry("turn_end", event, turn_count=event.turn)
                self.blocks.clear()
            case TextDelta():
                self.stream("text", {"kind": "text", "text": "", "run": event.run}, "text", event.text)
            case TextDone():
                self.blocks.pop("text", None)
                self.item(event, kind="message", role="assistant", content=[{"kind": "text", "text": event.text}])
            case ThinkingStart():
                self.blocks.pop("thinking", None)
                self.stream("thinking", {"kind": "thinking", "text": "", "run": event.run}, "text", "")
            case ThinkingDelta():
                self.stream("thinking", {"kind": "thinking", "text": "", "run": event.run}, "text", event.text)
            case ThinkingDone():
                self.blocks.pop("thinking", None)
                self.item(event, kind="reasoning", text=event.text)
            case ToolCallStart():
                self.blocks.pop("call " + event.id, None)
                call = {"kind": "tool_call", "id": event.id, "name": event.name, "arguments": "", "run": event.run}
                self.stream("call " + event.id, call, "arguments", "")
            case ToolCallArgsDelta():
                call = {"kind": "tool_call", "id": event.id, "name": "", "arguments": "", "run": event.run}
                self.stream("call " + event.id, call, "arguments", event.json)
            case ToolCallDone():
                self.blocks.pop("call " + event.id, None)
                self.item(event, kind="tool_call", call_id=event.id, name=event.name, arguments=event.arguments)
            case ToolResult():
                self.blocks.pop("call " + event.id, None)
                content = {} if event.output is None else {"content": event.output}
                self.item(event, kind="tool_result", call_id=event.id, summary=event.summary, is_error=event.is_error, **content)
            case Usage():
                self.entry("llm_usage", event, input_total_tokens=event.input_tokens, output_tokens=event.output_tokens)
            case Error():
                self.entry("run_errored", event, message=event.message, code=event.code.value)
            case RunEnd(result=result):
                self.blocks.clear()
                if result is not RunResult.FAILED:
                    self.entry("run_completed", event, result=result.value)
            case SegmentRotated(entry=entry):
                self.entries = [entry]
            case RewindApplied(entries=entries):
                self.entries = list(entries)


words = st.text("ab\n\x1b", max_size=6)
calls = st.sampled_from(["c1", "c2"])
number = st.none() | st.integers(0, 50)


def within(run):
    """What may happen while a run goes on."""
    return st.one_of(
        st.builds(TextDelta, words, run=run),
        st.builds(TextDone, words, run=run),
        st.builds(ThinkingStart, run=run),
        st.builds(ThinkingDelta, words, run=run),
        st.builds(ThinkingDone, words, run=run),
        st.builds(ToolCallStart, calls, words, run=run),
        st.builds(ToolCallArgsDelta, calls, words, run=run),
        st.builds(ToolCallDone, calls, words, words, run=run),
        st.builds(ToolResult, calls, words, output=st.none() | words, is_error=st.booleans(), run=run),
        st.builds(Usage, input_tokens=number, output_tokens=number, run=run),
        st.builds(TurnStart, st.integers(1, 3), run=run),
        st.builds(TurnEnd, st.integers(1, 3), st.just(TurnResult.FINISHED), run=run),
        st.builds(lambda run: LlmRetry(1, 1, 4, 500, 0, "busy", run=run), run),
        st.builds(lambda text, n: SystemItemEvent(NotificationItem("m", text), run=n), words, run),
        st.just(UnknownEvent("flux", {})),
    )


@st.composite
def streams(draw):
    """The events of a pod over some runs."""
    events = []
    for run in range(1, draw(st.integers(1, 4)) + 1):
        events += [StatusEvent(Status.RUNNING), InvokeStart(draw(st.sampled_from(tuple(InvokeKind))), run=run)]
        if draw(st.booleans()):
            events.append(UserMessage(draw(words), run=run))
        events += draw(st.lists(within(st.just(run)), max_size=12))
        result = draw(st.sampled_from(tuple(RunResult)))
        events += [Error(ErrorCode.INTERNAL, "no", run=run)] if result is RunResult.FAILED else []
        events += [RunEnd(result, run=run), StatusEvent(draw(st.sampled_from(tuple(Status))), held=draw(st.integers(0, 3)))]
        between = draw(st.integers(0, 8))
        history = [{"kind": "message", "role": "user", "content": [{"kind": "text", "text": "so far"}]}]
        if between == 0:
            start = {"kind": "segment_start", "ts": 0, "session_id": "s", "system_prompt": None, "config": {}, "history": history}
            events.append(SegmentRotated(start))
        elif between == 1:
            kept = {"kind": "user_input", "ts": 0, "segments": [{"kind": "text", "content": "kept"}], "run": 1}
            events.append(RewindApplied((kept,), (), RewindSummary(1, 5, True)))
    return [*events, Shutdown()]


tight = st.builds(TranscriptLimits, runs=st.integers(1, 3), items=st.integers(1, 6), text=st.integers(1, 8), alerts=st.just(3))


@pytest.mark.proves("I15", "F52", "F57")
@given(streams(), st.just(TranscriptLimits()) | tight)
def test_a_snapshot_at_any_moment_and_the_events_after_it_give_what_all_events_give(events, limits):
    log = Log()
    snapshots, whole = [log.snapshot()], [folded(log.snapshot(), limits=limits)]
    for event in events:
        log.see(event)
        snapshots.append(log.snapshot())
        whole.append(fold_transcript(whole[-1], event))
    for at, snapshot in enumerate(snapshots[:-1]):
        late = folded(snapshot, limits=limits)
        for later in range(at, len(events)):
            assert attrs.evolve(late, greeting=whole[later].greeting) == whole[later], (at, later)
            late = fold_transcript(late, events[later])
        assert attrs.evolve(late, greeting=whole[-1].greeting) == whole[-1]
