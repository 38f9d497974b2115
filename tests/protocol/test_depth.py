"""How deep a frame nests is found without reading it, in time linear in its bytes."""

import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit.protocol._json import nested_too_deep

SIZE = 2**23 if sys.gettrace() is None else 2**17  # bytes; when coverage looks on, every step of a pass costs
BRACKETS = st.text("[]", max_size=160) | st.lists(
    st.sampled_from(["[" * 60 + "]" * 60, "[]", "[[][]]", "[" * 30 + "[]" * 9 + "]" * 30, "[" * 70, "]" * 3]), max_size=5
).map("".join)


@settings(max_examples=300, deadline=None)
@given(BRACKETS, st.integers(1, 64))
def test_how_deep_brackets_nest_is_what_counting_them_says(brackets, most):
    depth, deepest, matched = 0, 0, True
    for bracket in brackets:
        depth += 1 if bracket == "[" else -1
        deepest, matched = max(deepest, depth), matched and depth >= 0
    wrong = deepest > most or depth != 0 or not matched
    # What is too short or has too few brackets to nest so deep is not looked at: that they do not match is found by reading it.
    assert nested_too_deep(brackets.encode() + b" " * 128, most=most) == (wrong and brackets.count("[") > most)


@pytest.mark.parametrize("piece", [b"[" * 60 + b"]" * 60, b"[[][]]", b"[" * 63 + b"[]" * 9 + b"]" * 63, b"]" * 9, b"[", b'{"a":['])
@pytest.mark.proves("I16")
def test_how_deep_a_large_frame_nests_is_found_in_one_pass(piece):
    frame = piece * (SIZE // len(piece))
    begin = time.process_time()
    nested_too_deep(frame)
    nested_too_deep(b"[" * SIZE + b"]" * SIZE)
    assert time.process_time() - begin < 1.5  # seconds; 64 passes over all of it take three times as many
