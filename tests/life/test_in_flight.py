"""Whoever attaches to a pod, at whatever moment, knows the same as who was there from the start."""

import attrs
import pytest
import trio

import podkit
from podkit._life._desk import PodDesk
from podkit.protocol import (
    Error,
    LlmCallEnd,
    LlmCallStart,
    LlmRetry,
    RunEnd,
    RunResult,
    Snapshot,
    SystemItemEvent,
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
    UserMessage,
    entry_from_data,
    flatten,
)

ANSWER = [
    TurnStart(turn=1),
    LlmCallStart(1),
    ThinkingStart(),
    ThinkingDelta("let me "),
    ThinkingDelta("see"),
    ThinkingDone("let me see"),
    TextDelta("I "),
    TextDelta("read"),
    ToolCallStart(id="c1", name="Read"),
    ToolCallStart(id="c2", name="Read"),
    ToolCallArgsDelta(id="c2", json='{"path":'),
    ToolCallArgsDelta(id="c1", json="{}"),
    ToolCallArgsDelta(id="c2", json='"b"}'),
    TextDone("I read"),
    ToolCallDone(id="c1", name="Read", arguments="{}"),
    ToolCallDone(id="c2", name="Read", arguments='{"path":"b"}'),
    LlmCallEnd(1),
    ToolResult(id="c2", summary="b", output="bbb"),
    ToolResult(id="c1", summary="a", is_error=True),
    TurnEnd(turn=1, result=TurnResult.FINISHED),
]
RETRIED = [
    TurnStart(turn=1),
    LlmCallStart(1),
    TextDelta("half an ans"),
    LlmRetry(1, 1, 4, 500, 0, "overloaded"),
    ThinkingStart(),
    ThinkingDone(""),
    TextDelta("whole"),
    TextDone("whole"),
]
CUT_OFF = [TurnStart(turn=1), ThinkingStart(), ThinkingDelta("never "), TextDelta("finished"), ToolCallStart(id="c9", name="Bash")]


class Reciting(podkit.abc.Worker):
    """Says what it was given for each run, lets others run after every piece, and ends as it was told to."""

    def __init__(self, *runs):
        self.runs = list(runs)

    async def work(self, run, emit):
        events, end = self.runs.pop(0)
        for event in events:
            emit(event)
            await trio.lowlevel.checkpoint()
        if isinstance(end, Exception):
            raise end
        if end is None:
            await trio.sleep_forever()
        return end


class Screen:
    """What a front end shows: what is committed, and what is open. Written from the words of the wire alone."""

    def __init__(self):
        self.items, self.open, self.status = [], {}, None

    def see(self, event):
        match event:
            case Snapshot(entries=entries, in_flight=in_flight, status=status):
                self.items = [item for entry in entries for item in said_by(entry_from_data(entry))]
                self.open = {}
                for block in (in_flight or {"blocks": []})["blocks"]:
                    key = block.get("id", block["kind"])
                    self.open[key] = (block.get("name", ""), block["arguments" if "id" in block else "text"])
                self.status = status
            case TextDelta(text=text):
                self.more("text", text)
            case ThinkingStart():
                self.open["thinking"] = ("", "")
            case ThinkingDelta(text=text):
                self.more("thinking", text)
            case ToolCallStart(id=call, name=name):
                self.open[call] = (name, "")
            case ToolCallArgsDelta(id=call, json=text):
                self.more(call, text)
            case UserMessage(segments=segments):
                self.items.append(("user", flatten(segments)))
            case SystemItemEvent(item=item):
                self.items.append(("told", item.body))
            case TextDone(text=text):
                self.commit("text", ("text", text))
            case ThinkingDone(text=text):
                self.commit("thinking", ("thinking", text))
            case ToolCallDone(id=call, arguments=arguments):
                self.commit(call, ("call", call, arguments))
            case ToolResult(id=call, summary=summary):
                self.items.append(("result", call, summary))
            case Error(message=message):
                self.items.append(("error", message))
            case LlmRetry() | TurnStart() | TurnEnd() | RunEnd():
                self.open = {}

    def more(self, key, text):
        name, before = self.open.get(key, ("", ""))
        self.open[key] = (name, before + text)

    def commit(self, key, item):
        self.open.pop(key, None)
        self.items.append(item)

    def shown(self):
        return tuple(self.items), tuple(self.open.items())


def said_by(entry):
    match entry.kind, entry:
        case "user_input", _:
            yield "user", flatten(entry.segments)
        case "system_item", _:
            yield "told", entry.item.body
        case "run_errored", _:
            yield "error", entry.message
        case "tool_result", _:
            yield "result", entry.item.call_id, entry.item.summary
        case "assistant_item", _:
            match entry.item.kind:
                case "message":
                    yield "text", entry.item.content[0].text
                case "reasoning":
                    yield "thinking", entry.item.text
                case "tool_call":
                    yield "call", entry.item.call_id, entry.item.arguments


@attrs.define(eq=False)
class EverySeat(trio.abc.Instrument):
    """Attaches to a pod before every step of every task at which something was published since the last one."""

    pod: podkit.Pod
    seats: list = attrs.field(factory=list)
    last: int = -1

    def before_task_step(self, task):
        if self.pod.hub.seq != self.last and not self.pod.hub.closed:
            self.last = self.pod.hub.seq
            self.seats.append((self.last, self.pod.hub.open_view(PodDesk(self.pod))))


async def events_of(view):
    """Everything a view still holds: (number, event)."""
    seen = []
    while True:
        try:
            event = await view.receive()
        except trio.EndOfChannel:
            return seen
        seen.append((view.seq, event))


async def recorded(act, *runs):
    """Let `act` play with a pod; what each seat saw: the number it attached at, and (number, event) from there on."""
    options = {"scope": podkit.Scope.read("/w"), "transport": podkit.MemoryTransport(), "registry": podkit.MemoryRegistry()}
    async with podkit.open_pod("root", Reciting(*runs), cwd="/", **options) as pod:
        every = EverySeat(pod)
        every.before_task_step(None)
        trio.lowlevel.add_instrument(every)
        try:
            await act(pod)
        finally:
            trio.lowlevel.remove_instrument(every)
    seats = []
    for at, view in every.seats:
        seats.append((at, await events_of(view)))
        await view.aclose()
    return seats


async def one_run(pod):
    await pod.wait(await pod.run("go on"))


async def two_runs(pod):
    await one_run(pod)
    await one_run(pod)


async def a_run_that_is_cancelled(pod):
    run = await pod.run("go on")
    while "c9" not in str(pod.hub.in_flight.data()):
        await trio.lowlevel.checkpoint()
    await pod.cancel(run=run)
    await pod.wait(run)


async def notices_before_and_in_a_run(pod):
    await pod.notify("first", wake=False)
    run = await pod.run("go on")
    await pod.notify("second", wake=False)
    await pod.wait(run)
    await pod.notify("third")
    await pod.wait(run + 1)


FINE = RunResult.FINISHED
PLAYS = {
    "answers with tools": (two_runs, (ANSWER, FINE), (ANSWER, FINE)),
    "a retried answer": (one_run, (RETRIED, FINE)),
    "an answer cut off by an error, and one after it": (two_runs, (CUT_OFF, ValueError("no")), (RETRIED, FINE)),
    "text outside of any turn, and a run after it": (two_runs, ([TextDelta("loose")], FINE), (RETRIED, FINE)),
    "a cancelled answer": (a_run_that_is_cancelled, (CUT_OFF, None)),
    "notices": (notices_before_and_in_a_run, (ANSWER, FINE), (RETRIED, FINE), (RETRIED, FINE)),
}


@pytest.mark.proves("F57", "F56", "F52", "I15")
@pytest.mark.parametrize("play", PLAYS)
async def test_attached_at_any_event_one_sees_what_was_seen_from_the_start(play):
    with trio.fail_after(30):
        seats = await recorded(*PLAYS[play])
    whole, after = Screen(), {}
    for seq, event in seats[0][1]:
        whole.see(event)
        after[seq] = whole.shown()
    last = max(after)
    # Every number is a seat, but those of events that are published in one step with the next.
    assert len(seats) > last * 0.6
    assert any(streamed for _items, streamed in after.values())
    for at, events in seats:
        assert [seq for seq, _event in events] == list(range(at, last + 1))
        screen = Screen()
        for seq, event in events:
            screen.see(event)
            assert screen.shown() == after[seq], f"attached at {at}, shown at {seq}"


@pytest.mark.proves("F57", "I15")
@pytest.mark.parametrize("play", PLAYS)
async def test_the_transcript_of_a_front_end_is_the_same_wherever_it_began(play):
    with trio.fail_after(30):
        seats = await recorded(*PLAYS[play])
    after, transcript = {}, podkit.Transcript()
    for seq, event in seats[0][1]:
        after[seq] = transcript = podkit.fold_transcript(transcript, event)
    for at, events in seats:
        transcript = podkit.Transcript()
        for seq, event in events:
            transcript = podkit.fold_transcript(transcript, event)
            assert transcript == after[seq], f"attached at {at}, folded at {seq}"


@pytest.mark.proves("F57")
@pytest.mark.parametrize("play", PLAYS)
async def test_when_a_run_is_over_nothing_of_it_is_in_flight(play):
    act, *runs = PLAYS[play]

    async def checked(pod):
        await act(pod)
        assert pod.hub.in_flight.data() is None

    with trio.fail_after(30):
        await recorded(checked, *runs)


@pytest.mark.proves("F58")
async def test_a_run_that_failed_is_known_to_have_failed_whenever_one_attaches():
    with trio.fail_after(30):
        seats = await recorded(*PLAYS["an answer cut off by an error, and one after it"])
    for _at, events in seats:
        screen = Screen()
        for _seq, event in events:
            screen.see(event)
        assert screen.items.count(("error", "ValueError: no")) == 1


@pytest.mark.proves("F56")
async def test_the_input_of_a_refused_run_is_shown_to_nobody():
    async def act(pod):
        run = await pod.run("first")
        with pytest.raises(podkit.MethodRejectedError):
            await pod.run("second")
        await pod.wait(run)

    with trio.fail_after(30):
        seats = await recorded(act, (ANSWER, FINE))
    assert "second" not in str(seats)
    assert sum(isinstance(event, UserMessage) for _seq, event in seats[0][1]) == 1
