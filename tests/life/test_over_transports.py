"""The same scenario over memory, Unix sockets and TCP: what clients see is the same, event by event."""

import os
import re
import shutil
import tempfile

import pytest
import trio

import podkit
from podkit.protocol import RunEnd, RunResult, Shutdown, TextDelta, TextDone, TurnStart, encode_event
from podkit_transports import TcpTransport, UnixTransport


class Talker(podkit.abc.Worker):
    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        for word in run.text.split():
            emit(TextDelta(text=word))
            emit(TextDone(text=word))
        if run.text.startswith("fail"):
            raise podkit.ToolError("broken")
        if run.text.startswith("stay"):
            await trio.sleep_forever()


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


def told(event, seq):
    """An event as it is on the wire, without what is never the same twice: incarnations and the time of day."""
    frame = encode_event(event, seq=seq).decode()
    return re.sub(r'"(ts|timestamp_ms)":\d+', r'"\1":0', re.sub(r"\b[0-9a-f]{16}\b", "incarnation", frame))


async def scenario(transport, root):
    seen = []
    registry = podkit.MemoryRegistry()

    async def follow(address, task_status):
        async with podkit.connect(address, transport=transport) as client:
            async for event in client:
                if not seen:
                    task_status.started()
                seen.append((event, client.seq))

    async with trio.open_nursery() as nursery:
        options = {"transport": transport, "registry": registry, "run_dir": os.path.join(root, "t"), "cwd": "/"}
        async with podkit.open_pod("root", Talker(), scope=podkit.Scope.write("/w"), **options) as pod:
            await nursery.start(follow, pod.address)
            child = await pod.spawn("kid", scope=podkit.Scope.write("/w/a"), launcher=podkit.TaskLauncher(Talker))
            assert (await child.ask("from below")).text == "from\n\nbelow"
            while not any(isinstance(event, RunEnd) for event, _seq in seen):  # the child's report woke the parent
                await trio.lowlevel.checkpoint()
            async with podkit.connect(pod.address, transport=transport) as client:
                run = await client.run("hello there")
                assert (await client.wait(run)).result is RunResult.FINISHED
                run = await client.run("fail now")
                assert (await client.wait(run)).result is RunResult.FAILED
                run = await client.run("stay here")
                await client.pause(run=run)
                run = await client.resume()
                await client.cancel(run=run)
                assert (await client.wait(run)).result is RunResult.CANCELLED
                with pytest.raises(podkit.MethodRejectedError):
                    await client.resume()
            assert (await child.stop()).how == "asked"
    return seen


@pytest.mark.proves("I40")
async def test_every_transport_shows_the_same_events(way):
    transport, root = way
    with trio.fail_after(20):
        seen = await scenario(transport, root)
        plain = await scenario(podkit.MemoryTransport(), root)
    assert [told(event, seq) for event, seq in seen] == [told(event, seq) for event, seq in plain]
    assert [seq for _event, seq in seen] == list(range(seen[0][1], seen[0][1] + len(seen)))
    results = [event.result for event, _seq in seen if isinstance(event, RunEnd)]
    assert {RunResult.FINISHED, RunResult.FAILED, RunResult.PAUSED, RunResult.CANCELLED} == set(results)
    assert isinstance(seen[-1][0], Shutdown)


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
