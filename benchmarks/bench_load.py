"""What one pod does under 500 connections, and what that costs it: python benchmarks/bench_load.py [--quick]

A pod over Unix sockets in this process. A second process holds the 500: 200 subscribe and read everything, 50 ask one thing after
the other (a question with an answer, now and then a notice or a run), 250 are idle. A third process pings:
one connection more, a question every few milliseconds, timed until its answer. The worker speaks in bursts, so the shared
stream is busy all the time.

Printed are the time to connect, the pings before and under load, methods a second by kind, the pod's resident memory before,
with everybody connected, and after, and whether anybody lost anything: the numbers of the stream are dense for every subscriber
from its welcome to the last, but for what it was told that it missed; every notice that was accepted was seen exactly once; every
run that was accepted ended once. 2 minutes; `--quick` 15 seconds, PODKIT_LONG=1 30 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio
from _rounds import machine, short_directory, table

import podkit
from podkit.protocol import (
    Hello,
    InvokeStart,
    Lagged,
    ListVisiblePods,
    RunEnd,
    Subscribe,
    SystemItemEvent,
    TextDelta,
    TextDone,
    TurnStart,
    Welcome,
    encode_method,
    read_event,
)
from podkit_transports import UnixTransport

SUBSCRIBERS, ACTIVE, IDLE = 200, 50, 250
TEXT = "and then we see what it does"
PING_EVERY = 0.01  # seconds
ALL_READ = 60.0  # seconds until everybody has to have read everything, after the load


class Talker(podkit.abc.Worker):
    """Speaks in bursts, as a model does: 64 pieces of text in about a quarter of a second."""

    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        for _ in range(16):
            for _ in range(4):
                emit(TextDelta(TEXT))
            await trio.sleep(0.015)
        emit(TextDone(TEXT * 64))


def resident() -> float:
    """MiB of memory of this process right now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# The process of the 500.


class Reader:
    """A subscriber: counts what it reads, and notices when a number is missing."""

    def __init__(self) -> None:
        self.start = self.seq = 0
        self.moved = trio.lowlevel.ParkingLot()
        self.gaps = self.lags = self.events = 0
        self.notices: Counter[str] = Counter()
        self.begun: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()

    async def open(self, address: str, number: int) -> None:
        self.channel: Any = await UnixTransport().connect(address)
        hello = Hello((1,), "bench/1", f"reader{number}", key=UnixTransport().key(address), subscribe=Subscribe.LIVE)
        await self.channel.send(encode_method(hello, id="1"))
        welcome = read_event(await self.channel.receive()).event
        assert isinstance(welcome, Welcome), welcome
        self.start = self.seq = welcome.seq

    async def reach(self, seq: int) -> None:
        """Return when event `seq` was read."""
        while self.seq < seq:
            await self.moved.park()

    async def read(self) -> None:
        while True:
            self.moved.unpark_all()
            for frame in await self.channel.receive_many():
                said = read_event(frame)
                event = said.event
                if isinstance(event, Lagged):
                    self.lags += 1
                    self.seq = event.last
                elif said.seq is not None and said.seq > self.seq:
                    self.gaps += (said.seq if said.first is None else said.first) != self.seq + 1
                    self.seq = said.seq
                    self.events += 1
                    self.count(event)

    def count(self, event: Any) -> None:
        if isinstance(event, SystemItemEvent):
            self.notices[str(event.item.body)] += 1
        elif isinstance(event, InvokeStart):
            self.begun[event.run] += 1
        elif isinstance(event, RunEnd):
            self.ended[event.run] += 1


async def ask_on(client: podkit.Client, number: int, until: float, done: Counter[str], sent: list[str]) -> None:
    """One active client: 16 questions, a notice, a run, and again; a refusal is an answer too."""
    turn = number
    while trio.current_time() < until:
        turn += 1
        kind = {0: "notify", 9: "run"}.get(turn % 18, "question")
        try:
            if kind == "notify":
                await client.notify(f"{number}.{turn}.", wake=False)
                sent.append(f"{number}.{turn}.")
            elif kind == "run":
                await client.run("go on")
            else:
                await client.send(ListVisiblePods())
        except podkit.MethodRejectedError:
            kind += ", refused"
        done[kind] += 1


async def hold_500(address: str, seconds: float, say: Any) -> None:
    transport = UnixTransport()
    readers = [Reader() for _ in range(SUBSCRIBERS)]
    took: list[float] = []
    done: Counter[str] = Counter()
    sent: list[str] = []
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for number, reader in enumerate(readers):
            begun = time.perf_counter()
            await reader.open(address, number)
            took.append(time.perf_counter() - begun)
            nursery.start_soon(reader.read)
        clients = []
        for _ in range(ACTIVE + IDLE):
            begun = time.perf_counter()
            clients.append(await stack.enter_async_context(podkit.connect(address, transport=transport, subscribe="none")))
            took.append(time.perf_counter() - begun)
        say(connected=len(took), total=sum(took), median=statistics.median(took), most=max(took))
        await trio.to_thread.run_sync(sys.stdin.readline)
        begun, processor = trio.current_time(), time.process_time()
        async with trio.open_nursery() as active:
            for number, client in enumerate(clients[:ACTIVE]):
                active.start_soon(ask_on, client, number, begun + seconds, done, sent)
        passed, processor = trio.current_time() - begun, time.process_time() - processor
        late, head = await caught_up(address, readers, sent)
        for client in clients:
            await client.send(ListVisiblePods())  # the idle ones are still there
        steady = [reader for reader in readers if not reader.lags]
        watcher = max(readers, key=lambda reader: reader.events)
        say(
            seconds=passed,
            processor=processor,
            done=done,
            events=sum(reader.events for reader in readers),
            stream=head - readers[0].start,
            gaps=sum(reader.gaps for reader in readers),
            short=sum(reader.seq < head for reader in readers),
            lagged=SUBSCRIBERS - len(steady),
            late=late,
            notices=[len(sent), sum(watcher.notices[one] == 1 for one in sent), sum(watcher.notices.values())],
            runs=[len(watcher.begun), sum(watcher.ended[run] == 1 for run in watcher.begun), done["run"]],
        )
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()


async def caught_up(address: str, readers: list[Reader], sent: list[str]) -> tuple[float, int]:
    """How long it takes after the load until all have read all, and the number of the last event."""
    begun = trio.current_time()
    async with podkit.connect(address, transport=UnixTransport(), subscribe="none") as client:
        while True:  # what is queued is seen by a last run
            try:
                await client.wait(await client.run("the end"))
                break
            except podkit.MethodRejectedError:
                await trio.sleep(0.05)
        async with podkit.connect(address, transport=UnixTransport(), subscribe="none") as last:
            head = last.welcome.seq
        with trio.move_on_after(ALL_READ):
            for reader in readers:
                await reader.reach(head)
    return trio.current_time() - begun, head


# The process that pings.


async def ping(address: str, say: Any) -> None:
    """For every line on standard input: the times since the line before."""
    took: list[float] = []

    async def keep_asking() -> None:
        while True:
            begun = time.perf_counter()
            await client.send(ListVisiblePods())
            took.append(time.perf_counter() - begun)
            await trio.sleep(PING_EVERY)

    async with podkit.connect(address, transport=UnixTransport(), subscribe="none") as client, trio.open_nursery() as nursery:
        nursery.start_soon(keep_asking)
        while await trio.to_thread.run_sync(sys.stdin.readline):
            cut = sorted(took)
            took.clear()
            say(count=len(cut), p50=cut[len(cut) // 2], p99=cut[len(cut) * 99 // 100], most=cut[-1])
        nursery.cancel_scope.cancel()


class Program:
    """One of the two other processes: lines out, figures back."""

    def __init__(self, *argv: str) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, __file__, *argv], stdin=pipe, stdout=pipe, text=True)

    def go_on(self) -> None:
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    async def told(self) -> dict[str, Any]:
        line = await trio.to_thread.run_sync(self._process.stdout.readline)
        if not line:
            raise RuntimeError("a process of the clients ended early")
        return dict(json.loads(line))

    async def asked(self) -> dict[str, Any]:
        self.go_on()
        return await self.told()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


async def measure(root: Path, seconds: float) -> dict[str, Any]:
    (root / "w").mkdir()
    scope = podkit.Scope.write(str(root / "w"))
    registry, limits = podkit.FileRegistry(str(root / "r")), podkit.Limits(connections=1024)
    found: dict[str, Any] = {}
    programs: list[Program] = []
    async with podkit.open_pod("root", Talker(), scope=scope, transport=UnixTransport(), registry=registry, limits=limits) as pod:
        try:
            found["before"] = resident()
            programs.append(pinger := Program("--ping", pod.address))
            await trio.sleep(min(3.0, seconds / 4))
            found["quiet"] = await pinger.asked()
            programs.append(many := Program("--hold", pod.address, str(seconds)))
            found["connect"] = await many.told()
            found["connected"] = resident()
            await pinger.asked()
            processor = time.process_time()
            many.go_on()
            memory = [found["connected"]]
            with trio.CancelScope() as watching:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watch_memory, memory, seconds)
                    await trio.sleep(seconds)
                    found["busy"] = await pinger.asked()
                    found["processor"] = (time.process_time() - processor) / seconds
                    found["load"] = await many.told()
                    watching.cancel()
            found["memory"] = memory
            found["after"] = resident()
        finally:
            for program in programs:
                program.close()
    return found


async def watch_memory(memory: list[float], seconds: float) -> None:
    """Five looks during the load."""
    for _ in range(5):
        await trio.sleep(seconds / 5)
        memory.append(resident())


def pinged(name: str, ping: dict[str, Any]) -> list[str]:
    return [name, str(ping["count"]), *(f"{ping[part] * 1000:.2f} ms" for part in ("p50", "p99", "most"))]


def report(found: dict[str, Any]) -> bool:
    """Print what was found; whether nobody lost anything."""
    connect, load, memory = found["connect"], found["load"], found["memory"]
    total = sum(load["done"].values())
    print(f"connect: {connect['connected']} in {connect['total']:.2f} s, one after the other;", end=" ")
    print(f"median {connect['median'] * 1000:.2f} ms, longest {connect['most'] * 1000:.1f} ms")
    table(
        ["ping from another process", "count", "p50", "p99", "longest"],
        [pinged("quiet", found["quiet"]), pinged("under load", found["busy"])],
    )
    print(f"methods: {total / load['seconds']:,.0f} a second for {load['seconds']:.0f} s", end="; ")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(load["done"].items())))
    print(
        f"stream: {load['stream']} events to {SUBSCRIBERS} subscribers, {load['events'] / load['seconds']:,.0f} deliveries a second"
    )
    print(
        f"processor: the pod {100 * found['processor']:.0f} %, the 500 {100 * load['processor'] / load['seconds']:.0f} % of a core"
    )
    print(f"memory: {found['before']:.1f} MiB alone, {found['connected']:.1f} with all connected", end=" ")
    each = (found["connected"] - found["before"]) * 1024 / (connect["connected"] + 1)
    print(f"({each:.1f} KiB a connection), {found['after']:.1f} after; every fifth of the load: ", end="")
    print(", ".join(f"{one - now:+.1f}" for now, one in pairwise(memory)), "MiB")
    sent, once, seen = load["notices"]
    begun, ended, accepted = load["runs"]
    missing = f"{load['gaps']} gaps, {load['short']} readers short of the end, {load['lagged']} told that they fell behind"
    print(f"lost: {missing}; notices accepted {sent}, seen once {once}, seen at all {seen}", end="; ")
    print(f"runs accepted {accepted} and one, begun {begun}, ended once {ended}")
    print(f"everybody had read everything {load['late']:.2f} s after the load")
    whole = not load["gaps"] and not load["short"]
    if not load["lagged"]:
        whole = whole and sent == once == seen and begun == ended == accepted + 1
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 seconds of load")
    parser.add_argument("--hold", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--ping", help=argparse.SUPPRESS)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def say(**figures: Any) -> None:
        print(json.dumps(figures), flush=True)

    if options.hold:
        return trio.run(hold_500, options.hold[0], float(options.hold[1]), say)
    if options.ping:
        return trio.run(ping, options.ping, say)
    if most < 2048:
        sys.exit(f"this needs 2048 descriptors a process, and {most} are allowed")
    seconds = 10.0 if options.quick else 1800.0 if os.environ.get("PODKIT_LONG") == "1" else 110.0
    print(machine(["trio", "msgspec"]))
    root = short_directory()
    try:
        found = trio.run(measure, root, seconds)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    whole = report(found)
    rate = sum(found["load"]["done"].values()) / found["load"]["seconds"]
    pings = f"ping p50 {found['busy']['p50'] * 1000:.1f} ms and p99 {found['busy']['p99'] * 1000:.1f} ms"
    print(
        f"{SUBSCRIBERS + ACTIVE + IDLE} connections, {rate:,.0f} methods a second, {pings},"
        f" {found['after'] - found['before']:+.1f} MiB; {'nobody lost anything' if whole else 'SOMETHING WAS LOST'}"
    )
    return None if whole else sys.exit(1)


if __name__ == "__main__":
    main()
