"""Simulated runs a second: a tree of twelve pods born, given a task and stopped; and random scenarios without and with faults.

The peer is trio alone: as many steps, tasks and cancel scopes as one run of the twelve pods has, with nothing in them.

python benchmarks/bench_simulate.py [--quick]
"""

import argparse
import logging
import time
from contextlib import contextmanager

import trio
from trio.testing import MockClock

from podkit import Scope
from podkit.testing import Faults, Say, ScriptedWorker, random_scenario, simulate

_WIDTH = 3  # tasks that are ready at the same time, as in the run of twelve pods


async def twelve(world):
    async with world.open_pod("root", ScriptedWorker(Say("x")), scope=Scope.write("/w")) as root:
        launcher = world.launcher(lambda: ScriptedWorker(Say("hi")))
        for number in range(11):
            await root.spawn(f"c{number}", scope=Scope.write(f"/w/c{number}"), launcher=launcher, task="go")


def measure(name, scenario, faults, runs):
    simulate(scenario, seed=0, faults=faults)
    began, steps, programs = time.process_time(), 0, 0
    for seed in range(runs):
        report = simulate(scenario, seed=seed, faults=faults)
        steps, programs = steps + report.steps, programs + report.programs
    took = time.process_time() - began
    print(
        f"{name:28s} {runs / took:8.1f} runs/s of one core  {steps / took:9.0f} steps/s  "
        f"{programs / took:7.0f} pods/s  {took / runs * 1e3:6.1f} ms a run"
    )
    return took / runs


@contextmanager
def _counted(kind, name, counts):
    real = getattr(kind, name)

    def counting(*args, **kwargs):
        counts[name] = counts.get(name, 0) + 1
        return real(*args, **kwargs)

    setattr(kind, name, counting)
    try:
        yield
    finally:
        setattr(kind, name, real)


def counted(scenario):
    """The steps, tasks and cancel scopes (those of nurseries too) of one run."""
    counts = {}
    with _counted(trio.CancelScope, "__enter__", counts), _counted(trio._core._run.Runner, "spawn_impl", counts):
        report = simulate(scenario, seed=0)
    return report.steps, counts["spawn_impl"], counts["__enter__"]


async def _bare(steps, tasks, scopes):
    async def take(count):
        for _ in range(count):
            await trio.lowlevel.checkpoint()

    for _ in range(scopes):
        with trio.CancelScope():  # noqa: ASYNC100 - what it costs is the question
            pass
    async with trio.open_nursery() as nursery:
        for _ in range(tasks - _WIDTH):
            nursery.start_soon(take, 0)
    async with trio.open_nursery() as nursery:
        for _ in range(_WIDTH):
            nursery.start_soon(take, (steps - tasks) // _WIDTH)


def measure_bare(steps, tasks, scopes, runs):
    began = time.process_time()
    for _ in range(runs):
        trio.run(_bare, steps, tasks, scopes, clock=MockClock(autojump_threshold=0))
    took = (time.process_time() - began) / runs
    print(
        f"{'trio alone':28s} {1 / took:8.1f} runs/s of one core  {steps / took:9.0f} steps/s  {'':14s} {took * 1e3:6.1f} ms a run"
    )
    return took


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    runs = 5 if options.parse_args().quick else 100
    logging.disable(logging.CRITICAL)
    faults = Faults(
        {kind: rate for kind, rate in Faults.default().rates.items() if kind not in ("registry_after", "registry_read")}
    )
    steps, tasks, scopes = counted(twelve)
    print(f"twelve pods: {steps} steps of {tasks} tasks, {scopes} cancel scopes")
    podkit = measure("twelve pods, no faults", twelve, Faults.none(), runs)
    bare = measure_bare(steps, tasks, scopes, runs)
    measure("random scenario, no faults", random_scenario, Faults.none(), runs)
    measure("random scenario, faults", random_scenario, faults, runs)
    print(f"twelve pods take {podkit / bare:.1f} times as long as trio alone")


if __name__ == "__main__":
    main()
