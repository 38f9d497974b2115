"""The tutorial `test-a-team`: its tests pass as they are printed, are as short as promised, and fail when the team is broken."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "docs" / "examples"
PAGE = ROOT / "docs" / "tutorial" / "test-a-team.md"
ASKED = [] if entry_points(group="pytest11", name="podkit") else ["-p", "podkit_pytest"]

BROKEN = {
    "the writers may only read": ("podkit.Scope.write(", "podkit.Scope.read("),
    "the lead does not expect a writer to die": ("except podkit.PodkitError as error", "except ZeroDivisionError as error"),
    "the parts are written one after the other": (
        "nursery.start_soon(have_written, part)",
        "await have_written(part)",
    ),
    "the lead has no patience": ("patience: float = 7200", "patience: float = 60"),
    "the writers are asked after they have ended": ("said = (await writer.ask", "await writer.stop(); said = (await writer.ask"),
}


@pytest.fixture
def page_tests(tmp_path):
    """Runs what the page prints, in a directory of its own: (exit status, output)."""
    sources = dict(re.findall(r"<!-- examples/(\w+\.py) -->\n```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))
    assert set(sources) == {"team.py", "test_team.py", "test_team_seeds.py"}

    def run(*options, old="", new="", tests="test_team.py"):
        for name, text in sources.items():
            (tmp_path / name).write_text(text)
        team = tmp_path / "team.py"
        assert old in team.read_text()
        team.write_text(team.read_text().replace(old, new, 1 if tests == "test_team_seeds.py" else -1) if old else team.read_text())
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "pytest", *ASKED, "-W", "error", "-c", "/dev/null", "--rootdir", str(tmp_path)]
        command += ["-p", "no:cacheprovider", "-q", "-rfE", *options, tests]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("options", [(), ("-p", "no:trio")], ids=["with pytest-trio", "without"])
def test_the_tests_of_the_page_pass(page_tests, options):
    status, output = page_tests(*options)
    assert status == 0, output
    assert "2 passed" in output


@pytest.mark.parametrize(("old", "new"), BROKEN.values(), ids=BROKEN)
def test_the_tests_of_the_page_fail_for_a_broken_team(page_tests, old, new):
    status, output = page_tests(old=old, new=new)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "FAILED test_team.py" in output


def test_the_scenario_of_the_page_holds_under_many_seeds(page_tests):
    status, output = page_tests("--podkit-seeds=40", tests="test_team_seeds.py")
    assert status == 0, output
    assert "40 passed" in output


def test_a_team_that_does_not_expect_a_birth_to_fail_is_found_by_a_seed_which_finds_it_again(page_tests):
    broken = {"old": "except podkit.PodkitError as error", "new": "except ZeroDivisionError as error"}
    status, output = page_tests("--podkit-seeds=40", tests="test_team_seeds.py", **broken)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    seeds = re.findall(r"run this test again with --podkit-seed=(\d+)", output)
    assert 0 < len(seeds) < 40
    status, output = page_tests(f"--podkit-seed={seeds[0]}", tests="test_team_seeds.py", **broken)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "1 failed" in output


def test_the_tests_are_as_short_as_promised():
    text = (EXAMPLES / "test_team.py").read_text()
    body = [line for line in text[text.index("def writer") :].splitlines() if line.strip()]
    assert len(body) < 30


def test_the_page_stands_without_the_repository(tmp_path):
    """What it imports is podkit, trio and its own file: a reader can save the two blocks and go."""
    for name in ("team.py", "test_team.py", "test_team_seeds.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
        roots = set(re.findall(r"^(?:import|from) (\w+)", (tmp_path / name).read_text(), re.MULTILINE))
        assert roots <= {"trio", "podkit", "collections", "team", "test_team"}
