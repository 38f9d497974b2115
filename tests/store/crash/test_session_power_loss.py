"""What a loss of power may leave of a session: what was promised is there, and what was not is whole or found out."""

import os
import random
import shutil
import tempfile

import pytest
import trio

from podkit._os._disk import Disk
from podkit._store import FileSessionStore, _file_sessions
from podkit.errors import CorruptLogError, UnknownSessionError

LONG = "PODKIT_LONG" in os.environ
MOST, SAMPLES = 10, 256 if LONG else 64
POINTS = {}


def entries(*numbers):
    return [b'{"n":%d}' % number for number in numbers]


class Watched:
    """A session, and what it held: each state with the number of operations when it was begun and when it was promised."""

    def __init__(self, directory, disk, durability):
        self.directory, self.disk, self.durability = directory, disk, durability
        self.logs, self.manifests = [(0, None)], [(0, None)]
        self.promised = []  # (operations, how far the logs, how far the manifests)

    @property
    def ops(self):
        return len(self.disk.ops) if hasattr(self.disk, "ops") else 0

    def promise(self):
        self.promised.append((self.ops, len(self.logs) - 1, len(self.manifests) - 1))

    def log(self, *, new=(), segment=None):
        session, segments = self.logs[-1][1]
        kept = [*segments, (segment, ())] if segment else list(segments)
        if kept:
            kept[-1] = (kept[-1][0], (*kept[-1][1], *new))
        self.logs.append((self.ops, (session, tuple(kept))))

    async def open(self, create=None):
        if create is not None:
            self.logs.append((self.ops, (create, ())))
            self.manifests.append((self.ops, None))
        store = FileSessionStore(self.directory, durability=self.durability, _disk=self.disk)
        self.session = await store.open("root", create=create)
        self.promise()

    def rotate(self, segment, *numbers):
        self.log(new=entries(*numbers), segment=segment)
        self.session.rotate(segment, entries(*numbers))
        self.promise()

    def append(self, *numbers):
        self.log(new=entries(*numbers))
        self.session.append(entries(*numbers))

    def save(self, value):
        self.manifests.append((self.ops, {"v": value}))
        self.session.save({"v": value})
        self.promised.append((self.ops, self.promised[-1][1], len(self.manifests) - 1))

    async def sync(self):
        await self.session.sync()
        self.promise()

    async def close(self):
        await self.session.aclose()
        self.promise()


async def fresh(it):
    await it.open(create="s-1")
    it.rotate("a", 1)
    it.append(2)
    await it.sync()
    it.append(3, 4)
    it.append(5)
    await it.sync()
    it.save(1)
    it.append(6)
    await it.close()


async def begun(it):
    await it.open(create="s-1")
    it.rotate("a", 1, 2)
    it.append(3)
    it.save(1)
    await it.close()


async def goes_on(it):
    await it.open()
    it.append(10)
    await it.sync()
    it.append(11)
    await it.close()


async def rotates(it):
    await it.open()
    it.append(10)
    it.rotate("b", 11)
    it.append(12)
    await it.sync()
    it.rotate("c")
    it.append(13)
    await it.close()


async def saves(it):
    await it.open()
    it.append(10)
    it.save(2)
    it.append(11)
    it.save(3)
    await it.close()


async def replaced(it):
    await it.open(create="s-2")
    it.rotate("a", 7)
    it.append(8)
    await it.sync()
    await it.close()


WORK = {
    "a first session": (None, fresh),
    "one that goes on": (begun, goes_on),
    "new segments": (begun, rotates),
    "manifests": (begun, saves),
    "one that replaces another": (begun, replaced),
}


def put(picture, found):
    """Make a store of these files."""
    directory = tempfile.mkdtemp(prefix="pk", dir=os.path.dirname(picture.directory))
    for path in ("root", "root/1.s-1", "root/2.s-2"):
        os.mkdir(os.path.join(directory, path), 0o700)
    for path, content in found.items():
        with open(os.path.join(directory, path), "wb") as file:
            file.write(content)
    return directory


async def look(directory, durability):
    """What a program finds after the restart, as (log, manifest); None for no session."""
    store = FileSessionStore(directory, durability=durability)
    try:
        session = await store.open("root")
    except UnknownSessionError:
        return None, None
    async with session:
        found = (session.id, tuple((segment, tuple(session.read(segment))) for segment in session.segments)), session.manifest
        session.rotate("z", entries(99))
    return found


def is_prefix(log, state):
    """Whether `log` is what `state` was at some time, but for entries at the end of its last segment."""
    if log is None or state is None:
        return log == state
    (session, segments), (other, others) = log, state
    if session != other or not segments:
        return session == other
    *earlier, (last, kept) = segments
    size = len(earlier)
    return (
        tuple(earlier) == others[:size] and len(others) > size and others[size][0] == last and others[size][1][: len(kept)] == kept
    )


def check(found, it, end, durability):
    """That it is one of the states between what was promised and what was begun by then."""
    _, logs, manifests = max((p for p in it.promised if p[0] <= end), default=(0, 0, 0))
    log, manifest = found
    if durability == "process":
        logs = manifests = 0
        assert any(is_prefix(log, state) for at, state in it.logs if at <= end), log
    else:
        assert log in [state for at, state in it.logs[logs:] if at <= end], (log, logs)
    assert manifest in [state for at, state in it.manifests[manifests:] if at <= end], (manifest, manifests)


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("durability", ["power", "process"])
@pytest.mark.proves("I8", "I28", "I30", "I31", "F38", "H21")
async def test_after_a_loss_of_power_a_session_is_what_was_promised_or_says_that_it_is_damaged(
    crash, name, durability, monkeypatch
):
    setup, act = WORK[name]
    rng = random.Random(name)
    directory = tempfile.mkdtemp(prefix="pk", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    it = Watched(directory, Disk(), durability)
    if setup is not None:
        await setup(it)
        it.logs, it.manifests = [(0, it.logs[-1][1])], [(0, it.manifests[-1][1])]
        it.promised = [(0, 0, 0)]
    picture = crash.Picture(directory)
    it.disk = crash.PowerDisk()
    await act(it)
    shutil.rmtree(directory)
    monkeypatch.setattr(_file_sessions, "boot_id", lambda: "later")
    seen, refused = set(), 0
    for end in range(len(it.disk.ops) + 1):
        certain, pending = crash.survivors(it.disk.ops[:end])
        for way in crash.choices(pending, rng, MOST, SAMPLES):
            found = picture.after([*certain, *way])
            fingerprint = (end if durability == "power" else 0, *sorted(found.items()))
            if fingerprint in seen:
                continue
            seen.add(fingerprint)
            directory = put(picture, found)
            try:
                with trio.fail_after(30):
                    check(await look(directory, durability), it, end, durability)
            except CorruptLogError:
                refused += 1
                assert durability == "process", f"after {end} operations, of which not synced and kept: {way}"
            except BaseException as error:
                error.add_note(f"after {end} operations, of which not synced and kept: {way}")
                raise
            finally:
                shutil.rmtree(directory)
    POINTS[name, durability] = len(seen)
    if durability == "process":
        assert refused < len(seen)


def test_enough_states_of_sessions_were_tried(record_property):
    print(POINTS)
    record_property("states", sum(POINTS.values()))
    if len(POINTS) == 2 * len(WORK):
        assert sum(POINTS.values()) >= 1000, POINTS
