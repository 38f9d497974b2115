"""Chance and the clock."""

import re
import time

import pytest

from podkit._os import chance, new_incarnation, new_secret, new_tree, now
from podkit.errors import InvalidNameError


def test_what_is_fresh_has_its_form_and_does_not_come_twice():
    for make, form in [
        (new_incarnation, "[0-9a-f]{16}"),
        (new_secret, "[0-9a-f]{64}"),
        (lambda: new_tree("root"), "root-[0-9a-f]{6}"),
    ]:
        made = [make() for _ in range(50)]
        assert all(re.fullmatch(form, one) for one in made)
        assert len(set(made)) == 50


def test_a_tree_is_named_after_a_pod_only():
    with pytest.raises(InvalidNameError):
        new_tree("../x")


def test_now_is_the_wall_clock():
    assert abs(now() - time.time()) < 5


def test_chance_is_a_number_from_zero_to_one():
    drawn = [chance() for _ in range(200)]
    assert all(0 <= one < 1 for one in drawn)
    assert max(drawn) > 0.5 > min(drawn)
