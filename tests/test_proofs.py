"""The marks by which tests name what they prove: each names something that is written down, and what counts is proved."""

import importlib.util
import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "_generate_invariants.py"


def generator():
    spec = importlib.util.spec_from_file_location("generate_invariants", PAGE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_that_is_written_down_is_proved_by_a_test_that_names_it():
    page = generator()
    marked = page.marked()
    assert [name for sentences in page.promises().values() for name in sentences if name not in marked] == []


def test_every_invariant_is_written_down():
    assert [f"I{n}" for n in range(1, 41)] == list(generator().promises()["invariants"])


def test_every_mark_names_something_that_is_written_down():
    page = generator()
    known = {name for sentences in page.promises().values() for name in sentences}
    odd = [name for name in page.marked() if name not in known and not re.fullmatch(r"[SK]\d+", name)]
    assert odd == []


def test_the_page_of_invariants_is_what_would_be_generated():
    assert PAGE.with_name("invariants.md").read_text() == generator().page()
