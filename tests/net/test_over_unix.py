"""The same server behind real sockets: what the kernel does to closing, buffering and half lines."""

import contextlib
import os
import socket
import time

import pytest
import trio
import trio.lowlevel

from podkit.errors import AuthenticationError
from podkit.protocol import (
    Accepted,
    Cancel,
    Lagged,
    Notify,
    Run,
    Shutdown,
    Snapshot,
    Subscribe,
    TextDone,
    encode_method,
    read_event,
)
from podkit_transports import TcpTransport, UnixTransport
from podkit_transports._fast import FastSocket


@pytest.fixture
def on_unix(serve, short_dir):
    def open_it(**options):
        return serve(UnixTransport(), address=f"unix://{short_dir}/root/sock", **options)

    return open_it


def _raw(pod):
    """A blocking client that knows nothing of podkit."""
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(pod.address.removeprefix("unix://"))
    return peer


async def _until(condition):
    while not condition():  # noqa: ASYNC110 - what the kernel does has no event of ours
        await trio.sleep(0.001)


async def test_a_client_attaches_with_the_key_beside_the_socket(on_unix):
    with trio.fail_after(10):
        async with on_unix() as pod, pod.client() as client:
            assert len(pod.key) >= 32
            assert isinstance(await client.receive(), Snapshot)
            assert await client.run("x") == 1


@pytest.mark.proves("I18")
async def test_a_socket_without_its_key_is_no_way_in(on_unix, short_dir):
    with trio.fail_after(10):
        async with on_unix() as pod:
            await trio.Path(f"{short_dir}/root/key").write_text("0" * 64)
            with pytest.raises(AuthenticationError):
                async with pod.client():
                    pass


@pytest.mark.parametrize("admitted", [False, True])
@pytest.mark.proves("F1")
async def test_one_line_and_gone_is_still_processed(on_unix, make_hello, admitted):
    with trio.fail_after(60):
        async with on_unix(plain=None if admitted else "command") as pod:
            pod.desk.entries = ["x" * 1000] * 4000
            for number in range(100):
                with _raw(pod) as peer:
                    hello = make_hello(instance=str(number), key=pod.key, subscribe=Subscribe.SNAPSHOT)
                    opening = encode_method(hello, id="h") + b"\n" if admitted else b""
                    peer.sendall(opening + encode_method(Notify(f"message {number}")) + b"\n")
                if number % 3 == 0:
                    await trio.lowlevel.checkpoint()
            await _until(lambda: len(pod.desk.asks) >= 100)
            assert {method.message for method in pod.desk.methods} == {f"message {number}" for number in range(100)}
            await _until(lambda: pod.server.connections == 0)


@pytest.mark.proves("F1", "I17")
async def test_a_last_line_without_its_end_is_processed(on_unix):
    with trio.fail_after(10):
        async with on_unix(plain="command") as pod:
            with _raw(pod) as peer:
                peer.sendall(encode_method(Notify("first")) + b"\n \r\n\n" + encode_method(Notify("last")))
            await _until(lambda: len(pod.desk.asks) == 2)


async def test_who_only_shuts_down_its_writing_side_still_gets_its_replies(on_unix, make_hello):
    with trio.fail_after(10):
        async with on_unix() as pod:
            with _raw(pod) as peer:
                peer.sendall(encode_method(make_hello(key=pod.key), id="h") + b"\n" + encode_method(Cancel(), id="1") + b"\n")
                peer.shutdown(socket.SHUT_WR)
                await _until(lambda: pod.desk.asks and pod.server.connections == 0)
                lines = peer.makefile("rb").read().splitlines()
            assert [read_event(line).re for line in lines] == ["h", "1"]


@pytest.mark.proves("F6", "I16")
async def test_half_a_line_and_a_reset_are_heard_by_nobody_else(on_unix, make_hello):
    with trio.fail_after(10):
        async with on_unix() as pod, pod.client(subscribe="live") as other:
            for opening in (b"", b"{", encode_method(make_hello(key=pod.key, subscribe="snapshot"), id="h") + b"\n{"):
                with _raw(pod) as peer:
                    peer.sendall(opening)
                    await _until(lambda: pod.server.connections == 2)
            await _until(lambda: pod.server.connections == 1)
            pod.desk.hub.publish(TextDone("the first thing"))
            assert await other.receive() == TextDone("the first thing")
            assert pod.desk.asks == []


@pytest.mark.proves("F4")
async def test_large_writes_both_ways_do_not_wait_for_each_other(on_unix):
    with trio.fail_after(60):
        async with on_unix() as pod:
            pod.desk.entries = ["x" * 1000] * 8000
            async with pod.client() as client, trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(client.send, Run("y" * 1_000_000))
            assert len(pod.desk.asks) == 8


@pytest.mark.proves("F4")
async def test_a_peer_that_writes_before_it_reads_is_served(on_unix, make_hello):
    with trio.fail_after(60):
        async with on_unix() as pod:
            pod.desk.entries = ["x" * 1000] * 8000

            def rude():
                with _raw(pod) as peer:
                    peer.sendall(encode_method(make_hello(key=pod.key, subscribe="snapshot"), id="h") + b"\n")
                    for number in range(8):
                        peer.sendall(encode_method(Run("y" * 1_000_000), id=str(number)) + b"\n")
                    replies = set()
                    for line in peer.makefile("rb"):
                        replies.add(read_event(line).re)
                        if len(replies - {None}) == 9:
                            return replies
                return None

            replies = await trio.to_thread.run_sync(rude, abandon_on_cancel=True)
            assert replies == {None, "h"} | {str(number) for number in range(8)}


@pytest.mark.proves("F19", "I22")
async def test_a_slow_reader_is_told_what_it_missed_and_slows_nobody(on_unix):
    with trio.fail_after(60):
        async with on_unix(outbox_events=200) as pod, pod.peer() as slow, pod.client(subscribe="live") as quick:
            await slow.hello(key=pod.key, subscribe="live")
            for number in range(3000):
                pod.desk.hub.publish(TextDone("x" * 500))
                assert isinstance(await quick.receive(), TextDone), number
            heard = await slow.hear_until(Lagged)
            assert [frame.seq for frame in heard[:-1]] == list(range(1, heard[-1].event.first))
            assert isinstance((await slow.hear()).event, Snapshot)


@pytest.mark.proves("F7", "I34")
async def test_many_clients_leave_no_descriptor(on_unix):
    with trio.fail_after(60):
        async with on_unix() as pod:
            before = len(os.listdir("/proc/self/fd"))
            for number in range(300):
                async with pod.client() as client:
                    if number % 2:
                        await client.send(Cancel())
            await _until(lambda: pod.server.connections == 0)
            assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.proves("I15")
async def test_draining_delivers_everything_and_closes(on_unix):
    with trio.fail_after(30):
        async with on_unix() as pod, pod.client() as client:
            for number in range(2000):
                pod.desk.hub.publish(TextDone(str(number)))
            pod.desk.hub.publish(Shutdown())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pod.server.drain, 5.0)
                seen = [event async for event in client]
            assert len(seen) == 2002
            assert isinstance(seen[-1], Shutdown)


@pytest.mark.proves("I14")
async def test_an_interrupted_writer_leaves_no_half_line(on_unix):
    with trio.fail_after(30):
        async with on_unix() as pod, pod.client() as client:
            for number in range(50):
                with trio.move_on_after(0.0005 * (number % 4)):
                    await client.send(Run("y" * 500_000))
            assert await client.send(Cancel()) == Accepted()
            assert all(len(method.input) == 500_000 for method in pod.desk.methods if isinstance(method, Run))


@pytest.mark.proves("F1")
async def test_who_reads_no_more_is_still_heard_for_a_while(on_unix):
    with trio.fail_after(10):
        async with on_unix(plain="command") as pod:
            with _raw(pod) as peer:
                peer.shutdown(socket.SHUT_RD)
                await _until(lambda: "0 subscribers" in repr(pod.desk.hub) and pod.server.connections == 1)
                peer.sendall(encode_method(Notify("one")) + b"\n")
                await _until(lambda: len(pod.desk.asks) == 1)
                peer.sendall(encode_method(Notify("two")) + b"\n")
            await _until(lambda: len(pod.desk.asks) == 2)
            await _until(lambda: pod.server.connections == 0)


@pytest.mark.proves("H19")
async def test_a_pod_out_of_descriptors_waits_without_spinning_and_serves_when_there_are_some(on_unix, short_dir, caplog):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with trio.fail_after(30):
        async with on_unix() as pod:
            path = pod.address.removeprefix("unix://")
            waiting = socket.socket(socket.AF_UNIX)
            spare = [os.open("/dev/null", os.O_RDONLY)]
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 8, hard))
                with contextlib.suppress(OSError):
                    while True:
                        spare.append(os.dup(spare[0]))
                waiting.connect(path)
                begin = time.process_time()
                await _until(lambda: sum("EMFILE" in record.getMessage() for record in caplog.records) >= 3)
                assert time.process_time() - begin < 0.5
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for fd in spare:
                    os.close(fd)
            waiting.close()
            async with pod.client() as client:
                assert isinstance(await client.receive(), Snapshot)
            assert pod.server.connections <= 1


@pytest.mark.proves("I35")
@pytest.mark.parametrize(
    "piece", [b"x" * 4096, b"\n" * 4096, b"x", b" " * 999 + b"\n", b'{"method":"hello","id":"1","params":{' + b" " * 5000]
)
@pytest.mark.parametrize("tcp", [False, True], ids=["unix", "tcp"])
async def test_of_a_peer_that_was_not_let_in_no_more_is_read_than_a_hello_may_have(serve, short_dir, monkeypatch, piece, tcp):
    """Counted where the bytes come in, and the peer is closed long before its time is up."""
    taken = []
    receive = FastSocket.receive_nowait

    def counted(self, *most):
        data = receive(self, *most)
        taken.append(len(data or b""))
        return data

    monkeypatch.setattr(FastSocket, "receive_nowait", counted)
    if tcp:
        where = {"transport": TcpTransport(key="k" * 32), "address": "tcp://127.0.0.1:0"}
    else:
        where = {"transport": UnixTransport(), "address": f"unix://{short_dir}/root/sock"}
    with trio.fail_after(30):
        async with serve(**where, hello_seconds=1000.0, hello_bytes=20_000) as pod:
            if tcp:
                host, port = pod.address.removeprefix("tcp://").split(":")
                peer = await trio.open_tcp_stream(host, int(port))
            else:
                peer = await trio.open_unix_socket(pod.address.removeprefix("unix://"))
            async with peer:
                with contextlib.suppress(trio.BrokenResourceError):
                    for _ in range(-(-200_000 // len(piece))):
                        await peer.send_all(piece)
                with contextlib.suppress(trio.BrokenResourceError):
                    assert await peer.receive_some() == b"", "it is told nothing"
            assert sum(taken) == 20_000
            await _until(lambda: not pod.server.connections)


async def test_what_comes_with_a_hello_may_be_as_long_as_ever(on_unix, make_hello):
    with trio.fail_after(10):
        async with on_unix(hello_bytes=1000) as pod:
            peer = await trio.open_unix_socket(pod.address.removeprefix("unix://"))
            async with peer:
                hello = encode_method(make_hello(key=pod.key), id="1")
                notify = encode_method(Notify("n" * 500_000), id="2")
                await peer.send_all(hello[:10])
                await peer.send_all(hello[10:] + b"\n" + notify + b"\n")
                await peer.send_eof()
                said = b""
                while more := await peer.receive_some():
                    said += more
            assert [read_event(line).re for line in said.splitlines()] == ["1", "2"]
            assert pod.desk.methods == [Notify("n" * 500_000)]
