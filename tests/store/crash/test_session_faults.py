"""Every call of every piece of work on a session fails, or is the last one: the session is as before or as after, and says so."""

import contextlib
import errno
import itertools
import os
import shutil
import tempfile

import pytest
import trio

from podkit._os._disk import Disk
from podkit._store import FileSessionStore
from podkit.errors import SessionError

LONG = "PODKIT_LONG" in os.environ
KINDS = [("kill-before", False), ("kill-after", False), ("enospc", False)]
SHORT = [("short-1", False), ("short-1", True), ("short-all-but-1", False), ("short-all-but-1", True)]  # of a write
SOME = [("enospc", True), ("eio", False), ("eio", True), ("eintr", False), ("eintr", True), ("emfile", False), ("erofs", True)]
STEP = 1 if LONG else 9  # of these at some calls only
POINTS = {}


def entries(*numbers):
    return [b'{"n":%d}' % number for number in numbers]


def state(session):
    """All that a session holds, as a value."""
    return session.id, tuple((segment, tuple(session.read(segment))) for segment in session.segments), session.manifest


class Run:
    """One run of some work: the session it has open, and what the session held after each step that was confirmed."""

    def __init__(self, directory, disk, durability):
        self.directory, self.disk, self.durability = directory, disk, durability
        self.states, self.session = [], None

    async def open(self, create=None):
        store = FileSessionStore(self.directory, durability=self.durability, _disk=self.disk)
        self.session = await store.open("root", create=create)

    def note(self):
        """What is kept now, read past the disk that fails."""
        found, disk = {}, self.session._files._disk
        self.session._files._disk = Disk()
        try:
            found = state(self.session)
        finally:
            self.session._files._disk = disk
        self.states.append(found)

    async def close(self):
        session, self.session = self.session, None
        if session is not None:
            await session.aclose()


async def nothing(run):
    run.states.append(None)


async def short(run):
    await run.open(create="s-1")
    run.session.rotate("a", entries(1, 2))
    run.session.append(entries(3))
    run.session.save({"v": 1})
    run.note()
    await run.close()


async def create(run):
    await run.open(create="s-2")
    run.note()
    await run.close()


async def begin(run):
    await create(run)
    await run.open()
    run.session.rotate("a", entries(1))
    run.note()
    await run.close()


async def append(run):
    await run.open()
    for number in range(3):
        run.session.append(entries(10 + number, 20 + number))
        run.note()
    await run.close()


async def sync(run):
    await run.open()
    run.session.append(entries(10))
    run.note()
    await run.session.sync()
    run.session.append(entries(11))
    run.note()
    await run.session.sync()
    await run.close()


async def rotate(run):
    await run.open()
    for number, segment in enumerate(("b", "c")):
        run.session.rotate(segment, entries(number))
        run.note()
        run.session.append(entries(10))
        run.note()
    await run.close()


async def save(run):
    await run.open()
    for value in (2, 3):
        run.session.save({"v": value})
        run.note()
    await run.close()


async def reopen(run):
    await run.open()
    assert state(run.session) is not None
    await run.close()


async def keep_up(run):
    """Enough records for the anchor to be brought up in between."""
    await run.open()
    kept = list(run.session.entries)
    for number in range(66):
        run.session.append(entries(number))
        kept += entries(number)
        run.states.append(("s-1", (("a", tuple(kept)),), {"v": 1}))
    await run.close()


async def crashed(run):
    """Half a record, a segment that was never vouched for, a session that was never begun, temporary files."""
    await short(run)
    where = os.path.join(run.directory, "root", "1.s-1")
    with open(os.path.join(where, "1.a.log"), "ab") as file:
        file.write(b"0123 half a rec")
    with open(os.path.join(where, "1.a.log"), "rb") as file, open(os.path.join(where, "2.b.log"), "wb") as unfinished:
        unfinished.write(file.readline())
    for name in ("2.c.log.new", "manifest.new"):
        with open(os.path.join(where, name), "wb") as file:
            file.write(b"half")
    os.mkdir(os.path.join(run.directory, "root", "2.s-9"), 0o700)


WORK = {
    "make the first session of a name": (nothing, create),
    "make, open and begin one": (nothing, begin),
    "put an earlier one aside": (short, create),
    "append": (short, append),
    "append many": (short, keep_up),
    "sync": (short, sync),
    "rotate": (short, rotate),
    "save": (short, save),
    "open": (short, reopen),
    "open after a crash": (crashed, append),
    "rotate after a crash": (crashed, rotate),
    "put aside after a crash": (crashed, create),
}
CASES = list(itertools.product(WORK, ("process", "power")))


async def play(crash, work, durability, fault):
    setup, act = WORK[work]
    directory = tempfile.mkdtemp(prefix="pk", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    before = Run(directory, Disk(), durability)
    await setup(before)
    run = Run(directory, crash.Disk(fault), durability)
    raised = None
    try:
        with trio.fail_after(30):
            await act(run)
    except crash.Killed:
        raised = "killed"
    except Exception as error:  # noqa: BLE001 - judged by the caller
        raised = "killed" if run.disk.dead else error
    return before, run, raised


async def look(directory, durability):
    """What the next one finds; and that opening it leaves nothing behind that is not the session's."""
    store = FileSessionStore(directory, durability=durability)
    if not await store.names():
        return None
    async with await store.open("root") as session:
        found = state(session)
        last = max(int(name.partition(".")[0]) for name in os.listdir(os.path.join(directory, "root")) if name[0].isdigit())
        assert last >= 1
        where = session._files.directory
        there = [name for name in os.listdir(where) if name != "manifest"]
        assert sorted(there) == sorted(f"{n}.{segment}.log" for n, segment in enumerate(session.segments, 1)), there
        session.save({"on": 1})
        session.rotate("z", entries(99))
        session.append(entries(100))
    assert (await store.verify("root")).segments == len(found[1]) + 1
    return found


async def check(crash, work, durability, fault, states):
    before, run, raised = await play(crash, work, durability, fault)
    try:
        if not run.disk.fired:
            assert raised is None, raised
            return False
        if raised == "killed":
            run.session = None
            run.disk.bury()
        assert raised in (None, "killed") or isinstance(raised, SessionError), repr(raised)
        told = len(run.states)
        allowed = states[told : told + 2]
        if isinstance(raised, SessionError) and durability == "process":
            allowed = states[told : told + 1]
        if isinstance(raised, SessionError) and run.session is not None:
            run.disk.fault = None  # the trouble is over: the same session goes on, or says that it does not
            with contextlib.suppress(SessionError):
                now = state(run.session)
                assert now in allowed, (now, allowed, raised)
                run.session.append(entries(77))
                allowed = [(now[0], (*now[1][:-1], (now[1][-1][0], (*now[1][-1][1], *entries(77)))), now[2])]
        if raised != "killed":
            await run.close()
        found = await look(before.directory, durability)
        assert found in allowed, (found, allowed, raised)
        assert run.disk.fds == set(), run.disk.trace
        return True
    finally:
        shutil.rmtree(before.directory)


@pytest.mark.proves("I9", "I27", "I28", "I29", "I31", "F32", "F38", "H21")
@pytest.mark.parametrize(("work", "durability"), CASES, ids=[f"{work.replace(' ', '-')}-{how}" for work, how in CASES])
async def test_a_fault_at_any_call_leaves_the_session_as_before_or_as_after(crash, work, durability):
    before, run, raised = await play(crash, work, durability, None)
    assert raised is None, raised
    assert run.disk.fds == set()
    calls, states = tuple(run.disk.trace), [before.states[-1], *run.states]
    shutil.rmtree(before.directory)
    fired = 0
    everywhere = range(1, len(calls) + 1)
    if work == "append many" and not LONG:
        everywhere = everywhere[-10:]
    writes = [at for at in everywhere if calls[at - 1] in ("write", "pwrite")]
    for kinds, places in ((KINDS, everywhere), (SHORT, writes), (SOME, everywhere[::STEP])):
        for (kind, lasting), at in itertools.product(kinds, places):
            fault = crash.Fault(kind, at, lasting)
            try:
                fired += await check(crash, work, durability, fault, states)
            except BaseException as error:
                error.add_note(f"{fault} of {calls[at - 1]} in {calls}")
                raise
    POINTS[work, durability] = fired
    assert fired >= 3 * len(everywhere)


def test_enough_points_were_tried_on_sessions(record_property):
    total = sum(POINTS.values())
    record_property("points", total)
    print(f"{total} fault points on sessions: {POINTS}")
    if len(POINTS) == len(CASES):
        assert total >= 900


@pytest.mark.proves("I27", "F32")
@pytest.mark.parametrize("kind", ["enospc", "eio", "short-1", "short-all-but-1"])
async def test_an_append_that_fails_says_why_and_is_tried_again_with_success(crash, kind):
    with tempfile.TemporaryDirectory(prefix="pk") as directory:
        run = Run(directory, crash.Disk(), "process")
        await run.open(create="s-1")
        run.session.rotate("a", entries(1))
        at = run.disk.calls + 1
        run.disk.fault = crash.Fault(kind, at)
        with pytest.raises(SessionError, match="nothing was committed") as caught:
            run.session.append(entries(2))
        assert caught.value.errno == (errno.EIO if kind == "eio" else errno.ENOSPC)
        assert run.session.read("a") == entries(1)
        run.session.append(entries(3))
        assert run.session.read("a") == entries(1, 3)
        await run.close()


@pytest.mark.proves("I27", "F32")
async def test_a_log_that_cannot_be_brought_back_is_read_only_and_goes_on_for_the_next(crash):
    with tempfile.TemporaryDirectory(prefix="pk") as directory:
        run = Run(directory, crash.Disk(), "process")
        await run.open(create="s-1")
        run.session.rotate("a", entries(1))
        disk = run.disk

        def fail(*_args):
            raise OSError(errno.EIO, "broken")

        disk.truncate = disk.fstat = fail
        disk.fault = crash.Fault("short-1", disk.calls + 1)
        with pytest.raises(SessionError, match="nothing was committed"):
            run.session.append(entries(2))
        del disk.truncate, disk.fstat
        changes = (lambda: run.session.append(entries(3)), lambda: run.session.rotate("b", []), lambda: run.session.save({}))
        for change in changes:
            with pytest.raises(SessionError, match="read-only") as caught:
                change()
            assert caught.value.errno == errno.EIO
        with pytest.raises(SessionError, match="read-only"):
            await run.session.sync()
        await run.close()
        run = Run(directory, Disk(), "process")
        await run.open()
        assert list(run.session.entries) == entries(1)
        run.session.append(entries(2))
        await run.close()


@pytest.mark.proves("I31")
async def test_a_disk_that_does_not_sync_makes_the_session_read_only_and_never_confirms(crash):
    with tempfile.TemporaryDirectory(prefix="pk") as directory:
        run = Run(directory, crash.Disk(), "power")
        await run.open(create="s-1")
        run.session.rotate("a", entries(1))

        def fail(_fd):
            raise OSError(errno.EIO, "broken")

        run.session.append(entries(2))
        run.disk.sync = fail
        told = []

        async def wait():
            with pytest.raises(SessionError, match="synced") as caught:
                await run.session.sync()
            told.append(caught.value.errno)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait)
        assert told == [errno.EIO] * 3
        del run.disk.sync  # asking again proves nothing
        with pytest.raises(SessionError, match="read-only"):
            await run.session.sync()
        with pytest.raises(SessionError, match="read-only"):
            run.session.append(entries(3))
        await run.close()
