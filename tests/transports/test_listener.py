"""Accepting goes on whatever the kernel is short of, and ends when the socket is of no use."""

import errno
import socket

import pytest
import trio

from podkit_transports._channel import SocketChannel
from podkit_transports._fast import FastSocket
from podkit_transports._listener import SocketListener


class ShortOfThings:
    """A listening socket whose `accept` fails with these numbers first."""

    def __init__(self, sock, *numbers):
        self._sock, self._numbers = sock, list(numbers)

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def accept(self):
        if self._numbers:
            raise OSError(self._numbers.pop(0), "planted")
        return self._sock.accept()


@pytest.fixture
def bare():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def make(sock):
    return SocketChannel(FastSocket(sock), max_line=100)


async def accepted(bare, *numbers):
    listener = SocketListener(ShortOfThings(bare, *numbers), "tcp://x:1", make)
    with socket.create_connection(bare.getsockname()):
        async with await listener.accept():
            return trio.current_time()


async def test_a_shortage_is_waited_out_longer_and_longer(bare, autojump_clock):
    assert await accepted(bare, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM) == pytest.approx(
        0.05 + 0.1 + 0.2 + 0.4, abs=0.01
    )


@pytest.mark.proves("H19")
async def test_a_shortage_is_logged_by_its_name_and_a_failed_connection_is_not_worth_a_warning(bare, autojump_clock, caplog):
    await accepted(bare, errno.ECONNABORTED, errno.EMFILE, errno.ENFILE)
    warned = [(record.name, record.errno, record.pause) for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [("podkit.transport", "EMFILE", 0.05), ("podkit.transport", "ENFILE", 0.1)]


async def test_a_long_shortage_is_looked_at_every_second(bare, autojump_clock):
    assert await accepted(bare, *[errno.EMFILE] * 100) == pytest.approx(0.05 + 0.1 + 0.2 + 0.4 + 0.8 + 95, abs=0.01)


async def test_a_connection_that_failed_before_it_was_accepted_costs_no_time(bare, autojump_clock):
    assert await accepted(bare, *[errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENETDOWN] * 5) == pytest.approx(0, abs=0.01)


async def test_a_listening_socket_that_is_of_no_use_is_said_to_be(bare):
    bare.shutdown(socket.SHUT_RDWR)
    with trio.fail_after(1), pytest.raises(trio.BrokenResourceError):
        await SocketListener(bare, "tcp://x:1", make).accept()


async def test_a_shortage_can_be_cancelled_and_closed(bare, autojump_clock):
    listener = SocketListener(ShortOfThings(bare, *[errno.EMFILE] * 1000), "tcp://x:1", make)
    with trio.move_on_after(2) as impatient:
        await listener.accept()
    assert impatient.cancelled_caught
    async with trio.open_nursery() as nursery:

        async def wait():
            with pytest.raises(trio.ClosedResourceError):
                await listener.accept()

        nursery.start_soon(wait)
        await trio.sleep(0.01)
        await listener.aclose()
    assert repr(listener) == "<SocketListener at tcp://x:1 closed>"


async def test_peers_that_are_not_served_do_not_starve_the_others(bare):
    def refuse(sock):
        sock.close()

    listener, turns = SocketListener(bare, "tcp://x:1", refuse), 0
    clients = [socket.create_connection(bare.getsockname()) for _ in range(20)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept)
        for _ in range(5):
            turns += 1
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert turns == 5
    for client in clients:
        client.close()
