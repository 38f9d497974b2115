"""The tables themselves: nothing is missing, nothing is weaker than it says."""

from pathlib import Path

VERDICTS = {"ALLOW", "DENY", "REJECT", "ABSENT", "DOCUMENTED"}
LEVELS = {"advisory", "kernel_no_namespaces", "kernel", "strict"}


def numbers(*spans):
    return {f"S{number:03}" for first, last in spans for number in range(first, last + 1)}


def test_every_row_of_the_corpus_is_there(rows):
    paths = {row["id"] for table in ("s1_lexical", "s2_links", "s3_rules", "s4_sensitive") for row in rows[table]}
    wanted = numbers((1, 38), (40, 75), (80, 102), (107, 111), (112, 125), (130, 137))
    assert len(wanted) == 124
    assert {one for one in paths if one.startswith("S")} == wanted
    assert {row["id"] for row in rows["k_kernel"]} == {f"K{number:02}" for number in range(1, 61)}


def test_every_row_says_what_is_required_at_every_level(rows):
    for table in rows.values():
        for row in table:
            required = row["required"]
            assert set(required) == {"all"} or set(required) - {"strict_no_namespaces"} == LEVELS, row
            assert set(required.values()) <= VERDICTS, row
            assert row["what"], row


def test_whatever_is_weaker_than_it_should_be_says_so_in_words(rows):
    for table in rows.values():
        for row in table:
            levels = {level for level, verdict in row["required"].items() if verdict == "DOCUMENTED"}
            assert ("hole" in row) == bool(levels - {"advisory"}), row


def test_a_probe_is_named_once(rows):
    probes = [(row["id"], row["probe"]) for row in rows["k_kernel"]]
    assert len(probes) == len(set(probes))


def test_every_case_is_a_test_of_its_own(rows):
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    for table in rows.values():
        for row in table:
            if "case" in row:
                assert f"{row['id'].lower()}_{row['case']}(" in text or f"{row['id'].lower()}_{row['case']}_and" in text, row
