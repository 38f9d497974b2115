"""The contract check of transports: right ones pass, and one with a single broken promise fails at that promise."""

import itertools
import os
import tempfile

import pytest
import trio
import trio.testing

import podkit
from podkit._net import MemoryTransport
from podkit.errors import PodUnreachableError, RemoteProtocolError
from podkit.testing import CLAUSES, check_transport
from podkit_transports import TcpTransport, UnixTransport


class Tap(trio.abc.Channel[bytes]):
    def __init__(self, inner, log):
        self.inner, self.log = inner, log

    async def send(self, value):
        await self.inner.send(value)
        self.log.append(value)

    async def receive(self):
        return await self.inner.receive()

    async def aclose(self):
        await self.inner.aclose()


class Tapped(podkit.abc.Transport):
    scheme = "tapped"

    def __init__(self, inner): self.inner, self.log = inner, []  # fmt: skip

    async def connect(self, address): return Tap(await self.inner.connect(address), self.log)  # fmt: skip

    async def listen(self, address): return await self.inner.listen(address)  # fmt: skip


def test_a_transport_in_front_of_another_keeps_the_contract():
    trio.run(check_transport, lambda: Tapped(podkit.MemoryTransport()))


async def test_the_memory_transport_keeps_the_contract():
    await check_transport(MemoryTransport)


async def test_the_memory_transport_keeps_the_contract_in_virtual_time(autojump_clock):
    await check_transport(MemoryTransport)
    assert trio.current_time() < 1, "nothing in it waits for time to pass"


async def test_small_limits_are_kept_too():
    await check_transport(lambda: MemoryTransport(max_method=10_000))


async def test_the_unix_transport_keeps_the_contract():
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="pk") as where:
        await check_transport(UnixTransport, address=lambda: f"unix://{where}/{next(numbers)}/sock")
        await check_transport(lambda: UnixTransport(max_method=10_000), address=lambda: f"{where}/{next(numbers)}/sock")
        assert not [name for pod in os.scandir(where) for name in os.listdir(pod)], "every listener removed its socket and its key"


async def test_the_tcp_transport_keeps_the_contract():
    await check_transport(lambda: TcpTransport(key="k" * 16))


def test_the_clauses_are_numbered_sentences():
    assert [name for name, _ in CLAUSES] == [f"T{n}" for n in range(1, len(CLAUSES) + 1)]
    assert all(sentence and sentence[0].islower() and not sentence.endswith(".") for _, sentence in CLAUSES)


class Mutant(MemoryTransport):
    """A memory transport whose channels, on both sides, are wrapped in `kind`."""

    kind = Tap

    async def connect(self, address):
        return self.kind(await super().connect(address), [])

    async def listen(self, address):
        return Accepting(await super().listen(address), self.kind)


class Accepting(trio.abc.Listener):
    def __init__(self, inner, kind):
        self.inner, self.kind = inner, kind

    async def accept(self):
        return self.kind(await self.inner.accept(), [])

    async def aclose(self):
        await self.inner.aclose()


class Fussy(Mutant):
    """Refuses other schemes."""

    async def connect(self, address):
        if not address.startswith("memory://"):
            raise PodUnreachableError(address)
        return await super().connect(address)


class KeyOfBytes(Mutant):
    def key(self, address):
        return b"key"


class Untyped(Mutant):
    """Lets the operating system's own errors through."""

    async def connect(self, address):
        try:
            return await super().connect(address)
        except PodUnreachableError as error:
            raise ConnectionRefusedError from error


class Usurper(Mutant):
    """Takes a live address over."""

    async def listen(self, address):
        self._listeners.pop(address.partition("://")[2], None)
        return await super().listen(address)


def channels(kind_of_tap):
    return type(kind_of_tap.__name__, (Mutant,), {"kind": kind_of_tap, "__doc__": kind_of_tap.__doc__})


@channels
class SplitLines(Tap):
    """Cuts at everything that Python calls the end of a line."""

    async def receive(self):
        return (await super().receive()).decode("latin-1").splitlines()[0].encode("latin-1")


@channels
class Trimming(Tap):
    async def receive(self):
        return (await super().receive()).strip()


@channels
class Unchecked(Tap):
    """Sends the good part of what is no frame."""

    async def send(self, value):
        if isinstance(value, bytes) and b"\n" in value:
            value = value.partition(b"\n")[0] or b"?"
        await super().send(value)


@channels
class SwallowingBatches(Tap):
    """Sends what stands before the bad frame of a batch."""

    async def send_many(self, frames):
        for frame in frames:
            await self.send(frame)


@channels
class HastyEnd(Tap):
    """Reports the end before the frames that came with it."""

    async def receive(self):
        if self.inner._in.ended:
            raise trio.EndOfChannel
        return await super().receive()


@channels
class BrokenEnd(Tap):
    async def receive(self):
        try:
            return await super().receive()
        except trio.EndOfChannel:
            raise trio.BrokenResourceError from None


@channels
class DeafAfterFailure(Tap):
    """Closes its reading side too when a send fails."""

    async def send(self, value):
        try:
            await super().send(value)
        except trio.BrokenResourceError:
            self.inner._in.desert()
            self.inner._in.end()
            raise


@channels
class EndsForItself(Tap):
    async def receive(self):
        try:
            return await super().receive()
        except trio.ClosedResourceError:
            raise trio.EndOfChannel from None


@channels
class NeverWakes(Tap):
    async def aclose(self):
        self.inner._closed = True
        self.inner._out.end()
        self.inner._in.deserted = True
        await trio.lowlevel.checkpoint()


@channels
class Sociable(Tap):
    """Lets several receivers take turns."""

    def __init__(self, inner, log):
        super().__init__(inner, log)
        self.turn = trio.Lock()

    async def receive(self):
        async with self.turn:
            return await super().receive()


@channels
class Forgetful(Tap):
    """Takes a frame and then looks whether it was cancelled."""

    async def receive(self):
        frame = await super().receive()
        await trio.lowlevel.checkpoint()
        return frame


@channels
class Gluing(Tap):
    """Goes on after a send that was cancelled in the middle."""

    async def send(self, value):
        try:
            await super().send(value)
        except trio.Cancelled:
            self.inner._closed = self.inner._out.ended = self.inner._in.deserted = False
            raise


@channels
class Stubborn(Tap):
    """Does not notice that it is cancelled."""

    async def send(self, value):
        waiting = isinstance(value, bytes) and not self.inner._out.has_room(value)
        with trio.CancelScope(shield=not waiting):
            await super().send(value)


@channels
class Bottomless(Tap):
    """Takes everything, however far behind the reader is."""

    async def send(self, value):
        if isinstance(value, bytes) and value and b"\n" not in value and not self.inner._out.has_room(value):
            await trio.lowlevel.checkpoint()
            self.inner._check_sendable()
            self.inner._out.put(value)
        else:
            await super().send(value)


@channels
class OneLock(Tap):
    """Sends and receives under one lock."""

    def __init__(self, inner, log):
        super().__init__(inner, log)
        self.sending = False

    async def send(self, value):
        self.sending = True
        try:
            await super().send(value)
        finally:
            self.sending = False

    async def receive(self):
        while self.sending and not self.inner._receiving and not self.inner._closed and not self.inner._out.has_room(b"x" * 2**19):
            await self.inner._out.changed.park()
        return await super().receive()


class Endless(MemoryTransport):
    """Reads frames of any length."""

    def __init__(self):
        super().__init__(max_method=2**30)
        self.max_method = 2**20

    async def listen(self, address):
        self.max_method = 2**30
        return await super().listen(address)

    async def connect(self, address):
        channel = await super().connect(address)
        self.max_method = 2**20
        return channel


class Resynchronising(Mutant):
    """Skips what is too long and goes on."""

    class kind(Tap):  # noqa: N801
        async def receive(self):
            try:
                return await super().receive()
            except RemoteProtocolError:
                self.inner._overlong = None
                raise


class Forsaking(MemoryTransport):
    """Forgets who waits to be accepted when a listener closes."""

    async def listen(self, address):
        listener = await super().listen(address)
        original = listener.aclose

        async def aclose():
            listener._pending.clear()
            await original()

        listener.aclose = aclose
        return listener


class Rendezvous(Mutant):
    """Connects only when somebody is accepting."""

    async def connect(self, address):
        channel = await super().connect(address)
        listener = self._listeners[address.partition("://")[2]]
        while len(listener._pending) > 3:  # noqa: ASYNC110 - a mutant need not be well written
            await trio.sleep(0.1)
        return channel


@channels
class EmptyBatches(Tap):
    async def receive_many(self):
        await trio.lowlevel.checkpoint()
        return []


@channels
class LossyBatches(Tap):
    async def receive_many(self):
        return (await self.inner.receive_many())[-1:]


class Direct(Tap):
    """Writes without waiting, as it should: whole frames as far as there is room, and the rest first of all."""

    def __init__(self, inner, log):
        super().__init__(inner, log)
        self.rest = []

    def send_nowait(self, lines):
        if self.inner._sending or self.rest:
            raise trio.WouldBlock
        self.inner._check_sendable()
        self.rest = lines.split(b"\n")[:-1]
        while self.rest and self.inner._out.has_room(self.rest[0]):
            self.inner._out.put(self.rest.pop(0))
        if self.rest == lines.split(b"\n")[:-1]:
            self.rest = []
            raise trio.WouldBlock
        return not self.rest

    async def send(self, value):
        await self.send_many([value])

    async def send_many(self, frames):
        await self.inner.send_many([*self.rest, *frames])
        self.rest = []


@channels
class Overtaking(Direct):
    """Writes what fits, whoever is sending."""

    def send_nowait(self, lines):
        self.inner._check_sendable()
        self.inner._out.put(lines[:-1])
        return True


@channels
class DropsTheRest(Direct):
    """Takes a line that does not fit and forgets it."""

    def send_nowait(self, lines):
        try:
            return super().send_nowait(lines)
        except trio.WouldBlock:
            return False


@channels
class GluesLines(Direct):
    """Passes lines on as one frame."""

    def send_nowait(self, lines):
        whole = super().send_nowait(b"\n")
        self.inner._out.frames[-1] = lines[:-1]
        return whole


@channels
class WritesWhenClosed(Direct):
    def send_nowait(self, lines):
        try:
            return super().send_nowait(lines)
        except trio.ClosedResourceError:
            return True


@channels
class WritesWhileSending(Direct):
    def send_nowait(self, lines):
        if self.inner._sending:
            return True
        return super().send_nowait(lines)


class Putting(Tap):
    """Takes what there is room for at once, as it should."""

    def put_many(self, frames):
        return self.inner.put_many(frames)


@channels
class PutsTooMuch(Putting):
    def put_many(self, frames):
        self.inner._check_sendable()
        for frame in frames:
            self.inner._out.put(frame)
        return len(frames)


@channels
class Miscounting(Putting):
    """Says that it sent one more than it did."""

    def put_many(self, frames):
        sent = super().put_many(frames)
        return sent if sent == len(frames) else sent + 1


@channels
class PutsToNobody(Putting):
    def put_many(self, frames):
        try:
            return super().put_many(frames)
        except trio.BrokenResourceError:
            return len(frames)


class Cautious(Tap):
    """Lets in as little as it was told, as it should."""

    most = None

    def read_at_most(self, count):
        self.most = count

    async def receive(self):
        frame = await super().receive()
        if self.most is not None and len(frame) > self.most:
            raise RemoteProtocolError("no whole frame in as many bytes as may be read", fatal=True)
        return frame


@channels
class Careless(Cautious):
    """Takes in whatever comes."""

    def read_at_most(self, count):
        pass


@channels
class ForEverCautious(Cautious):
    """Never lifts the bound."""

    def read_at_most(self, count):
        self.most = self.most or count


@channels
class DropsTheReceiver(Tap):
    """Hangs up as a lost connection does."""

    def hang_up(self):
        self.inner.abort()


class Joining(Tap):
    """Hands frames out as lines, as it should."""

    async def receive_lines(self):
        return b"".join(frame + b"\n" for frame in await self.inner.receive_many())


@channels
class EndsWithinALine(Joining):
    async def receive_lines(self):
        return (await super().receive_lines())[:-1]


@channels
class BlankBatches(Joining):
    async def receive_lines(self):
        await trio.lowlevel.checkpoint()
        return b" \n"


@channels
class LossyLines(Joining):
    async def receive_lines(self):
        return (await super().receive_lines()).partition(b"\n")[2] or b"x\n"


@channels
class DeafLines(Joining):
    """Cannot be cancelled."""

    async def receive_lines(self):
        with trio.CancelScope(shield=True):
            with trio.move_on_after(1):
                return await super().receive_lines()
            return b"x\n"


@channels
class LinesWithoutEnd(Joining):
    async def receive_lines(self):
        try:
            return await super().receive_lines()
        except trio.EndOfChannel:
            return b""


@channels
class LinesAfterTheEnd(Joining):
    async def receive_lines(self):
        try:
            return await super().receive_lines()
        except trio.ClosedResourceError:
            raise trio.EndOfChannel from None


MUTANTS = {
    Fussy: "T1",
    KeyOfBytes: "T1",
    Untyped: "T2",
    Usurper: "T3",
    SplitLines: "T4",
    Trimming: "T4",
    Unchecked: "T5",
    SwallowingBatches: "T5",
    HastyEnd: "T6",
    BrokenEnd: "T6",
    DeafAfterFailure: "T7",
    EndsForItself: "T8",
    NeverWakes: "T9",
    Sociable: "T10",
    Forgetful: "T11",
    Gluing: "T12",
    Stubborn: "T13",
    Bottomless: "T9",
    OneLock: "T15",
    Endless: "T16",
    Resynchronising: "T16",
    Forsaking: "T17",
    Rendezvous: "T18",
    EmptyBatches: "T19",
    LossyBatches: "T19",
    Overtaking: "T20",
    DropsTheRest: "T20",
    GluesLines: "T20",
    WritesWhenClosed: "T20",
    WritesWhileSending: "T20",
    PutsTooMuch: "T21",
    Miscounting: "T21",
    PutsToNobody: "T21",
    Careless: "T22",
    ForEverCautious: "T22",
    DropsTheReceiver: "T23",
    EndsWithinALine: "T24",
    BlankBatches: "T24",
    LossyLines: "T24",
    DeafLines: "T24",
    LinesWithoutEnd: "T24",
    LinesAfterTheEnd: "T24",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_promise_is_named_by_its_clause(mutant):
    with pytest.raises(AssertionError) as caught:
        trio.run(check_transport, mutant, clock=trio.testing.MockClock(autojump_threshold=0))
    sentence = dict(CLAUSES)[MUTANTS[mutant]]
    assert str(caught.value).startswith(f"{MUTANTS[mutant]}: {sentence}; ")


@pytest.mark.parametrize("right", [Mutant, *map(channels, (Direct, Putting, Cautious, Joining))], ids=lambda kind: kind.__name__)
def test_the_wrappers_that_the_mutants_are_made_of_are_not_themselves_mutants(right):
    trio.run(check_transport, right, clock=trio.testing.MockClock(autojump_threshold=0))
