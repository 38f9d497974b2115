"""The journal: records that count whole or not at all, and damage that is found wherever it is."""

import errno
import os
import tempfile

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podkit._store._anchor import SIZE, Anchor, decode_anchors, encode_anchor
from podkit._store._journal import Journal
from podkit._store._journal_record import DamagedError, Mark, NewerError, decode_records, encode_record, readable_entries

entries = st.binary(min_size=1).filter(lambda entry: b"\n" not in entry and b"\t" not in entry)
records = st.lists(st.lists(entries, min_size=1, max_size=4), max_size=6)
BATCHES = [[b"one"], [b"two", b"three"], [b'{"four":4}']]


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="pk") as directory:
        yield os.path.join(directory, "log.1")


@pytest.fixture
def journal(path):
    journal = Journal.create(path, {"base": 10})
    for batch in BATCHES:
        journal.append(batch)
    yield journal
    journal.close()


def read(path):
    journal = Journal.open(path)
    try:
        return journal.catch_up()
    finally:
        journal.close()


def written(batches):
    data, mark = b"", Mark()
    for batch in batches:
        line, mark = encode_record(mark, batch)
        data += line
    return data, mark


@given(records)
def test_records_are_read_as_they_were_written(batches):
    data, mark = written(batches)
    found = decode_records(data, Mark())
    assert [entries for entries, _ in found] == batches
    assert (found[-1][1] if found else Mark()) == mark


@given(records, st.integers(0, 400))
def test_a_cut_leaves_the_records_before_it(batches, cut):
    data, _ = written(batches)
    found = decode_records(data[:cut], Mark())
    assert [entries for entries, _ in found] == batches[: len(found)]
    assert data[:cut].count(b"\n") == len(found)


def test_any_flipped_bit_of_a_committed_record_is_found():
    data, _ = written(BATCHES)
    for at in range(len(data)):
        for bit in range(8):
            bad = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            if at == len(data) - 1:  # the last line feed, without which the record does not count
                assert len(decode_records(bad, Mark())) == 2
                continue
            with pytest.raises(DamagedError) as caught:
                decode_records(bad, Mark())
            assert 1 <= caught.value.line <= 3
            assert caught.value.offset <= at
            assert str(caught.value) == caught.value.reason


def test_records_that_change_places_are_found():
    data, _ = written(BATCHES)
    first, second, third = data.splitlines(keepends=True)
    for bad in (second + first + third, first + third, second + third, first + first, first + second + second):
        with pytest.raises(DamagedError):
            decode_records(bad, Mark())


def test_a_record_with_the_wrong_number_is_found():
    line, _ = encode_record(Mark(sequence=4), [b"x"])
    with pytest.raises(DamagedError, match="where 0 comes next") as caught:
        decode_records(line, Mark())
    assert (caught.value.line, caught.value.offset) == (1, 0)


@pytest.mark.parametrize("batch", [[], [b""], [b"a\nb"], [b"a\tb"], [b"fine", b""]])
def test_what_no_line_can_hold_is_not_written(batch):
    with pytest.raises(ValueError, match="at least one entry"):
        encode_record(Mark(), batch)


def test_a_journal_numbers_its_entries_after_its_base(journal, path):
    assert journal.base == 10
    assert journal.mark.sequence == 14
    assert [n for n in range(20) if journal.ended(n, "")] == []
    assert journal.ended(14, journal.mark.digest.decode())
    assert read(path) == [b"one", b"two", b"three", b'{"four":4}']
    assert os.stat(path).st_mode & 0o077 == 0
    assert os.listdir(os.path.dirname(path)) == ["log.1"]


def test_readers_see_what_others_append(journal, path):
    reader = Journal.open(path)
    assert len(reader.catch_up()) == 4
    assert reader.catch_up() == []
    journal.append([b"five"])
    assert reader.catch_up() == [b"five"]
    assert reader.mark == journal.mark
    reader.append([b"six"])
    assert journal.catch_up() == [b"six"]
    reader.close()
    reader.close()


def test_a_journal_cut_anywhere_holds_the_records_before_the_cut_or_is_refused(journal, path):
    with open(path, "rb") as file:
        whole = file.read()
    header = whole.index(b"\n") + 1
    for cut in range(len(whole)):
        with open(path, "wb") as file:
            file.write(whole[:cut])
        if cut < header:
            with pytest.raises(DamagedError, match="no header"):
                read(path)
        else:
            lines = whole[header:cut].count(b"\n")
            assert read(path) == [entry for batch in BATCHES[:lines] for entry in batch]


def test_what_a_dead_writer_left_unfinished_is_cut_off_by_the_next(journal, path):
    with open(path, "ab") as file:
        file.write(b"0123 half a rec")
    assert journal.catch_up() == []
    assert len(read(path)) == 4
    journal.append([b"five"])
    assert read(path)[-1] == b"five"


def test_a_journal_that_forgot_where_its_records_ended_goes_on(journal, path):
    reader = Journal.open(path)
    reader.forget()
    assert len(reader.catch_up()) == 4
    assert not reader.ended(14, journal.mark.digest.decode())
    assert reader.mark == journal.mark
    reader.append([b"five"])
    assert journal.catch_up() == [b"five"]
    reader.close()


def test_a_journal_can_be_read_up_to_a_place(journal, path):
    reader = Journal.open(path)
    with open(path, "rb") as file:
        whole = file.read()
    assert reader.catch_up(until=whole.rindex(b"\n", 0, -1) + 1) == [b"one", b"two", b"three"]
    assert reader.unfinished == len(reader.rest()) > 0
    reader.cut()
    assert (reader.unfinished, reader.rest()) == (0, b"")
    reader.close()


def test_a_journal_that_became_shorter_is_damaged(journal, path):
    os.truncate(path, os.path.getsize(path) - 5)
    with pytest.raises(DamagedError, match="bytes"):
        journal.catch_up()


def fail_write(_fd, _data):
    raise OSError(errno.EIO, "broken")


@pytest.mark.parametrize("short", [True, False])
def test_a_write_that_fails_leaves_the_journal_as_it_was(journal, path, monkeypatch, short):
    real = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", (lambda fd, data: real(fd, data[:7])) if short else fail_write)
        with pytest.raises(OSError):  # noqa: PT011 - ENOSPC or EIO
            journal.append([b"five"])
    assert len(read(path)) == 4
    assert journal.mark.sequence == 14
    journal.append([b"five"])
    assert read(path)[-1] == b"five"


def test_a_journal_is_made_whole_or_not_at_all(path, monkeypatch):
    Journal.create(path, {"base": 0}, [b"old"]).close()
    monkeypatch.setattr(os, "write", fail_write)
    with pytest.raises(OSError, match="broken"):
        Journal.create(path, {"base": 5}, [b"new"])
    assert os.listdir(os.path.dirname(path)) == ["log.1"]
    assert read(path) == [b"old"]


def test_a_journal_may_be_made_with_its_first_record(path):
    Journal.create(path, {"base": 5}, [b"a", b"b"]).close()
    journal = Journal.open(path)
    assert (journal.catch_up(), journal.mark.sequence, journal.header) == ([b"a", b"b"], 7, {"base": 5})
    journal.close()


@pytest.mark.parametrize("header", [b"x", b"[]", b"{}", b'{"base":-1}', b'{"base":true}', b'{"base":"1"}', b"null", b"[" * 9999])
def test_a_header_that_is_none_is_refused(path, header):
    with open(path, "wb") as file:
        file.write(encode_record(Mark(), [header])[0])
    with pytest.raises(DamagedError, match="header"):
        Journal.open(path)


def test_a_file_that_shrinks_while_it_is_read_is_read_as_far_as_it_goes(journal, path, monkeypatch):
    reader = Journal.open(path)
    monkeypatch.setattr(os, "pread", lambda *_args: b"")
    assert reader.catch_up() == []
    reader.close()


ANCHOR = Anchor(boot="b" * 36, epoch="e" * 16, generation=10**15, sequence=10**15, digest="d" * 32)


LATER = attrs.evolve(ANCHOR, sequence=10**15 + 1)


def test_an_anchor_has_always_the_same_size():
    assert len(encode_anchor(ANCHOR)) == SIZE
    assert decode_anchors(encode_anchor(ANCHOR)) == (ANCHOR, 1)
    assert decode_anchors(encode_anchor(ANCHOR) + b"\0" * SIZE + b"process 7") == (ANCHOR, 1)
    for blank in (b"", b"\0" * SIZE, b"\0" * SIZE * 2 + b"process 7"):
        assert decode_anchors(blank) == (None, 0)


def test_the_newest_anchor_counts_and_the_next_one_replaces_the_other():
    one, two = encode_anchor(ANCHOR), encode_anchor(LATER)
    assert decode_anchors(one + two) == (LATER, 0)
    assert decode_anchors(two + one) == (LATER, 1)
    generation = encode_anchor(attrs.evolve(ANCHOR, generation=10**15 + 1, sequence=1))
    assert decode_anchors(generation + two)[1] == 1


@pytest.mark.proves("I9")
def test_an_anchor_torn_at_any_byte_leaves_the_one_before():
    one, two = encode_anchor(ANCHOR), encode_anchor(LATER)
    older = encode_anchor(attrs.evolve(ANCHOR, sequence=10**15 - 1))
    for cut in range(SIZE):
        found, place = decode_anchors(one + two[:cut] + older[cut:])
        assert (found, place) == (ANCHOR, 1) or (found, place) == (LATER, 0)
        assert decode_anchors(two[:cut])[0] is None  # the very first one


def test_a_damaged_anchor_is_found():
    data = encode_anchor(ANCHOR)
    for at in range(len(data.rstrip())):
        bad = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert decode_anchors(bad) == (None, 0)
        with pytest.raises(DamagedError, match="both"):
            decode_anchors(bad + bad)
    assert decode_anchors(data[:-1]) == (None, 0)


def test_a_newer_anchor_is_refused(monkeypatch):
    from podkit._store import _anchor

    monkeypatch.setattr(_anchor, "FORMAT", 3)
    data = encode_anchor(LATER)
    monkeypatch.undo()
    for found in (data, encode_anchor(ANCHOR) + data):
        with pytest.raises(NewerError, match="another podkit"):
            decode_anchors(found)


def test_what_can_still_be_read_of_a_damaged_journal_is_evidence():
    data, _ = written(BATCHES)
    assert readable_entries(data) == [b"one", b"two", b"three", b'{"four":4}']
    assert readable_entries(b"junk\n" + data[60:]) == [b'{"four":4}']
    assert readable_entries(b"\0" * 999) == []
