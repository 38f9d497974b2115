"""How long a child process takes from `spawn` to ready, beside what Python itself needs: python benchmarks/bench_spawn.py [--quick]

Ready means: launched, adopted in the registry, listening, greeted by its parent. The peers are the interpreter alone, the
interpreter with podkit's imports (the floor of any child that is a Python process), and /bin/true. All are measured in turn, round
by round, so that a busy machine hits each of them; a figure is the median, and the ratio is to the interpreter with imports.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trio

import podkit
from podkit_transports import UnixTransport


class Idle(podkit.abc.Worker):
    """Does nothing; the child's start is what counts."""

    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        return None


def timed(argv: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True)
    return time.perf_counter() - start


async def measure(rounds: int, root: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    work = root / "w"
    work.mkdir()
    imports = "import podkit, podkit_transports"
    launcher = podkit.ProcessLauncher([sys.executable, "-P", __file__, "--child"])
    registry, transport = podkit.FileRegistry(str(root / "r")), UnixTransport()
    scope = podkit.Scope.write(str(work))
    async with podkit.open_pod("root", Idle(), scope=scope, transport=transport, registry=registry) as pod:
        for number in range(rounds):
            found.setdefault("/bin/true", []).append(timed(["/bin/true"]))
            found.setdefault("interpreter", []).append(timed([sys.executable, "-P", "-c", "pass"]))
            found.setdefault("interpreter + imports", []).append(timed([sys.executable, "-P", "-c", imports]))
            start = time.perf_counter()
            child = await pod.spawn(f"kid{number}", scope=podkit.Scope.write(str(work / "part")), launcher=launcher)
            found.setdefault("spawn to ready", []).append(time.perf_counter() - start)
            start = time.perf_counter()
            await child.stop()
            found.setdefault("stop", []).append(time.perf_counter() - start)
            start = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for part in range(4):
                    nursery.start_soon(start_one, pod, f"many{number}-{part}", str(work / f"p{part}"), launcher)
            found.setdefault("4 at once", []).append(time.perf_counter() - start)
            for one in tuple(pod.children.values()):
                await one.stop()
    return found


async def start_one(pod: podkit.Pod, name: str, path: str, launcher: podkit.ProcessLauncher) -> None:
    await pod.spawn(name, scope=podkit.Scope.write(path), launcher=launcher)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        trio.run(lambda: podkit.adopt_pod(Idle(), transport=UnixTransport()))
        return
    root = Path(tempfile.mkdtemp(prefix="pk", dir="/tmp"))
    try:
        found = trio.run(measure, 5 if options.quick else 21, root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    floor = statistics.median(found["interpreter + imports"])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(f"{name:24} {median * 1000:8.1f} ms   {median / floor:5.2f}x")


if __name__ == "__main__":
    main()
