"""What a change of who holds what costs: python benchmarks/bench_registry.py [--quick] [--dir DIRECTORY]

One process, N rows: a change of one row, median of a birth and an end. The limit is what any shared log must do, take a flock and
write 300 bytes; peers are SQLite in WAL mode on a warm connection, and one JSON file that is read, changed and renamed into place,
under a flock and under portalocker.Lock. The peers keep plain rows of the same size and check nothing. Of podkit it shows the log
alone (`append`), the whole change (`transact`: read, decide, check every law, encode, append) and both with `durable=True`; the
decision alone is measured at every N too. Then P processes change one registry of 100 rows with 1 ms of thought between, and 64
processes change it 50 times each without a pause (16, 10 times, with --quick). All designs are measured in turn, round by round,
so that a busy machine hits each of them; the ratio is to the limit in the same run, the growth from the fewest rows to the most.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import portalocker
import trio

import podkit
from podkit.errors import RegistryBusyError
from podkit.logic import Adopted, Reserved, Scope, Table, decide_birth, decide_free, encode_fact, fold_all

Change = Callable[[int], Awaitable[None]]
RECORD = {"name": "n", "tree": "t", "scope": ["/w/n"], "address": "unix:///run/user/1000/podkit/x/sock", "more": "x" * 200}
MANY = 10**6


class Limit:
    """Take a flock, write 300 bytes."""

    def __init__(self, place: Path, rows: int) -> None:
        self.lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT)
        self.file = os.open(place / "log", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    async def change(self, n: int) -> None:
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        os.write(self.file, b"x" * 300)
        fcntl.flock(self.lock, fcntl.LOCK_UN)


class Json:
    """One JSON file: read, changed, renamed into place under a flock."""

    def __init__(self, place: Path, rows: int) -> None:
        self.path, self.lock_path = place / "rows.json", place / "lock"
        self.rows = rows
        if not self.path.exists():
            self.path.write_text(json.dumps({f"n{n}": RECORD for n in range(rows)}))
        self.lock = os.open(self.lock_path, os.O_RDWR | os.O_CREAT)

    async def change(self, n: int) -> None:
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        try:
            self.rewrite(n)
        finally:
            fcntl.flock(self.lock, fcntl.LOCK_UN)

    def rewrite(self, n: int) -> None:
        rows = json.loads(self.path.read_text())
        rows[f"n{n % self.rows}"] = RECORD | {"n": n}
        temporary = self.path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(rows))
        temporary.rename(self.path)


class Portalocker(Json):
    """The same under portalocker.Lock, which looks every quarter of a second."""

    async def change(self, n: int) -> None:
        with portalocker.Lock(str(self.lock_path), timeout=60):
            self.rewrite(n)


class Sqlite:
    """SQLite in WAL mode, the connection warm."""

    def __init__(self, place: Path, rows: int) -> None:
        self.rows = rows
        self.db = sqlite3.connect(place / "rows.db", timeout=60, isolation_level=None)
        self.db.execute("pragma journal_mode=wal")
        self.db.execute("pragma synchronous=normal")
        self.db.execute("create table if not exists rows (name text primary key, record text)")
        if not self.db.execute("select count(*) from rows").fetchone()[0]:
            self.db.execute("begin")
            self.db.executemany("insert into rows values (?, ?)", [(f"n{n}", json.dumps(RECORD)) for n in range(rows)])
            self.db.execute("commit")

    async def change(self, n: int) -> None:
        self.db.execute("begin immediate")
        self.db.execute("update rows set record = ? where name = ?", (json.dumps(RECORD | {"n": n}), f"n{n % self.rows}"))
        self.db.execute("commit")


class Append:
    """podkit's log alone: one fact of 300 bytes, compared with what was read, chained, vouched for."""

    durable = False

    def __init__(self, place: Path, rows: int) -> None:
        self.registry, self.fact, self.rows = podkit.FileRegistry(str(place), durable=self.durable), b"x" * 300, rows
        self.last = 0

    async def begin(self) -> None:
        for _ in range(self.rows):
            await self.change(0)

    async def change(self, n: int) -> None:
        assert await self.registry.append(self.last, [self.fact])
        self.last += 1


class DurableAppend(Append):
    """The same, on the disk when it returns."""

    durable = True


class Transact:
    """podkit: a birth and its end in turn, decided on all rows, held to every law."""

    durable = False

    def __init__(self, place: Path, rows: int) -> None:
        self.registry, self.rows = podkit.FileRegistry(str(place), durable=self.durable, lock_timeout=60), rows

    async def begin(self) -> None:
        facts = rows_of(self.rows)
        for at in range(0, len(facts), 500):
            table = await self.registry.rows()
            assert await self.registry.append(table.sequence, [encode_fact(fact) for fact in facts[at : at + 500]])
        await self.registry.rows()

    async def change(self, n: int) -> None:
        await self.registry.transact(lambda table: toggle(table, f"p{os.getpid()}"))


class DurableTransact(Transact):
    """The same, on the disk when it returns."""

    durable = True


def rows_of(rows: int) -> list[Reserved | Adopted]:
    """A root and its children, each with its own directory."""
    facts: list[Reserved | Adopted] = []
    for n in range(rows):
        name, scope = (f"n{n}", Scope.write(f"/w/n{n}")) if n else ("root", Scope.write("/w"))
        parent = "root" if n else None
        where = Scope.write("/8:1" + scope.allow[0].target)
        facts += [
            Reserved(
                author=parent or name,
                name=name,
                tree="t",
                incarnation=name,
                scope=scope,
                grant=scope,
                where=where,
                address=f"unix:///run/user/1000/podkit/{name}/sock",
                parent=parent,
                since=1.0,
            ),
            Adopted(author=name, incarnation=name, pid=1, started=1),
        ]
    return facts


def toggle(table: Table, who: str) -> tuple[podkit.logic.Fact, ...]:
    """A birth, or its end."""
    if who in table:
        return decide_free(table, incarnation=who, author="root")
    scope, where = Scope.write(f"/w/{who}"), Scope.write(f"/8:1/w/{who}")
    asked = {"name": who, "incarnation": who, "scope": scope, "where": where, "address": f"unix:///run/user/1000/podkit/{who}/sock"}
    return decide_birth(table, parent="root", since=1.0, max_rows=MANY, **asked)


DESIGNS = (Limit, Append, Transact, DurableAppend, DurableTransact, Sqlite, Json, Portalocker)


async def timed(change: Change, count: int) -> list[float]:
    took = []
    for n in range(count):
        start = time.perf_counter()
        await change(n)
        took.append(time.perf_counter() - start)
    return took


async def alone(sizes: tuple[int, ...], rounds: int, base: Path) -> None:
    found: dict[tuple[str, int], list[float]] = {}
    for rows in sizes:
        stores = []
        for design in DESIGNS:
            place = base / f"{design.__name__}{rows}"
            place.mkdir(mode=0o700)
            stores.append(design(place, rows))
            if isinstance(stores[-1], Append | Transact):
                await stores[-1].begin()
        for _ in range(rounds):
            for store in stores:
                count = 2 if isinstance(store, Json) and rows >= 1000 else 20
                found.setdefault((type(store).__name__, rows), []).extend(await timed(store.change, count))
        for _ in range(rounds):
            found.setdefault(("decide + fold", rows), []).extend(decided(rows))
    print(f"one process, median us (ratio to the limit); {rounds} rounds")
    print(f"{'rows':26}" + "".join(f"{rows:>18,}" for rows in sizes) + "    growth")
    names = [design.__name__ for design in DESIGNS] + ["decide + fold"]
    limits = {rows: statistics.median(found["Limit", rows]) for rows in sizes}
    for name in names:
        medians = [statistics.median(found[name, rows]) for rows in sizes]
        cells = "".join(f"{m * 1e6:11.1f} {m / limits[rows]:5.0f}x" for m, rows in zip(medians, sizes, strict=True))
        print(f"{name:26}{cells}   {medians[-1] / medians[0]:6.2f}x")


TABLES: dict[int, Table] = {}


def decided(rows: int) -> list[float]:
    """The pure part of a birth and of its end, in turn."""
    if rows not in TABLES:
        TABLES[rows] = fold_all(Table(), rows_of(rows))
    took, table = [], TABLES[rows]
    for _ in range(20):
        start = time.perf_counter()
        table = fold_all(table, toggle(table, "new"))
        took.append(time.perf_counter() - start)
    return took


def together(design: type, place: Path, rows: int, processes: int, changes: int, think: float) -> list[list[float]]:
    """Every change of every process, in seconds. They are forked, so that none measures imports, and begin when all are ready."""
    children = []
    ready, is_ready = os.pipe()
    wait_go, go = os.pipe()
    for number in range(processes):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                with os.fdopen(write, "w") as out:
                    began = (lambda: os.write(is_ready, b"r"), lambda: os.read(wait_go, 1))
                    json.dump(trio.run(worker, design, place, rows, changes, think, number, began), out)
            finally:
                os._exit(0)
        os.close(write)
        children.append((pid, read))
    os.close(is_ready)
    for _ in range(processes):
        os.read(ready, 1)
    for fd in (go, ready, wait_go):
        os.close(fd)
    found = []
    for pid, read in children:
        with os.fdopen(read) as result:
            text = result.read()
        os.waitpid(pid, 0)
        found.append(json.loads(text) if text else [])
    return found


async def worker(
    design: type, place: Path, rows: int, changes: int, think: float, number: int, began: tuple[Callable[[], object], ...]
) -> list[float]:
    store, took = design(place, rows), []
    if isinstance(store, Transact):
        await store.registry.rows()
    for wait in began:
        wait()
    for n in range(changes):
        start = time.perf_counter()
        try:
            await store.change(n + number)
        except RegistryBusyError:
            return took  # starved
        took.append(time.perf_counter() - start)
        if think:
            await trio.sleep(think)
    return took


def contended(designs: tuple[type, ...], counts: tuple[int, ...], changes: int, crowd: tuple[int, int], base: Path) -> None:
    rows = 100
    print(f"\nP processes, {rows} rows, 1 ms of thought, ms p50 / p99 / max")
    print(f"{'':18}" + "".join(f"{f'P={count}':>26}" for count in counts))
    for design in designs:
        cells = []
        for count in counts:
            found = sorted(one for took in prepared(design, base, rows, count, changes, 0.001) for one in took)
            p50, p99, worst = (found[int(len(found) * part)] * 1000 for part in (0.5, 0.99, 0.9999))
            cells.append(f"{p50:10.2f} /{p99:6.1f} /{worst:6.0f}")
        print(f"{design.__name__:18}" + "".join(cells))
    for design in designs[:2]:
        began = time.perf_counter()
        found = prepared(design, base, rows, *crowd, 0.0)
        seconds = time.perf_counter() - began
        done, ends = [len(took) for took in found], [sum(took) for took in found]
        starved = "nobody" if min(done) == crowd[1] else "SOMEBODY"
        print(
            f"{crowd[0]} x {crowd[1]} without a pause, {design.__name__}: {min(done)} to {max(done)} each ({starved} starved), ",
            end="",
        )
        print(f"{sum(done) / seconds:,.0f} changes/s, slowest {max(one for took in found for one in took):.2f} s, ", end="")
        print(f"first done {min(ends):.2f} s, last {max(ends):.2f} s")


def prepared(design: type, base: Path, rows: int, count: int, changes: int, think: float) -> list[list[float]]:
    place = base / f"{design.__name__}-{count}-{think}"
    place.mkdir(mode=0o700)
    store = design(place, rows)
    if isinstance(store, Transact):
        trio.run(store.begin)
    return together(design, place, rows, count, changes, think)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dir", default="/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="pk", dir=options.dir))
    print(
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, {os.cpu_count()} cores, in {options.dir}\n"
    )
    try:
        trio.run(alone, (10, 1000) if options.quick else (10, 100, 1000, 10_000), 5 if options.quick else 20, base)
        designs: tuple[type, ...] = (Limit, Transact) if options.quick else (Limit, Transact, Sqlite, Json, Portalocker)
        if options.quick:
            contended(designs, (2, 8), 20, (16, 10), base)
        else:
            contended(designs, (2, 8, 32), 60, (64, 50), base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
