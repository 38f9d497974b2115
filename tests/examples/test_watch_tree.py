"""The drawing of the example front end: a tree of pods as lines, whatever the pods say."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from watch_news import news
from watch_prompt import Command, Typed, edit, parse
from watch_terminal import paint
from watch_tree import Line, Scene, Seat, clean, columns, draw, draw_transcript, draw_tree, fit, wrap

import podkit
from podkit.protocol import (
    Alert,
    AlertLevel,
    AlertSource,
    Error,
    ErrorCode,
    Greeting,
    InvokeKind,
    InvokeStart,
    Lagged,
    NotificationItem,
    RunEnd,
    RunResult,
    Shutdown,
    Snapshot,
    Status,
    StatusEvent,
    SystemItemEvent,
    TextDelta,
    TextDone,
    ThinkingDone,
    ToolCallDone,
    ToolResult,
    Usage,
    UserMessage,
)

START = Snapshot((), Greeting("root", "/w", "acme", "m1", "Readable:\n  - /w", (), grant_summary="Writable:\n  - /g"))


def folded(*events, start=START):
    transcript = podkit.Transcript()
    for event in (start, *events):
        transcript = podkit.fold_transcript(transcript, event)
    return transcript


def texts(lines):
    return [line.text.rstrip() for line in lines]


USE = "Readable:\n  - /srv\n  - /srv/app\nWritable:\n  - /srv/app\nLent:\n  - /srv/app/notes (scribe)"
TREE = (
    Seat("1", "lead", use=USE, grant="Readable:\n  - /srv", transcript=folded(StatusEvent(Status.RUNNING))),
    Seat("2", "scribe", parent="1", use="Writable:\n  - /srv/app/notes", transcript=folded(TextDelta("note", run=1))),
    Seat("3", "helper", parent="2", state="starting"),
    Seat("4", "mapper", parent="1", life=2, incarnation="abcdef0123456789", link="unreachable"),
    Seat("5", "other", parent="nobody", transcript=folded(Alert(AlertLevel.WARN, AlertSource.POD, "x", 0), Shutdown())),
)


def test_a_tree_is_drawn_with_every_pod_below_its_parent_and_what_it_may():
    assert texts(draw_tree(TREE, width=110, chosen="2")) == [
        " lead                 running",
        " │                    writes /srv/app · reads /srv · lends /srv/app/notes (scribe) · may hand out /srv",
        ">├─ scribe            idle            note▏",
        " │  │                 writes /srv/app/notes · may hand out /g",
        " │  └─ helper         starting",
        " │                    no scope",
        " └─ mapper            unreachable     [life 2]",
        "                      no scope",
        " other                left            [1 alert]",
        "                      reads /w · may hand out /g",
    ]


def test_pods_that_name_each_other_as_parents_do_not_hang_the_drawing():
    draw_tree((Seat("1", "a", parent="2"), Seat("2", "b", parent="1"), Seat("3", "c", parent="3")), width=80)


def test_a_transcript_is_drawn_as_a_conversation():
    transcript = folded(
        InvokeStart(InvokeKind.USER_SEND, run=1),
        UserMessage("do\nit", run=1),
        SystemItemEvent(NotificationItem("m", "you are told"), run=1),
        ThinkingDone("hm", run=1),
        ToolCallDone("c", "read", '{"path": "a"}', run=1),
        ToolResult("c", "no such file", is_error=True, run=1),
        TextDone("there is none", run=1),
        Usage(input_tokens=10, run=1),
        Error(ErrorCode.TOOL_ERROR, "gave up", run=1),
        RunEnd(RunResult.FAILED, run=1),
        TextDelta("and", run=2),
    )
    assert texts(draw_transcript(transcript, width=80, height=50)) == [
        "── run 1 (user_send)",
        "you: do",
        "     it",
        "[notification] you are told",
        "~ hm",
        '* read {"path": "a"}',
        "  → no such file",
        "there is none",
        "── failed, 10 in, 0 out: tool_error, gave up",
        "── run 2",
        "and▏",
    ]
    assert texts(draw_transcript(transcript, width=80, height=2)) == ["── run 2", "and▏"]
    assert draw_transcript(transcript, width=80, height=0) == []


def test_the_last_of_a_pod_is_what_it_says_or_how_its_run_ended():
    def last(*events):
        return draw_tree((Seat("1", "a", transcript=folded(*events)),), width=100)[0].text.split(maxsplit=2)[2:]

    assert last() == []
    assert last(TextDone("one\ntwo", run=1), RunEnd(RunResult.FINISHED, run=1)) == ["two"]
    assert last(TextDone("one", run=1), RunEnd(RunResult.CANCELLED, run=1)) == ["cancelled"]
    assert last(ToolCallDone("c", "read", "{}", run=1), ToolResult("c", "3 lines", run=1)) == ["→ 3 lines"]
    assert last(TextDone("one", run=1), TextDelta("", run=1)) == ["one"], "nothing was said yet"


@pytest.mark.parametrize(("chosen", "above", "below"), [(0, None, 7), (5, 4, 4), (9, 8, None)])
def test_of_more_pods_than_there_is_room_for_those_around_the_chosen_one_are_shown(chosen, above, below):
    seats = tuple(Seat(str(number), f"pod{number}") for number in range(10))
    for height in range(8, 19):
        lines = texts(draw(Scene(seats, str(chosen)), width=60, height=height))
        assert any(line.startswith(f">pod{chosen} ") for line in lines)
        named = [int(line.split()[0].lstrip(">").removeprefix("pod")) for line in lines if line.lstrip(" >").startswith("pod")]
        hidden = [int(line.split()[1]) for line in lines if "more" in line]
        assert len(named) + sum(hidden) == 10
        assert named == list(range(named[0], named[0] + len(named)))
    lines = texts(draw(Scene(seats, str(chosen)), width=60, height=11))
    for count, where in ((above, "above"), (below, "below")):
        assert (f"   … {count} more {where}" in lines) == (count is not None)
    assert "more" not in "".join(texts(draw(Scene(seats, str(chosen)), width=60, height=40)))


def test_the_screen_says_what_can_be_typed_and_shows_all_of_a_long_answer():
    lines = texts(draw(Scene((), None, ("short", "word " * 20)), width=50, height=12))
    assert lines[1].endswith("── help, Tab: next pod ─")
    assert len(lines[1]) == 50
    assert lines[-4:] == ["short", *texts([Line("word " * 10)] * 2), ">"]
    assert texts(draw(Scene(TREE, "2"), width=30, height=20))[10] == "── scribe " + "─" * 20


def test_a_pod_that_lost_events_or_holds_notices_says_so():
    def row(*events):
        return draw_tree((Seat("1", "a", transcript=folded(*events)),), width=100)[0].text

    assert "idle, behind" in row(Lagged(1, 2))
    assert "idle, 2 held" in row(StatusEvent(Status.IDLE, held=2))
    assert "attaching" in draw_tree((Seat("1", "a"),), width=100)[0].text


# What is new, as lines.


def test_what_happens_is_told_once_and_what_is_streamed_only_when_it_is_whole():
    events = [
        StatusEvent(Status.RUNNING),
        UserMessage("go", run=1),
        TextDelta("do", run=1),
        TextDone("done", run=1),
        ToolCallDone("c", "read", "{}", run=1),
        ToolResult("c", "3 lines", run=1),
        RunEnd(RunResult.FINISHED, run=1),
        Alert(AlertLevel.WARN, AlertSource.POD, "low", 0),
        Lagged(1, 2),
        Shutdown(),
    ]
    before, told = podkit.Transcript(), []
    for event in (START, *events):
        after = podkit.fold_transcript(before, event)
        told.append(news(before, after))
        before = after
    assert told == [
        ["attached, idle, 0 runs so far"],
        ["status running"],
        ["run 1 begins", "you: go"],
        [],
        ["done"],
        ["* read {}"],
        ["  → 3 lines"],
        ["run 1 finished"],
        ["alert (warn): low"],
        ["events were lost"],
        ["left"],
    ]
    assert news(podkit.Transcript(), podkit.Transcript()) == []


def test_items_that_were_dropped_meanwhile_are_not_told_again():
    transcript = podkit.Transcript(limits=podkit.TranscriptLimits(items=2))
    told = []
    for event in (START, *(TextDone(text, run=1) for text in "abcd")):
        after = podkit.fold_transcript(transcript, event)
        told += news(transcript, after)[-1:]
        transcript = after
    assert told == ["attached, idle, 0 runs so far", "a", "b", "c", "d"]


# Hostile text, and room.

anything = st.text(max_size=40) | st.text("\x1b[]0;\x07\x9b\u202e\n\r\t ab漢\u0301", max_size=40)


@pytest.mark.proves("I37", "I20")
@given(anything, anything, st.integers(1, 120), st.integers(1, 40))
def test_whatever_pods_say_the_screen_has_its_size_and_nothing_a_terminal_acts_upon(said, told, width, height):
    transcript = folded(
        UserMessage(said, run=1),
        ToolCallDone(said, said, said, run=1),
        ToolResult(said, said, run=1),
        Error(ErrorCode.INTERNAL, said, run=1),
        TextDelta(said, run=2),
    )
    seats = (Seat("1", said, use=said, grant=said, link=said, life=2, incarnation=said, transcript=transcript),)
    seats += (Seat("2", "kid", parent="1", transcript=transcript),)
    lines = draw(Scene(seats, "1", (told, told), told), width=width, height=height)
    assert len(lines) == height
    for line in lines:
        assert sum(map(columns, clean(line.text))) <= max(width, 2)
        assert all(char.isprintable() for char in line.text)
    painted = paint(lines)
    assert "\x9b" not in painted
    assert "\u202e" not in painted
    assert painted.count("\x1b") == 4 + sum(4 if line.style else 3 for line in lines)


def test_only_lines_that_changed_are_painted_again():
    before, after = [Line("a"), Line("b"), Line("> ")], [Line("a"), Line("c", "dim"), Line("> x")]
    assert paint(after, before) == "\x1b[?25l\x1b[2;1H\x1b[2mc\x1b[0m\x1b[K\x1b[3;1H> x\x1b[0m\x1b[K\x1b[3;4H\x1b[?25h"
    assert "\x1b[2J" in paint(after, before[:2])


@given(st.text(max_size=60), st.integers(2, 30))
def test_wrapping_keeps_every_character_that_is_shown_and_no_line_is_too_long(text, width):
    lines = wrap(text, width)
    assert all(sum(map(columns, line)) <= width for line in lines)
    if not any(unicodedata.combining(char) or columns(char) == 0 for char in text):
        kept = "".join(clean(line.rstrip("\r").expandtabs(4)) for line in text.split("\n"))
        assert "".join(lines) == kept


def test_what_does_not_fit_ends_with_a_mark():
    assert [fit(text, 5) for text in ("abcde", "abcdef", "漢漢漢", "a\nb")] == ["abcde", "abcd…", "漢漢…", "a b"]


# The prompt.


@pytest.mark.parametrize(
    ("before", "keys", "after"),
    [
        ("", "ab\x7fc", Typed("ac")),
        ("abc", "\x15d", Typed("d")),
        ("run a", " b\rnext\n", Typed("", ("run a b", "next"))),
        ("", "\t\t", Typed("", tabs=2)),
        ("", "\x04", Typed("", over=True)),
        ("a", "\x04b", Typed("ab")),
        ("", "a\x1b[A\x1b[1;5C\x1bOHb\x00\u202e", Typed("ab")),
        ("x" * 4096, "y", Typed("x" * 4096)),
    ],
)
def test_keys_edit_the_line(before, keys, after):
    assert edit(before, keys) == after


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("", None),
        ("  run  root  do it ", Command("run", "root", "do it")),
        ("stop kid", Command("stop", "kid")),
        ("quit", Command("quit")),
        ("show", "show needs the name of a pod"),
        ("notify root ", "notify needs a text"),
    ],
)
def test_a_line_is_a_command_or_a_sentence(line, command):
    assert parse(line) == command


def test_an_unknown_command_lists_those_there_are():
    assert "pause NAME" in parse("format c:")
