"""The contract check of session stores: right ones pass, and one with a single broken promise fails at that promise."""

import itertools
import json
import tempfile

import attrs
import pytest
import trio
import trio.testing

from podkit._store import FileSessionStore, MemorySessionStore, open_sessions
from podkit._store._memory_sessions import Kept, MemorySession
from podkit.abc import SessionStore
from podkit.errors import PodkitError, SessionBusyError, SessionError, UnknownSessionError
from podkit.testing import SESSION_CLAUSES, check_session_store


def in_virtual_time(check, *args):
    trio.run(check, *args, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.proves("I5", "I28")
async def test_the_memory_store_keeps_the_contract():
    with trio.fail_after(30):
        await check_session_store(MemorySessionStore)


def test_the_memory_store_keeps_the_contract_in_virtual_time():
    in_virtual_time(check_session_store, MemorySessionStore)


@pytest.mark.proves("I5", "I28")
@pytest.mark.parametrize("durability", ["process", "power"])
async def test_the_file_store_keeps_the_contract_and_two_openings_are_one(durability):
    with tempfile.TemporaryDirectory(prefix="pk") as where, trio.fail_after(60):
        numbers = itertools.count()
        await check_session_store(lambda: FileSessionStore(f"{where}/{next(numbers)}", durability=durability))


async def test_a_second_opening_may_be_given():
    with tempfile.TemporaryDirectory(prefix="pk") as where, trio.fail_after(60):
        numbers = itertools.count()
        await check_session_store(
            lambda: FileSessionStore(f"{where}/{next(numbers)}"), make_second=lambda first: open_sessions(first.locator)
        )


def test_the_clauses_are_numbered_sentences():
    assert [name for name, _ in SESSION_CLAUSES] == [f"S{n}" for n in range(1, len(SESSION_CLAUSES) + 1)]
    assert all(sentence and not sentence.endswith(".") for _, sentence in SESSION_CLAUSES)


def store_of(session):
    """A store in memory with sessions of that class."""

    class Mutant(MemorySessionStore):
        async def open(self, name, *, create=None):
            await super().open(name, create=create)
            kept = self._kept[name]
            kept.holder = session(name, kept)
            return kept.holder

    return Mutant


class Elsewhere(MemorySessionStore):
    """Has a locator that nobody can open."""

    locator = "shelf:7"


class Empty(MemorySessionStore):
    locator = ""


class Making(MemorySessionStore):
    """Makes what is opened and is not there."""

    async def open(self, name, *, create=None):
        try:
            return await super().open(name, create=create)
        except UnknownSessionError:
            self._kept[name] = Kept("x")
            raise


class Begun(MemorySession):
    """Appends without a segment."""

    def append(self, entries):
        if self.segment is None:
            self.rotate("first", [])
        super().append(entries)


class AnyName(MemorySessionStore):
    async def open(self, name, *, create=None):
        try:
            return await super().open(name, create=create)
        except PodkitError as error:
            raise UnknownSessionError(str(name)) from error


class AnyId(MemorySession):
    def rotate(self, segment, entries):
        super().rotate(segment.lower().replace("_", "-") or "x", entries)


class Parsing(MemorySession):
    """Keeps what it understands, in its own words."""

    def append(self, entries):
        super().append([json.dumps(json.loads(entry)).encode() if entry[-1:] == b"}" else entry for entry in entries])


class Backwards(MemorySession):
    def append(self, entries):
        super().append(list(reversed(entries)))


class Growing(MemorySession):
    """Shows in `entries` what was committed since."""

    @property
    def entries(self):
        return self._kept.segments[self.segment] if self.segment else ()


class Piecemeal(MemorySession):
    """Appends one by one."""

    def append(self, entries):
        for entry in entries:
            super().append([entry])


class Lenient(MemorySession):
    """Takes anything for an entry."""

    def append(self, entries):
        self._held().segments[self.segment or self._no_segment()].extend(entries)

    def _no_segment(self):
        raise SessionError("none")


class Handing(MemorySession):
    """Hands out its own list."""

    def read(self, segment):
        return self._held().segments[segment]


class Keeping(MemorySession):
    """Keeps the list that it is given."""

    def rotate(self, segment, entries):
        super().rotate(segment, entries)
        self._kept.segments[segment] = entries


class Forgetful(MemorySession):
    """Drops the segments before the current one."""

    def rotate(self, segment, entries):
        super().rotate(segment, entries)
        for earlier in list(self._kept.segments)[:-1]:
            self._kept.segments[earlier] = []


class Staying(MemorySession):
    """Goes on in the first segment."""

    def append(self, entries):
        current, self.segment = self.segment, next(iter(self._kept.segments), None)
        super().append(entries)
        self.segment = current


class Again(MemorySession):
    """Begins a segment again that was there."""

    def rotate(self, segment, entries):
        if segment in self.segments:
            self._kept.segments[segment] = []
        super().rotate(segment + "-2" if segment in self.segments else segment, entries)


class Merging(MemorySession):
    """Adds to the manifest."""

    def save(self, manifest):
        super().save({**(self.manifest or {}), **manifest} if isinstance(manifest, dict) else manifest)


class Loose(MemorySession):
    """Saves what JSON makes of it."""

    def save(self, manifest):
        text = json.dumps(manifest, default=str)
        self._held().manifest = text.encode()


class Sharing(MemorySession):
    """Keeps the manifest that it is given, and hands it out."""

    mine = None

    def save(self, manifest):
        super().save(manifest)
        self.mine = manifest

    @property
    def manifest(self):
        return self.mine if self.mine is not None else super().manifest


class Lending(MemorySession):
    """Hands its manifest out."""

    mine = None

    def save(self, manifest):
        super().save(manifest)
        self.mine = super().manifest

    @property
    def manifest(self):
        return self.mine if self.mine is not None else super().manifest


class Stealing(MemorySessionStore):
    """Takes a session from its holder."""

    async def open(self, name, *, create=None):
        self.let_go(name)
        return await super().open(name, create=create)


class Replacing(MemorySessionStore):
    """Replaces a session that is held."""

    async def open(self, name, *, create=None):
        if create is not None:
            self.let_go(name)
        return await super().open(name, create=create)


class Racing(MemorySessionStore):
    """Looks, waits, and takes."""

    async def open(self, name, *, create=None):
        kept = self._kept.get(name)
        if kept is None or create is not None or kept.holder is not None:
            return await super().open(name, create=create)
        await trio.lowlevel.checkpoint()
        kept.holder = session = MemorySession(name, kept)
        return session


class Clinging(MemorySession):
    """Does not let go when it is cancelled."""

    async def aclose(self):
        await trio.lowlevel.checkpoint()
        await super().aclose()


class Undead(MemorySession):
    """Commits after it let go."""

    def _held(self):
        return self._kept


class Careless(MemorySession):
    """Lets go again of what is another's by now."""

    async def aclose(self):
        self._kept.holder = None
        await trio.lowlevel.checkpoint()


class Unblocked(MemorySession):
    """Lets go of a block that ends well."""

    async def __aexit__(self, kind, error, trace):
        if kind is None:
            await self.aclose()


class Unordered(MemorySessionStore):
    async def names(self):
        await super().names()
        return tuple(self._kept)


class Mixing(MemorySessionStore):
    """Keeps the manifest of the earlier session."""

    async def open(self, name, *, create=None):
        before = self._kept.get(name)
        session = await super().open(name, create=create)
        if create is not None and before is not None:
            self._kept[name].manifest = before.manifest
        return session


class First(MemorySessionStore):
    """Opens the first session a name ever had."""

    async def open(self, name, *, create=None):
        aside = [kept for owner, kept in self._aside if owner == name]
        if create is None and aside and self._kept[name].holder is None:
            self._kept[name] = aside[0]
        return await super().open(name, create=create)


class Singular(MemorySessionStore):
    """Has every id once."""

    async def open(self, name, *, create=None):
        if create is not None and any(kept.id == create for _, kept in self._aside):
            raise SessionError("there was one")
        return await super().open(name, create=create)


class Jamming(MemorySession):
    """Is never synced again after somebody stopped waiting."""

    jammed = False

    async def sync(self):
        if self.jammed:
            await trio.sleep_forever()
        try:
            await super().sync()
        except trio.Cancelled:
            self.jammed = True
            raise


class Doubting(MemorySession):
    """Commits once more what somebody stopped waiting for."""

    async def sync(self):
        try:
            await super().sync()
        except trio.Cancelled:
            self._kept.segments[self.segment].append(self._kept.segments[self.segment][-1])
            raise


class Leaking(MemorySessionStore):
    """Takes a session and then notices that it was cancelled."""

    async def open(self, name, *, create=None):
        session = await super().open(name, create=create)
        await trio.lowlevel.checkpoint()
        return session


class Blaming(MemorySessionStore):
    """Takes every refusal for a session in use."""

    async def open(self, name, *, create=None):
        try:
            return await super().open(name, create=create)
        except UnknownSessionError as error:
            raise SessionBusyError(name) from error


class Exclusive(MemorySessionStore):
    """Shows a session to nobody while it is held."""

    async def read(self, name):
        if name in self._kept and self._kept[name].holder is not None:
            raise SessionBusyError(name)
        return await super().read(name)


class Dropping(MemorySessionStore):
    """Takes a session from its holder to look at it."""

    async def read(self, name):
        self.let_go(name)
        return await super().read(name)


class Flowing(MemorySessionStore):
    """Shows what is committed later, too."""

    async def read(self, name):
        found = await super().read(name)
        return attrs.evolve(found, entries=self._kept[name].segments[found.segment]) if found.segment else found


MUTANTS = {
    Empty: "S1",
    Making: "S1",
    Blaming: "S1",
    Begun: "S2",
    AnyName: "S3",
    AnyId: "S3",
    Parsing: "S4",
    Backwards: "S4",
    Growing: "S4",
    Piecemeal: "S5",
    Lenient: "S5",
    Forgetful: "S6",
    Staying: "S6",
    Handing: "S7",
    Keeping: "S7",
    Again: "S8",
    Merging: "S9",
    Loose: "S9",
    Sharing: "S10",
    Lending: "S10",
    Stealing: "S11",
    Replacing: "S11",
    Racing: "S12",
    Clinging: "S13",
    Undead: "S13",
    Careless: "S13",
    Unblocked: "S14",
    Unordered: "S15",
    Mixing: "S16",
    First: "S16",
    Singular: "S16",
    Jamming: "S17",
    Doubting: "S17",
    Leaking: "S18",
    Exclusive: "S19",
    Dropping: "S19",
    Flowing: "S19",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_promise_is_named_by_its_clause(mutant):
    make = mutant if issubclass(mutant, SessionStore) else store_of(mutant)
    with pytest.raises(AssertionError) as caught:
        in_virtual_time(check_session_store, make)
    sentence = dict(SESSION_CLAUSES)[MUTANTS[mutant]]
    assert str(caught.value).startswith(f"{MUTANTS[mutant]}: {sentence}; ")


def test_every_clause_has_a_mutant_that_breaks_it():
    assert {name for name, _ in SESSION_CLAUSES} == set(MUTANTS.values())


def test_a_store_that_only_its_author_can_open_again_is_checked_by_itself():
    in_virtual_time(check_session_store, Elsewhere)


def test_two_stores_are_not_two_openings_of_one():
    with pytest.raises(AssertionError, match=r"^S\d+: "):
        in_virtual_time(lambda: check_session_store(MemorySessionStore, make_second=lambda first: MemorySessionStore()))
