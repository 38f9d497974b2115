"""A loss of power may take the lock file, the anchor or a lease along: of an earlier boot nobody lives, so it begins anew."""

import json
import os

import pytest

from podkit._store import FileRegistry, _file_registry
from podkit._store._journal_record import Mark, boot_of, encode_record
from podkit.errors import CorruptRegistryError


def lose_lock(files):
    os.unlink(files(".registry", "lock"))


def lose_anchor(files):
    with open(files(".registry", "lock"), "wb"):
        pass


def damage_anchor(files):
    with open(files(".registry", "lock"), "r+b") as file:
        file.write(b"x" * 1024)


LOSSES = [lose_lock, lose_anchor, damage_anchor]


async def after_a_loss(directory, open_root, files, lose):
    registry = FileRegistry(directory)
    lease = await open_root(registry)
    lease.release()
    registry._log.close()
    os.unlink(files(".leases", lease.key))
    lose(files)


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.proves("I8")
async def test_what_an_earlier_boot_left_half_written_holds_nobody_up(directory, open_root, files, lose, monkeypatch):
    await after_a_loss(directory, open_root, files, lose)
    monkeypatch.setattr(_file_registry, "boot_id", lambda: "later")
    assert len(await FileRegistry(directory).rows()) == 0
    kept = [name for name in os.listdir(files(".registry")) if "damaged" in name]
    assert any(name.startswith("log.1.") for name in kept)


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("boot", [None, "unknown"])
@pytest.mark.proves("I8")
async def test_of_this_boot_whoever_is_named_may_still_live(directory, open_root, files, lose, boot, monkeypatch):
    await after_a_loss(directory, open_root, files, lose)
    if boot is not None:
        monkeypatch.setattr(_file_registry, "boot_id", lambda: boot)
    with pytest.raises(CorruptRegistryError, match=r"root\.i-root"):
        await FileRegistry(directory).rows()


@pytest.mark.proves("I8")
async def test_of_an_earlier_boot_too_a_lease_that_is_held_counts(directory, open_root, files, monkeypatch):
    registry = FileRegistry(directory)
    lease = await open_root(registry)
    lose_lock(files)
    monkeypatch.setattr(_file_registry, "boot_id", lambda: "later")
    with pytest.raises(CorruptRegistryError, match=r"root\.i-root"):
        await FileRegistry(directory).rows()
    lease.release()


def header(fields):
    line, _ = encode_record(Mark(), [fields if isinstance(fields, bytes) else json.dumps(fields).encode()])
    return line


def test_the_boot_of_a_file_is_told_by_a_header_that_is_what_was_written():
    good = header({"boot": "b"})
    assert boot_of(good + b"whatever follows") == "b"
    damaged = good.replace(b'"b"', b'"c"')
    for data in (b"", b"junk\n", good[:-1], damaged, header({"boot": 1}), header({}), header(b"[]"), header(b"{")):
        assert boot_of(data) is None, data
