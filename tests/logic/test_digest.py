"""News of children for which there is no room one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from podkit.logic import Digest, Tally
from podkit.logic._digest import MOST_CHILDREN
from podkit.protocol import PodErrored, PodEvent, PodShutDown, PodTurnEnded


def digest(*news: tuple[str, PodEvent]) -> Digest:
    made = Digest()
    for child, event in news:
        made = made.add(child, event)
    return made


def test_news_is_counted_by_child() -> None:
    made = digest(
        ("a", PodTurnEnded("a")), ("b", PodErrored("b", "no\nmodel")), ("a", PodTurnEnded("a")), ("a", PodErrored("a", "late"))
    )
    assert made.children == {"a": Tally(finished=2, failed=1, message="late"), "b": Tally(failed=1, message="no model")}
    assert made.text().splitlines()[1:] == [
        "- pod `a` finished 2 turns; 1 failure, the last: late",
        "- pod `b` 1 failure, the last: no model",
    ]


def test_who_is_gone_is_named_first_whatever_comes_after() -> None:
    made = digest(("a", PodTurnEnded("a")), ("b", PodShutDown("b")), ("b", PodTurnEnded("b"))).add(
        "c", PodErrored("c", "x"), gone=True
    )
    assert made.text().splitlines()[1:] == [
        "gone: `b`, `c`",
        "- pod `a` finished 1 turn",
        "- pod `b` is gone; finished 1 turn",
        "- pod `c` is gone; 1 failure, the last: x",
    ]


def test_a_crowd_is_counted_and_all_who_can_be_named_are() -> None:
    made = digest(*((f"{number:060}", PodErrored("x", "y" * 1000)) for number in range(MOST_CHILDREN + 2)))
    made = digest_of_ends(made, MOST_CHILDREN + 2)
    assert (len(made.children), made.others, made.others_gone) == (MOST_CHILDREN, 4, 2)
    text = made.text()
    assert len(text.encode()) < 16 * 1024 + 100
    assert "4 reports of further pods, 2 of them that a pod is gone" in text
    named = text.splitlines()[1]
    assert all(f"`{number:060}`" in named for number in range(MOST_CHILDREN))


def digest_of_ends(made: Digest, number: int) -> Digest:
    for child in range(number):
        made = made.add(f"{child:060}", PodShutDown("x"))
    return made


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([PodTurnEnded("x"), PodErrored("x", "e"), PodShutDown("x")]))))
def test_nothing_is_left_out_of_the_counts(news: list[tuple[str, PodEvent]]) -> None:
    made = digest(*news)
    assert sum(tally.finished for tally in made.children.values()) == sum(isinstance(e, PodTurnEnded) for _, e in news)
    assert sum(tally.failed for tally in made.children.values()) == sum(isinstance(e, PodErrored) for _, e in news)
    assert {child for child, tally in made.children.items() if tally.gone} == {c for c, e in news if isinstance(e, PodShutDown)}
