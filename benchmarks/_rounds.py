"""How the benchmarks of a conversation are taken: cases in turn, round by round, and ratios within a round.

A busy or throttled machine slows every case of a round alike, so the ratio of two cases of one round says more than either of
them. Every figure is the median over the rounds; the spread is shown beside it.
"""

from __future__ import annotations

import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

Act = Callable[[], object]

C_PROGRAMS = Path(__file__).with_name("_peers.c")


def installed(package: str | None) -> bool:
    """Whether a peer can be measured; None is a peer that needs nothing."""
    try:
        return package is None or bool(version(package))
    except PackageNotFoundError:
        return False


def machine(packages: Iterable[str] = ()) -> str:
    """The machine and the versions, in one line."""
    there = [f"{name} {version(name)}" for name in packages if installed(name)]
    return ", ".join([platform.platform(), f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *there])


def skipped(peers: dict[str, str | None]) -> list[str]:
    """A line for every peer that is not installed: its name and the package that brings it."""
    return [f"skipped: {name}: pip install {package}" for name, package in peers.items() if not installed(package)]


def compiled(directory: Path) -> Path | None:
    """The peers written in C, compiled into `directory`; None where there is no gcc."""
    gcc = shutil.which("gcc")
    if gcc is None:
        print("skipped: what is written in C: needs gcc")
        return None
    made = directory / "peers"
    subprocess.run([gcc, "-O2", "-o", str(made), str(C_PROGRAMS)], check=True)
    return made


def short_directory() -> Path:
    """A directory whose path leaves room for the name of a socket."""
    return Path(tempfile.mkdtemp(prefix="pk", dir="/tmp"))


def processor_us(act: Act, seconds: float) -> float:
    """Microseconds of processor time for one call, over as many calls as fit into `seconds`."""
    count = 1
    while True:
        begun = time.process_time_ns()
        for _ in range(count):
            act()
        spent = time.process_time_ns() - begun
        if spent >= seconds * 1e9 or count >= 1 << 22:
            return spent / count / 1000
        count = max(count * 2, int(count * seconds * 1e9 / max(spent, 1)))


class Figures:
    """What the rounds gave for each case, and its ratio to the reference in the same round."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.ratios: dict[str, list[float]] = {}

    def add(self, name: str, value: float, reference: float) -> None:
        self.values.setdefault(name, []).append(value)
        self.ratios.setdefault(name, []).append(value / reference)

    def value(self, name: str) -> float:
        return statistics.median(self.values[name])

    def ratio(self, name: str) -> float:
        return statistics.median(self.ratios[name])

    def spread(self, name: str) -> str:
        return f"{min(self.ratios[name]):.2f} to {max(self.ratios[name]):.2f}"


class Case:
    """A case in a process of its own that lives as long as the benchmark: it sleeps while the others run.

    The program is called with `argv`, says "ready" in a line, and answers each line with a number of seconds by a line of figures.
    """

    def __init__(self, argv: list[str], *, core: int | None) -> None:
        pin = (
            {} if core is None or not hasattr(os, "sched_setaffinity") else {"preexec_fn": lambda: os.sched_setaffinity(0, {core})}
        )
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **pin)  # type: ignore[call-overload]
        if self._line() != "ready":
            raise RuntimeError(f"{argv[-1]} did not start")

    def measure(self, seconds: float) -> list[float]:
        """The figures of one slice."""
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return [float(part) for part in self._line().split()]

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _line(self) -> str:
        return str(self._process.stdout.readline()).strip()


def asked() -> Iterable[float]:
    """In the process of a case: say that it is ready, and then how many seconds each slice may take."""
    print("ready", flush=True)
    for line in sys.stdin:
        yield float(line)


def sandwiched(cases: dict[str, Act], reference: Act, rounds: int, seconds: float) -> Figures:
    """Each case between two slices of the reference, in a new order every round; the ratio is to the mean of its two neighbours."""
    figures = Figures()
    order = random.Random(7)
    for act in (reference, *cases.values()):
        processor_us(act, seconds / 4)
    for _ in range(rounds):
        names = list(cases)
        order.shuffle(names)
        before = processor_us(reference, seconds)
        for name in names:
            value = processor_us(cases[name], seconds)
            after = processor_us(reference, seconds)
            figures.add(name, value, (before + after) / 2)
            before = after
    return figures


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under their heads, the first column to the left and the others to the right."""
    rows = list(rows)
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        print(
            "  ".join(
                cell.rjust(width) if at else cell.ljust(width) for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
        )
