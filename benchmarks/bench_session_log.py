"""What keeping a session costs: python benchmarks/bench_session_log.py [--quick] [--dir DIRECTORY]

Entries of 500 bytes, one by one. Appending: the limit is a loop of `os.write` of the same bytes, lines of podkit's log; peers are
`os.write` and `fdatasync` for each, `trio.open_file` with `write` and `flush`, and SQLite in WAL mode, a commit for each entry.
Durable: 1, 8, 32 and 128 tasks that append an entry and wait until it is on the disk, beside one `fdatasync` for each entry and
SQLite with `synchronous=full`. Opening: `peek`, which answers how long a session is, `open`, which reads and verifies the current
segment, and `verify`, at 100 to 100,000 entries. All designs are measured in turn, round by round, so that a busy machine hits each
of them. The figures are medians, and the ratio is to the limit of the same run. The directory should be on a disk: in memory,
nothing is ever written out.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

import podkit
from podkit.abc import Session

ENTRY = b'{"kind":"assistant_item","ts":1700000000000,"item":{"kind":"message","content":"%b"}}' % (b"x" * 418)
LINE = b"0123456789abcdef0123456789abcdef 1234567\t" + ENTRY + b"\n"
Append = Callable[[int], Awaitable[None]]


class Write:
    """`os.write` in a loop."""

    sync = False

    async def begin(self, place: Path) -> None:
        self.fd = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def append(self, count: int) -> None:
        fd, write, line = self.fd, os.write, LINE
        for _ in range(count):
            write(fd, line)

    async def end(self) -> None:
        os.close(self.fd)


class WriteSync(Write):
    """`os.write` and `fdatasync`, for each."""

    async def append(self, count: int) -> None:
        for _ in range(count):
            os.write(self.fd, LINE)
            os.fdatasync(self.fd)


class TrioFile(Write):
    """`trio.open_file`, `write` and `flush`."""

    async def begin(self, place: Path) -> None:
        self.file = await trio.open_file(place / "log", "ab")

    async def append(self, count: int) -> None:
        for _ in range(count):
            await self.file.write(LINE)
            await self.file.flush()

    async def end(self) -> None:
        await self.file.aclose()


class Sqlite(Write):
    """SQLite in WAL mode, a commit for each."""

    synchronous = "normal"

    async def begin(self, place: Path) -> None:
        self.db = sqlite3.connect(place / "log.db", isolation_level=None)
        self.db.execute("pragma journal_mode=wal")
        self.db.execute(f"pragma synchronous={self.synchronous}")
        self.db.execute("create table log (entry blob)")

    async def append(self, count: int) -> None:
        for _ in range(count):
            self.db.execute("insert into log values (?)", (ENTRY,))

    async def end(self) -> None:
        self.db.close()


class SqliteFull(Sqlite):
    """The same, on the disk with each commit."""

    synchronous = "full"


class Podkit(Write):
    """podkit: chained, verified when read, all or none."""

    durability = "process"

    async def begin(self, place: Path) -> None:
        self.session = await podkit.FileSessionStore(place / "s", durability=self.durability).open("root", create="s-1")
        self.session.rotate("a", [])

    async def append(self, count: int) -> None:
        append, entries = self.session.append, [ENTRY]
        for _ in range(count):
            append(entries)

    async def end(self) -> None:
        await self.session.aclose()


class PodkitSync(Podkit):
    """The same, on the disk before the next."""

    durability = "power"

    async def append(self, count: int) -> None:
        for _ in range(count):
            self.session.append([ENTRY])
            await self.session.sync()


async def appended(base: Path, rounds: int, scale: int) -> None:
    designs = {Write: 2000, Podkit: 2000, Sqlite: 300, TrioFile: 40, WriteSync: 40, SqliteFull: 40, PodkitSync: 40}
    found: dict[str, list[float]] = {}
    stores = []
    for design, count in designs.items():
        place = base / design.__name__
        place.mkdir(mode=0o700)
        stores.append((design(), count * scale))
        await stores[-1][0].begin(place)
    for _ in range(rounds):
        for store, count in stores:
            start = time.perf_counter()
            await store.append(count)
            found.setdefault(type(store).__name__, []).append((time.perf_counter() - start) / count)
    for store, _ in stores:
        await store.end()
    print("appending, one entry after the other")
    limit = found["Write"]
    for name, took in found.items():
        ratio = statistics.median(a / b for a, b in zip(limit, took, strict=True))
        each = statistics.median(took)
        print(f"  {name:12} {each * 1e6:9.2f} us  {1 / each:10,.0f}/s   {ratio:6.3f}x of the limit")


async def durable(base: Path, rounds: int, scale: int) -> None:
    print("\nappending and waiting for the disk, all tasks together")
    crowds = (1, 8, 32, 128)
    rates: dict[int, list[float]] = {}
    limits: list[float] = []
    place = base / "durable"
    place.mkdir(mode=0o700)
    session = await podkit.FileSessionStore(place / "s", durability="power").open("root", create="s-1")
    session.rotate("a", [])
    limit = WriteSync()
    await limit.begin(place)
    for _ in range(rounds):
        start = time.perf_counter()
        await limit.append(40 * scale)
        limits.append(40 * scale / (time.perf_counter() - start))
        for crowd in crowds:
            rates.setdefault(crowd, []).append(await together(session, crowd, 10 * scale))
    await limit.end()
    await session.aclose()
    print(f"  one fdatasync for each       {statistics.median(limits):10,.0f}/s")
    for crowd, rate in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rate, limits, strict=True))
        print(f"  {crowd:4} tasks                   {statistics.median(rate):10,.0f}/s   {ratio:6.2f}x of that")


async def together(session: Session, tasks: int, each: int) -> float:
    """Entries a second."""

    async def write() -> None:
        for _ in range(each):
            session.append([ENTRY])
            await session.sync()

    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(write)
    return tasks * each / (time.perf_counter() - start)


async def opened(base: Path, sizes: tuple[int, ...], rounds: int) -> None:
    print(f"\n{'opening':22}" + "".join(f"{size:>14,}" for size in sizes) + "      growth")
    store = podkit.FileSessionStore(base / "sizes")
    found: dict[str, list[float]] = {}
    for size in sizes:
        async with await store.open(f"n{size}", create="s-1") as session:
            session.rotate("a", [])
            for _ in range(size):
                session.append([ENTRY])
        took: dict[str, list[float]] = {"peek, us": [], "open, us": [], "open, us an entry": [], "verify, us an entry": []}
        for _ in range(rounds):
            start = time.perf_counter()
            for _ in range(10):
                assert (await store.peek(f"n{size}")).count == size
            took["peek, us"].append((time.perf_counter() - start) / 10)
            start = time.perf_counter()
            async with await store.open(f"n{size}") as session:
                took["open, us"].append(time.perf_counter() - start)
                assert len(session.entries) == size
            took["open, us an entry"].append(took["open, us"][-1] / size)
            start = time.perf_counter()
            assert (await store.verify(f"n{size}")).entries == size
            took["verify, us an entry"].append((time.perf_counter() - start) / size)
        for what, each in took.items():
            found.setdefault(what, []).append(statistics.median(each) * 1e6)
    for what, medians in found.items():
        print(f"{what:22}" + "".join(f"{one:14,.2f}" for one in medians) + f"   {medians[-1] / medians[0]:8.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dir", default=tempfile.gettempdir())
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="pk", dir=options.dir))
    print(
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} cores, in {base.parent}\n"
    )
    try:
        trio.run(appended, base, 5 if options.quick else 25, 1 if options.quick else 2)
        trio.run(durable, base, 3 if options.quick else 15, 1 if options.quick else 2)
        trio.run(opened, base, (100, 2000) if options.quick else (100, 1000, 10_000, 100_000), 3 if options.quick else 5)
    finally:
        shutil.rmtree(base)


if __name__ == "__main__":
    main()
