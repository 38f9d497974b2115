"""The pages: what they show is what is run, where they point there is something, what is generated is up to date."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "benchmarks" / "README.md", *DOCS.rglob("*.md")])
BLOCK = re.compile(r"(?:<!-- (?P<source>[^\n]*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
START, END = "# --- as in the page ---\n", "# --- until here ---"
HELPERS = {"codemap_plan.py", "codemap_screen.py", "codemap_ground.py", "scribe.py"}  # parts of other programs
HELPERS |= {"watch_follow.py", "watch_news.py", "watch_prompt.py", "watch_terminal.py", "watch_tree.py"}
SECONDS = 90


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def page_part(text: str) -> str:
    """What of an example a page shows: all of it, or what stands between its markers."""
    if START not in text:
        return text
    body = text.partition(START)[2]
    return textwrap.dedent(body.partition(END)[0].rstrip(" ")).strip("\n") + "\n"


def blocks() -> list[tuple[Path, str | None, str]]:
    found = ((page, match) for page in PAGES for match in BLOCK.finditer(page.read_text()) if match["language"] == "python")
    return [(page, match["source"], match["body"]) for page, match in found]


@pytest.fixture
def away(short_dir):
    """A directory of its own, to be the working directory and to hold the user's registry."""
    return short_dir


def run(away: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(away), "PYTHONPATH": str(ROOT), "TMPDIR": str(away)}
    command = [sys.executable, "-W", "error", *argv]
    options = {"capture_output": True, "text": True, "timeout": SECONDS}
    done = subprocess.run(command, cwd=away, env=environment, input="", check=False, **options)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done


def test_every_python_block_is_a_file_of_the_examples():
    assert blocks()
    for page, source, body in blocks():
        assert source is not None, f"{name(page)}: a python block without its file:\n{body[:200]}"
        file = DOCS / source
        assert file.is_file(), f"{name(page)}: there is no {source}"
        assert body == page_part(file.read_text()), f"{name(page)} and {source} differ"


@pytest.mark.parametrize("file", sorted({f for f in EXAMPLES.rglob("*.py") if f.name not in HELPERS}), ids=name)
def test_an_example_runs(file, away):
    if file.name == "spawn_a_process.py" and not os.access("/srv" if os.path.isdir("/srv") else "/", os.W_OK):
        pytest.skip("the page speaks of /srv/app, which this user cannot make")
    run(away, str(file))


def test_ps_stops_nothing_when_there_is_nothing(away):
    with pytest.raises(AssertionError, match=r"exit status 1\n[^$]*no pod `nobody` is known here"):
        run(away, str(EXAMPLES / "ps.py"), "--stop", "nobody")


def headings(page: Path) -> set[str]:
    """The anchors of a page, as a viewer of Markdown makes them."""
    lines = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE).splitlines()
    titles = (line.lstrip("#").strip().lower() for line in lines if line.startswith("#"))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_repository_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} points to {link}"
        assert ROOT in file.parents, f"{name(page)} points out of the repository: {link}"
        if anchor and file.suffix == ".md":
            assert anchor in headings(file), f"{name(page)} points to a heading that is not there: {link}"


def test_every_page_can_be_reached_from_the_index():
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        links = (page.parent / link for link in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text()) if "://" not in link)
        waiting += [link.resolve() for link in links if link.exists() and link.resolve() not in reached]
    assert not [name(page) for page in PAGES if page not in reached]


def test_the_generated_reference_is_up_to_date(away):
    run(away, str(DOCS / "reference" / "_generate_api.py"), "--check")


def test_the_picture_of_the_front_end_is_what_it_draws(away):
    run(away, str(DOCS / "how-to" / "_generate_watch.py"), "--check")


def test_the_readme_has_exactly_two_commands():
    shell = [match["body"] for match in BLOCK.finditer((ROOT / "README.md").read_text()) if match["language"] == "sh"]
    assert "".join(shell).splitlines() == [
        "pip install -e . && python docs/examples/codemap.py",
        "pip install -e '.[dev]' && pytest -n auto --dist loadfile",
    ]
