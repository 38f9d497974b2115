"""A pod that is only a script, served over a transport, and peers that speak to it in frames."""

import shutil
import tempfile
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import attrs
import pytest
import trio

from podkit._net import Client, Hub, MemoryTransport, connect, serve_pod
from podkit.logic import Limits
from podkit.protocol import (
    Accepted,
    Error,
    ErrorCode,
    Greeting,
    Hello,
    Resume,
    Run,
    Snapshot,
    Status,
    StatusEvent,
    Subscribe,
    encode_method,
    read_event,
)

CHILD = ("kid", "inc-kid", "s3cret-of-kid")


class ScriptedDesk:
    """Answers `accepted` at once, with a number for a run; `hold` keeps asks open, `on` gives a kind of method its own answer."""

    def __init__(self, limits: Limits) -> None:
        self.name, self.incarnation, self.confinement = "root", "inc-1", "advisory"
        self.limits, self.hub = limits, Hub(limits)
        self.entries: list[Any] = []
        self.state = Status.IDLE
        self.asks: list[Any] = []
        self.hold: deque[Any] | None = None
        self.on: dict[type, Any] = {}
        self.children = {CHILD}
        self.runs = count(1)
        self.snapshots = 0

    def status(self) -> Status:
        return self.state

    def snapshot(self) -> Snapshot:
        self.snapshots += 1
        greeting = Greeting("root", "/w", "scripted", "none", "write /w", ())
        return Snapshot(tuple(self.entries), greeting, status=self.state)

    def admits_birth(self, birth: Any) -> bool:
        return (birth.pod_name, birth.incarnation, birth.secret) in self.children

    def submit(self, ask: Any) -> None:
        self.asks.append(ask)
        script = self.on.get(type(ask.method))
        if script is not None:
            script(ask)
        elif self.hold is not None:
            self.hold.append(ask)
        elif isinstance(ask.method, Run | Resume):
            self.begin(ask)
        else:
            ask.answer(Accepted())

    def begin(self, ask: Any) -> int:
        run = next(self.runs)
        ask.answer(Accepted(run=run))
        self.entries.append({"kind": "invoke", "ts": 0, "trigger": "user_send", "run": run})
        self.state = Status.RUNNING
        self.hub.publish(StatusEvent(self.state))
        return run

    @property
    def methods(self) -> list[Any]:
        return [ask.method for ask in self.asks]


class Peer:
    """Somebody who speaks in frames."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel

    async def send(self, *frames: bytes) -> None:
        for frame in frames:
            await self.channel.send(frame)

    async def say(self, method: Any, name: str | None = None, run: int | None = None) -> None:
        await self.channel.send(encode_method(method, id=name, run=run))

    async def hello(self, **changes: Any) -> Any:
        await self.say(a_hello(**changes), "h")
        return (await self.hear()).event

    async def hear(self) -> Any:
        return read_event(await self.channel.receive())

    async def hear_until(self, kind: type) -> list[Any]:
        heard = [await self.hear()]
        while not isinstance(heard[-1].event, kind):
            heard.append(await self.hear())
        return heard

    async def reply(self, name: str) -> Any:
        while True:
            frame = await self.hear()
            if frame.re == name:
                return frame.event

    async def ended(self) -> list[Any]:
        """Everything up to the end of the connection."""
        heard = []
        try:
            while True:
                heard.append(await self.hear())
        except (trio.EndOfChannel, trio.BrokenResourceError):
            return heard


def a_hello(**changes: Any) -> Hello:
    given: dict[str, Any] = {"protocol": (1,), "client": "test/1", "instance": "me", "subscribe": "none"} | changes
    given["subscribe"] = Subscribe(given["subscribe"])
    return Hello(given.pop("protocol"), given.pop("client"), given.pop("instance"), **given)


@attrs.frozen
class Served:
    """A served pod: its desk, its server, and ways to reach it."""

    desk: ScriptedDesk
    server: Any
    transport: Any
    address: str
    key: str | None
    nursery: trio.Nursery

    @asynccontextmanager
    async def peer(self) -> Any:
        channel = await self.transport.connect(self.address)
        try:
            yield Peer(channel)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await channel.aclose()

    def client(self, **options: Any) -> Any:
        return connect(self.address, transport=self.transport, **options)


@asynccontextmanager
async def _serve(transport: Any = None, *, address: str | None = None, desk: Any = None, key: Any = None, **options: Any) -> Any:
    limits = Limits(**{name: options.pop(name) for name in tuple(options) if hasattr(Limits(), name)})
    transport = transport or MemoryTransport()
    desk = desk or ScriptedDesk(limits)
    listener = await transport.listen(address or transport.address("root", None))
    where = getattr(listener, "address", address)
    if key is None:
        key = transport.key(where)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_pod, desk, listener, key=key, plain=options.pop("plain", None), **options))
        yield Served(desk, server, transport, where, key, nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
def serve() -> Any:
    """`async with serve(plain=…, key=…, outbox_events=…) as pod`: a scripted pod, served in memory unless a transport is given."""
    return _serve


@pytest.fixture
def make_hello() -> Any:
    return a_hello


@pytest.fixture
def child() -> tuple[str, str, str]:
    return CHILD


@pytest.fixture
def make_desk() -> Any:
    return lambda **limits: ScriptedDesk(Limits(**limits))


@pytest.fixture
def short_dir() -> Any:
    """A directory whose path is short enough for sockets."""
    path = tempfile.mkdtemp(prefix="pk", dir="/tmp")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def collect() -> Any:
    """`await collect(client, n)`: the next n events."""

    async def take(events: Client, number: int) -> list[Any]:
        return [await events.receive() for _ in range(number)]

    return take


@pytest.fixture
def error_code() -> Any:
    """The code of an event that has to be an error."""

    def code(event: Any) -> ErrorCode:
        assert isinstance(event, Error), event
        return event.code

    return code
