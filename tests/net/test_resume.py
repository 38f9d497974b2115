"""A stream that goes on where it was: the ring, a hello with `resume`, and deltas that became one."""

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from podkit._net import Hub
from podkit._net._burst import burst_of
from podkit._net._plan_merge import merge, same_block
from podkit._net._record import Record, record_of
from podkit._net._ring import Ring
from podkit.logic import Limits
from podkit.protocol import (
    Lagged,
    ResumePoint,
    Shutdown,
    Snapshot,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ToolCallArgsDelta,
    Welcome,
    encode_event,
    read_event,
)


def point(seq, incarnation="inc-1"):
    return ResumePoint(incarnation, seq)


# The ring.


PUT = st.tuples(st.booleans(), st.lists(st.tuples(st.booleans(), st.integers(0, 300)), min_size=1, max_size=8))


@given(st.lists(PUT, max_size=20), st.integers(1, 20), st.integers(60, 3000))
@pytest.mark.proves("I35")
def test_the_ring_holds_the_last_events_within_both_bounds(puts, most, size):
    ring, frames = Ring(events=most, size=size), []
    for exact, put in puts:
        # Of what is streamed only a bound may be known: what is held does not depend on that.
        events = [TextDelta("x" * length) if streamed else TextDone("x" * length) for streamed, length in put]
        ring.put(burst_of(len(frames) + 1, events, exact=exact))
        frames += [encode_event(event, seq=seq) for seq, event in enumerate(events, len(frames) + 1)]
        seq = len(frames)
        held = 0
        while held < min(most, seq) and sum(map(len, frames[seq - held - 1 :])) <= size:
            held += 1
        for back in range(held + 1):
            records = list(ring.after(seq - back, seq))
            assert [record.seq for record in records] == list(range(seq - back + 1, seq + 1))
        # Reading them as bytes is not what decides how long they are held.
        assert [record_of(record.seq, record.event).whole for record in records] == frames[seq - held :]
        assert ring.after(seq - held - 1, seq) is None
        assert ring.after(seq + 1, seq) is None
        assert f"{held} events" in repr(ring)


def test_the_ring_hands_out_what_was_encoded_as_it_was_encoded():
    ring = Ring(events=5, size=10_000)
    ring.put(burst_of(1, [TextDelta(text) for text in "abcdef"], exact=True))
    ring.put(burst_of(7, [TextDelta("g")], exact=False))
    records = list(ring.after(2, 7))
    assert [(record.seq, record.late, record.event.text) for record in records] == [
        *((seq, False, text) for seq, text in enumerate("cdef", 3)),
        (7, True, "g"),
    ]
    assert [record.whole for record in records] == [encode_event(record.event, seq=record.seq) for record in records]


def test_what_nobody_reads_as_bytes_is_never_encoded_while_there_is_room():
    hub = Hub(Limits(resume_events=100))
    for number in range(500):
        hub.publish(TextDelta(f"piece {number}"))
    assert [record.seq for record in hub.after(400)] == list(range(401, 501))
    assert all(record.late for record in hub.after(400))
    hub.publish(TextDone("done"))
    assert [record.late for record in hub.after(499)] == [True, False]


def test_a_hub_hands_out_what_came_after_a_number_and_never_its_end():
    hub = Hub(Limits(resume_events=3))
    assert list(hub.after(0)) == []
    for number in range(5):
        hub.publish(TextDone(str(number)))
    assert [record.event.text for record in hub.after(3)] == ["3", "4"]
    assert hub.after(1) is None
    hub.publish(Shutdown())
    assert [record.event.text for record in hub.after(4)] == ["4"]
    assert list(hub.after(5)) == []
    assert hub.after(6) is None


# A hello with `resume`.


@pytest.mark.proves("I15")
@pytest.mark.parametrize("subscribe", ["live", "snapshot"])
@pytest.mark.parametrize("seq", range(6))
async def test_a_stream_is_resumed_after_any_number_that_is_held(serve, seq, subscribe):
    with trio.fail_after(5):
        async with serve() as pod:
            for number in range(1, 6):
                pod.desk.hub.publish(TextDone(str(number)))
            async with pod.peer() as peer:
                welcome = await peer.hello(subscribe=subscribe, resume=point(seq))
                assert (welcome.resumed, welcome.seq) == (True, 5)
                pod.desk.hub.publish(TextDone("6"))
                heard = [await peer.hear() for _ in range(6 - seq)]
                assert [(frame.seq, frame.event.text) for frame in heard] == [(n, str(n)) for n in range(seq + 1, 7)]
                assert pod.desk.snapshots == 0


@pytest.mark.proves("I15", "H10")
@pytest.mark.parametrize("subscribe", ["live", "snapshot"])
@pytest.mark.parametrize("where", [point(1), point(99), point(4, "inc-0"), point(4, "")])
async def test_where_a_stream_cannot_be_resumed_there_is_a_snapshot_and_it_is_said(serve, where, subscribe):
    with trio.fail_after(5):
        async with serve(resume_events=3) as pod:
            for number in range(1, 6):
                pod.desk.hub.publish(TextDone(str(number)))
            async with pod.peer() as peer:
                welcome = await peer.hello(subscribe=subscribe, resume=where)
                assert welcome.resumed is False
                pod.desk.hub.publish(TextDone("6"))
                first, second = await peer.hear(), await peer.hear()
                assert (type(first.event), first.seq) == (Snapshot, 5)
                assert (second.event, second.seq) == (TextDone("6"), 6)


async def test_who_wants_no_events_resumes_none(serve, child):
    from podkit.protocol import BirthCredential

    with trio.fail_after(5):
        async with serve() as pod:
            pod.desk.hub.publish(TextDone("1"))
            for options in ({"subscribe": "none"}, {"subscribe": "live", "birth": BirthCredential(*child)}):
                async with pod.peer() as peer:
                    assert (await peer.hello(resume=point(0), **options)).resumed is False
                    pod.desk.hub.publish(TextDone("x"))
                    await trio.testing.wait_all_tasks_blocked()
                    await peer.hello(subscribe="none", **({} if "birth" not in options else {"birth": options["birth"]}))


async def test_a_later_hello_on_the_same_connection_resumes_too(serve):
    with trio.fail_after(5):
        async with serve() as pod, pod.peer() as peer:
            await peer.hello(subscribe="snapshot")
            assert isinstance((await peer.hear()).event, Snapshot)
            pod.desk.hub.publish(TextDone("1"))
            assert (await peer.hear()).seq == 1
            await peer.hello(subscribe="none")
            pod.desk.hub.publish(TextDone("2"))
            assert (await peer.hello(subscribe="live", resume=point(1))).resumed is True
            assert (await peer.hear()).seq == 2


async def test_who_resumes_a_pod_that_ended_hears_the_rest_and_the_end(serve):
    with trio.fail_after(5):
        async with serve() as pod:
            pod.desk.hub.publish(TextDone("1"))
            pod.desk.hub.publish(Shutdown())
            async with pod.peer() as peer:
                assert (await peer.hello(subscribe="live", resume=point(0))).resumed is True
                assert [(await peer.hear()).event for _ in range(2)] == [TextDone("1"), Shutdown()]


async def test_what_is_replayed_is_bounded_like_everything_else(serve):
    with trio.fail_after(5):
        async with serve(outbox_events=5) as pod:
            for number in range(20):
                pod.desk.hub.publish(TextDone(str(number)))
            async with pod.peer() as peer:
                welcome = await peer.hello(subscribe="live", resume=point(2))
                assert welcome.resumed is True
                assert (await peer.hear()).event == Lagged(3, 20)
                assert ((await peer.hear()).seq, isinstance(welcome, Welcome)) == (20, True)


# Deltas that became one.

DELTAS = st.sampled_from(
    [
        TextDelta("a", run=1),
        TextDelta("b", run=1),
        TextDelta("c", run=2),
        ThinkingDelta("t", run=1),
        ToolCallArgsDelta(id="1", json="{", run=1),
        ToolCallArgsDelta(id="2", json="[", run=1),
        TextDone("d", run=1),
        TextDone("e", run=1),
    ]
)


def kind(event):
    return type(event), getattr(event, "id", None), event.run


def said(events):
    """What is said, block by block: neighbours of one block joined, and everything committed by itself."""
    for _key, group in itertools.groupby(enumerate(events), lambda item: item[0] if type(item[1]) is TextDone else kind(item[1])):
        pieces = [event for _at, event in group]
        yield kind(pieces[0]), "".join(getattr(event, "text", None) or getattr(event, "json", "") for event in pieces)


@given(DELTAS, DELTAS)
def test_two_events_are_of_one_block_when_they_are_deltas_of_the_same_thing(one, two):
    together = kind(one) == kind(two) and type(one) is not TextDone
    assert same_block(one, two) is together
    if together:
        assert list(said([merge([one, two])])) == list(said([one, two]))


def test_only_deltas_are_merged():
    with pytest.raises(AssertionError):
        merge([TextDone("x"), TextDone("y")])


@pytest.mark.proves("I15", "I22")
@given(st.lists(st.tuples(DELTAS, st.booleans()), max_size=80), st.integers(1, 8))
def test_a_slow_reader_is_told_the_same_in_fewer_words(steps, most):
    from podkit._net import Outbox
    from podkit.protocol import Accepted, Greeting

    hub = Hub(Limits(outbox_events=most))
    fresh = lambda: (Snapshot((), Greeting("p", "/", "x", "y", "z", ())), hub.head)  # noqa: E731
    outbox = Outbox(hub.limits, lens="full", fresh=fresh, cut=lambda: None, hub=hub)
    hub.subscribe(outbox)
    heard, events = [], []
    for event, take in steps:
        events.append(event)
        hub.publish(event)
        if take:
            outbox.reply(Accepted(run=hub.seq), "r")
            heard += [read_event(frame) for frame in outbox.take()]
        assert outbox.backlog.events <= most
        assert outbox.backlog.event_bytes == sum(
            len(item.frame("full")) for item in outbox.backlog.items if isinstance(item, Record)
        )
    heard += [read_event(frame) for frame in outbox.take()]
    at = 0
    for frame in heard:
        match frame.event:
            case Accepted(run=run):
                assert at <= run, "a reply comes before what came after it"
            case Lagged(first=first, last=last):
                assert first == at + 1
                at = last
            case Snapshot():
                assert frame.seq == at
            case event:
                first = frame.first or frame.seq
                assert first == at + 1
                assert list(said([event])) == list(said(events[first - 1 : frame.seq]))
                at = frame.seq
    assert at == len(events)


@pytest.mark.proves("I22")
async def test_a_text_streamed_to_a_slow_reader_comes_whole_and_not_a_word_is_lost(serve):
    words = [f"word{number} " for number in range(2000)]
    with trio.fail_after(10):
        async with serve(outbox_events=50) as pod, pod.peer() as slow:
            await slow.hello(subscribe="live")
            for word in words:
                pod.desk.hub.publish(TextDelta(word, run=1))
            pod.desk.hub.publish(TextDone("".join(words), run=1))
            heard = await slow.hear_until(TextDone)
            assert len(heard) < 500
            assert "".join(frame.event.text for frame in heard[:-1]) == "".join(words)
            assert [frame.first or frame.seq for frame in heard[1:]] == [frame.seq + 1 for frame in heard[:-1]]


async def test_the_bytes_of_merged_deltas_are_bounded_as_well(serve):
    with trio.fail_after(10):
        async with serve(outbox_bytes=20_000) as pod, pod.peer() as slow:
            await slow.hello(subscribe="live")
            for _ in range(400):
                pod.desk.hub.publish(TextDelta("x" * 1000, run=1))
            heard = await slow.hear_until(Lagged)
            assert all(len(frame.event.text) <= 20_000 for frame in heard[:-1])


def test_an_event_that_cannot_be_said_is_merged_with_nothing():
    from podkit._net import Outbox

    hub = Hub(Limits(outbox_events=6))
    outbox = Outbox(hub.limits, lens="full", fresh=lambda: pytest.fail("no snapshot is needed"), cut=lambda: None, hub=hub)
    hub.subscribe(outbox)
    for text in ("a", "b", "c", "\ud800", "d", "e", "f"):
        hub.publish(TextDelta(text))
    assert [frame.seq for frame in map(read_event, outbox.take())] == [3, 4, 6, 7]
    assert hub.in_flight.data() == {"blocks": [{"kind": "text", "text": "abcdef"}]}
