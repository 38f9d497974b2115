"""What it costs to run a program confined: python benchmarks/bench_confined.py [--quick]

The programs are /bin/true, so that what is measured is starting, ending, and hearing of both, and an interpreter that does nothing,
as a program that a tool would start. The plain way is `trio.run_process` with captured output; beside it are `pod.run_process`
without confinement (advisory), confined by the kernel, and strict, each with and without namespaces; a shell in between (`sh -c`);
and bubblewrap, where it is installed. All are measured in turn, round by round; a figure is the median, and the ratio is to the
plain way.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio

import podkit
from podkit._os import WardFacts, Wards
from podkit.confinement import Level, available
from podkit_transports import UnixTransport

PROGRAMS = {"/bin/true": ["/bin/true"], "python -I -c pass": [sys.executable, "-I", "-c", "pass"]}
BWRAP = "bwrap --unshare-user --unshare-pid --die-with-parent --ro-bind / / --proc /proc --dev /dev --"
Way = Callable[[], Awaitable[object]]


class Idle(podkit.abc.Worker):
    """Does nothing; its pod runs the programs."""

    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        return None


class WithoutNamespaces(Wards):
    """As on a machine that has none for us."""

    async def facts(self) -> WardFacts:
        return attrs.evolve(await super().facts(), namespaces=False)


def plainly(argv: list[str]) -> Way:
    async def run() -> None:
        done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, stdin=subprocess.DEVNULL)
        assert done.returncode == 0

    return run


def in_pod(pod: podkit.Pod, argv: list[str]) -> Way:
    async def run() -> None:
        assert (await pod.run_process(argv)).ok

    return run


async def ways(root: Path, stack: AsyncExitStack) -> dict[str, dict[str, Way]]:
    """Program -> name of the way -> the way."""
    found = {}
    for program, argv in PROGRAMS.items():
        found[program] = {"trio.run_process": plainly(argv), "trio.run_process sh -c": plainly(["/bin/sh", "-c", shlex.join(argv)])}
        if shutil.which("bwrap"):
            found[program]["bubblewrap"] = plainly([*BWRAP.split(), *argv])
    for level in (one for one in Level if one <= available()):
        for namespaces in (True, False):
            work = root / f"{level.value}-{namespaces}"
            work.mkdir()
            pod = await stack.enter_async_context(
                podkit.open_pod(
                    f"{level.value}-{namespaces}".lower(),
                    Idle(),
                    scope=podkit.Scope.write(str(work)),
                    transport=UnixTransport(),
                    registry=podkit.FileRegistry(str(root / "r")),
                    cwd=str(work),
                    confinement=level.value,
                )
            )
            if not namespaces:
                pod.programs.wards = await stack.enter_async_context(Closing(WithoutNamespaces()))
            for program, argv in PROGRAMS.items():
                found[program][f"pod, {level.value}" + ("" if namespaces else ", no namespaces")] = in_pod(pod, argv)
    return found


class Closing:
    def __init__(self, wards: Wards) -> None:
        self.wards = wards

    async def __aenter__(self) -> Wards:
        return self.wards

    async def __aexit__(self, *_: object) -> None:
        await self.wards.aclose()


async def measure(rounds: int, root: Path) -> dict[str, dict[str, list[float]]]:
    async with AsyncExitStack() as stack:
        all_ways = await ways(root, stack)
        found: dict[str, dict[str, list[float]]] = {program: {} for program in all_ways}
        for number in range(rounds + 2):
            for program, some in all_ways.items():
                for name, way in some.items():
                    start = time.perf_counter()
                    await way()
                    if number >= 2:  # the first rounds start what stays
                        found[program].setdefault(name, []).append(time.perf_counter() - start)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="pk", dir="/tmp"))
    try:
        found = trio.run(measure, 20 if options.quick else 300, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for program, some in found.items():
        print(program)
        floor = statistics.median(some["trio.run_process"])
        for name, seconds in some.items():
            middle, spread = statistics.median(seconds), statistics.quantiles(seconds, n=10)
            low, high = spread[0] * 1e3, spread[-1] * 1e3
            print(f"  {name:30} {middle * 1e3:7.2f} ms  (p10 {low:.2f}, p90 {high:.2f})  {middle / floor:5.2f}x")


if __name__ == "__main__":
    main()
