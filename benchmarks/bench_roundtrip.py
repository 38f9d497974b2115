"""What a question and its answer cost between two programs: python benchmarks/bench_roundtrip.py [--quick]

One request under way at a time, a line of about 60 bytes, answered in kind; the asking and the answering side are two processes
on one core each ("free") or both on the same ("pinned", which repeats best: there the ratio is one of work, not of where the
scheduler puts whom). podkit is measured three times: an event as a typed value over a channel of `UnixTransport` and back
(encode, send, receive, decode, on both sides), the same over TCP, and a whole method of a pod through `connect`, answered by
the pod itself. The reference is trio's own `SocketStream` that echoes bytes and decodes nothing. Peers: a blocking echo in C,
asyncio's streams with json, the ping of MCP in memory (no second process) and over stdio, a message of autogen-core (in
memory), a request of agent-client-protocol over a Unix socket.

All are measured in turn, round by round; a figure is the median of the rounds in microseconds, a ratio that of one round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import trio
from _rounds import Case, Figures, asked, compiled, installed, machine, short_directory, skipped, table

import podkit
from podkit.protocol import ListVisiblePods, TextDelta, encode_event, read_event
from podkit_transports import TcpTransport, UnixTransport

Ask = Callable[[], Awaitable[object]]

TRIO = "trio SocketStream, bytes"
OURS = "podkit, typed event, Unix"
MCP = "MCP ping, in memory"
EVENT = TextDelta("and then we see")
LINE = encode_event(EVENT) + b"\n"
KEY = "a key for the benchmark"


async def greeted(path: str) -> trio.SocketStream:
    """Connect to a server that is only just starting."""
    while True:
        try:
            return await trio.open_unix_socket(path)
        except OSError:
            await trio.sleep(0.02)


# trio and podkit.


async def serve_trio(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        near, _ = await trio.socket.from_stdlib_socket(sock).accept()
        stream = trio.SocketStream(near)
        while data := await stream.receive_some(65536):
            await stream.send_all(data)


@asynccontextmanager
async def ask_trio(path: str) -> AsyncIterator[Ask]:
    stream = await greeted(path)

    async def ask() -> object:
        await stream.send_all(LINE)
        return await stream.receive_some(65536)

    async with stream:
        yield ask


def transport_of(path: str) -> tuple[Any, str]:
    if path.startswith("tcp:"):
        return TcpTransport(key=KEY), path.replace("tcp:", "tcp://127.0.0.1:")
    return UnixTransport(), path


async def serve_events(path: str) -> None:
    transport, address = transport_of(path)
    channel = await (await transport.listen(address)).accept()
    try:
        while True:
            said = read_event(await channel.receive())
            await channel.send(encode_event(said.event, seq=said.seq))
    except trio.EndOfChannel:
        pass


@asynccontextmanager
async def ask_events(path: str) -> AsyncIterator[Ask]:
    transport, address = transport_of(path)
    while True:
        try:
            channel = await transport.connect(address)
            break
        except podkit.PodUnreachableError:
            await trio.sleep(0.02)

    async def ask() -> object:
        await channel.send(encode_event(EVENT, seq=17))
        return read_event(await channel.receive())

    async with channel:
        yield ask


class Idle(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        return None


async def serve_pod(path: str) -> None:
    registry = podkit.MemoryRegistry()
    async with podkit.open_pod(
        "root", Idle(), scope=podkit.Scope.read("/"), transport=UnixTransport(), registry=registry, address=path
    ) as pod:
        await pod.stopped()


@asynccontextmanager
async def ask_pod(path: str) -> AsyncIterator[Ask]:
    await (await greeted(path)).aclose()
    async with podkit.connect(path, transport=UnixTransport(), subscribe="none") as client:
        yield lambda: client.send(ListVisiblePods())
        await client.shutdown()


# asyncio.


async def serve_asyncio(path: str) -> None:
    over = asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(json.loads(line)).encode() + b"\n")
            await writer.drain()
        writer.close()
        over.set()

    async with await asyncio.start_unix_server(echo, path):
        await over.wait()


async def streams(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_unix_connection(path)
        except OSError:
            await asyncio.sleep(0.02)


@asynccontextmanager
async def ask_asyncio(path: str) -> AsyncIterator[Ask]:
    reader, writer = await streams(path)
    request = json.loads(LINE)

    async def ask() -> object:
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        return json.loads(await reader.readline())

    yield ask
    writer.close()


async def serve_acp(path: str) -> None:
    acp: Any = import_module("acp.connection")
    over = asyncio.Event()

    async def answer(method: str, params: Any, is_notification: bool) -> Any:
        return params

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = acp.Connection(answer, writer, reader, listening=False)
        await connection.main_loop()
        over.set()

    async with await asyncio.start_unix_server(accept, path):
        await over.wait()


@asynccontextmanager
async def ask_acp(path: str) -> AsyncIterator[Ask]:
    acp: Any = import_module("acp.connection")

    async def nothing(method: str, params: Any, is_notification: bool) -> Any:
        return None

    reader, writer = await streams(path)
    connection = acp.Connection(nothing, writer, reader)
    yield lambda: connection.send_request("session/echo", {"text": EVENT.text})
    await connection.close()


@asynccontextmanager
async def ask_mcp_memory(path: str) -> AsyncIterator[Ask]:
    server: Any = import_module("mcp.server.mcpserver").MCPServer("peer")
    memory: Any = import_module("mcp.client._memory").InMemoryTransport(server)
    async with memory as (read, write), import_module("mcp").ClientSession(read, write) as session:
        await session.initialize()
        yield session.send_ping


@asynccontextmanager
async def ask_mcp_stdio(path: str) -> AsyncIterator[Ask]:
    mcp: Any = import_module("mcp")
    program = "from mcp.server.mcpserver import MCPServer; MCPServer('peer').run('stdio')"
    stdio = mcp.stdio_client(mcp.StdioServerParameters(command=sys.executable, args=["-c", program]))
    async with stdio as (read, write), mcp.ClientSession(read, write) as session:
        await session.initialize()
        yield session.send_ping


@asynccontextmanager
async def ask_autogen(path: str) -> AsyncIterator[Ask]:
    core: Any = import_module("autogen_core")

    async def answer(agent: Any, message: str, context: Any) -> str:
        return message

    runtime = core.SingleThreadedAgentRuntime()
    await core.ClosureAgent.register_closure(
        runtime, "echo", answer, subscriptions=list, unknown_type_policy="ignore", skip_direct_message_subscription=True
    )
    runtime.start()
    there = core.AgentId("echo", "default")
    yield lambda: runtime.send_message(EVENT.text, there)
    await runtime.stop()


Serve = Callable[[str], Awaitable[None]]
Client = Callable[[str], AbstractAsyncContextManager[Ask]]
# What runs it, who answers (None: it brings its own), who asks, and the package that brings it.
CASES: dict[str, tuple[str, Serve | None, Client, str | None]] = {
    TRIO: ("trio", serve_trio, ask_trio, None),
    OURS: ("trio", serve_events, ask_events, None),
    "podkit, typed event, TCP": ("trio", serve_events, ask_events, None),
    "podkit, a method of a pod": ("trio", serve_pod, ask_pod, None),
    "asyncio streams, json": ("asyncio", serve_asyncio, ask_asyncio, None),
    MCP: ("asyncio", None, ask_mcp_memory, "mcp"),
    "MCP ping, stdio": ("asyncio", None, ask_mcp_stdio, "mcp"),
    "autogen-core message, in memory": ("asyncio", None, ask_autogen, "autogen-core"),
    "agent-client-protocol request": ("asyncio", serve_acp, ask_acp, "agent-client-protocol"),
}
C_ECHO = "C, blocking echo"


async def be_case(client: Client, path: str) -> None:
    """Answer every line with the microseconds of one round trip, as the median of batches of twenty."""
    async with client(path) as ask:
        await ask()
        for seconds in asked():
            batches: list[float] = []
            begun = time.perf_counter()
            while (start := time.perf_counter()) - begun < seconds:
                for _ in range(20):
                    await ask()
                batches.append((time.perf_counter() - start) / 20)
            print(sorted(batches)[len(batches) // 2] * 1e6, flush=True)


def run(name: str, path: str, *, server: bool) -> None:
    kind, serve, client, _ = CASES[name]
    logging.disable(logging.CRITICAL)
    act: Any = serve if server else be_case
    args = (path,) if server else (client, path)
    if kind == "trio":
        trio.run(act, *args)
    else:
        asyncio.run(act(*args))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def as_case(name: str, path: str) -> None:
    """The process of one case: it starts the other side first."""
    argv = [sys.executable, __file__, "--serve", name, path]
    other = subprocess.Popen(argv, stdin=subprocess.DEVNULL) if CASES[name][1] is not None else None
    try:
        run(name, path, server=False)
    finally:
        if other is not None:
            other.terminate()
            other.wait()


def measure(names: list[str], c_program: Path | None, root: Path, core: int | None, rounds: int, seconds: float) -> Figures:
    figures = Figures()
    cases: dict[str, Case] = {}
    try:
        for number, name in enumerate(names):
            place = root / f"{number}-{core}"
            place.mkdir(mode=0o700)
            path = f"tcp:{free_port()}" if name.endswith("TCP") else str(place / "s")
            cases[name] = Case([sys.executable, __file__, "--case", name, path], core=core)
        for _ in range(rounds):
            found = {name: case.measure(seconds)[0] for name, case in cases.items()}
            if c_program is not None:
                argv = ["taskset", "-c", str(core)] if core is not None and shutil.which("taskset") else []
                made = subprocess.run([*argv, str(c_program), "echo", str(seconds)], check=True, capture_output=True, text=True)
                found[C_ECHO] = float(made.stdout)
            for name, value in found.items():
                figures.add(name, value, found[TRIO])
                if MCP in found:
                    figures.add(f"{name} / mcp", value, found[MCP])
    finally:
        for case in cases.values():
            case.close()
    return figures


def show(title: str, figures: Figures) -> None:
    rows = []
    for name in sorted((name for name in figures.values if not name.endswith("/ mcp")), key=figures.value):
        beside = f"{1 / figures.ratio(f'{name} / mcp'):.1f}x" if f"{name} / mcp" in figures.ratios else "-"
        rows.append([name, f"{figures.value(name):.1f}", f"{figures.ratio(name):.2f}", figures.spread(name), beside])
    table([title, "us", "x trio bytes", "least to most", "faster than MCP in memory"], rows)
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="pinned only, a few rounds")
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        return as_case(*options.case)
    if options.serve:
        return run(*options.serve, server=True)
    print(machine(["trio", "msgspec", "mcp", "autogen-core", "agent-client-protocol"]))
    print(*skipped({name: case[3] for name, case in CASES.items()}), sep="\n")
    names = [name for name, case in CASES.items() if installed(case[3])]
    root = short_directory()
    try:
        c_program = compiled(root)
        rounds, seconds = (3, 0.05) if options.quick else (11, 0.3)
        pinned = measure(names, c_program, root, 0, rounds, seconds)
        show("both sides on one core", pinned)
        if not options.quick:
            show("wherever they are put", measure(names, c_program, root, None, rounds, seconds))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    said = f"aim: <= 0.8x a trio byte echo, pinned; measured {pinned.ratio(OURS):.2f}x"
    if MCP in pinned.values:
        said += f". Asked: >= 5x faster than MCP in memory; measured {1 / pinned.ratio(f'{OURS} / mcp'):.1f}x"
    print(said)
    return None


if __name__ == "__main__":
    main()
