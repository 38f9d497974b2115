"""Connections in memory: what they do beyond the contract that `check_transport` holds every transport to."""

import pytest
import trio
import trio.testing

from podkit._net import MemoryTransport
from podkit.errors import LocalProtocolError, PodUnreachableError, RemoteProtocolError, TransportError


async def joined(transport, address="memory://pod"):
    listener = await transport.listen(address)
    ours = await transport.connect(address)
    return listener, ours, await listener.accept()


async def test_two_transports_share_nothing():
    one, other = MemoryTransport(), MemoryTransport()
    await one.listen("memory://pod")
    await other.listen("memory://pod")
    await one.listen("memory://second")
    with pytest.raises(PodUnreachableError):
        await other.connect("memory://second")


async def test_an_address_is_free_again_after_its_listener_closed():
    transport = MemoryTransport()
    listener, ours, theirs = await joined(transport)
    await listener.aclose()
    with pytest.raises(PodUnreachableError) as caught:
        await transport.connect("memory://pod")
    assert caught.value.address == "memory://pod"
    again = await transport.listen("memory://pod")
    await listener.aclose()  # the old one takes nothing from the new one
    with trio.fail_after(1):
        channel = await transport.connect("memory://pod")
        await channel.send(b"x")
        assert await (await again.accept()).receive() == b"x"
        await ours.send(b"the old connection lives")
        assert await theirs.receive() == b"the old connection lives"


async def test_it_has_no_key_and_names_itself_by_the_pod():
    transport = MemoryTransport()
    assert transport.key("memory://pod") is None
    assert transport.address("pod", None) == transport.address("pod", "/run/x") == "memory://pod"
    listener = await transport.listen("memory://pod")
    assert listener.address == "memory://pod"


@pytest.mark.parametrize("address", ["pod", "", "memory://", "memory", "://", None, 7, "memory://a\0b"])
async def test_what_is_no_address_is_refused(address):
    transport = MemoryTransport()
    for call in (transport.connect, transport.listen):
        with pytest.raises(TransportError) as caught:
            await call(address)
        assert not isinstance(caught.value, PodUnreachableError)


async def test_a_sender_waits_at_64_frames_and_at_256_kib():
    for frame, fits in ((b"x", 64), (b"x" * 2**16, 4), (b"x" * (2**18 + 1), 1)):
        _, ours, theirs = await joined(MemoryTransport())
        with trio.fail_after(1):
            for _ in range(fits):
                await ours.send(frame)
        with trio.move_on_after(0.01) as waiting:
            await ours.send(frame)
        assert waiting.cancelled_caught
        with trio.fail_after(1):
            assert [await theirs.receive() for _ in range(fits)] == [frame] * fits
            with pytest.raises(trio.EndOfChannel):
                await theirs.receive()


async def test_a_sender_goes_on_when_the_reader_took_one_frame():
    _, ours, theirs = await joined(MemoryTransport())
    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send_many, [b"%d" % n for n in range(65)])
            await trio.testing.wait_all_tasks_blocked()
            assert await theirs.receive() == b"0"
        assert len(await theirs.receive_many()) == 64


async def test_a_batch_with_one_bad_frame_sends_nothing():
    _, ours, theirs = await joined(MemoryTransport())
    for bad in (b"", b" \t", b"a\nb", "text", bytearray(b"x")):
        with pytest.raises(LocalProtocolError):
            await ours.send_many([b"good", bad])
    await ours.send(b"after")
    assert await theirs.receive_many() == [b"after"]


async def test_an_empty_batch_is_nothing():
    _, ours, theirs = await joined(MemoryTransport())
    await ours.send_many([])
    await ours.aclose()
    with pytest.raises(trio.EndOfChannel):
        await theirs.receive_many()


async def test_each_side_has_its_own_reading_limit():
    _, ours, theirs = await joined(MemoryTransport(max_method=10, max_event=20))
    await ours.send_many([b"x" * 10, b"y" * 11, b"z"])
    await theirs.send_many([b"x" * 20, b"y" * 21, b"z"])
    for channel, limit in ((theirs, 10), (ours, 20)):
        assert await channel.receive_many() == [b"x" * limit]
        for receive in (channel.receive, channel.receive_many):
            with pytest.raises(RemoteProtocolError) as caught:
                await receive()
            assert caught.value.fatal
            assert caught.value.frame == b"y" * (limit + 1)


async def test_a_full_queue_of_connections_makes_connect_wait(autojump_clock):
    transport = MemoryTransport()
    listener = await transport.listen("memory://pod")
    for _ in range(128):
        await transport.connect("memory://pod")
    with pytest.raises(PodUnreachableError, match="does not accept"):
        await transport.connect("memory://pod")
    assert trio.current_time() == pytest.approx(5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.connect, "memory://pod")
        await trio.testing.wait_all_tasks_blocked()
        await listener.accept()
    assert trio.current_time() == pytest.approx(5)


async def test_a_connect_that_waits_in_the_queue_learns_that_the_listener_closed(autojump_clock):
    transport = MemoryTransport()
    listener = await transport.listen("memory://pod")
    for _ in range(128):
        await transport.connect("memory://pod")
    async with trio.open_nursery() as nursery:

        async def late():
            with pytest.raises(PodUnreachableError):
                await transport.connect("memory://pod")

        nursery.start_soon(late)
        await trio.testing.wait_all_tasks_blocked()
        await listener.aclose()
    assert trio.current_time() < 1


async def test_a_connection_nobody_accepted_is_lost_with_its_listener():
    transport = MemoryTransport()
    listener = await transport.listen("memory://pod")
    channel = await transport.connect("memory://pod")
    await channel.send(b"x")
    await listener.aclose()
    with trio.fail_after(1):
        with pytest.raises(trio.BrokenResourceError):
            await channel.receive()
        with pytest.raises(trio.BrokenResourceError):
            await channel.send(b"y")


async def test_nobody_is_starved_by_a_busy_pair():
    _, ours, theirs = await joined(MemoryTransport())
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(640):
            await ours.send(b"x")
            await theirs.receive()
        nursery.cancel_scope.cancel()
    assert turns >= 10


async def test_closing_under_cancellation_closes():
    _, ours, theirs = await joined(MemoryTransport())
    with trio.CancelScope() as scope:
        scope.cancel()
        await ours.aclose()
    assert scope.cancelled_caught
    with trio.fail_after(1), pytest.raises(trio.EndOfChannel):
        await theirs.receive()


async def test_what_is_shown_of_them_says_where_and_how_much():
    transport = MemoryTransport()
    listener, ours, theirs = await joined(transport)
    await ours.send(b"x")
    assert repr(transport) == "<MemoryTransport listening at ['pod']>"
    assert repr(listener) == "<MemoryListener at memory://pod>"
    assert repr(theirs) == "<MemoryChannel holding 1 frames>"
    await listener.aclose()
    await theirs.aclose()
    assert repr(listener).endswith("closed>")
    assert repr(theirs) == "<MemoryChannel closed holding 0 frames>"
