import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LONG = bool(os.environ.get("PODKIT_LONG"))
CAUGHT, MISSED = 10, 0  # as trial.py ends


@attrs.frozen
class Verdict:
    """How one trial ended, and what it said."""

    status: int
    said: str

    @property
    def caught(self):
        assert self.status in (CAUGHT, MISSED), self.said
        return self.status == CAUGHT


def table(name):
    """A module of this directory; they are programs of their own and import each other by name."""
    sys.path.insert(0, str(HERE))
    try:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(HERE))
        for loaded in ("planting", "bugs", "keeps", "promises", "readers", "waiters", "suites"):
            sys.modules.pop(loaded, None)
    return module


BUGS = table("bugs")


@pytest.fixture(scope="session")
def bugs():
    return BUGS


@pytest.fixture(scope="session")
def suites():
    found = table("suites")
    return (*found.SIMULATED, *found.SUITES)


@pytest.fixture(scope="session")
def trial():
    """Run one suite, as said in `Bug.caught`, with one bug planted ("none": as podkit is), in a program of its own."""

    def trial(bug, said):
        suite, _, seed = said.rpartition(" ") if said[-1].isdigit() else (said, "", "")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", str(HERE / "trial.py"), bug, suite, *([seed] if seed else [])],
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if key not in ("PODKIT_LONG", "PYTEST_ADDOPTS")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return Verdict(done.returncode, done.stdout[-4000:])

    return trial


def pytest_generate_tests(metafunc):
    if "bug_id" in metafunc.fixturenames:
        metafunc.parametrize("bug_id", [bug.id for bug in BUGS.BUGS.values() if bug.caught])
    if "claim" in metafunc.fixturenames:
        every = [(bug.id, suite) for bug in BUGS.BUGS.values() for suite in bug.caught[1:]]
        metafunc.parametrize("claim", every, ids=[f"{bug}-{suite}".replace(" ", "-") for bug, suite in every])
