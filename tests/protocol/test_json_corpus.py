"""The parsing corpus of JSONTestSuite against the reader of methods."""

from pathlib import Path

import pytest

from podkit.errors import RemoteProtocolError
from podkit.protocol._json import read_json

# It lies beside the checkout, or beside the directory that holds several of them.
PLACES = [above / "shared" / "vectors" / "json" / "test_parsing" for above in Path(__file__).parents[2:5]]
FOLDER = next((place for place in PLACES if place.is_dir()), PLACES[0])
CASES = sorted(FOLDER.glob("*.json"))
TWICE = {"y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"}

# What JSON leaves to the reader, decided once: numbers that fit are read, the rest is refused.
READ = {
    "i_number_double_huge_neg_exp.json",
    "i_number_real_underflow.json",
}


@pytest.mark.skipif(not CASES, reason="the JSON corpus (../shared/vectors/json) is not beside this repository")
def test_the_corpus_is_there():
    assert len(CASES) == 318
    assert {case.name for case in CASES} >= TWICE | READ


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_of_the_corpus(case):
    if (case.name[0] == "y" and case.name not in TWICE) or case.name in READ:
        read_json(case.read_bytes())
    else:
        with pytest.raises(RemoteProtocolError):
            read_json(case.read_bytes())
