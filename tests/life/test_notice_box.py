"""The box of notices without a pod: what it holds is what its log says, also of a log from before."""

import pytest

from podkit._life._log import SessionLog
from podkit._life._notices import NoticeBox
from podkit._net import Ask, Origin
from podkit.logic import Waiting
from podkit.protocol import (
    NotificationItem,
    Notify,
    PodEventItem,
    PodShutDown,
    PodTurnEnded,
    Returned,
    Role,
)


def box(log):
    return NoticeBox(log, incarnation="i", text_limit=1000)


def words(text="hello", *, child=None, tell=None):
    return Ask(Notify(text), None, Origin(Role.CLIENT, "x", child), lambda _event: None, tell)


@pytest.mark.proves("H15")
def test_a_log_from_before_is_a_queue_from_before():
    log = SessionLog(lambda: 1.0)
    first = box(log)
    for notice in (
        first.draft(words(), "hello", wake=True),
        first.news("kid", PodTurnEnded("kid"), "kid finished", wake=True),
        first.draft(words(child=("kid", "k")), "psst", wake=False),
    ):
        first.keep(notice)
    second = NoticeBox(log, incarnation="j", text_limit=1000)
    assert second.queue == first.queue
    assert second.waiting() == (Waiting("i.1", True), Waiting("i.2", True, "kid"), Waiting("i.3", False, "kid"))
    assert second.draft(words(), "new", wake=True) == "j.1"
    items = second.take(second.queue.ids, 7)
    assert items == (
        NotificationItem("hello", "hello", notice="i.1"),
        PodEventItem(PodTurnEnded("kid"), "kid finished", notice="i.2"),
        NotificationItem("from pod `kid`:\n> psst", "from pod `kid`:\n> psst", notice="i.3"),
    )
    assert len(box(log)) == len(second) == 0


def test_what_is_put_together_takes_the_place_of_what_was_and_says_so_in_the_log():
    log = SessionLog(lambda: 1.0)
    made = box(log)
    told = []
    for event, fixed in [(PodTurnEnded("kid"), ()), (PodShutDown("kid"), ()), (PodTurnEnded("kid"), ("i.2",))]:
        notice, replaces = made.digest("kid", event, wake=len(told) == 0, gone=False, fixed=fixed)
        made.keep(notice)
        told.append((notice, replaces))
    assert told == [("i.1", None), ("i.2", "i.1"), ("i.3", None)]  # what is being handed over is not replaced
    assert made.queue.ids == ("i.2", "i.3")
    assert [entry.wake for entry in made.queue.waiting.values()] == [True, False]  # it wakes when a part of it did
    assert log.data[2] == {"kind": "notice_returned", "ts": 1000, "id": "i.1", "into": "i.2"}
    assert made.waiting()[0].child is None


def test_a_refused_notice_leaves_nothing():
    log = SessionLog(lambda: 1.0)
    made = box(log)
    made.drop(made.draft(words(), "hello", wake=True))
    made.give_back([made.draft(words(), "again", wake=True), "never heard of"], "stopping")
    assert (log.data, made.returned, made._drafts) == ([], (), {})


def test_who_cannot_be_told_is_given_back_all_the_same():
    log = SessionLog(lambda: 1.0)
    made, heard = box(log), []
    for ask in (words(tell=heard.append), words()):
        made.keep(made.draft(ask, "hello", wake=False))
    made.keep(made.news("kid", PodTurnEnded("kid"), "news", wake=False))
    made.give_back(made.queue.ids, "stopping")
    assert heard == [Returned("i.1", "stopping")]
    assert [notice for notice, _ in made.returned] == ["i.1", "i.2"]
    assert [entry["kind"] for entry in log.data] == ["notice"] * 3 + ["notice_returned"] * 3
