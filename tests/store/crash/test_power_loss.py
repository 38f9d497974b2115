"""What a loss of power may leave of what was written and not synced: any part of it, in any order."""

import contextlib
import os
import random
import shutil
import tempfile

import pytest
import trio

from podkit._os._disk import Disk
from podkit._store import FileRegistry, _file_registry
from podkit._store._journal import Journal
from podkit.errors import CorruptRegistryError, RegistryError

LONG = "PODKIT_LONG" in os.environ
MOST = 10  # unsynced operations that are combined in every way
SAMPLES = 256 if LONG else 24
POINTS = {}
WORKFLOWS = ["open a new registry", "register a root", "bear a child", "bear and free", "compact", "put damage aside"]


def put(picture, found):
    """Make a directory of these files, with nobody's leases."""
    directory = tempfile.mkdtemp(prefix="pk", dir=os.path.dirname(picture.directory))
    for name in (".registry", ".leases"):
        os.mkdir(os.path.join(directory, name), 0o700)
    for key in os.listdir(os.path.join(picture.directory, ".leases")):
        os.mkfifo(os.path.join(directory, ".leases", key), 0o600)
    for path, content in found.items():
        with open(os.path.join(directory, path), "wb") as file:
            file.write(content)
    return directory


async def record(crash, workflow, durable):
    """Run it; the picture before, the operations, and after how many of them each change was confirmed, with the table then."""
    setup, act = crash.WORKFLOWS[workflow]
    ground = crash.Ground()
    await setup(ground.before)
    picture = crash.Picture(ground.directory)
    disk = crash.PowerDisk()
    first = ground.before.states[-1] if ground.before.states else {}
    told = [(0, first)]

    class Told(list):
        def append(self, state):
            told.append((len(disk.ops), state))

    run = crash.Run(ground.directory, disk, durable=durable)
    run.states = Told()
    await act(run)
    return ground, run, picture, disk.ops, told


@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.parametrize("lasting", [True, False], ids=["durable", "plain"])
@pytest.mark.proves("I8", "I31")
async def test_after_a_loss_of_power_a_registry_is_what_was_confirmed_or_says_that_it_is_damaged(
    crash, name, lasting, record_property
):
    rng = random.Random(name)
    ground, run, picture, ops, told = await record(crash, name, lasting)
    states = [state for _, state in told]
    seen = set()
    try:
        for end in range(len(ops) + 1):
            confirmed = sum(at <= end for at, _ in told)
            certain, pending = crash.survivors(ops[:end])
            for way in crash.choices(pending, rng, MOST, SAMPLES):
                found = picture.after([*certain, *way])
                fingerprint = (confirmed, *sorted(found.items()))
                if fingerprint in seen:
                    continue
                seen.add(fingerprint)
                directory = put(picture, found)
                try:
                    with trio.fail_after(30):
                        await check(crash, directory, lasting, states, confirmed)
                except BaseException as error:
                    error.add_note(f"after {end} operations, of which not synced and kept: {way}")
                    raise
                finally:
                    shutil.rmtree(directory)
    finally:
        run.end()
        ground.remove()
    record_property("states", len(seen))
    POINTS[name, lasting] = len(seen)


def test_enough_states_were_tried(record_property):
    record_property("states", sum(POINTS.values()))
    if len(POINTS) == 2 * len(WORKFLOWS):
        assert sum(POINTS.values()) >= 300, POINTS


async def check(crash, directory, durable, states, confirmed):
    registry = FileRegistry(directory, durable=durable)
    try:
        table = await registry.rows()  # nobody holds a lease, so what is damaged is put aside
    except CorruptRegistryError:
        assert not durable
        return
    found = crash.rows(table)
    assert table.refused == 0
    if durable:
        assert found in states[confirmed - 1 : confirmed + 1], (found, confirmed, states)
    else:
        assert found in [*states, {}]
    registry._log.close()


@pytest.mark.proves("I31")
async def test_a_disk_that_does_not_sync_makes_the_registry_read_only_and_never_confirms(crash, directory):
    class Unsure(Disk):
        broken = True

        def sync(self, fd):
            if self.broken:
                raise OSError(5, "input/output error")

    disk = Unsure()
    Unsure.broken = False
    run = crash.Run(directory, disk, durable=True)
    run.open()
    await run.root()
    Unsure.broken = True
    with pytest.raises(RegistryError, match="synced"):
        await run.root("b", "/v")
    Unsure.broken = False  # asking again proves nothing
    for change in (lambda: run.root("c", "/u"), lambda: run.registry.compact(4, [b"x"])):
        with pytest.raises(RegistryError, match="read-only"):
            await change()
    assert set(crash.rows(await run.registry.rows())) == {"root/root", "b/b"}  # it was written, and may not last
    assert len(await FileRegistry(directory, durable=True).rows()) == 2
    run.end()


async def test_a_durable_registry_syncs_once_for_a_change(crash, directory):
    disk = crash.PowerDisk()
    run = crash.Run(directory, disk, durable=True)
    run.open()
    await run.root()
    lease = await run.hold("b.i-b")
    before = len(disk.ops)
    run.leases.append(lease)
    await run.registry.append(2, [b"x"])
    kinds = [op[0] if isinstance(op, tuple) else op.kind for op in disk.ops[before:]]
    assert kinds.count("sync") == 1
    assert kinds.index("sync") == kinds.index("write", 1) + 1  # who has the lock, the record; then the anchor
    run.end()


async def test_what_a_durable_registry_confirmed_is_evidence_after_a_restart(crash, directory, monkeypatch):
    run = crash.Run(directory, Disk(), durable=True)
    run.open()
    await run.root()
    run.end()
    monkeypatch.setattr(_file_registry, "boot_id", lambda: "later")
    assert len(await FileRegistry(directory, durable=True).rows()) == 0
    (name,) = [name for name in os.listdir(os.path.join(directory, ".registry")) if name.startswith("log.1.")]
    with contextlib.closing(Journal.open(os.path.join(directory, ".registry", name))) as journal:
        assert b'"i-root"' in b"".join(journal.catch_up())


async def test_names_that_cannot_be_synced_are_an_error_of_the_registry(crash, directory):
    class Unsure(Disk):
        def sync_dir(self, path):
            if path.endswith(self.where):
                raise OSError(5, "input/output error")

    disk = Unsure()
    disk.where = directory
    with pytest.raises(RegistryError, match="made durable"):
        FileRegistry(directory, durable=True, _disk=disk)
    disk.where = ".leases"
    registry = FileRegistry(directory, durable=True, _disk=disk)
    with pytest.raises(RegistryError, match="made durable"):
        await registry.hold("a.1")
    assert not await registry.held("a.1")
    disk.where = ".registry"
    with pytest.raises(RegistryError, match="synced"):
        await FileRegistry(tempfile.mkdtemp(prefix="pk", dir=directory), durable=True, _disk=disk).rows()


async def test_a_registry_that_lost_its_end_without_power_is_found_out_while_anybody_lives(crash, directory):
    run = crash.Run(directory, Disk())
    run.open()
    await run.root()
    with open(os.path.join(directory, ".registry", "log.1"), "r+b") as file:
        file.truncate(40)
    with pytest.raises(CorruptRegistryError, match=r"root\.i-root"):
        await FileRegistry(directory).rows()
    run.end()
