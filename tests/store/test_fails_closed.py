"""Damage while somebody may hold something is refused; when nobody can, it is put aside and the registry begins anew."""

import errno
import logging
import os
import shutil

import pytest
import trio

from podkit._os import _boot
from podkit._os._disk import Disk
from podkit._store import FileRegistry, _file_registry, _log_state, inspect
from podkit._store._anchor import PLACES, SIZE
from podkit.errors import CorruptRegistryError, RegistryError, WriteConflictError
from podkit.logic import decide_free


def cut(path, to):
    with open(path, "r+b") as file:
        file.truncate(to)


def spoil(path, at=0):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(b"?" * 40)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def put(path, data):
    with open(path, "wb") as file:
        file.write(data)


DAMAGE = {
    "the log is missing": lambda log, lock: os.unlink(log),
    "the log is empty": lambda log, lock: cut(log, 0),
    "the log is cut": lambda log, lock: cut(log, 300),
    "the log lost its last record": lambda log, lock: cut(log, get(log).rindex(b"\n", 0, -1) + 1),
    "the log is nonsense": lambda log, lock: spoil(log),
    "a record is damaged": lambda log, lock: spoil(log, 250),
    "the log is zeros": lambda log, lock: put(log, b"\0" * 700),
    "the lock file is missing": lambda log, lock: os.unlink(lock),
    "the lock file is empty": lambda log, lock: cut(lock, 0),
    "the anchors are damaged": lambda log, lock: (spoil(lock, 30), spoil(lock, SIZE + 30)),
    "the log is of another registry": lambda log, lock: put(log, get(log).replace(b'"epoch"', b'"hcope"')),
}


@pytest.fixture
def logs(files):
    return lambda: sorted(name for name in os.listdir(files(".registry")) if name != "lock")


@pytest.mark.proves("I8", "H6")
@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_refused_while_a_lease_is_held_and_put_aside_when_none_is(
    directory, files, open_root, logs, damage, caplog
):
    lease = await open_root(FileRegistry(directory))
    await open_root(FileRegistry(directory), "b", "/v")
    (await FileRegistry(directory).hold("c.i-c")).release()
    DAMAGE[damage](files(".registry", "log.1"), files(".registry", "lock"))
    before = logs()
    for _ in range(2):
        with pytest.raises(CorruptRegistryError, match=r"b\.i-b|lock file is missing|pods hold leases"):
            await open_root(FileRegistry(directory), "c", "/u")
        assert logs() == before
    lease.release()
    with pytest.raises(CorruptRegistryError):
        await FileRegistry(directory).rows()  # another one is held
    for held in tuple(_leases(directory)):
        held.release()
    with caplog.at_level(logging.WARNING, "podkit.registry"):
        registry = FileRegistry(directory)
        assert len(await registry.rows()) == 0
    assert "begins anew" in caplog.text
    assert [name for name in logs() if name.endswith(caplog.text.rsplit("*", 1)[1].strip())]
    assert len([name for name in logs() if name.startswith("log.") and name.count(".") == 1]) == 1
    await open_root(registry, "d", "/w")
    assert [row.name for row in await FileRegistry(directory).rows()] == ["d"]


def _leases(directory):
    from podkit._os import _lease

    return [lease for lease in _lease._held if lease.path.startswith(directory)]


@pytest.mark.proves("I8")
async def test_who_read_the_registry_before_is_never_moved_to_a_new_one(directory, files, open_root, logs):
    registry = FileRegistry(directory)
    (await open_root(registry)).release()
    cut(files(".registry", "log.1"), 300)
    for _ in range(2):
        with pytest.raises(CorruptRegistryError):
            await open_root(registry, "b", "/v", incarnation=f"b{_}")
    assert logs() == ["log.1"]
    for lease in _leases(directory):
        lease.release()
    assert len(await FileRegistry(directory).rows()) == 0
    with pytest.raises(CorruptRegistryError, match="open it again"):
        await registry.rows()


@pytest.mark.proves("I8")
async def test_evidence_of_a_pod_whose_lease_cannot_be_found_keeps_a_damaged_registry_closed(directory, files, open_root):
    registry = FileRegistry(directory)
    lease = await open_root(registry)
    other = await open_root(registry, "b", "/v")
    await registry.transact(lambda table: decide_free(table, incarnation="i-b", author="i-b"))
    other.release()
    os.unlink(lease.path)  # a cleaner of temporary files was here, and the pod lives on
    os.unlink(other.path)
    spoil(files(".registry", "log.1"))
    with pytest.raises(CorruptRegistryError, match=r"these may: root\.i-root$"):
        await FileRegistry(directory).rows()
    lease.release()
    os.mkfifo(lease.path, 0o600)  # what an operator does who knows that it is gone
    assert len(await FileRegistry(directory).rows()) == 0


@pytest.mark.proves("I4", "I8")
async def test_a_lease_that_a_cleaner_removed_is_shown_and_never_granted(directory, open_root):
    registry = FileRegistry(directory)
    lease = await open_root(registry)
    os.unlink(lease.path)
    assert await registry.held(lease.key)
    assert registry.lost(lease.key)
    with pytest.raises(WriteConflictError):
        await open_root(FileRegistry(directory), "b", "/w")
    assert await FileRegistry(directory).sweep() == ()
    text = str(await inspect(registry))
    assert f"perhaps alive (its lease {lease.key} is missing)" in text
    lease.release()
    with pytest.raises(WriteConflictError):  # still nobody can know
        await open_root(FileRegistry(directory), "c", "/w")
    os.mkfifo(lease.path, 0o600)
    assert "dead" in str(await inspect(registry))
    await open_root(FileRegistry(directory), "d", "/w")


async def test_many_who_may_hold_something_are_named_in_part(directory, files):
    registry = FileRegistry(directory)
    leases = [await registry.hold(f"p{n}.1") for n in range(12)]
    await registry.append(0, [b"x"])
    spoil(files(".registry", "log.1"))
    with pytest.raises(CorruptRegistryError, match=r"p0\.1, .*, …$"):
        await FileRegistry(directory).rows()
    for lease in leases:
        lease.release()


@pytest.mark.proves("I8")
async def test_a_newer_registry_is_left_alone_even_when_nobody_holds_anything(directory, files, open_root, logs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_log_state, "_FORMAT", 2)
        (await open_root(FileRegistry(directory))).release()
    with pytest.raises(CorruptRegistryError, match="newer podkit"):
        await FileRegistry(directory).rows()
    shutil.rmtree(files(".registry"))
    with monkeypatch.context() as patch:
        patch.setattr("podkit._store._anchor.FORMAT", 3)
        (await open_root(FileRegistry(directory), incarnation="again")).release()
    with pytest.raises(CorruptRegistryError, match="another podkit"):
        await FileRegistry(directory).rows()
    assert logs() == ["log.1"]


@pytest.mark.proves("I8")
async def test_what_an_older_podkit_left_is_put_aside_once_nobody_holds_anything(directory, open_root, logs, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("podkit._store._anchor.FORMAT", 1)
        lease = await open_root(FileRegistry(directory))
    with pytest.raises(CorruptRegistryError, match="older podkit"):
        await FileRegistry(directory).rows()
    lease.release()
    (await open_root(FileRegistry(directory), incarnation="again")).release()
    assert [row.incarnation for row in await FileRegistry(directory).rows()] == ["again"]
    assert any("damaged" in name for name in logs())


async def test_a_later_log_that_was_in_use_is_not_taken_for_litter(directory, files, open_root, logs):
    lease = await open_root(FileRegistry(directory))
    shutil.copy(files(".registry", "log.1"), files(".registry", "log.2"))
    with open(files(".registry", "log.2"), "ab") as file:
        file.write(b"and more\n")
    with pytest.raises(CorruptRegistryError, match="in use"):
        await FileRegistry(directory).rows()
    assert logs() == ["log.1", "log.2"]
    lease.release()


async def test_litter_is_left_for_later_while_somebody_has_the_lock(directory, files, open_root, logs):
    registry = FileRegistry(directory)
    await open_root(registry)
    with open(files(".registry", "log.2.new"), "w"):
        pass
    await registry._log._lock.acquire()
    assert len(await FileRegistry(directory).rows()) == 1
    assert logs() == ["log.1", "log.2.new"]
    registry._log._lock.release()
    assert len(await FileRegistry(directory).rows()) == 1
    assert logs() == ["log.1"]


@pytest.mark.proves("I12")
async def test_who_cannot_tell_boots_apart_takes_nobody_for_dead(directory, open_root, monkeypatch, logs):
    lease = await open_root(FileRegistry(directory))
    with monkeypatch.context() as patch:
        patch.setattr(_boot, "_PATH", "/nowhere/boot_id")
        blind = FileRegistry(directory)
        assert [row.name for row in await blind.rows()] == ["root"]
        await open_root(blind, "b", "/v")
    assert [row.name for row in await FileRegistry(directory).rows()] == ["root", "b"]
    assert logs() == ["log.1"]
    lease.release()

    def refuse():
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(_file_registry, "boot_id", refuse)
    with pytest.raises(RegistryError, match="restarted"):
        FileRegistry(directory)


async def test_a_directory_that_cannot_be_looked_at_is_an_error_of_the_registry(directory, monkeypatch):
    def refuse(_path):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(_file_registry, "network_filesystem", refuse)
    with pytest.raises(RegistryError, match="broken"):
        FileRegistry(directory)


async def test_the_embedding_program_may_open_and_close_the_same_files(directory, files, open_root):
    registry = FileRegistry(directory)
    await open_root(registry)
    await registry._log._lock.acquire()
    for name in os.listdir(files(".registry")):
        with open(files(".registry", name), "r+b") as file:
            file.read()
    with pytest.raises(RegistryError):
        await FileRegistry(directory, lock_timeout=0.02).append(2, [b"x"])
    registry._log._lock.release()
    assert len(await registry.rows()) == 1


async def test_a_name_of_the_holder_that_cannot_be_read_is_done_without(directory, open_root):
    class Blind(Disk):
        def pread(self, fd, size, at):
            if at >= PLACES * SIZE:
                raise OSError(5, "broken")
            return super().pread(fd, size, at)

    registry = FileRegistry(directory, lock_timeout=0.02, _disk=Blind())
    await registry.rows()
    other = FileRegistry(directory)
    await other.rows()
    await other._log._lock.acquire()
    with pytest.raises(RegistryError, match="somebody unknown"):
        with trio.fail_after(20):
            await registry.append(0, [b"x"])
    other._log._lock.release()
