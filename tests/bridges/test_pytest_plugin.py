"""The plug-in for pytest, in programs of its own: worlds with and without pytest-trio, seeds, and what it costs to have it."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent.parent
PLUGIN = "podkit_pytest"
INSTALLED = [point.value for point in entry_points(group="pytest11", name="podkit")]
ASKED = [] if INSTALLED else ["-p", PLUGIN]  # where podkit is installed as it is now, pytest finds the plug-in by itself
WITHOUT_TRIO = ["-p", "no:trio"]
BOTH = pytest.mark.parametrize("how", [[], WITHOUT_TRIO], ids=["with pytest-trio", "without pytest-trio"])

HEAD = """
import pytest, trio
import podkit
from podkit import Scope
from podkit.testing import Say, ScriptedWorker, Sleep
"""
WORLDS = (
    HEAD
    + """
pytest.worlds = []

@pytest.fixture
def word():
    return "hello"

@pytest.mark.parametrize("seconds", [1, 100_000])
async def test_time_is_virtual(podkit_world, word, seconds):
    pytest.worlds.append(podkit_world)
    began = trio.current_time()
    async with podkit_world.open_pod("root", ScriptedWorker(Sleep(seconds), Say(word)), scope=Scope.write("/w")) as pod:
        async with podkit_world.connect(pod.address) as client:
            assert (await client.ask("go")).text == "hello"
    assert seconds <= trio.current_time() - began < seconds + 10

class TestInAClass:
    async def test_a_method_may_have_a_world(self, podkit_world):
        pytest.worlds.append(podkit_world)

@pytest.mark.usefixtures("podkit_world")
async def test_a_world_need_not_be_named():
    await trio.sleep(100_000)

async def test_failing(podkit_world):
    async with podkit_world.open_pod("root", ScriptedWorker(), scope=Scope.write("/w")):
        assert podkit_world is None

async def test_skipped(podkit_world):
    pytest.skip("for a reason")

def test_sync(podkit_world):
    pass

def test_every_test_has_a_world_of_its_own_and_it_is_over():
    first, second, third = pytest.worlds
    assert first is not second is not third
    assert not any(program.alive for world in pytest.worlds for program in world.programs)
"""
)


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(text, *options):
        pytester.makepyfile(text)
        return pytester.runpytest_subprocess(*ASKED, "-p", "no:cacheprovider", "-W", "error", *options, timeout=120)

    return run


@BOTH
def test_an_async_test_gets_a_world_in_virtual_time(run, how):
    result = run(WORLDS, *how)
    result.assert_outcomes(passed=5, failed=1, skipped=1, errors=1)
    result.stdout.fnmatch_lines(["*podkit_world lives inside a trio run: make the test `async def`*"])
    result.stdout.fnmatch_lines(["*assert <World of * is None"])


def test_the_rest_of_pytest_trio_can_be_used_beside_a_world(run):
    text = (
        HEAD
        + """
    @pytest.fixture
    async def root(podkit_world):
        async with podkit_world.open_pod("root", ScriptedWorker(Say("hi")), scope=Scope.write("/w")) as pod:
            yield pod

    async def test_a_fixture_of_its_own(podkit_world, root, nursery):
        nursery.start_soon(trio.sleep, 1000)
        assert podkit_world.program("root").pod is root
        assert (await root.ask("go")).text == "hi"

    async def test_a_clock_of_its_own(podkit_world, mock_clock):
        assert trio.lowlevel.current_clock() is mock_clock
        mock_clock.jump(5)

    @pytest.mark.trio
    async def test_marked(podkit_world):
        await trio.sleep(100_000)
    """.replace("\n    ", "\n")
    )
    run(text).assert_outcomes(passed=3)
    run(text, "-o", "trio_mode=true").assert_outcomes(passed=3)


def test_without_pytest_trio_a_fixture_that_wants_the_world_is_told_what_it_needs(run):
    text = (
        HEAD
        + """
    @pytest.fixture
    def launcher(podkit_world):
        return podkit_world.launcher(ScriptedWorker)

    async def test_it(podkit_world, launcher):
        pass
    """.replace("\n    ", "\n")
    )
    result = run(text, *WITHOUT_TRIO)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*podkit_world.launcher is not there before the test itself runs; fixtures that use it need pytest-trio*"]
    )


SEEDS = """
import pytest

def test_seeded(podkit_sim_seed):
    assert podkit_sim_seed != 11

@pytest.mark.parametrize("podkit_sim_seed, x", [(3, "a"), (4, "b")])
def test_chosen(podkit_sim_seed, x):
    assert (podkit_sim_seed, x) in [(3, "a"), (4, "b")]

@pytest.mark.parametrize(argnames=["podkit_sim_seed"], argvalues=[[5]])
def test_chosen_by_name(podkit_sim_seed):
    assert podkit_sim_seed == 5

def test_of_no_seed():
    pass
"""


def test_a_test_runs_once_for_each_seed_of_the_command_line_and_the_one_that_fails_is_named(run):
    result = run(SEEDS, "--podkit-seed=10", "--podkit-seeds=3", "-v")
    result.assert_outcomes(passed=6, failed=1)
    result.stdout.fnmatch_lines(
        ["podkit: seeds 10 to 12", "*test_seeded?seed10? PASSED*", "*test_seeded?seed11? FAILED*", "*test_seeded?seed12? PASSED*"]
    )
    result.stdout.fnmatch_lines(["*- podkit -*", "seed 11: run this test again with --podkit-seed=11"])
    assert result.stdout.str().count("run this test again") == 1


def test_by_default_there_is_one_seed_and_nothing_is_said_about_it(run):
    result = run(SEEDS, "-v")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines(["*test_seeded?seed0? PASSED*"])
    result.stdout.no_fnmatch_line("podkit: seed*")


def test_a_seed_fixture_of_the_users_own_takes_the_place_of_ours(run):
    text = """
    import pytest

    @pytest.fixture
    def podkit_sim_seed():
        return 99

    def test_it(podkit_sim_seed):
        assert podkit_sim_seed == 99
    """.replace("\n    ", "\n")
    run(text).assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--podkit-seed=-1", "--podkit-seed=x", "--podkit-seeds=0", "--podkit-seeds=1000001"])
def test_a_seed_that_is_none_is_refused(option):
    command = [sys.executable, "-m", "pytest", *ASKED, "-c", "/dev/null", option, "--version", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"invalid number from \d+ to \d+ value", done.stderr)


SIMULATED = (
    HEAD
    + """
seen = []

async def scenario(world):
    async with world.open_pod("root", ScriptedWorker(Sleep(3600), Say("done")), scope=Scope.write("/w")) as pod:
        assert (await pod.ask("go")).text == "done"

def test_the_same_seed_gives_the_same_run(podkit_simulate, podkit_sim_seed):
    first, again = podkit_simulate(scenario), podkit_simulate(scenario)
    assert first == again
    assert first.seed == podkit_sim_seed
    seen.append(first.hash)

def test_every_seed_has_a_run_of_its_own():
    assert len(set(seen)) == len(seen) == 2

def test_a_report_is_shown_when_the_test_fails(podkit_simulate, podkit_sim_seed):
    podkit_simulate(scenario)
    assert podkit_sim_seed != 8
"""
)


def test_simulations_run_under_the_seed_and_a_failing_test_shows_their_reports(run):
    result = run(SIMULATED, "--podkit-seed=7", "--podkit-seeds=2", *WITHOUT_TRIO)
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["seed 8: run this test again with --podkit-seed=8", "seed 8:*simulated seconds*"])


def test_the_plug_in_itself_imports_nothing_beside_pytest():
    """Every run of pytest pays for it where podkit is installed; what its package costs is that package's."""
    package = PLUGIN.rpartition(".")[0]
    code = (
        f"import sys, pytest{', ' + package if package else ''}; before = set(sys.modules); import {PLUGIN};"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [PLUGIN]


def test_it_can_be_turned_off(run):
    if not INSTALLED:
        pytest.skip("the plug-in is not an entry point of the podkit that is installed here")
    result = run("def test_it(podkit_world): pass", "-p", "no:podkit")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'podkit_world' not found*"])
