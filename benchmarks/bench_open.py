"""What it costs to open a file that somebody else named, judged and following no link: python benchmarks/bench_open.py [--quick]

The peers are what people do instead: `os.open` with nothing checked, `os.path.realpath` or `Path.resolve` and then opening (which
can be raced: between the two the path may become a link). Ours: the scope asked and one `openat2` (`check + safe open`); the same
below a pinned target, which is compared; all of `open_read`, which also opens nothing but regular files; and a whole
`Files.read_bytes` with its turn through trio. All are measured in turn, round by round, so that a busy machine hits each of them;
a figure is the median of the rounds, in processor time, and the ratio is to `os.open`.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import trio

from podkit._os import Root, has_openat2, open_read
from podkit.confinement import ControlPlane, Files, Gate, ScopeJudge
from podkit.confinement._targets import settle_targets
from podkit.logic import Scope
from podkit.protocol import Permission


def peers(path: str, scope: Scope, roots: dict[str, Root], judge: ScopeJudge) -> dict[str, Callable[[], int]]:
    read, at, plain, pinned = Permission.READ, scope.at, roots["plain"], roots["pinned"]
    flags = os.O_RDONLY | os.O_CLOEXEC

    def check_and_open() -> int:
        assert at(path) >= read
        return plain.open_at(path, flags)

    def check_and_open_pinned() -> int:
        assert at(path) >= read
        return pinned.open_at(path, flags)

    return {
        "os.open": lambda: os.open(path, flags),
        "realpath, os.open": lambda: os.open(os.path.realpath(path), flags),
        "Path.resolve, os.open": lambda: os.open(Path(path).resolve(), flags),
        "check + safe open": check_and_open,
        "check + safe open, pinned": check_and_open_pinned,
        "open_read": lambda: open_read(plain, path, judge)[0],
    }


def timed(call: Callable[[], int], times: int) -> float:
    close = os.close
    start = time.process_time()
    for _ in range(times):
        close(call())
    return (time.process_time() - start) / times


async def timed_files(files: Files, path: str, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        await files.read_bytes(path)
    return (time.process_time() - start) / times


def measure(path: str, top: str, rounds: int, times: int) -> dict[str, list[float]]:
    scope = Scope.write(top)
    pins = settle_targets(scope, make=None).pins
    found: dict[str, list[float]] = {}
    with Root() as plain, Root(pins=pins) as pinned:
        judge = ScopeJudge(plain, scope, ControlPlane((f"{top}/.podkit",)))
        os.mkdir(f"{top}/.podkit")
        calls = peers(path, scope, {"plain": plain, "pinned": pinned}, judge)
        files = Files(scope=lambda: scope, gate=Gate(), cwd=top, control=[f"{top}/.podkit"], pins=lambda: pins)
        for _ in range(rounds):
            for name, call in calls.items():
                found.setdefault(name, []).append(timed(call, times))
            found.setdefault("Files.read_bytes", []).append(trio.run(timed_files, files, path, times // 4))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    top = os.path.realpath(tempfile.mkdtemp(prefix="pk"))
    path = f"{top}/src/package/room/module.py"
    try:
        os.makedirs(os.path.dirname(path))
        Path(path).write_text("x = 1\n")
        found = measure(path, top, *((41, 200) if options.quick else (401, 500)))
    finally:
        shutil.rmtree(top, ignore_errors=True)
    print(
        f"{platform.machine()}, {platform.system()} {platform.release()}, Python {sys.version.split()[0]}, openat2: {has_openat2()}"
    )
    bare = statistics.median(found["os.open"])
    for name, seconds in found.items():
        median = statistics.median(seconds)
        least, most = min(seconds) * 1e6, max(seconds) * 1e6
        print(f"{name:28} {median * 1e6:8.2f} us  ({least:.2f} to {most:.2f})   {median / bare:5.2f}x")


if __name__ == "__main__":
    main()
