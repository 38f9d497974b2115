"""One trial: podkit with one planted bug, and one general suite run against it. Ends with 10 when the suite notices, 0 when not.

    python tests/planted/trial.py BUG SUITE [SEED ...]

BUG `none` plants nothing: then every suite has to be content. What the suite says goes to stdout.
"""

import contextlib
import logging
import os
import sys
import tempfile

import pytest
from bugs import BUGS
from planting import plant
from suites import SIMULATED, SUITES

CAUGHT, MISSED = 10, 0
MISFIT = 3  # the bug cannot be planted, or the suite could not run


class Quick:
    """What fails is enough to know; the smallest example of it is not looked for."""

    def pytest_sessionstart(self):
        from hypothesis import Phase, settings  # late: pytest wants to see it imported

        settings.register_profile("planted", deadline=None, database=None, phases=(Phase.explicit, Phase.generate))
        settings.load_profile("planted")


def judge(suite, seeds):
    """Whether that suite notices something."""
    if suite in SIMULATED:
        logging.disable()  # what goes wrong there is meant to
        check, many = SIMULATED[suite]
        return check([*seeds, *range(many)])
    with tempfile.TemporaryDirectory(prefix="pk") as scratch:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch  # what fails because of a planted bug is nothing to remember
        plain = ["-x", "-q", "-p", "no:cacheprovider", "--no-header", "--tb=line", "--hypothesis-seed=0", f"--basetemp={scratch}/t"]
        status = pytest.main([*plain, *SUITES[suite]], plugins=[Quick()])
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(MISFIT)
    return status == pytest.ExitCode.TESTS_FAILED


def main(bug, suite, *seeds):
    with contextlib.ExitStack() as stack:
        if bug != "none":
            try:
                stack.enter_context(plant(BUGS[bug]))
            except LookupError as error:
                print(error)
                return MISFIT
        return CAUGHT if judge(suite, [int(seed) for seed in seeds]) else MISSED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
