"""The contract check of registries: right ones pass, and one with a single broken promise fails at that promise."""

import itertools
import tempfile

import pytest
import trio
import trio.testing

from podkit._store import FileRegistry, MemoryRegistry
from podkit._store._memory_registry import MemoryLease
from podkit.abc import Lease, Registry
from podkit.errors import CorruptRegistryError, PodkitError, RegistryError
from podkit.logic import check_lease_key, decode_fact, encode_fact, fold_all
from podkit.testing._check_registry import REGISTRY_CLAUSES, check_registry


def in_virtual_time(check, *args):
    trio.run(check, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.proves("I1", "I4", "I9")
async def test_the_memory_registry_keeps_the_contract():
    with trio.fail_after(30):
        await check_registry(MemoryRegistry)


def test_the_memory_registry_keeps_the_contract_in_virtual_time():
    in_virtual_time(check_registry, MemoryRegistry)


@pytest.mark.proves("I1", "I4", "I9")
@pytest.mark.parametrize("durable", [False, True])
async def test_the_file_registry_keeps_the_contract_and_two_openings_are_one(durable):
    with tempfile.TemporaryDirectory(prefix="pk") as where, trio.fail_after(60):
        numbers = itertools.count()
        await check_registry(
            lambda: FileRegistry(f"{where}/{next(numbers)}", durable=durable),
            make_second=lambda first: FileRegistry(first.directory),
        )


def test_the_clauses_are_numbered_sentences():
    assert [name for name, _ in REGISTRY_CLAUSES] == [f"R{n}" for n in range(1, len(REGISTRY_CLAUSES) + 1)]
    assert all(sentence and not sentence.endswith(".") for _, sentence in REGISTRY_CLAUSES)


class Bare(Registry):
    """A driver that writes only what it must, over another one: what a stranger begins with."""

    def __init__(self):
        self.inner = MemoryRegistry()

    async def read(self, after):
        return await self.inner.read(after)

    async def append(self, after, facts):
        return await self.inner.append(after, facts)

    async def hold(self, key):
        return await self.inner.hold(key)

    async def held(self, key):
        return await self.inner.held(key)

    async def gone(self, key):
        await self.inner.gone(key)


async def test_a_driver_of_six_calls_keeps_the_contract():
    with trio.fail_after(30):
        await check_registry(Bare)


class Lucky(MemoryRegistry):
    locator = ""


class FromZero(MemoryRegistry):
    """Counts facts from 0."""

    async def read(self, after):
        return await super().read(after and after - 1)


class Decoding(MemoryRegistry):
    """Keeps what it understands, in its own words."""

    async def append(self, after, facts):
        return await super().append(
            after, [encode_fact(decode_fact(fact)) if b"shared" not in fact else fact[:9000] for fact in facts]
        )


class Handing(MemoryRegistry):
    """Hands out its own list."""

    async def read(self, after):
        await trio.lowlevel.checkpoint()
        return self._facts if not after and not self._dropped else await super().read(after)


class Behind(MemoryRegistry):
    """Appends also to a state that was overtaken."""

    async def append(self, after, facts):
        return await super().append(max(after, self._last), facts)


class Silent(MemoryRegistry):
    """Says nothing about how it went."""

    async def append(self, after, facts):
        return await super().append(after, facts) or None


class Piecemeal(MemoryRegistry):
    """Appends one by one."""

    async def append(self, after, facts):
        if after != self._last:
            return False
        for fact in facts:
            self._facts.append(fact)
            await trio.lowlevel.checkpoint()
        self._tell()
        return True


class TooLate(MemoryRegistry):
    """Notices a cancellation when the facts are kept."""

    async def append(self, after, facts):
        done = await super().append(after, facts)
        await trio.lowlevel.checkpoint()
        return done


class Locked(MemoryRegistry):
    """Keeps its lock when it is cancelled."""

    locked = False

    async def append(self, after, facts):
        while self.locked:  # noqa: ASYNC110 - a mutant need not be well written
            await trio.sleep(0.01)
        self.locked = True
        await trio.lowlevel.checkpoint()
        done = await super().append(after, facts)
        self.locked = False
        return done


class Nervous(MemoryRegistry):
    async def changed(self, after):
        await trio.lowlevel.checkpoint()


class Recounting(MemoryRegistry):
    """Counts anew after it dropped its past."""

    async def compact(self, after, facts):
        done = await super().compact(after, facts)
        if done:
            self._dropped -= 1
        return done


class Careless(MemoryRegistry):
    """Drops a past that is not the one it was asked about."""

    async def compact(self, after, facts):
        return await super().compact(self._last, facts)


class Verbose(MemoryRegistry):
    """Lets a follower see also what was not lawful."""

    def follow(self, after=None):
        following = super().follow(after)

        async def read():
            await self.changed(following.table.sequence)
            tail = await self.facts(following.table.sequence)
            following._waiting.extend(tail)
            following.table = fold_all(following.table, tail)

        following._read = read
        return following


class Skipping(MemoryRegistry):
    """Skips what it cannot read."""

    async def facts(self, after):
        facts = []
        for line in await self.read(after):
            try:
                facts.append(decode_fact(line))
            except CorruptRegistryError:
                continue
        return facts


class Trusting(MemoryRegistry):
    """Reads a newer podkit's facts as if they were nothing."""

    async def read(self, after):
        return [
            fact if b"shared" not in fact or len(fact) > 1000 else b'{"fact":"freed","format":1,"author":"x","incarnation":"none"}'
            for fact in await super().read(after)
        ]


class Immortal(MemoryRegistry):
    """Does not see that a lease was let go."""

    async def held(self, key):
        await super().held(key)
        return True


class Recycling(MemoryRegistry):
    """Lets a key be taken again when it is free."""

    async def hold(self, key):
        lease = self._leases.get(key)
        if lease is not None and lease.gone.is_set():
            del self._leases[key]
        return await super().hold(key)


class Sharing(MemoryRegistry):
    """Looks, waits, and takes."""

    async def hold(self, key):
        if check_lease_key(key) in self._leases:
            raise RegistryError("taken")
        await trio.lowlevel.checkpoint()
        self._leases[key] = MemoryLease(key)
        return self._leases[key]


class Hopeful(MemoryRegistry):
    """Believes that who cannot be found is dead."""

    async def held(self, key):
        held = await super().held(key)
        return held and key in self._leases


class Cruel(MemoryRegistry):
    """Forgets a lease while it is held."""

    async def forget(self, key):
        lease = self._leases.get(key)
        if lease is not None:
            lease.release()
        await super().forget(key)


class AnyKey(MemoryRegistry):
    async def held(self, key):
        try:
            return await super().held(key)
        except PodkitError:
            return True


class Hasty(MemoryRegistry):
    async def gone(self, key):
        await super().held(key)


class OneWaiter(MemoryRegistry):
    """Wakes the first who waits."""

    def __init__(self):
        super().__init__()
        self.waits = set()

    async def gone(self, key):
        if key in self.waits:
            await trio.sleep_forever()
        self.waits.add(key)
        await super().gone(key)


class Impatient(MemoryRegistry):
    """Takes a lease that cannot be found for one that is gone."""

    async def gone(self, key):
        if key not in self._leases:
            await super().held(key)
            return
        await super().gone(key)


class Leaking(MemoryRegistry):
    """Takes a lease and then notices that it was cancelled."""

    async def hold(self, key):
        lease = await super().hold(key)
        await trio.lowlevel.checkpoint()
        return lease


class Releasing(MemoryRegistry):
    """Ends a lease when somebody stops waiting for its end."""

    async def gone(self, key):
        try:
            await super().gone(key)
        except trio.Cancelled:
            if key in self._leases:
                self._leases[key].release()
            raise


class Credulous(MemoryRegistry):
    """Takes any descriptor for a lease."""

    def lease_from_fd(self, key, fd):
        return self._leases[key]


class Unnamed(MemoryRegistry):
    async def table(self):
        return {row.incarnation: row for row in await self.rows()}


class Once(MemoryRegistry):
    """Gives up when somebody was quicker."""

    async def transact(self, decide, *, author="witness"):
        table = await self.rows()
        facts = list(decide(table))
        await trio.lowlevel.checkpoint()
        if facts and not await self.append(table.sequence, [encode_fact(fact) for fact in facts]):
            raise RegistryError("somebody was quicker")
        return await self.rows()


class Lawless(MemoryRegistry):
    """Appends whatever was decided."""

    async def transact(self, decide, *, author="witness"):
        def lenient(table):
            facts = list(decide(table))
            if fold_all(table, facts).refused > table.refused:
                self._facts.extend(encode_fact(fact) for fact in facts)
            return facts

        return await super().transact(lenient, author=author)


class Strict(MemoryRegistry):
    """Never takes anything back."""

    async def _reclaim(self, table, incarnation, author):
        return False


class Murderous(MemoryRegistry):
    """Takes back whatever is in the way."""

    async def _reclaim(self, table, incarnation, author):
        row = table.get(incarnation)
        return row is not None and await self._free(row, author)


class Sweeping(MemoryRegistry):
    """Frees parents before their children, and so leaves the children to nobody."""

    async def sweep(self, author="witness"):
        table = await self.rows()
        dead = [row for row in table if not await self.held(row.key)]
        return tuple([row for row in dead if await self._free(row, author)])


class HalfDone(MemoryRegistry):
    """Notices a cancellation between its change and its answer."""

    async def transact(self, decide, *, author="witness"):
        table = await super().transact(decide, author=author)
        await trio.lowlevel.checkpoint()
        return table


MUTANTS = {
    Lucky: "R1",
    FromZero: "R2",
    Decoding: "R2",
    Handing: "R3",
    Behind: "R4",
    Silent: "R4",
    Piecemeal: "R5",
    TooLate: "R6",
    Locked: "R6",
    Nervous: "R7",
    Recounting: "R8",
    Careless: "R8",
    Verbose: "R9",
    Skipping: "R10",
    Trusting: "R10",
    Immortal: "R11",
    Recycling: "R12",
    Sharing: "R12",
    Hopeful: "R13",
    Cruel: "R14",
    AnyKey: "R15",
    Hasty: "R16",
    OneWaiter: "R16",
    Impatient: "R17",
    Leaking: "R18",
    Releasing: "R18",
    Credulous: "R19",
    Unnamed: "R20",
    Once: "R21",
    Lawless: "R23",
    Strict: "R24",
    Murderous: "R21",
    Sweeping: "R25",
    HalfDone: "R26",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_promise_is_named_by_its_clause(mutant):
    with pytest.raises(AssertionError) as caught:
        in_virtual_time(check_registry, mutant)
    sentence = dict(REGISTRY_CLAUSES)[MUTANTS[mutant]]
    assert str(caught.value).startswith(f"{MUTANTS[mutant]}: {sentence}; ")


# Leases that have descriptors, and two openings that are not one.


class PrivateLeases(FileRegistry):
    """Has leases that only one opening knows."""

    def __init__(self, where):
        super().__init__(where)
        self.mine = set()

    async def held(self, key):
        return await super().held(key) if key in self.mine else bool(await super().held(key) or True)

    async def hold(self, key):
        self.mine.add(key)
        return await super().hold(key)


class Inheritable(FileRegistry):
    """Lets every program that is started hold its leases."""

    async def hold(self, key):
        import os

        lease = await super().hold(key)
        os.set_inheritable(lease.fd, True)
        return lease


class Stale(FileRegistry):
    """Decides on the table it knows."""

    async def transact(self, decide, *, author="witness"):
        if not len(self._folded):
            await self.rows()
        table = self._folded
        facts = [encode_fact(fact) for fact in decide(table)]
        while facts and not await self.append((await super().rows()).sequence, facts):
            pass
        return await self.rows()


class Borrowed(Lease):
    """A copy that ends with the original."""

    def __init__(self, key, fd):
        self.key, self.fd = key, fd

    def release(self):
        pass


class Borrowing(FileRegistry):
    def lease_from_fd(self, key, fd):
        import os

        super().lease_from_fd(key, fd).release()
        return Borrowed(key, os.open("/dev/null", os.O_RDONLY))


@pytest.mark.parametrize(("mutant", "clause"), [(PrivateLeases, "R11"), (Inheritable, "R19"), (Stale, "R10"), (Borrowing, "R19")])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_a_broken_promise_between_two_openings_is_named_by_its_clause(mutant, clause):
    numbers = itertools.count()
    with tempfile.TemporaryDirectory(prefix="pk") as where, trio.fail_after(30):
        with pytest.raises(AssertionError) as caught:
            await check_registry(lambda: mutant(f"{where}/{next(numbers)}"), make_second=lambda first: mutant(first.directory))
    assert str(caught.value).startswith(f"{clause}: ")


class Separate(MemoryRegistry):
    """Two openings that share nothing."""


def test_two_registries_are_not_two_openings_of_one():
    with pytest.raises(AssertionError, match=r"^R2: "):
        in_virtual_time(lambda: check_registry(Separate, make_second=lambda first: Separate()))
