"""Reading a pod's words bit by bit: nothing twice, nothing skipped, whatever the log looks like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit.tools._plan_output import Cursor, new_text


def said(text, role="assistant"):
    return {"kind": "assistant_item", "item": {"kind": "message", "role": role, "content": [{"kind": "text", "text": text}]}}


ODD = [
    {},
    {"kind": "assistant_item"},
    {"kind": "assistant_item", "item": {"kind": "tool_call"}},
    {"kind": "assistant_item", "item": {"kind": "message", "role": "assistant", "content": 5}},
    {"kind": "assistant_item", "item": {"kind": "message", "role": "assistant", "content": [1, {"kind": "refusal", "text": "no"}]}},
    {"kind": "assistant_item", "item": {"kind": "message", "role": "assistant", "content": [{"kind": "text", "text": 5}]}},
    said("theirs", role="user"),
]


def test_only_what_an_assistant_said_counts():
    text, cursor = new_text([*ODD, said("mine"), *ODD], Cursor(), 100)
    assert text == "mine"
    assert new_text([*ODD, said("mine"), *ODD], cursor, 100) == ("", cursor)


@given(st.lists(st.text(min_size=1, max_size=30), max_size=8), st.integers(1, 20))
def test_small_reads_put_together_are_the_whole(texts, limit):
    entries = [said(text) for text in texts]
    cursor, parts = Cursor(), []
    for _ in range(500):
        text, cursor = new_text(entries, cursor, limit)
        if not text and cursor.entries == len(entries):
            break
        parts.append(text)
    assert "".join(parts).replace("\n\n", "") == "".join(texts).replace("\n\n", "")


def test_what_is_new_comes_after_what_was_read():
    entries = [said("one")]
    text, cursor = new_text(entries, Cursor(), 100)
    entries.append(said("two"))
    text, cursor = new_text(entries, cursor, 100)
    assert text == "two"


@pytest.mark.proves("H10")
def test_a_log_that_became_shorter_is_read_from_its_beginning():
    assert new_text([said("new")], Cursor(7, 3), 100)[0] == "new"
