"""How many events a second one connection carries from one program to another: python benchmarks/bench_stream.py [--quick]

Pieces of text over a Unix socket, in bursts. podkit is measured at two heights: channels alone (encode, `send_many`,
`receive_lines`, decode, as podkit's own client does it), and a whole pod's stream (a hub that publishes, a server, and a client of
`connect` that is iterated). The floor is C that writes and reads the same bytes. Peers: asyncio's streams with json, and trio's
`SocketStream` with one send for each event, both with json.

A figure is events a second of time that passed, with both programs free to run where they want; beside it what the busier of
the two could carry if it had a core to itself, from its processor time. All in turn, round by round; the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from _rounds import compiled, machine, short_directory, table
from bench_fanout import Desk

import podkit
from podkit._net import serve_pod
from podkit.logic import Limits
from podkit.protocol import TextDelta, encode_event, read_events
from podkit_transports import UnixTransport

TEXT = "and then we see"
END = "this is the end"


async def until_there(path: str) -> None:
    while True:
        if await trio.Path(path).exists():
            return
        await trio.sleep(0.01)


# Each pair: the program that sends `count` events in bursts, and the one that reads them until the end.


async def send_channel(path: str, count: int, burst: int) -> float:
    channel = await (await UnixTransport().listen(path)).accept()
    begun = time.process_time()
    for number in range(0, count, burst):
        await channel.send_many([encode_event(TextDelta(TEXT), seq=number + at) for at in range(burst)])
    await channel.send(encode_event(TextDelta(END), seq=count))
    took = time.process_time() - begun
    await channel.receive()
    return took


async def read_channel(path: str, count: int) -> tuple[float, float]:
    await until_there(path)
    channel: Any = await UnixTransport().connect(path)
    got, begun, clock = 0, 0.0, 0.0
    while True:
        lines = await channel.receive_lines()
        if not begun:
            begun, clock = time.process_time(), time.perf_counter()
        said = read_events(lines)
        got += len(said)
        if said[-1].event.text == END:  # type: ignore[union-attr]
            break
    took = time.process_time() - begun, time.perf_counter() - clock
    assert got == count + 1
    await channel.send(b"{}")
    return took


async def send_pod(path: str, count: int, burst: int) -> float:
    transport, over = UnixTransport(), trio.Event()
    desk = Desk(Limits(outbox_events=2**20, outbox_bytes=2**30))
    began: list[float] = []

    async def publish() -> None:
        began.append(time.process_time())
        for _ in range(0, count, burst):
            for _ in range(burst):
                desk.hub.publish(TextDelta(TEXT))
            await trio.lowlevel.checkpoint()
        desk.hub.publish(TextDelta(END))
        await over.wait()
        began.append(time.process_time())

    async with trio.open_nursery() as nursery:

        def submit(ask: Any) -> None:
            desk_submit(ask)
            if not began:
                nursery.start_soon(publish)
            else:
                over.set()

        desk_submit = desk.submit
        desk.submit = submit  # type: ignore[method-assign]
        listener = await transport.listen(path)
        server = await nursery.start(partial(serve_pod, desk, listener, key=transport.key(path), plain=None))
        await over.wait()
        await trio.lowlevel.checkpoint()
        await server.drain(1)
    return began[1] - began[0]


async def read_pod(path: str, count: int) -> tuple[float, float]:
    await until_there(path)
    async with podkit.connect(path, transport=UnixTransport(), subscribe="live", buffer=2**20) as client:
        await client.notify("go")
        begun, clock = time.process_time(), time.perf_counter()
        got = 0
        async for event in client:
            got += 1
            assert isinstance(event, TextDelta)
            if event.text == END:
                break
        assert got == count + 1
        took = time.process_time() - begun, time.perf_counter() - clock
        await client.notify("over")
    return took


def line(number: int, text: str) -> bytes:
    return json.dumps({"event": "text_delta", "data": {"text": text}, "seq": number}).encode() + b"\n"


async def send_asyncio(path: str, count: int, burst: int) -> float:
    took: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun = time.process_time()
        for number in range(0, count, burst):
            for at in range(burst):
                writer.write(line(number + at, TEXT))
            await writer.drain()
        writer.write(line(count, END))
        await writer.drain()
        spent = time.process_time() - begun
        await reader.read()
        writer.close()
        took.set_result(spent)

    async with await asyncio.start_unix_server(serve, path):
        return await took


async def read_asyncio(path: str, count: int) -> tuple[float, float]:
    while True:
        try:
            reader, writer = await asyncio.open_unix_connection(path)
            break
        except OSError:
            await asyncio.sleep(0.01)
    begun, clock, got = time.process_time(), time.perf_counter(), 0
    while True:
        said = json.loads(await reader.readline())
        got += 1
        if said["data"]["text"] == END:
            break
    took = time.process_time() - begun, time.perf_counter() - clock
    writer.close()
    return took


async def send_trio(path: str, count: int, burst: int) -> float:
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(path)
    listener.listen()
    stream = trio.SocketStream((await listener.accept())[0])
    begun = time.process_time()
    for number in range(count):
        await stream.send_all(line(number, TEXT))
    await stream.send_all(line(count, END))
    return time.process_time() - begun


async def read_trio(path: str, count: int) -> tuple[float, float]:
    await until_there(path)
    await trio.sleep(0.02)
    stream = await trio.open_unix_socket(path)
    begun, clock, rest = time.process_time(), time.perf_counter(), b""
    while True:
        *lines, rest = (rest + await stream.receive_some(65536)).split(b"\n")
        for one in lines:
            said = json.loads(one)
        if lines and said["data"]["text"] == END:
            return time.process_time() - begun, time.perf_counter() - clock


OURS = "podkit, channel"
POD = "podkit, hub to client"
Send = Callable[[str, int, int], Awaitable[float]]
Read = Callable[[str, int], Awaitable[tuple[float, float]]]
PAIRS: dict[str, tuple[str, Send, Read]] = {
    OURS: ("trio", send_channel, read_channel),
    POD: ("trio", send_pod, read_pod),
    "asyncio streams, json": ("asyncio", send_asyncio, read_asyncio),
    "trio, one send each, json": ("trio", send_trio, read_trio),
}
FLOOR = "C, write and read"


def run(kind: str, act: Callable[..., Awaitable[Any]], *args: object) -> Any:
    if kind == "trio":
        return trio.run(act, *args)  # type: ignore[arg-type]
    return asyncio.run(act(*args))  # type: ignore[arg-type]


def one(name: str, place: Path, count: int, burst: int) -> tuple[float, float]:
    """Events a second: as time passed, and as the busier side could."""
    place.mkdir(mode=0o700)
    kind, _, read = PAIRS[name]
    argv = [sys.executable, __file__, "--send", name, str(place / "s"), str(count), str(burst)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as sender:
        reading, passed = run(kind, read, str(place / "s"), count)
        sending = float(sender.communicate(timeout=30)[0])
    return count / passed, count / max(reading, sending)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round with bursts of 64")
    parser.add_argument("--send", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.send:
        name, path, count, burst = options.send
        print(run(PAIRS[name][0], PAIRS[name][1], path, int(count), int(burst)))
        return
    print(machine(["trio", "msgspec"]))
    root = short_directory()
    bursts, rounds, events = ((64,), 1, 20_000) if options.quick else ((1, 16, 64, 256), 7, 200_000)
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    try:
        c_program = compiled(root)
        for number in range(rounds):
            for burst in bursts:
                for at, name in enumerate(PAIRS):
                    # The peers cost many times as much and need not be as exact.
                    count = events if burst > 1 and name in (OURS, POD) else events // 5
                    place = root / f"{number}-{burst}-{at}"
                    found.setdefault((name, burst), []).append(one(name, place, count // burst * burst, burst))
                if c_program is not None:
                    made = subprocess.run([str(c_program), "stream", "0.1", str(burst)], check=True, capture_output=True, text=True)
                    found.setdefault((FLOOR, burst), []).append((float(made.stdout), float(made.stdout)))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    rows: list[list[str]] = []
    middle = {key: tuple(statistics.median(part) for part in zip(*values, strict=True)) for key, values in found.items()}
    for name in dict.fromkeys(name for name, _ in found):
        cells = [f"{middle[name, burst][0] / 1000:,.0f}k ({middle[name, burst][1] / 1000:,.0f}k)" for burst in bursts]
        rows.append([name, *cells])
    table(["events a second, passed (busier side)", *(f"bursts of {burst}" for burst in bursts)], rows)
    for name in (OURS, POD):
        passed, busier = (max(middle[name, burst][at] for burst in bursts) for at in (0, 1))
        said = f"{passed / 1e6:.2f} million passed, {busier / 1e6:.2f} million by the busier side"
        print(f"aim: >= 1,000,000 events/s a connection; {name}: {said}")


if __name__ == "__main__":
    main()
