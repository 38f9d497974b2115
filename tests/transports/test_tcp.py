"""TCP: where it may listen, whom it reaches, and TLS."""

import errno
import os
import socket
import ssl
import subprocess

import pytest
import trio

from podkit.errors import PodUnreachableError, TransportError
from podkit_transports import TcpTransport
from podkit_transports import _tcp as tcp
from podkit_transports._fast import FastSocket

KEY = "0123456789abcdef"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A self-signed certificate for localhost and 127.0.0.1, with its key, in one file."""
    where = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", where / "key", "-out", where / "cert"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("needs the program openssl (apt install openssl)")
    return where / "cert", where / "key"


@pytest.fixture
def contexts(certificate):
    cert, key = certificate
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.load_cert_chain(cert, key)
    connecting = ssl.create_default_context(cafile=cert)
    return listening, connecting


async def exchange(transport, listener):
    with trio.fail_after(5):
        async with await transport.connect(listener.address) as ours, trio.open_nursery() as nursery:
            theirs = await listener.accept()

            async def answer():
                async with theirs:
                    await theirs.send(b"re " + await theirs.receive())

            nursery.start_soon(answer)
            await ours.send(b"ping")
            assert await ours.receive() == b"re ping"
            with pytest.raises(trio.EndOfChannel):
                await ours.receive()


async def test_port_zero_becomes_a_real_port_that_can_be_connected_to():
    transport = TcpTransport(key=KEY)
    assert transport.address("pod", None) == transport.address("pod", "/run/x") == "tcp://127.0.0.1:0"
    async with await transport.listen(transport.address("pod", None)) as listener:
        host, _, port = listener.address.removeprefix("tcp://").partition(":")
        assert (host, int(port) > 0) == ("127.0.0.1", True)
        await exchange(transport, listener)


async def test_the_loopback_of_ipv6_is_written_in_brackets():
    transport = TcpTransport(key=KEY)
    try:
        listener = await transport.listen("tcp://[::1]:0")
    except TransportError:
        pytest.skip("no IPv6 here")
    async with listener:
        assert listener.address.startswith("tcp://[::1]:")
        await exchange(transport, listener)


async def test_localhost_is_loopback():
    transport = TcpTransport(key=KEY)
    async with await transport.listen("tcp://localhost:0") as listener:
        await exchange(transport, listener)


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "[2001:db8::1]", "[::ffff:192.0.2.1]", "10.0.0.1"])
async def test_anything_but_loopback_needs_tls(host):
    with pytest.raises(TransportError, match="needs TLS"):
        await TcpTransport(key=KEY).listen(f"tcp://{host}:0")


async def test_with_tls_any_address_of_this_machine_will_do(contexts):
    transport = TcpTransport(key=KEY, tls=contexts)
    async with await transport.listen("tcp://0.0.0.0:0") as listener:
        assert listener.address.startswith("tcp://0.0.0.0:")
    with pytest.raises(TransportError, match="cannot listen"):
        await transport.listen("tcp://192.0.2.1:0")


@pytest.mark.parametrize(
    "body",
    ["127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:999999", "::1:80", "h:8²"],
)
async def test_what_is_no_host_and_port_is_refused(body):
    transport = TcpTransport(key=KEY)
    for call in (transport.connect, transport.listen):
        with pytest.raises(TransportError, match="host"):
            await call(f"tcp://{body}")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70, "a..b"])
async def test_a_host_that_does_not_exist_is_unreachable(host):
    transport = TcpTransport(key=KEY)
    with trio.fail_after(20):
        with pytest.raises(PodUnreachableError):
            await transport.connect(f"tcp://{host}:80")
        with pytest.raises(TransportError, match="cannot listen"):
            await transport.listen(f"tcp://{host}:80")


async def test_a_taken_port_is_refused():
    transport = TcpTransport(key=KEY)
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        with pytest.raises(TransportError, match="cannot listen"):
            await transport.listen(listener.address)


async def test_a_port_can_be_listened_at_again_at_once():
    transport = TcpTransport(key=KEY)
    listener = await transport.listen("tcp://127.0.0.1:0")
    await exchange(transport, listener)
    await listener.aclose()
    async with await transport.listen(listener.address) as again:
        await exchange(transport, again)


async def test_a_connection_that_met_itself_is_nobody(monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def meet_itself(host, port):
        sock = trio.socket.socket()
        await sock.bind((host, port))
        await sock.connect((host, port))
        return trio.SocketStream(sock)

    monkeypatch.setattr(tcp.trio, "open_tcp_stream", meet_itself)
    with pytest.raises(PodUnreachableError):
        await TcpTransport(key=KEY).connect(f"tcp://127.0.0.1:{port}")


async def test_both_sides_send_at_once_without_waiting_for_more():
    transport = TcpTransport(key=KEY)
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        for channel in (await transport.connect(listener.address), await listener.accept()):
            assert channel._stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            await channel.aclose()


@pytest.mark.parametrize("key", ["short", "x" * 15, "x" * 4097, "with a line\nbreak....", b"0123456789abcdef", None])
def test_a_key_that_is_too_short_or_no_text_is_refused_and_not_repeated(key):
    with pytest.raises(TransportError) as caught:
        TcpTransport(key=key)
    assert "key" in str(caught.value)
    assert str(key) not in str(caught.value)


@pytest.mark.proves("I36")
async def test_the_key_is_given_and_never_shown():
    transport = TcpTransport(key=KEY)
    assert transport.key("tcp://127.0.0.1:1") == KEY
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        assert KEY not in f"{transport!r} {listener!r} {vars(listener)!r}"


async def test_a_listener_can_be_taken_over_by_its_descriptor():
    transport = TcpTransport(key=KEY)
    listener = await transport.listen("tcp://127.0.0.1:0")
    heir = transport.from_fd(os.dup(listener.fd), listener.address)
    assert heir.address == listener.address
    listener.detach()
    await exchange(transport, heir)
    await heir.aclose()
    with socket.socket(socket.AF_UNIX) as other, pytest.raises(TransportError):
        transport.from_fd(other.fileno(), "tcp://127.0.0.1:1")


async def test_a_connection_gone_before_it_was_set_up_is_not_served():
    transport = TcpTransport(key=KEY)
    sock = socket.socket()
    sock.close()
    assert transport._serve(sock) is None


async def test_a_connection_lost_while_it_was_set_up_is_unreachable(monkeypatch):
    class Gone:
        def __init__(self, sock):
            self._sock = sock

        def getpeername(self):
            raise OSError(errno.ENOTCONN, "gone")

        def __getattr__(self, name):
            return getattr(self._sock, name)

    transport, plain = TcpTransport(key=KEY), tcp._plain
    monkeypatch.setattr(tcp, "_plain", lambda stream: Gone(plain(stream)))
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        with pytest.raises(PodUnreachableError, match="gone"):
            await transport.connect(listener.address)


async def test_an_aborted_connection_is_a_lost_one_for_the_peer():
    transport = TcpTransport(key=KEY)
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        ours, theirs = await transport.connect(listener.address), await listener.accept()
        await theirs.send(b"whole")
        with trio.move_on_after(0.05):
            await theirs.send(b"x" * 2**25)
        with trio.fail_after(2):
            assert await ours.receive() == b"whole"
            with pytest.raises(trio.BrokenResourceError):
                await ours.receive()
        await ours.aclose()


def test_closing_twice_and_aborting_after_closing_are_quiet():
    async def main():
        one, other = socket.socketpair()
        stream = FastSocket(one)
        for _ in range(2):
            await stream.aclose()
            stream.abort()
        for operation in (stream.receive, lambda: stream.send_all(b"x")):
            with pytest.raises(trio.ClosedResourceError):
                await operation()
        other.close()

    trio.run(main)


# TLS.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_tls_carries_frames_both_ways(contexts, host):
    transport = TcpTransport(key=KEY, tls=contexts)
    assert repr(transport) == "<TcpTransport with TLS>"
    async with await transport.listen(f"tcp://{host}:0") as listener:
        await exchange(transport, listener)


async def test_tls_carries_much_both_ways_at_once_and_an_end(contexts):
    transport = TcpTransport(key=KEY, tls=contexts, max_method=2**23)
    frame = b"x" * 2**22
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        ours, theirs = await transport.connect(listener.address), await listener.accept()
        got = []

        async def talk(channel):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(channel.send, frame)
                got.append(await channel.receive())

        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk, ours)
                nursery.start_soon(talk, theirs)
            assert got == [frame, frame]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.aclose)
                with pytest.raises(trio.EndOfChannel):
                    await theirs.receive()
                await theirs.aclose()
            for channel in (ours, theirs):
                with pytest.raises(trio.ClosedResourceError):
                    await channel.receive()
                await channel.aclose()


async def test_a_client_that_says_nothing_holds_up_nobody(contexts):
    transport = TcpTransport(key=KEY, tls=contexts)
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        host, _, port = listener.address.removeprefix("tcp://").partition(":")
        with socket.create_connection((host, int(port))):
            with trio.fail_after(2):
                silent = await listener.accept()
            await exchange(transport, listener)
            await silent.aclose()


async def test_a_client_that_speaks_no_tls_is_a_lost_connection(contexts):
    async with await TcpTransport(key=KEY, tls=contexts).listen("tcp://127.0.0.1:0") as listener:
        ours, theirs = await TcpTransport(key=KEY).connect(listener.address), await listener.accept()
        await ours.send(b"plain text")
        with trio.fail_after(2), pytest.raises(trio.BrokenResourceError):
            await theirs.receive()
        await ours.aclose()
        await theirs.aclose()


async def test_a_server_nobody_vouches_for_is_a_lost_connection(contexts):
    listening, _ = contexts
    transport = TcpTransport(key=KEY, tls=(listening, ssl.create_default_context()))
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        with trio.fail_after(5):
            async with await transport.connect(listener.address) as ours, trio.open_nursery() as nursery:
                theirs = await listener.accept()

                async def serve():
                    with pytest.raises(trio.BrokenResourceError):
                        await theirs.receive()
                    await theirs.aclose()

                nursery.start_soon(serve)
                with pytest.raises(trio.BrokenResourceError):
                    await ours.send(b"secret")
                await ours.aclose()


async def test_over_tls_what_a_peer_sent_before_it_left_outlives_a_failed_send(contexts):
    transport = TcpTransport(key=KEY, tls=contexts)
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        ours, theirs = await transport.connect(listener.address), await listener.accept()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.send, b"hello")
                assert await theirs.receive() == b"hello"
            await ours.send(b"last words")
            await ours.aclose()
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await theirs.send(b"are you there")
            assert await theirs.receive() == b"last words"
            with pytest.raises(trio.EndOfChannel):
                await theirs.receive()
            await theirs.aclose()


async def test_a_cancelled_send_over_tls_is_a_lost_connection_for_the_peer(contexts):
    transport = TcpTransport(key=KEY, tls=contexts)
    async with await transport.listen("tcp://127.0.0.1:0") as listener:
        ours, theirs = await transport.connect(listener.address), await listener.accept()
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.send, b"hello")
                assert await theirs.receive() == b"hello"
            with trio.move_on_after(0.1):
                await theirs.send(b"x" * 2**25)
            for operation in (lambda: theirs.send(b"glued"), theirs.receive):
                with pytest.raises(trio.ClosedResourceError):
                    await operation()
            with pytest.raises(trio.BrokenResourceError):
                await ours.receive()
            await ours.aclose()
            await theirs.aclose()


async def test_a_context_for_one_side_refuses_the_other(contexts):
    listening, connecting = contexts
    async with await TcpTransport(key=KEY, tls=listening).listen("tcp://127.0.0.1:0") as listener:
        await exchange(TcpTransport(key=KEY, tls=connecting), listener)
        with pytest.raises(TransportError, match="TLS"):
            await TcpTransport(key=KEY, tls=listening).connect(listener.address)
    with pytest.raises(TransportError, match="TLS"):
        await TcpTransport(key=KEY, tls=connecting).listen("tcp://127.0.0.1:0")
