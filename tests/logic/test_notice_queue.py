"""The queue of notices is what the log says of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.logic import NoticeQueue, fold_notice, notice_item, project_notices
from podkit.protocol import (
    InterruptItem,
    InvokeEntry,
    InvokeKind,
    LogEntry,
    NoticeEntry,
    NoticeReturnedEntry,
    NotificationItem,
    PodEventItem,
    PodTurnEnded,
    SystemItemEntry,
    decode_entry,
    encode_entry,
)

NEWS = NoticeEntry(1, "b", "kid", "pod `kid` finished its turn", event=PodTurnEnded("kid", id="1"))
WORDS = NoticeEntry(1, "a", "client", "hello", wake=False)


def seen(notice: NoticeEntry) -> SystemItemEntry:
    return SystemItemEntry(2, notice_item(notice), run=1)


@pytest.mark.proves("H15")
def test_what_was_accepted_waits_until_it_is_seen_or_given_back() -> None:
    assert project_notices([]).ids == ()
    assert project_notices([WORDS, NEWS]).ids == ("a", "b")
    assert project_notices([WORDS, NEWS, seen(WORDS)]).ids == ("b",)
    assert project_notices([WORDS, NEWS, seen(NEWS), NoticeReturnedEntry(3, "a")]).ids == ()
    assert project_notices([NEWS], project_notices([WORDS])).waiting == {"a": WORDS, "b": NEWS}


def test_what_was_put_together_waits_once() -> None:
    both = NoticeEntry(2, "c", "pods", "both")
    assert project_notices([WORDS, NEWS, both, NoticeReturnedEntry(2, "b", into="c")]).ids == ("a", "c")


def test_what_is_not_about_a_waiting_notice_changes_nothing() -> None:
    queue = project_notices([WORDS])
    for entry in (
        InvokeEntry(2, InvokeKind.NOTIFY, run=1),
        NoticeReturnedEntry(2, "never accepted"),
        SystemItemEntry(2, NotificationItem("x", "x")),
        SystemItemEntry(2, InterruptItem("stop")),
    ):
        assert fold_notice(queue, entry) is queue


@pytest.mark.proves("H15")
def test_what_the_model_will_see_follows_from_the_entry_as_it_is_stored() -> None:
    assert notice_item(WORDS) == NotificationItem("hello", "hello", notice="a")
    assert notice_item(NEWS) == PodEventItem(PodTurnEnded("kid", id="1"), "pod `kid` finished its turn", notice="b")
    for notice in (WORDS, NEWS):
        stored = decode_entry(encode_entry(notice))
        assert isinstance(stored, NoticeEntry)
        assert notice_item(stored) == notice_item(notice)


@given(st.lists(st.tuples(st.sampled_from("nsr"), st.sampled_from("abc")), max_size=12), st.integers(0, 12))
def test_a_log_read_in_two_parts_has_the_same_queue(story: list[tuple[str, str]], cut: int) -> None:
    made: dict[str, LogEntry] = {}
    entries: list[LogEntry] = []
    for number, (kind, name) in enumerate(story):
        notice = NoticeEntry(number, name, "client", name)
        made = {"n": notice, "s": seen(notice), "r": NoticeReturnedEntry(number, name)}
        entries.append(made[kind])
    whole = project_notices(entries)
    assert project_notices(entries[cut:], project_notices(entries[:cut])) == whole
    assert isinstance(whole, NoticeQueue)
    assert set(whole.ids) <= {name for kind, name in story if kind == "n"}
