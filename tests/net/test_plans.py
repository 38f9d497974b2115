"""What is decided without a connection: snapshots in pieces, who may say what, what came of a run, receipts."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit._net import Origin, Receipts, _plan_snapshot
from podkit._net._burst import burst_of, burst_of_one
from podkit._net._inbox import Inbox
from podkit._net._link import PORTION, portions
from podkit._net._plan_admission import Admitted, Refused, forbids, judge_hello
from podkit._net._plan_late import SHORT, most_bytes, most_bytes_of, waits
from podkit._net._plan_lines import write_lines
from podkit._net._plan_outcome import Tally
from podkit._net._plan_snapshot import Assembly, plan_snapshot
from podkit._net._record import Record, record_of
from podkit.errors import LocalProtocolError
from podkit.protocol import (
    Accepted,
    BirthCredential,
    Cancel,
    ErrorCode,
    EventFrame,
    Greeting,
    Hello,
    Lagged,
    Notify,
    PodEventMethod,
    PodTurnEnded,
    Returned,
    Role,
    Run,
    RunEnd,
    RunResult,
    Shutdown,
    Snapshot,
    SnapshotBegin,
    SnapshotChunk,
    Status,
    StatusEvent,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ToolCallArgsDelta,
    Usage,
    decode_event,
    encode_event,
    read_event,
)

GREETING = Greeting("p", "/", "x", "y", "z", ())
CHILD = BirthCredential("kid", "i1", "secret")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=60), max_size=60), st.integers(40, 600), st.sampled_from(list(Status)))
def test_a_snapshot_in_pieces_is_the_same_snapshot(texts, whole, status):
    snapshot = Snapshot(tuple({"text": text} for text in texts), GREETING, status=status, in_flight={"a": 1})
    frames = list(plan_snapshot(snapshot, 7, whole=whole))
    if len(frames) == 1:
        assert read_event(frames[0]) == EventFrame(snapshot, None, 7)
        assert len(frames[0]) <= whole
        return
    assembly = Assembly()
    begin, *chunks, end = (decode_event(frame) for frame in frames)
    assembly.begin(begin)
    for chunk, frame in zip(chunks, frames[1:-1], strict=True):
        assert len(frame) <= 2 * whole or len(chunk.entries) == 1
        assembly.chunk(chunk)
    assert assembly.end(end) == (snapshot, 7)


def test_a_snapshot_is_cut_into_as_many_pieces_as_its_length_asks_for():
    snapshot = Snapshot(tuple("x" * 1000 for _ in range(100)), GREETING)
    assert 40 <= len(list(plan_snapshot(snapshot, 1, whole=10_000))) <= 60


@pytest.mark.proves("I22")
def test_of_a_long_snapshot_no_more_is_made_than_the_peer_takes(monkeypatch):
    made = []

    def encode(event, **envelope):
        made.append(len(getattr(event, "entries", ())) if isinstance(event, SnapshotChunk) else 0)
        return encode_event(event, **envelope)

    monkeypatch.setattr(_plan_snapshot, "encode_event", encode)
    frames = plan_snapshot(Snapshot(tuple("x" * 1000 for _ in range(5000)), GREETING), 1)
    assert [isinstance(decode_event(next(frames)), kind) for kind in (SnapshotBegin, SnapshotChunk)] == [True, True]
    assert sum(made) < 1000, "the first piece, and what told how long all of it is"
    assert len(list(frames)) > 10
    assert 5000 <= sum(made) < 6000, "each entry is made once, but for those that told how long they are"


def _judge(key="k", now=None, **changes):
    said = {"protocol": (1,), "client": "c", "instance": "i", "key": "k"} | changes
    hello = Hello(said.pop("protocol"), said.pop("client"), said.pop("instance"), **said)
    return judge_hello(hello, key=key, admits_birth=lambda credential: credential == CHILD, now=now)


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, Admitted(Role.CLIENT)),
        ({"protocol": (3, 1)}, Admitted(Role.CLIENT)),
        ({"key": None}, Admitted(Role.CLIENT)),
        ({"birth": CHILD}, Admitted(Role.CHILD, ("kid", "i1"))),
        ({"now": Origin(Role.WATCHER, plain=True)}, Admitted(Role.CLIENT)),
        ({"now": Origin(Role.CLIENT, "i")}, Admitted(Role.CLIENT)),
    ],
)
def test_who_is_let_in(options, verdict):
    assert _judge(**options) == verdict


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"protocol": ()}, ErrorCode.UNSUPPORTED_PROTOCOL),
        ({"protocol": (2,)}, ErrorCode.UNSUPPORTED_PROTOCOL),
        ({"instance": "x" * 257}, ErrorCode.INVALID_REQUEST),
        ({"client": "x" * 257}, ErrorCode.INVALID_REQUEST),
        ({"now": Origin(Role.CHILD, "i", ("kid", "i1"))}, ErrorCode.FORBIDDEN),
    ],
)
def test_who_is_not_let_in(options, code):
    verdict = _judge(**options)
    assert isinstance(verdict, Refused)
    assert verdict.code is code


def test_a_key_that_was_not_shown_or_differs_is_forbidden():
    for shown in (None, "", "K", "kk", "\u00e9", "\ud800"):
        hello = Hello((1,), "c", "i", key=shown)
        assert isinstance(judge_hello(hello, key="k", admits_birth=lambda _: False), Refused), shown


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("method", [Run("x"), Cancel(), Notify("x"), PodEventMethod(PodTurnEnded("kid"))])
def test_only_a_child_reports_and_only_a_client_commands(role, method):
    child = ("kid", "i1") if role is Role.CHILD else None
    allowed = forbids(Origin(role, "i", child), method) is None
    if isinstance(method, PodEventMethod):
        assert allowed == (role is Role.CHILD)
    else:
        assert allowed == (role is Role.CLIENT or (role is Role.CHILD and isinstance(method, Notify)))


# Receipts.


def test_answered_receipts_are_bounded_and_the_oldest_go_first():
    receipts, ran = Receipts(3), []

    def ask(name):
        if receipts.open((name,), lambda event: None):
            ran.append(name)
            receipts.settle((name,), Accepted())

    for name in "abc":
        ask(name)
    ask("a")
    ask("d")
    assert len(receipts) == 3
    ran.clear()
    for name in "acd":
        ask(name)
    assert ran == []
    ask("b")
    assert ran == ["b"]
    assert "3 answered" in repr(receipts)


def test_open_receipts_are_never_forgotten():
    receipts, answers = Receipts(1), []
    for number in range(5):
        assert receipts.open((number,), answers.append)
    for number in range(5):
        assert not receipts.open((number,), answers.append)
        receipts.settle((number,), Accepted(run=number))
    assert answers == [Accepted(run=number) for number in range(5) for _ in range(2)]


# What came of a run.


def _entry(kind, run=1, **rest):
    return {"kind": kind, "ts": 0, "run": run, **rest}


def _message(text, role="assistant", kind="text", run=1):
    return _entry("assistant_item", run, item={"kind": "message", "role": role, "content": [{"kind": kind, "text": text}]})


def test_a_tally_starts_over_from_a_snapshot():
    tally = Tally(1)
    tally.see(TextDone("lost and in the log", run=1))
    entries = (
        _message("one"),
        _message("other run", run=2),
        _message("user", role="user"),
        _message("no", kind="refusal"),
        _entry("assistant_item", item="junk"),
        _entry("assistant_item", item={"kind": "message", "role": "assistant", "content": "junk"}),
        _entry("assistant_item", item={"kind": "reasoning", "text": "hm"}),
        _entry("llm_usage", input_total_tokens=5, output_tokens=None, cache_read_tokens=True),
        _entry("new_kind"),
        "junk",
    )
    tally.see(Snapshot(entries, GREETING, status=Status.RUNNING))
    tally.see(TextDone("two", run=1))
    tally.see(TextDone("not ours", run=2))
    tally.see(Usage(input_tokens=1, output_tokens=2, run=1))
    assert (tally.end, tally.gone, tally.text) == (None, False, "one\n\ntwo")
    assert tally.usage == Usage(input_tokens=6, output_tokens=2, run=1)
    tally.see(RunEnd(RunResult.FINISHED, run=1))
    assert tally.end == RunEnd(RunResult.FINISHED, run=1)


def test_states_say_nothing_before_the_first_snapshot():
    tally = Tally(5)
    tally.see(RunEnd(RunResult.FINISHED, run=4))
    tally.see(StatusEvent(Status.IDLE))
    assert not tally.gone
    tally.see(RunEnd(RunResult.FINISHED, run=6))
    assert tally.gone


def test_a_state_after_the_end_does_not_undo_it():
    tally = Tally(1)
    tally.see(Snapshot((_entry("run_completed", result="from_the_future"),), GREETING))
    assert not tally.gone
    assert tally.end is not None
    assert tally.end.result == "from_the_future"


# The inbox.


def test_nothing_is_kept_before_the_subscription_starts():
    inbox = Inbox(10)
    inbox.put([EventFrame(TextDelta("early"), None, 1)])
    inbox.put([EventFrame(Shutdown(), None, 2)])
    assert inbox.shutdown == EventFrame(Shutdown(), None, 2)
    inbox.restart()
    assert inbox.take() is None
    assert inbox.shutdown is None


def test_what_has_no_number_survives_an_overrun():
    inbox = Inbox(4)
    inbox.restart()
    for number in range(1, 4):
        inbox.put([EventFrame(TextDelta(str(number)), None, number)])
    inbox.put([EventFrame(Returned("n1", "gone"), None, None)])
    inbox.put([EventFrame(TextDelta("4"), None, 4)])
    inbox.put([EventFrame(Returned("n2", "gone"), None, None)])
    inbox.put([EventFrame(TextDelta("5"), None, 5)])
    assert inbox.overrun
    kept = [EventFrame(Returned("n1", "gone")), EventFrame(Returned("n2", "gone")), None]
    assert [inbox.take(), inbox.take(), inbox.take()] == kept
    assert inbox.recover(fresh=True) == (1, 5)
    inbox.skip()
    for number in range(6, 9):
        inbox.put([EventFrame(TextDelta("between"), None, number)])
    assert inbox.missing == (6, 8)
    inbox.restart()
    assert (len(inbox), inbox.missing) == (0, None)


def test_what_the_pod_said_was_missing_is_missing_too():
    inbox = Inbox(2)
    inbox.restart()
    inbox.put([EventFrame(TextDelta("1"), None, 1)])
    inbox.put([EventFrame(Lagged(2, 50), None, None)])
    inbox.put([EventFrame(Snapshot((), GREETING), None, 50)])
    inbox.put([EventFrame(Lagged(51, 60), None, None)])
    assert inbox.recover(fresh=True) == (1, 60)


def test_events_without_numbers_are_bounded_too():
    inbox = Inbox(3)
    inbox.restart()
    for number in range(10):
        inbox.put([EventFrame(Returned(str(number), "x"), None, None)])
    assert len(inbox) <= 3


def test_entries_of_very_different_length_are_cut_finer():
    snapshot = Snapshot((*("x" * 5000 for _ in range(9)), *("y" for _ in range(2000))), GREETING)
    frames = list(plan_snapshot(snapshot, 1, whole=6000))
    assert max(len(frame) for frame in frames) <= 12_000


@pytest.mark.parametrize("fresh", [True, False])
def test_an_unread_snapshot_that_is_not_replaced_leaves_something_missing(fresh):
    inbox = Inbox(3)
    inbox.restart()
    inbox.put([EventFrame(Snapshot((), GREETING), None, 4)])
    for number in range(5, 9):
        inbox.put([EventFrame(TextDelta("x"), None, number)])
    assert inbox.recover(fresh=fresh) == (None if fresh else (5, 8))
    assert inbox.missing == ((5, 8) if fresh else None)


SAID = st.one_of(
    st.sampled_from(
        [
            EventFrame(TextDelta("x"), seq=3),
            EventFrame(TextDelta("y"), seq=4),
            EventFrame(Returned("n", "gone")),
            EventFrame(Lagged(2, 50)),
            EventFrame(Snapshot((), GREETING), seq=50),
            EventFrame(Shutdown(), seq=60),
            EventFrame(SnapshotBegin(7, 0, greeting=GREETING)),
            EventFrame(SnapshotBegin(8, 0, greeting=GREETING)),
        ]
    ),
    st.builds(lambda seq: EventFrame(TextDelta("z"), seq=seq), st.integers(1, 99)),
)


@given(st.lists(st.tuples(st.lists(SAID, min_size=1, max_size=6), st.sampled_from(["", "take", "skip", "restart"])), max_size=12))
def test_what_comes_together_is_taken_in_as_if_it_came_one_by_one(steps):
    together, alone = Inbox(5), Inbox(5)
    for batch, then in steps:
        together.put(batch)
        for said in batch:
            alone.put([said])
        for inbox in (together, alone):
            match then:
                case "take":
                    inbox.take()
                case "skip":
                    inbox.skip()
                case "restart":
                    inbox.restart()
        state = [
            (inbox.queue, inbox.point, inbox.missing, inbox.overrun, inbox.skipping, inbox.shutdown) for inbox in (together, alone)
        ]
        assert state[0] == state[1]


# What need not be bytes yet.

TEXTS = st.one_of(st.text(max_size=40), st.text(st.characters(max_codepoint=127), max_size=40), st.just("\ud800"), st.just(7))
NUMBERS = st.one_of(st.none(), st.integers(), st.integers(0, 2**63 - 1), st.just("1"), st.just(True))
PIECES = st.one_of(
    st.builds(TextDelta, TEXTS, run=NUMBERS),
    st.builds(ThinkingDelta, TEXTS, run=NUMBERS),
    st.builds(ToolCallArgsDelta, id=TEXTS, json=TEXTS, run=NUMBERS),
    st.builds(TextDone, TEXTS, run=NUMBERS),
)


@given(PIECES, st.integers(0, 2**63 - 1))
def test_what_has_a_bound_can_be_said_within_it(event, seq):
    most = most_bytes(event)
    if most is not None:
        assert len(encode_event(event, seq=seq)) <= most


@given(st.text(st.characters(max_codepoint=127)), st.integers(0, 2**63 - 1))
def test_plain_pieces_of_a_stream_have_a_bound_and_committed_things_have_none(text, run):
    assert most_bytes(TextDelta(text, run=run)) == most_bytes(ThinkingDelta(text, run=run)) >= len(text)
    assert most_bytes(ToolCallArgsDelta(id=text, json=text, run=run)) >= 2 * len(text)
    assert most_bytes(TextDone(text, run=run)) is None


def test_short_pieces_wait_and_nothing_else_does():
    for make in (TextDelta, ThinkingDelta, lambda text: ToolCallArgsDelta(id="1", json=text)):
        assert waits(make("x" * SHORT))
        assert not waits(make("x" * (SHORT + 1)))
        assert not waits(make(7))
    assert not waits(TextDone("x"))


# What is taken in together.

RUNS = st.sampled_from([None, 0, 7, 2**63 - 1, 2**63, -1, True, "1", 1.0])
KINDS = st.sampled_from(["text", "thinking", 'call %b"'])


@st.composite
def blocks(draw):
    """Pieces of one block, with at most one among them that is something else."""
    run, kind, at = draw(RUNS), draw(KINDS), draw(st.integers(0, 90))
    pieces = [piece(text, run, kind) for text in draw(st.lists(st.text(max_size=20), min_size=1, max_size=90))]
    return [*pieces[:at], *draw(st.lists(PIECES, max_size=1)), *pieces[at:]]


def piece(text, run, kind):
    if kind == "text":
        return TextDelta(text, run=run)
    return ThinkingDelta(text, run=run) if kind == "thinking" else ToolCallArgsDelta(id=kind, json=text, run=run)


def written_alone(events, seq):
    """The frames of `events`, None where there is none."""
    made = []
    for number, event in enumerate(events, seq):
        try:
            made.append(encode_event(event, seq=number))
        except LocalProtocolError:
            made.append(None)
    return made


BURSTS = st.one_of(st.lists(PIECES, min_size=1, max_size=8), blocks())


@given(BURSTS, st.integers(0, 2**62))
def test_lines_that_are_written_together_are_those_that_are_written_alone(events, seq):
    alone = written_alone(events, seq)
    if None in alone:
        with pytest.raises(LocalProtocolError):
            write_lines(events, seq)
    else:
        assert write_lines(events, seq) == b"".join(frame + b"\n" for frame in alone)


@pytest.mark.parametrize(
    ("kind", "odd"),
    [
        ("text", TextDelta("odd", run=8)),
        ("text", TextDelta("odd")),
        ("text", ThinkingDelta("odd", run=1)),
        ("text", TextDone("odd", run=1)),
        ("text", TextDelta('odd "\n%d', run=1)),
        ("call", ToolCallArgsDelta(id="other", json="odd", run=1)),
        ("call", ToolCallArgsDelta(id="call", json="odd", run=8)),
        ("x" * 300, ToolCallArgsDelta(id="x" * 300, json="odd", run=1)),
    ],
)
@pytest.mark.parametrize("at", [0, 3, 8])
def test_one_piece_that_differs_is_written_as_what_it_is(kind, odd, at):
    events = [piece(str(number), 1, kind) for number in range(8)]
    events.insert(at, odd)
    assert write_lines(events, 5) == b"".join(encode_event(event, seq=seq) + b"\n" for seq, event in enumerate(events, 5))


@pytest.mark.parametrize("run", [True, 1.0, "1"])
def test_what_equals_the_number_of_a_run_and_is_none_is_refused(run):
    events = [TextDelta("x", run=1)] * 5 + [TextDelta("x", run=run)]
    assert [written_alone(events, 1)[-1]] == [None]
    with pytest.raises(LocalProtocolError):
        write_lines(events, 1)


@given(BURSTS, st.integers(0, 2**62))
def test_several_events_together_have_a_bound_only_if_all_of_them_have_one(events, seq):
    most = most_bytes_of(events)
    assert (most is None) == any(most_bytes(event) is None for event in events)
    if most is not None:
        assert len(b"".join(written_alone(events, seq))) <= most


@given(BURSTS, st.integers(1, 2**62), st.booleans(), st.integers(0, 100))
def test_a_burst_is_its_events_and_goes_on_being_the_rest_of_them(events, seq, exact, gone):
    burst = burst_of(seq, events, exact=exact)
    assert len(burst) == len(events)
    assert burst.lines is not None or not exact
    alone = [Record(number, event) for number, event in enumerate(events, seq)]
    if gone % len(events):
        burst, alone = burst.without(gone % len(events)), alone[gone % len(events) :]
    assert [(record.seq, record.whole) for record in burst.records()] == [(record.seq, record.whole) for record in alone]
    size = sum(len(record.whole) for record in alone)
    assert burst.size == size if burst.lines is not None else burst.size >= size
    assert burst.measure() == b"".join(record.whole + b"\n" for record in alone)
    assert (burst.size, [record.whole for record in burst.records()]) == (size, [record.whole for record in alone])


@pytest.mark.parametrize("event", [TextDelta("x"), TextDelta("x" * 2000), TextDone("\ud800")])
@pytest.mark.parametrize("exact", [False, True])
def test_a_burst_of_one_record_is_as_if_it_was_made_of_its_event(event, exact):
    one, other = burst_of_one(record_of(3, event), exact=exact), burst_of(3, [event], exact=exact)
    assert (one.seq, one.events, one.size, one.lines) == (other.seq, other.events, other.size, other.lines)


@given(st.lists(st.integers(0, 20_000), max_size=30), st.booleans())
def test_lines_are_read_in_portions_that_are_whole_lines_and_short_or_a_single_one(lengths, ended):
    lines = b"".join(b"x" * length + b"\n" for length in lengths)
    lines = lines if ended else lines + b"the last"
    found = list(portions(lines))
    assert b"".join(found) == lines
    assert all(portion.endswith(b"\n") for portion in found[:-1])
    assert all(len(portion) <= PORTION or portion.find(b"\n") in (-1, len(portion) - 1) for portion in found)
    assert all(len(one) + len(other) > PORTION for one, other in pairwise(found) if other.endswith(b"\n") or len(other) > PORTION)
