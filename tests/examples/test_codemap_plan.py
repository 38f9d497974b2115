"""The pure part of docs/examples/codemap.py."""

import re

import pytest
from codemap_plan import INDEX, LEAST, MARK, MOST, Answer, Job, Part, clean, describe, merge, render_index, split
from hypothesis import given
from hypothesis import strategies as st

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")

pieces = st.sampled_from(["a", "b", "mime", "codemap", "lead", "Ünï cödé", "-", "x" * 40])
trees = st.lists(
    st.builds(lambda dirs, name: "/".join([*dirs, name + ".py"]), st.lists(pieces, max_size=3), pieces), min_size=3, unique=True
)


def every(parts):
    return [one for part in parts for one in (part, part.sub) if one is not None]


def within(path, target):
    return path == target or path.startswith(target + "/")


@given(trees)
def test_every_file_is_in_one_part_and_the_parts_are_disjoint(files):
    parts = split(files)
    assert LEAST <= len(parts) <= MOST
    assert sorted(path for part in every(parts) for path in part.files) == sorted(files)
    targets = [(part.name, target) for part in parts for target in part.targets]
    for name, target in targets:
        assert not [other for owner, other in targets if (owner, other) != (name, target) and within(other, target)]


@given(trees)
def test_what_a_part_reads_and_writes_lies_inside_its_targets(files):
    for part in every(split(files)):
        assert part.index.endswith("/" + INDEX)
        assert part.index not in files
        for path in (*part.files, part.index):
            assert any(within(path, target) for target in part.targets)


@given(trees)
def test_a_sub_part_lies_inside_its_part_and_leaves_it_something(files):
    for part in split(files):
        if part.sub is not None:
            assert part.files
            assert part.sub.files
            assert part.index != part.sub.index
            for target in part.sub.targets:
                assert any(within(target, outer) for outer in part.targets)
                assert not within(part.index, target)


@given(trees)
def test_names_are_pod_names_and_differ(files):
    names = [part.name for part in every(split(files))]
    assert all(NAME.fullmatch(name) and len(name) <= 24 for name in names)
    assert len(set(names)) == len(names)
    assert "lead" not in names


def test_directories_are_parts_and_their_index_lies_in_them():
    parts = split(["a/x.py", "b/y.py", "c/z.py", "c/d/w.py"])
    assert [(part.name, part.targets, part.index) for part in parts] == [
        ("a", ("a",), "a/INDEX.md"),
        ("b", ("b",), "b/INDEX.md"),
        ("c", ("c",), "c/INDEX.md"),
    ]
    assert parts[2].sub == Part("c-sub", ("c/d",), ("c/d/w.py",), "c/d/INDEX.md")


def test_a_flat_directory_is_split_by_files():
    parts = split([f"m{at}.py" for at in range(6)])
    assert [part.index for part in parts] == ["codemap/top/INDEX.md", "codemap/top-2/INDEX.md", "codemap/top-3/INDEX.md"]
    assert all(f"codemap/{part.name}" in part.targets for part in parts)


def test_many_directories_become_six_parts():
    assert len(split([f"d{at}/m.py" for at in range(50)])) == MOST


def test_too_few_files_are_refused_with_a_reason():
    with pytest.raises(ValueError, match="at least 3 Python files"):
        split(["a.py", "b.py"])


def test_a_job_and_an_answer_survive_the_way_through_a_task():
    job = Job("/r", split(["a.py", "b.py", "c.py", "d.py"])[0].at("/r"), 0.5, "/r/x")
    assert Job.from_json(job.to_json()) == job
    answer = Answer(3, 4, "no", ("hello",))
    assert Answer.from_json(answer.to_json()) == answer


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": "1", "definitions": 2, "refusal": null, "told": []}'])
def test_an_answer_that_is_none_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error is one too
        Answer.from_json(text)


def test_a_module_is_described_by_its_classes_functions_and_first_docstring_lines():
    module = describe(
        "m.py",
        b'"""Top.\n\nMore."""\nclass A:\n    "An a."\n    async def f(self): ...\n    class B: ...\ndef g():\n    def h(): ...\n',
    )
    assert module.doc == "Top."
    assert [(one.kind, one.name, one.doc) for one in module.definitions] == [
        ("class", "A", "An a."),
        ("def", "A.f", ""),
        ("class", "A.B", ""),
        ("def", "g", ""),
    ]


@given(st.binary(max_size=200))
def test_describing_never_fails_for_what_is_in_a_file(source):
    describe("m.py", source)


@pytest.mark.parametrize("source", [b"def", b"\0", b"(" * 5000, b"# coding: nonsense\n", b"\xff\xfe", b"-" * 100_000 + b"1"])
def test_a_file_that_is_not_python_is_listed_with_its_error(source):
    module = describe("m.py", source)
    assert module.error
    assert module.error in render_index("t", [module])


def test_nothing_from_a_source_reaches_the_terminal_as_a_control_character():
    module = describe("m.py", b'"""A \\x1b[31m red\\x07 line"""\n')
    assert "\x1b" not in module.doc
    assert clean("a\x00b\u202ec" + "x" * 200, 20) == "a b c" + "x" * 14 + "…"


def test_pages_are_merged_one_level_deeper_with_a_link():
    page = render_index("mime", [describe("mime/a.py", b'"""Doc."""\ndef f():\n    "It does."\n')])
    assert page.startswith(MARK)
    text = merge("email", {"mime/INDEX.md": page})
    assert text.startswith(f"{MARK}\n# Code map of email\n")
    assert "\n## mime\n" in text
    assert "\n### `mime/a.py`\n" in text
    assert "- def `f`: It does.\n" in text
    assert "[mime/INDEX.md](mime/INDEX.md)" in text
    assert text.count(MARK) == 1
