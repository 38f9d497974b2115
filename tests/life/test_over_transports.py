"""The same scenario over memory, Unix sockets and TCP: what clients see is the same, event by event."""

import os
import shutil
import tempfile

import pytest
import trio

import podkit
from podkit.protocol import RunEnd, RunResult, Shutdown, TextDone, TurnStart
from podkit_transports import TcpTransport, UnixTransport


class Talker(podkit.abc.Worker):
    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        for word in run.text.split():
            emit(TextDone(text=word))


@pytest.fixture(params=["memory", "unix", "tcp"])
def way(request):
    root = tempfile.mkdtemp(prefix="pk", dir="/tmp")
    transport = {
        "memory": podkit.MemoryTransport,
        "unix": UnixTransport,
        "tcp": lambda: TcpTransport(key="0123456789abcdef0123456789abcdef"),
    }[request.param]()
    yield transport, root
    shutil.rmtree(root)


def told(event):
    """What an event says, without the incarnations, which are never the same."""
    return type(event), getattr(event, "text", None), getattr(event, "run", None), getattr(event, "result", None)


async def scenario(transport, root):
    seen = []
    registry = podkit.MemoryRegistry()

    async def follow(address, task_status):
        async with podkit.connect(address, transport=transport) as client:
            async for event in client:
                if not seen:
                    task_status.started()
                seen.append(event)

    async with trio.open_nursery() as nursery:
        options = {"transport": transport, "registry": registry, "run_dir": os.path.join(root, "t"), "cwd": "/"}
        async with podkit.open_pod("root", Talker(), scope=podkit.Scope.write("/w"), **options) as pod:
            await nursery.start(follow, pod.address)
            child = await pod.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Talker))
            assert (await child.ask("from below")).text == "from\n\nbelow"
            while not any(isinstance(event, RunEnd) for event in seen):  # the child's report woke the parent
                await trio.lowlevel.checkpoint()
            async with podkit.connect(pod.address, transport=transport) as client:
                run = await client.run("hello there")
                assert (await client.wait(run)).result is RunResult.FINISHED
            assert (await child.stop()).how == "asked"
    return seen


async def test_every_transport_shows_the_same_events(way):
    transport, root = way
    with trio.fail_after(20):
        seen = await scenario(transport, root)
        plain = await scenario(podkit.MemoryTransport(), root)
    assert [told(event) for event in seen[1:]] == [told(event) for event in plain[1:]]
    assert any(isinstance(event, RunEnd) for event in seen)
    assert isinstance(seen[-1], Shutdown)


async def test_a_stranger_without_the_key_is_not_let_in(way):
    transport, root = way
    if transport.scheme == "memory":
        return
    options = {"transport": transport, "registry": podkit.MemoryRegistry(), "run_dir": os.path.join(root, "t"), "cwd": "/"}

    class Keyless(type(transport)):
        def __init__(self):
            pass

        def __getattr__(self, name):
            return getattr(transport, name)

        def key(self, address):
            return "not the key of this pod, but long enough"

        async def connect(self, address):
            return await transport.connect(address)

    with trio.fail_after(10):
        async with podkit.open_pod("root", Talker(), scope=podkit.Scope.write("/w"), **options) as pod:
            with pytest.raises(podkit.AuthenticationError):
                async with podkit.connect(pod.address, transport=Keyless()):
                    pass
