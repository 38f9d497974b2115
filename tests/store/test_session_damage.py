"""Damage to sessions in files: whatever became of the bytes, what is read is what was committed, or it is refused with a place."""

import contextlib
import os
import shutil

import pytest

from podkit._store import FileSessionStore
from podkit._store._anchor_places import SIZE
from podkit._store._journal_record import Mark, encode_record
from podkit.errors import CorruptLogError, SessionError, UnknownSessionError


def entries(*numbers):
    return [b'{"n":%d}' % number for number in numbers]


BATCHES = [(1, 2), (3,), (4, 5), (6,)]
ALL = [tuple(entries(*(n for batch in BATCHES[:size] for n in batch))) for size in range(len(BATCHES) + 1)]


class Place:
    """A session with one closed segment and a current one, its files, and a copy of them to begin from each time."""

    def __init__(self, directory):
        self.directory = directory
        self.where = os.path.join(directory, "root", "1.s-1")
        self.log, self.earlier = os.path.join(self.where, "2.b.log"), os.path.join(self.where, "1.a.log")
        self.lock, self.manifest = os.path.join(directory, "root", "lock"), os.path.join(self.where, "manifest")
        self.store = FileSessionStore(directory)

    async def make(self):
        async with await self.store.open("root", create="s-1") as session:
            session.rotate("a", entries(10))
            session.append(entries(11))
            session.rotate("b", [])
            for batch in BATCHES:
                session.append(entries(*batch))
            session.save({"v": 1})

    def forget_end(self):
        """Have the anchor be of the beginning of the current segment, as when its holder was killed soon after that."""
        with open(self.lock, "r+b") as file:
            places = [file.read(SIZE) for _ in range(2)]
            first = next(place for place in places if b'"sequence":0' in place and b'"segments":2' in place)
            file.seek(0)
            file.write(first + bytes(SIZE))

    async def read(self):
        """What opening it gives, and what it leaves; every damage is found by `verify` too, which changes nothing."""
        with contextlib.suppress(FileNotFoundError), open(self.log, "rb") as file:
            before = file.read()
        async with await self.store.open("root") as session:
            found = tuple(session.entries)
            assert session.read("b") == list(found)
        with open(self.log, "rb") as file:
            assert before.startswith(file.read())
        assert (await self.store.verify("root")).unfinished == 0
        assert (await self.store.peek("root")).count == len(found)
        return found

    async def refused(self, file=None, *, twice=True):
        """That it is refused, in the same words by all who look at all of it; and that nothing of it changes."""
        if not twice:
            return (await self.caught(self.store.open)).value
        kept = {name: _read(os.path.join(self.where, name)) for name in os.listdir(self.where)}
        caught, verified = await self.caught(self.store.open), await self.caught(self.store.verify)
        assert str(verified.value) == str(caught.value)
        assert {name: _read(os.path.join(self.where, name)) for name in os.listdir(self.where)} == kept
        if file is not None:
            assert caught.value.file == file
        return caught.value

    async def caught(self, look):
        with pytest.raises(CorruptLogError) as caught:
            await look("root")
        return caught


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture
async def place(directory):
    place = Place(os.path.join(directory, "s"))
    await place.make()
    return place


@pytest.mark.proves("I29", "F31")
async def test_a_log_cut_at_any_byte_gives_the_records_before_the_cut(place):
    place.forget_end()
    whole, lock = _read(place.log), _read(place.lock)
    header = whole.index(b"\n") + 1
    for cut in range(len(whole) + 1):
        write(place.log, whole[:cut])
        write(place.lock, lock)
        if cut < header:
            assert (await place.refused(place.log)).line == 1
        else:
            assert await place.read() == ALL[whole[header:cut].count(b"\n")]


@pytest.mark.proves("I30")
async def test_a_log_cut_at_any_byte_below_its_anchor_is_refused(place):
    whole = _read(place.log)
    for cut in range(len(whole)):
        write(place.log, whole[:cut])
        error = await place.refused(place.log)
        assert error.line is not None
        with pytest.raises(CorruptLogError):
            await place.store.peek("root")
    write(place.log, whole)
    assert await place.read() == ALL[-1]


@pytest.mark.proves("I28", "I30", "F48")
async def test_any_flipped_bit_of_a_committed_record_is_refused_with_its_place(place):
    place.forget_end()
    whole = _read(place.log)
    lines = whole.splitlines(keepends=True)
    last = len(whole) - len(lines[-1]) - len(lines[-2])  # of these two every bit, of the others one in each byte
    for at in range(len(whole)):
        for bit in range(8) if at >= last else (at % 8,):
            write(place.log, whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
            if at == len(whole) - 1:  # the last line feed: without it the record never counted
                with open(place.log, "rb") as file:
                    damaged = file.read()
                assert await place.read() == ALL[-2]
                assert len(_read(place.log)) < len(damaged)
                continue
            error = await place.refused(place.log, twice=not bit)
            assert error.offset <= at
            assert error.line == 1 + whole[: error.offset].count(b"\n")


@pytest.mark.proves("I30")
async def test_records_that_were_removed_doubled_or_exchanged_are_refused(place):
    place.forget_end()
    head, one, two, three, four = _read(place.log).splitlines(keepends=True)
    for lines in (
        [head, two, three, four],
        [head, one, three, four],
        [head, one, one, two, three, four],
        [head, two, one, three, four],
        [head, one, two, four, three],
        [one, two, three, four],
        [head, head, one, two, three, four],
        [head, one, b"\n", two, three, four],
        [head, one, b'{"n":3}\n', two, three, four],
    ):
        write(place.log, b"".join(lines))
        await place.refused(place.log)


@pytest.mark.proves("I30")
async def test_a_record_of_another_log_does_not_fit_in(place):
    """Well made, with the right number, but chained to something else."""
    place.forget_end()
    whole = _read(place.log)
    stranger, _ = encode_record(Mark(sequence=6, digest=b"0" * 32), entries(7))
    write(place.log, whole + stranger)
    assert (await place.refused(place.log)).line == 6


@pytest.mark.proves("I29", "F31")
async def test_zeros_that_a_loss_of_power_left_are_cut_off(place):
    whole = _read(place.log)
    write(place.log, whole + b"\0" * 999)
    assert (await place.store.verify("root")).unfinished == 999
    assert await place.read() == ALL[-1]
    assert _read(place.log) == whole


@pytest.mark.proves("I30", "F48")
async def test_an_earlier_segment_is_vouched_for_by_the_one_after_it(place):
    whole = _read(place.earlier)
    async with await place.store.open("root") as session:
        for bad in (whole[: whole.rindex(b"\n", 0, -1) + 1], whole[:-3], whole.replace(b'"n":11', b'"n":12'), whole + whole[-9:]):
            write(place.earlier, bad)
            with pytest.raises(CorruptLogError) as caught:
                session.read("a")
            assert caught.value.file == place.earlier
            with pytest.raises(CorruptLogError):
                await place.store.verify("root")
        for sound in (whole, whole + b"never committed"):
            write(place.earlier, sound)
            assert session.read("a") == entries(10, 11)


@pytest.mark.proves("I8", "I30")
async def test_a_segment_that_is_missing_or_not_where_it_was_is_refused(place):
    aside = place.log + ".x"
    for path in (place.earlier, place.log):
        os.rename(path, aside)
        assert "1 to 2" in (await place.refused()).reason
        with pytest.raises(CorruptLogError):
            await place.store.peek("root")
        os.rename(aside, path)
    os.rename(place.earlier, aside)
    os.rename(place.log, place.earlier)
    os.rename(aside, place.log)
    await place.refused(place.log)


@pytest.mark.proves("I8", "I9")
async def test_a_segment_the_anchor_does_not_know_is_removed_unless_it_was_in_use(place):
    unknown = os.path.join(place.where, "3.c.log")
    lines = _read(place.log).splitlines(keepends=True)
    for size in range(3):
        write(unknown, b"".join(lines[:size]))
        assert await place.read() == ALL[-1]
        assert not os.path.exists(unknown)
    write(unknown, b"".join(lines[:3]))
    with pytest.raises(CorruptLogError, match="in use"):
        await place.store.open("root")
    assert os.path.exists(unknown)


@pytest.mark.proves("I8", "H21")
async def test_a_damaged_manifest_is_refused(place):
    whole = _read(place.manifest)
    for bad in (b"", whole[:-1], whole[:9], whole + whole, b"{}\n", whole.replace(b"1", b"2")):
        write(place.manifest, bad)
        await place.refused(place.manifest)
        with pytest.raises(CorruptLogError):
            await place.store.peek("root")


@pytest.mark.proves("I8")
async def test_a_lock_file_that_lost_its_anchor_is_refused(place):
    whole = _read(place.lock)
    for bad in (b"", b"\0" * len(whole), b"x" * len(whole)):
        write(place.lock, bad)
        for look in (place.store.open, place.store.read, place.store.peek, place.store.verify):
            with pytest.raises(CorruptLogError):
                await look("root")
    os.unlink(place.lock)
    for look in (place.store.open, place.store.read, place.store.peek, place.store.verify):
        with pytest.raises(CorruptLogError, match="missing"):
            await look("root")
    assert not os.path.exists(place.lock)


@pytest.mark.proves("I8")
async def test_a_new_session_can_be_made_where_the_earlier_one_is_damaged_and_keeps_what_is_left_of_it(place):
    damaged = b"x" * SIZE * 2
    write(place.lock, damaged)
    assert await place.store.names() == ("root",)
    async with await place.store.open("root", create="s-2") as session:
        assert session.segments == ()
        session.rotate("a", entries(1))
    assert _read(place.lock + ".2") == damaged
    assert os.path.exists(place.log)
    async with await place.store.open("root") as session:
        assert (session.id, list(session.entries)) == ("s-2", entries(1))


@pytest.mark.proves("I9")
async def test_one_torn_place_of_the_anchor_does_no_harm(place):
    whole = _read(place.lock)
    for torn in range(2):
        write(place.lock, whole[: torn * SIZE + 100] + b"\0" * 50 + whole[torn * SIZE + 150 :])
        assert await place.read() == ALL[-1]
        write(place.lock, whole)


async def test_a_session_whose_directory_is_gone_is_refused(place):
    shutil.rmtree(place.where)
    for look in (place.store.open, place.store.read, place.store.peek, place.store.verify):
        with pytest.raises(CorruptLogError, match="missing"):
            await look("root")


async def test_a_session_that_was_never_begun_is_none(directory):
    store = FileSessionStore(os.path.join(directory, "s"))
    for path in ("root", "root/1.s-1"):
        os.mkdir(os.path.join(directory, "s", path), 0o700)
    for lock in (False, True):
        if lock:
            write(os.path.join(directory, "s", "root", "lock"), b"")
        for look in (store.open, store.read, store.peek, store.verify):
            with pytest.raises(UnknownSessionError):
                await look("root")
        assert await store.names() == ()
    async with await store.open("root", create="s-1") as session:
        assert session.segments == ()


@pytest.mark.proves("I8")
async def test_files_of_a_newer_podkit_are_never_touched(place, monkeypatch):
    from podkit._store import _session_anchor, _session_files

    monkeypatch.setattr(_session_files, "FORMAT", 2)
    async with await place.store.open("new", create="s-1") as session:
        session.rotate("a", [])
    monkeypatch.undo()
    with pytest.raises(CorruptLogError, match="newer"):
        await place.store.open("new")
    monkeypatch.setattr(_session_anchor, "FORMAT", 2)
    async with await place.store.open("later", create="s-1"):
        pass
    monkeypatch.undo()
    for create in (None, "s-2"):
        with pytest.raises(CorruptLogError, match="another podkit"):
            await place.store.open("later", create=create)


@pytest.mark.proves("I30")
async def test_a_log_that_changes_under_its_holder_is_found_when_it_is_read(place):
    async with await place.store.open("root") as session:
        os.truncate(place.log, os.path.getsize(place.log) - 4)
        with pytest.raises(CorruptLogError, match="end"):
            session.read("b")
        os.unlink(place.log)
        with pytest.raises(SessionError, match="could not be read"):
            session.read("b")
