"""What one event costs for each of many who listen: python benchmarks/bench_fanout.py [--quick] [--plot FILE.svg]

A hub behind a server on a Unix socket, N admitted connections, and one other process that reads from all of them. Pieces of
text are published one at a time and in bursts of 16 between two turns of the loop. The figure is processor time of the
publishing process for one event and one subscriber, everything included: numbering, encoding, writing. The floor is a bare loop
of `send` over N blocking sockets with the same bytes, already encoded, a burst in one call: it makes no event, gives it no number,
keeps none, and never lets others run. The floor that does is the same loop in a trio task that makes, numbers and encodes each
event and takes a turn of the loop after each burst; it still keeps nothing for who comes late and waits for who is slow. Peers: a
task with a trio memory channel and a `SocketStream` for each subscriber, and asyncio's streams, each with the bytes given. After at
most 100 bursts everybody waits until all was read, so that it is the cost of readers that keep up.

Then 5 of 100 read nothing at all, for as long as the hub lives. Two hubs, one with the five and one with 100 that all read, take
turns in short slices, and what the others get in the same time is compared slice by slice; the figure is the median.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from operator import truediv
from pathlib import Path
from typing import Any

import trio
from _rounds import Figures, machine, short_directory, table

from podkit._net import Hub, serve_pod
from podkit.logic import Limits
from podkit.protocol import Accepted, Greeting, Hello, Snapshot, Status, Subscribe, TextDelta, encode_event, encode_method
from podkit_transports import UnixTransport

Slice = Callable[[int, int, int], Awaitable[None]]  # how many bursts, how long each, and the mark at the end

BURSTS = 100  # between two waits for the readers, at most
WARM = 20  # slices, of which each of the two hubs has one: until the queues of who never reads have been full
FLOOR = "floor: a bare send loop"
MAKES = "a send loop that makes its events"
OURS = "podkit"
CHANNELS = "trio memory channel and task each"
ASYNCIO = "asyncio streams"
TEXT = "and then we see what it does"


def lines(burst: int, mark: int | None) -> list[bytes]:
    """The encoded events of a burst; the last of a slice carries a mark."""
    made = [encode_event(TextDelta(TEXT), seq=1_000_000)] * burst
    if mark is not None:
        made[-1] = encode_event(TextDelta(f"mark {mark}."), seq=1_000_000)
    return made


class Readers:
    """The process that reads: N connections, of which the first `frozen` are never read."""

    def __init__(self, path: str, count: int, frozen: int, *, hello: bool) -> None:
        argv = [sys.executable, __file__, "--read", path, str(count), str(frozen), "1" if hello else "0"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.fd = self._process.stdout.fileno()

    def line(self) -> bytes:
        return os.read(self.fd, 100)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def read_all(path: str, count: int, frozen: int, hello: bool) -> None:
    """Read from `count` connections and say of each mark when all that read have seen it."""
    key = UnixTransport().key(path) if hello else ""
    chooser = selectors.DefaultSelector()
    socks = []
    for number in range(count):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        if hello:
            said = Hello((1,), "bench/1", f"i{number}", key=key, subscribe=Subscribe.LIVE)
            sock.sendall(encode_method(said, id="1") + b"\n")
            got = b""
            while b'"welcome"' not in got or not got.endswith(b"\n"):
                got += sock.recv(65536)
        socks.append(sock)
        if number >= frozen:
            chooser.register(sock, selectors.EVENT_READ, [b""])
    os.write(1, b"ready\n")
    room, left, mark = memoryview(bytearray(2**18)), count - frozen, 0
    sought = b"mark 0."
    while True:
        for key_of, _ in chooser.select():
            got = key_of.fileobj.recv_into(room)
            if not got:
                return
            tail = key_of.data[0] + bytes(room[max(0, got - 64) : got])
            key_of.data[0] = tail[-64:]
            if sought in tail:
                left -= 1
        if not left:
            os.write(1, b"%d\n" % mark)
            mark += 1
            left, sought = count - frozen, b"mark %d." % mark


# What is measured: each is a block in which slices can be published.


class Desk:
    """The least a server needs of a pod."""

    def __init__(self, limits: Limits) -> None:
        self.name, self.incarnation, self.confinement = "root", "inc-1", "advisory"
        self.limits, self.hub = limits, Hub(limits)

    def status(self) -> Status:
        return Status.RUNNING

    def snapshot(self) -> Snapshot:
        return Snapshot((), Greeting("root", "/w", "scripted", "none", "write /w", ()), status=Status.RUNNING)

    def admits_birth(self, birth: Any) -> bool:
        return False

    def submit(self, ask: Any) -> None:
        ask.answer(Accepted())


@asynccontextmanager
async def podkit_hub(path: str, count: int, frozen: int) -> AsyncIterator[Slice]:
    transport = UnixTransport()
    desk = Desk(Limits(connections=4096))
    listener = await transport.listen(path)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_pod, desk, listener, key=transport.key(path), plain=None))
        readers = Readers(path, count, frozen, hello=True)
        await trio.to_thread.run_sync(readers.line)
        await trio.sleep(0.05)

        async def publish(bursts: int, burst: int, mark: int) -> None:
            for number in range(bursts):
                for at in range(burst):
                    last = number == bursts - 1 and at == burst - 1
                    desk.hub.publish(TextDelta(f"mark {mark}." if last else TEXT))
                await trio.lowlevel.checkpoint()
            await trio.lowlevel.wait_readable(readers.fd)
            readers.line()

        yield publish
        nursery.cancel_scope.cancel()
        readers.close()


def accepted(path: str, count: int) -> tuple[list[socket.socket], Readers]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(128)
    readers = Readers(path, count, 0, hello=False)
    socks = [listener.accept()[0] for _ in range(count)]
    readers.line()
    listener.close()
    return socks, readers


@asynccontextmanager
async def bare_loop(path: str, count: int, frozen: int) -> AsyncIterator[Slice]:
    socks, readers = await trio.to_thread.run_sync(accepted, path, count)

    async def publish(bursts: int, burst: int, mark: int) -> None:
        plain = b"\n".join([*lines(burst, None), b""])
        last = b"\n".join([*lines(burst, mark), b""])
        for number in range(bursts):
            data = last if number == bursts - 1 else plain
            for sock in socks:
                sock.send(data)
        readers.line()

    yield publish
    readers.close()
    for sock in socks:
        sock.close()


@asynccontextmanager
async def making_loop(path: str, count: int, frozen: int) -> AsyncIterator[Slice]:
    socks, readers = await trio.to_thread.run_sync(accepted, path, count)
    numbers = itertools.count(1)

    async def publish(bursts: int, burst: int, mark: int) -> None:
        for number in range(bursts):
            made = []
            for at in range(burst):
                last = number == bursts - 1 and at == burst - 1
                made.append(encode_event(TextDelta(f"mark {mark}." if last else TEXT), seq=next(numbers)))
            data = b"\n".join([*made, b""])
            for sock in socks:
                sock.send(data)
            await trio.lowlevel.checkpoint()
        await trio.lowlevel.wait_readable(readers.fd)
        readers.line()

    yield publish
    readers.close()
    for sock in socks:
        sock.close()


@asynccontextmanager
async def trio_channels(path: str, count: int, frozen: int) -> AsyncIterator[Slice]:
    socks, readers = await trio.to_thread.run_sync(accepted, path, count)
    senders = []

    async def write(stream: trio.SocketStream, receive: trio.MemoryReceiveChannel[bytes]) -> None:
        async for line in receive:
            await stream.send_all(line)

    async with trio.open_nursery() as nursery:
        for sock in socks:
            sock.setblocking(False)
            send, receive = trio.open_memory_channel[bytes](4096)
            nursery.start_soon(write, trio.SocketStream(trio.socket.from_stdlib_socket(sock)), receive)
            senders.append(send)

        async def publish(bursts: int, burst: int, mark: int) -> None:
            for number in range(bursts):
                for line in lines(burst, mark if number == bursts - 1 else None):
                    for send in senders:
                        send.send_nowait(line + b"\n")
                await trio.lowlevel.checkpoint()
            await trio.lowlevel.wait_readable(readers.fd)
            readers.line()

        yield publish
        nursery.cancel_scope.cancel()
    readers.close()


Fan = Callable[[str, int, int], AbstractAsyncContextManager[Slice]]
VARIANTS: dict[str, Fan] = {FLOOR: bare_loop, MAKES: making_loop, OURS: podkit_hub, CHANNELS: trio_channels}


Work = tuple[int, int, int]  # how many bursts a slice has, how long each is, and how many slices


def work(size: int, burst: int, deliveries: int) -> Work:
    bursts = min(BURSTS, max(5, deliveries // (size * burst)))
    return bursts, burst, max(1, deliveries // (size * burst * bursts))


def spent(fan: Fan, path: str, size: int, works: list[Work]) -> list[float]:
    """Microseconds of processor time for one event and one subscriber, for each kind of work."""

    async def main() -> list[float]:
        took = []
        async with fan(path, size, 0) as publish:
            mark = 0
            for bursts, burst, slices in works:
                await publish(bursts, burst, mark)
                begun = time.process_time()
                for _ in range(slices):
                    mark += 1
                    await publish(bursts, burst, mark)
                mark += 1
                took.append((time.process_time() - begun) / (slices * bursts * burst * size) * 1e6)
        return took

    return trio.run(main)


def asyncio_spent(path: str, size: int, works: list[Work]) -> list[float]:
    async def main() -> list[float]:
        socks, readers = accepted(path, size)
        writers = [(await asyncio.open_unix_connection(sock=sock))[1] for sock in socks]
        loop = asyncio.get_running_loop()
        took, mark = [], 0
        for bursts, burst, slices in works:
            begun = 0.0
            for _ in range(slices + 1):
                for number in range(bursts):
                    for line in lines(burst, mark if number == bursts - 1 else None):
                        for writer in writers:
                            writer.write(line + b"\n")
                    await asyncio.sleep(0)
                await loop.run_in_executor(None, readers.line)
                mark += 1
                begun = begun or time.process_time()
            took.append((time.process_time() - begun) / (slices * bursts * burst * size) * 1e6)
        for writer in writers:
            writer.close()
        readers.close()
        return took

    return asyncio.run(main())


def with_frozen(root: Path, slices: int) -> list[float]:
    """What 95 readers get beside 5 of 100 that never read, over what 100 get that all read, in the same time; slice by slice."""

    async def main() -> list[float]:
        ratios = []
        async with podkit_hub(str(place("all")), 100, 0) as plain, podkit_hub(str(place("frozen")), 100, 5) as frozen:
            for mark in range(slices + WARM):
                took = {}
                for publish in (plain, frozen) if mark % 2 else (frozen, plain):
                    begun = time.perf_counter()
                    await publish(BURSTS, 4, mark)
                    took[publish] = time.perf_counter() - begun
                if mark >= WARM:
                    ratios.append(took[plain] / took[frozen])
        return ratios

    def place(name: str) -> Path:
        (root / name).mkdir(mode=0o700)
        return root / name / "s"

    return trio.run(main)


def measure(sizes: tuple[int, ...], rounds: int, deliveries: int, root: Path) -> dict[tuple[int, int], Figures]:
    found = {(burst, size): Figures() for burst in (1, 16) for size in sizes}
    number = 0
    for _ in range(rounds):
        for size in sizes:
            took: dict[str, list[float]] = {}
            for name in (*VARIANTS, ASYNCIO):
                place = root / str(number)
                place.mkdir(mode=0o700)
                number += 1
                path = str(place / "s")
                # The peers cost ten times as much and need not be as exact.
                some = deliveries if name in (FLOOR, MAKES, OURS) else deliveries // 4
                works = [work(size, burst, some) for burst in (1, 16)]
                took[name] = spent(VARIANTS[name], path, size, works) if name in VARIANTS else asyncio_spent(path, size, works)
            for name, values in took.items():
                for burst, value, floor in zip((1, 16), values, took[FLOOR], strict=True):
                    found[burst, size].add(name, value, floor)
    return found


def plot(found: dict[tuple[int, int], Figures], sizes: tuple[int, ...], file: Path) -> None:
    """Cost over N as SVG, both axes logarithmic."""
    import math

    colours = {FLOOR: "#888", MAKES: "#a4a", OURS: "#06c", CHANNELS: "#c60", ASYNCIO: "#494"}
    width, height, left, top = 640, 400, 60, 20

    def place(size: int, value: float) -> str:
        across = left + (width - left - 20) * math.log10(size / sizes[0]) / max(1.0, math.log10(sizes[-1] / sizes[0]))
        return f"{across:.1f},{top + (height - top - 50) * (2 - math.log10(max(value, 0.05))) / 3.4:.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    for value in (0.1, 1, 10, 100):
        y = place(sizes[0], value).split(",")[1]
        parts.append(f'<path d="M{left} {y}H{width - 20}" stroke="#ddd"/><text x="8" y="{y}">{value:g} us</text>')
    parts += [f'<text x="{place(size, 1).split(",")[0]}" y="{height - 30}" text-anchor="middle">{size}</text>' for size in sizes]
    parts.append(
        f'<text x="{left}" y="{height - 10}">subscribers; processor time for one event and one of them; dashed: bursts of 16</text>'
    )
    for at, (name, colour) in enumerate(colours.items()):
        parts.append(f'<text x="{width - 230}" y="{top + 14 * at + 10}" fill="{colour}">{name}</text>')
        for burst, dash in ((1, ""), (16, ' stroke-dasharray="6 4"')):
            points = " ".join(place(size, found[burst, size].value(name)) for size in sizes)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
    file.write_text("\n".join([*parts, "</svg>"]) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 and 100 subscribers, once")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the cost over the number of subscribers there, as SVG")
    parser.add_argument("--read", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        path, count, frozen, hello = options.read
        return read_all(path, int(count), int(frozen), hello == "1")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sizes = (10, 100) if options.quick else (10, 100, 1000)
    print(machine(["trio", "msgspec"]))
    root = short_directory()
    try:
        found = measure(sizes, 1 if options.quick else 5, 10_000 if options.quick else 40_000, root)
        for burst in (1, 16):
            names = list(found[burst, sizes[0]].values)
            rows = [
                [name, *(f"{found[burst, n].value(name):.2f} ({found[burst, n].ratio(name):.1f}x)" for n in sizes)]
                for name in names
            ]
            table([f"us, bursts of {burst}", *(f"N={size}" for size in sizes)], rows)
            print()
        rates = with_frozen(root, 16 if options.quick else 200)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if options.plot:
        plot(found, sizes, options.plot)
    cells = [found[burst, size] for burst in (1, 16) for size in sizes]
    worst = max(figures.ratio(OURS) for figures in cells)
    made = max(statistics.median(map(truediv, figures.values[OURS], figures.values[MAKES])) for figures in cells)
    said = f"measured at worst {worst:.2f}x, and {made:.2f}x of one that makes its events"
    print(f"aim: <= 1.5x of a bare loop for N = 10..1000; {said}")
    lost = sorted(100 * (1 - rate) for rate in rates)
    quarter = len(lost) // 4
    spread = f"{lost[quarter]:.0f} to {lost[-quarter - 1]:.0f} in the middle half of {len(lost)} slices"
    print(f"aim: with 5 of 100 frozen the others lose < 10 %; measured {lost[len(lost) // 2]:.1f} % ({spread})")
    return None


if __name__ == "__main__":
    main()
