"""Lines over sockets: what cancellation, closing and hostile bytes do to them."""

import itertools
import os
import random
import socket

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit.errors import LocalProtocolError, RemoteProtocolError
from podkit_transports import _fast
from podkit_transports._channel import SocketChannel
from podkit_transports._fast import FastSocket

made = []


@pytest.fixture(autouse=True)
def closed_afterwards():
    yield
    while made:
        made.pop().close()


def two_sockets():
    sockets = socket.socketpair()
    made.extend(sockets)
    return sockets


def wired(*, max_line=2**20):
    """A channel and the bare other end of its socket."""
    ours, theirs = two_sockets()
    theirs.setblocking(False)
    return SocketChannel(FastSocket(ours), max_line=max_line), theirs


def pair(*, max_line=2**26):
    one, other = two_sockets()
    return SocketChannel(FastSocket(one), max_line=max_line), SocketChannel(FastSocket(other), max_line=max_line)


async def rest_of(bare):
    """Everything that arrives at a bare socket until its end."""
    data = b""
    with trio.fail_after(5):
        while True:
            await trio.lowlevel.wait_readable(bare)
            more = bare.recv(2**20)
            if not more:
                return data
            data += more


async def test_one_frame_is_one_line_and_blank_lines_are_nothing():
    channel, bare = wired()
    await channel.send(b"out")
    assert bare.recv(100) == b"out\n"
    bare.send(b"\n  \n\r\n{}\r\n a \n")
    with trio.fail_after(1):
        assert await channel.receive_many() == [b"{}\r", b" a "]


async def test_a_batch_is_one_write():
    channel, bare = wired()
    await channel.send_many([b"a", b"b", b"c"])
    assert bare.recv(100) == b"a\nb\nc\n"
    await channel.send_many([])
    with pytest.raises(LocalProtocolError):
        await channel.send_many([b"d", b""])
    with pytest.raises(BlockingIOError):
        bare.recv(100)


async def test_a_last_line_without_its_end_is_a_frame_and_then_the_end():
    channel, bare = wired()
    bare.send(b"one\ntwo")
    bare.close()
    with trio.fail_after(1):
        assert [await channel.receive(), await channel.receive()] == [b"one", b"two"]
        for _ in range(2):
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()


async def test_lines_are_handed_out_as_they_came_and_frames_that_were_cut_already_before_them():
    channel, bare = wired()
    bare.send(b"\n \none\ntwo\n\nthree\nfou")
    with trio.fail_after(1):
        assert await channel.receive() == b"one"
        bare.send(b"r\nfive\n")
        assert await channel.receive_lines() == b"two\nthree\n"
        assert await channel.receive_lines() == b"four\nfive\n"
        bare.send(b" \n\nsix\n\nseven")
        bare.close()
        assert await channel.receive_lines() == b" \n\nsix\n\n"
        assert await channel.receive_lines() == b"seven\n"
        with pytest.raises(trio.EndOfChannel):
            await channel.receive_lines()


async def test_a_cancelled_receive_of_lines_has_taken_nothing():
    channel, bare = wired()
    bare.send(b"one\ntwo\n")
    with trio.fail_after(1):
        assert await channel.receive() == b"one"
        with trio.CancelScope() as scope:
            scope.cancel()
            await channel.receive_lines()
        assert scope.cancelled_caught
        assert await channel.receive_lines() == b"two\n"


READERS = {
    "receive": lambda channel: channel.receive(),
    "receive_many": lambda channel: channel.receive_many(),
    "receive_lines": lambda channel: channel.receive_lines(),
}


@given(
    lines=st.lists(st.binary(min_size=1).filter(lambda b: b"\n" not in b and not b.isspace()), max_size=8),
    cuts=st.lists(st.integers(0, 200), max_size=6),
    readers=st.lists(st.sampled_from(sorted(READERS)), min_size=1, max_size=8),
    max_line=st.sampled_from([5, 2**20]),
)
@settings(deadline=None, max_examples=60)
def test_frames_are_the_same_however_the_bytes_are_cut_and_read(lines, cuts, readers, max_line):
    async def main():
        channel, bare = wired(max_line=max_line)
        data = b"".join(line + b"\n" for line in lines)
        short = list(itertools.takewhile(lambda line: len(line) <= max_line, lines))
        got = []

        async def read():
            try:
                for reader in itertools.cycle(readers):
                    said = await READERS[reader](channel)
                    if reader == "receive_lines":
                        said = [line for line in said.split(b"\n") if line and not line.isspace()]
                    got.extend([said] if reader == "receive" else said)
            except trio.EndOfChannel:
                assert short == lines
            except RemoteProtocolError:
                assert short != lines

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read)
                last = 0
                for cut in [*sorted(c for c in cuts if c < len(data)), len(data)]:
                    bare.send(data[last:cut])
                    last = cut
                    await trio.testing.wait_all_tasks_blocked()
                bare.close()
        assert got == short

    trio.run(main)


async def test_a_line_over_the_limit_is_an_error_for_good_and_sending_goes_on():
    channel, bare = wired(max_line=10)
    bare.send(b"before\n0123456789\n" + b"x" * 11)
    with trio.fail_after(1):
        assert await channel.receive_many() == [b"before", b"0123456789"]
        bare.send(b"\nafter\n")
        for _ in range(3):
            with pytest.raises(RemoteProtocolError) as caught:
                await channel.receive()
            assert caught.value.fatal
        await channel.send(b"too long")
        assert bare.recv(100) == b"too long\n"


async def test_an_endless_line_is_given_up_with_bounded_memory():
    channel, bare = wired(max_line=1000)

    async def flood():
        with pytest.raises(OSError):  # noqa: PT011 - a broken pipe or a reset, as the kernel likes
            while True:
                await trio.lowlevel.wait_writable(bare)
                bare.send(b"x" * 65536)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            with pytest.raises(RemoteProtocolError):
                await channel.receive()
            assert channel._decoder.pending <= 1000
            await channel.aclose()


@pytest.mark.proves("I14")
async def test_a_cancelled_send_closes_and_leaves_at_most_a_piece_of_that_line():
    channel, bare = wired()
    with trio.move_on_after(0.01) as impatient:
        await channel.send(b"y" * 2_000_000)
    assert impatient.cancelled_caught
    for operation in (lambda: channel.send(b"glued"), channel.receive, lambda: channel.send_many([b"glued"])):
        with trio.fail_after(1), pytest.raises(trio.ClosedResourceError):
            await operation()
    data = await rest_of(bare)
    assert 0 < len(data) < 2_000_000
    assert not data.strip(b"y")


async def test_a_send_cancelled_with_nothing_out_closes_too():
    channel, bare = wired()
    with trio.fail_after(5):
        while True:
            with trio.move_on_after(0.01) as impatient:
                await channel.send(b"z" * 50_000)
            if impatient.cancelled_caught:
                break
        with pytest.raises(trio.ClosedResourceError):
            await channel.send(b"glued")
    assert b"glued" not in await rest_of(bare)


async def test_an_exception_that_is_no_cancellation_closes_as_well():
    channel, bare = wired()

    class OddError(Exception):
        pass

    async def interrupted(data):
        raise OddError

    channel._stream.send_all = interrupted
    channel._stream.send_nowait = lambda data: 0
    with pytest.raises(OddError):
        await channel.send(b"half")
    with pytest.raises(trio.ClosedResourceError):
        await channel.send(b"glued")
    assert await rest_of(bare) == b""


async def test_a_cancelled_send_wakes_who_receives_on_the_same_channel():
    channel, _bare = wired()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:

            async def receive():
                with pytest.raises(trio.ClosedResourceError):
                    await channel.receive()

            nursery.start_soon(receive)
            with trio.move_on_after(0.01):
                await channel.send(b"y" * 2_000_000)


async def test_after_a_failed_send_no_other_is_tried():
    channel, bare = wired()
    whole = channel._stream.send_nowait

    def half(data):
        channel._stream.send_nowait = whole
        assert whole(data[:3]) == 3
        raise trio.BrokenResourceError("planted")

    channel._stream.send_nowait = half
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await channel.send(b"torn frame")
    assert bare.recv(100) == b"tor"


async def test_after_a_failed_send_what_came_before_is_received():
    channel, bare = wired()
    bare.send(b"one\ntwo\n")
    bare.close()
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            await channel.send(b"x")
    with trio.fail_after(1):
        assert [frame async for frame in channel] == [b"one", b"two"]


async def test_a_peer_that_closed_with_our_bytes_unread_is_a_lost_connection_after_its_frames():
    channel, bare = wired()
    await channel.send(b"never read")
    bare.send(b"one\ntwo\npart")
    bare.close()
    with trio.fail_after(1):
        assert await channel.receive_many() == [b"one", b"two"]
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await channel.receive()


async def test_closing_with_their_bytes_unread_is_an_orderly_end_for_them():
    one, other = pair()
    await other.send(b"never read")
    await one.send(b"last words")
    await one.aclose()
    with trio.fail_after(1):
        assert [frame async for frame in other] == [b"last words"]


async def test_closing_reads_a_bounded_part_of_what_is_left(monkeypatch):
    monkeypatch.setattr(_fast, "_DISCARD", 1)
    one, other = pair()
    for _ in range(3):
        await other.send(b"x" * 65535)
    await one.aclose()
    with trio.fail_after(1), pytest.raises(trio.BrokenResourceError):
        await other.receive()


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=25)
@pytest.mark.proves("H16")
def test_every_frame_arrives_once_and_in_order_however_often_the_reader_is_cancelled(seed):
    async def main():
        rng = random.Random(seed)
        one, other = pair()
        frames = [b"%d" % n + b"x" * rng.choice([0, 1, 100, 70_000]) for n in range(60)]

        async def write():
            async with one:
                for frame in frames:
                    await one.send(frame)
                    for _ in range(rng.randrange(3)):
                        await trio.lowlevel.checkpoint()

        async def cancel(scope, steps):
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()

        got = []
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write)
                while len(got) < len(frames):
                    async with trio.open_nursery() as impatient:
                        impatient.start_soon(cancel, impatient.cancel_scope, rng.randrange(8))
                        if rng.random() < 0.5:
                            got.append(await other.receive())
                        else:
                            got += await other.receive_many()
                        impatient.cancel_scope.cancel()
            with pytest.raises(trio.EndOfChannel):
                await other.receive()
        assert got == frames

    trio.run(main)


@pytest.mark.proves("F4")
async def test_eight_megabytes_each_way_at_once_both_finish():
    one, other = pair()
    frame = b"x" * 2**23
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for channel in (one, other):
                nursery.start_soon(channel.send, frame)
            assert await one.receive() == await other.receive() == frame


async def test_a_second_sender_and_a_second_receiver_are_turned_away():
    one, _other = pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.receive)
        nursery.start_soon(one.send, b"x" * 2**22)
        await trio.testing.wait_all_tasks_blocked()
        for operation in (one.receive, one.receive_many, lambda: one.send(b"x"), lambda: one.send_many([b"x"])):
            with pytest.raises(trio.BusyResourceError):
                await operation()
        nursery.cancel_scope.cancel()


async def test_who_gets_one_line_at_a_time_does_not_look_for_more_in_vain():
    channel, bare = wired()
    looks = []
    look = channel._socket.receive_nowait
    channel._socket.receive_nowait = lambda *most: looks.append(1) or look(*most)
    with trio.fail_after(5):
        for _ in range(10):
            bare.send(b"ask\n")
            assert await channel.receive() == b"ask"
        assert len(looks) == 10
        bare.send(b"x" * 5000 + b"\n")
        assert await channel.receive_many() == [b"x" * 5000]
        bare.send(b"more\n")
        before = trio.lowlevel.current_task()._schedule_points
        assert await channel.receive() == b"more"
        assert trio.lowlevel.current_task()._schedule_points == before, "what is here already is not waited for"


async def test_nobody_is_starved_by_a_pair_that_never_waits():
    one, other = pair()
    turns = 0

    async def count():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        for _ in range(640):
            await one.send(b"x")
            await other.receive()
        nursery.cancel_scope.cancel()
    assert turns >= 10


async def test_opening_and_closing_five_thousand_times_keeps_no_descriptor():
    before = len(os.listdir("/proc/self/fd"))
    with trio.fail_after(20):
        for n in range(5000):
            one, other = pair()
            await one.send(b"x")
            if n % 3 == 0:
                await other.receive()
            if n % 7 == 0:
                one._stream.abort()
            await one.aclose()
            await other.aclose()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_what_is_shown_of_a_channel_says_how_much_it_holds():
    channel, bare = wired()
    assert repr(channel) == "<SocketChannel holding 0 frames>"
    bare.send(b"one\ntwo\n")
    await channel.receive()
    assert repr(channel) == "<SocketChannel holding 1 frames>"
    await channel.aclose()
    assert repr(channel) == "<SocketChannel closed holding 1 frames>"
    bare.close()


async def test_what_is_written_without_waiting_arrives_before_what_is_sent_after_it():
    one, other = pair()
    assert one.send_nowait(b"first\nsecond\n") is True
    await one.send(b"third")
    with trio.fail_after(1):
        assert await other.receive_many() == [b"first", b"second", b"third"]


async def test_a_rest_that_found_no_room_goes_first_and_nothing_overtakes_it():
    one, other = pair()
    line = b"x" * 999 + b"\n"
    sent = 0
    while one.send_nowait(line * 100):
        sent += 100
    with pytest.raises(trio.WouldBlock):
        one.send_nowait(b"overtaking\n")
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send_many, [])
            frames = [await other.receive() for _ in range(sent + 100)]
        assert set(frames) == {line[:-1]}
        assert one.send_nowait(b"after\n") is True
        assert await other.receive() == b"after"


async def test_without_room_for_a_byte_nothing_is_kept():
    one, other = pair()
    line = b"y" * 999 + b"\n"
    while one._socket.send_nowait(line) == len(line):
        pass
    with pytest.raises(trio.WouldBlock):
        one.send_nowait(b"lost\n")
    assert one._rest is None
    assert await other.receive() == line[:-1]


async def test_who_waits_to_send_is_not_overtaken_by_who_does_not():
    one, _other = pair()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.send, b"z" * 2_000_000)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.WouldBlock):
                one.send_nowait(b"in the middle\n")
            nursery.cancel_scope.cancel()
    with pytest.raises(trio.ClosedResourceError):
        one.send_nowait(b"after half a line\n")


async def test_writing_without_waiting_to_a_peer_that_left_is_a_failed_send():
    channel, bare = wired()
    bare.close()
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError):
            channel.send_nowait(b"x\n")


async def test_a_peer_that_sends_without_pause_and_without_an_end_starves_nobody():
    channel, bare = wired(max_line=10**9)
    bare.setblocking(False)
    turns = 0
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.receive)
            real = channel._socket.receive_nowait
            channel._socket.receive_nowait = lambda most: (bare.send(b"x" * 1000), real(most))[1]
            bare.send(b"x")
            while turns < 20:
                await trio.lowlevel.checkpoint()
                turns += 1
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("sent", [b"x" * 150_000, b"\n" * 150_000, b" " * 150_000])
async def test_no_more_is_read_than_was_said_and_the_rest_stays_where_it_is(sent):
    channel, bare = wired()
    channel.read_at_most(70_000)
    assert bare.send(sent) == len(sent)
    with trio.fail_after(5):
        for _ in range(2):
            with pytest.raises(RemoteProtocolError) as caught:
                await channel.receive()
            assert caught.value.fatal
    left = b"".join(iter(lambda: channel._socket.receive_nowait() or b"", b""))
    assert len(left) == len(sent) - 70_000
    await channel.send(b"and still we may speak")
    assert bare.recv(100) == b"and still we may speak\n"


async def test_frames_within_what_may_be_read_come_out_and_the_limit_can_be_lifted():
    channel, bare = wired()
    channel.read_at_most(60)
    bare.send(b"x" * 50 + b"\n" + b"y" * 1000 + b"\n")
    with trio.fail_after(5):
        assert await channel.receive() == b"x" * 50
        channel.read_at_most(None)
        assert await channel.receive() == b"y" * 1000
