"""Simulated runs a second: a tree of twelve pods born, given a task and stopped; and random scenarios without and with faults.

python benchmarks/bench_simulate.py [--quick]
"""

import argparse
import logging
import time

from podkit import Scope
from podkit.testing import Faults, Say, ScriptedWorker, random_scenario, simulate


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


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    runs = 5 if options.parse_args().quick else 100
    logging.disable(logging.CRITICAL)
    faults = Faults(
        {kind: rate for kind, rate in Faults.default().rates.items() if kind not in ("registry_after", "registry_read")}
    )
    measure("twelve pods, no faults", twelve, Faults.none(), runs)
    measure("random scenario, no faults", random_scenario, Faults.none(), runs)
    measure("random scenario, faults", random_scenario, faults, runs)


if __name__ == "__main__":
    main()
