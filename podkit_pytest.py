"""Fixtures for pytest: a world in virtual time, and simulations under seeds that the command line chooses.

pytest finds this plug-in by itself where podkit is installed; `-p no:podkit` turns it off. Its fixtures:

- `podkit_world`: a `podkit.testing.World`, opened inside the trio run of an async test, in virtual time. With pytest-trio the test
  may use all of pytest-trio's fixtures, a clock of its own among them; without it the test is run here.
- `podkit_sim_seed`: a seed. Each test that asks for it runs once for every seed of `--podkit-seed=N --podkit-seeds=K`: N, N+1, ...
- `podkit_simulate`: `podkit.testing.simulate` under that seed: `report = podkit_simulate(scenario, faults=...)`.

When a test with a seed fails, its report says how to run it again.
"""

# Whoever runs pytest where podkit is installed pays for this file, so podkit and trio are imported when a test needs them.

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from trio.abc import Clock, Instrument

    from podkit.testing import World

_WORLD, _SEED = "podkit_world", "podkit_sim_seed"
_MOST_SEEDS = 1_000_000
_REPORTS_SHOWN = 3

_reports = pytest.StashKey[list[str]]()


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most):
            raise ValueError(text)
        return int(text)

    number.__name__ = f"number from {least} to {most}"  # argparse shows it: "invalid number from 1 to 1000000 value: 'x'"
    return number


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("podkit", "simulations of pods")
    group.addoption("--podkit-seed", type=_number(0, 2**63), default=0, metavar="N", help="the first seed of simulations (0)")
    group.addoption(
        "--podkit-seeds", type=_number(1, _MOST_SEEDS), default=1, metavar="K", help="how many seeds: N, N + 1, ... (1)"
    )


def pytest_configure(config: pytest.Config) -> None:
    with_trio = config.pluginmanager.hasplugin("trio")
    config.pluginmanager.register(_ByPytestTrio() if with_trio else _ByItself(), "podkit-world")


def pytest_report_header(config: pytest.Config) -> str | None:
    seeds = _seeds(config)
    if seeds == range(1):
        return None
    return f"podkit: seed {seeds[0]}" if len(seeds) == 1 else f"podkit: seeds {seeds[0]} to {seeds[-1]}"


# Seeds.


def _seeds(config: pytest.Config) -> range:
    first: Any = config.getoption("podkit_seed")
    count: Any = config.getoption("podkit_seeds")
    return range(first, first + count)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _SEED in metafunc.fixturenames and not _chosen_by_the_test(metafunc):
        seeds = _seeds(metafunc.config)
        metafunc.parametrize(_SEED, seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True)


def _chosen_by_the_test(metafunc: pytest.Metafunc) -> bool:
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if _SEED in ([name.strip() for name in names.split(",")] if isinstance(names, str) else names):
            return True
    return False


@pytest.fixture
def podkit_sim_seed(request: pytest.FixtureRequest) -> int:
    """One of the seeds that the command line names (`--podkit-seed`, `--podkit-seeds`)."""
    seed: int = getattr(request, "param", _seeds(request.config)[0])
    return seed


@pytest.fixture
def podkit_simulate(podkit_sim_seed: int, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`podkit.testing.simulate` under the seed of `podkit_sim_seed`: called with the scenario and, by name, what else it takes."""
    reports = request.node.stash.setdefault(_reports, [])

    def simulate(scenario: Callable[[World], Awaitable[Any]], **options: Any) -> Any:
        import podkit.testing

        options.setdefault("seed", podkit_sim_seed)
        report = podkit.testing.simulate(scenario, **options)
        reports.append(str(report))
        del reports[:-_REPORTS_SHOWN]
        return report

    return simulate


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    seed = getattr(item, "funcargs", {}).get(_SEED)
    if report.failed and seed is not None:
        lines = [f"seed {seed}: run this test again with --podkit-seed={seed}", *item.stash.get(_reports, ())]
        report.sections.append(("podkit", "\n".join(lines)))
    return report


# Worlds.


def _in_virtual_time(
    main: Callable[[], Awaitable[None]], *, clock: Clock | None = None, instruments: Sequence[Instrument] = ()
) -> None:
    """`trio.run` with the clock that jumps over waiting, unless the test brings one."""
    import trio
    from trio.testing import MockClock

    trio.run(main, clock=MockClock(autojump_threshold=0) if clock is None else clock, instruments=instruments)


def _uses_world(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and _WORLD in item.fixturenames


def _is_async(item: pytest.Item) -> bool:
    test = getattr(item, "obj", None)
    return inspect.iscoroutinefunction(getattr(getattr(test, "hypothesis", None), "inner_test", test))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _uses_world(item) and not _is_async(item):
        pytest.fail(f"{_WORLD} lives inside a trio run: make the test `async def`", pytrace=False)


class _ByPytestTrio:
    """pytest-trio is there: it runs the test, in our clock."""

    @pytest.fixture
    async def podkit_world(self) -> AsyncIterator[World]:
        """A `podkit.testing.World` in virtual time; everything in it ends with the test."""
        from podkit.testing import open_world

        async with open_world() as world:
            yield world

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if _uses_world(item) and _is_async(item):
                item.add_marker(pytest.mark.trio(run=_in_virtual_time), append=False)


class _NoWorldYet:
    """What stands for the world until the trio run of the test has begun."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{_WORLD}.{name} is not there before the test itself runs; fixtures that use it need pytest-trio")


class _ByItself:
    """pytest-trio is not there: the tests that use a world, and no others, are run here."""

    @pytest.fixture
    def podkit_world(self) -> _NoWorldYet:
        """A `podkit.testing.World` in virtual time; everything in it ends with the test."""
        return _NoWorldYet()

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if not (_uses_world(pyfuncitem) and inspect.iscoroutinefunction(pyfuncitem.obj)):
            return None
        from podkit.testing import open_world

        given = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}

        async def main() -> None:
            async with open_world() as world:
                await pyfuncitem.obj(**{**given, **({_WORLD: world} if _WORLD in given else {})})

        _in_virtual_time(main)
        return True
