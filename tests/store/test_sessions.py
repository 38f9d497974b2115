"""Sessions in files and in memory: who holds them, where they are, how durable they are, and what can be seen from outside."""

import errno
import logging
import os
import select
import signal
import stat
import subprocess
import sys
import threading

import pytest
import trio
import trio.testing

import podkit
from podkit._os._disk import Disk
from podkit._store import FileSessionStore, MemorySessionStore, _file_sessions, open_sessions
from podkit._store._anchor_places import SIZE, fill_place
from podkit._store._committer import Committer
from podkit._store._plan_session import LONGEST_ENTRY, check_entries
from podkit.abc import Durability
from podkit.errors import CorruptLogError, SessionBusyError, SessionError, UnknownSessionError


def entries(*numbers):
    return [b'{"n":%d}' % number for number in numbers]


@pytest.fixture
def where(directory):
    return os.path.join(directory, "s")


@pytest.fixture(params=["process", "power"])
def store(request, where):
    return FileSessionStore(where, durability=request.param)


async def begun(store, name="root", *numbers):
    session = await store.open(name, create="s-1")
    session.rotate("a", entries(*numbers))
    return session


async def test_files_are_private_and_where_the_page_says(store, where):
    async with await begun(store, "root", 1) as session:
        session.save({})
        assert repr(session) == "<FileSession root s-1>"
    found = {}
    for at, _, files in os.walk(where):
        found[os.path.relpath(at, where)] = stat.S_IMODE(os.stat(at).st_mode)
        found |= {
            os.path.relpath(os.path.join(at, name), where): stat.S_IMODE(os.stat(os.path.join(at, name)).st_mode) for name in files
        }
    files = {"root/lock": 0o600, "root/1.s-1/1.a.log": 0o600, "root/1.s-1/manifest": 0o600}
    assert found == {".": 0o700, "root": 0o700, "root/1.s-1": 0o700, **files}
    assert store.durability.value in repr(store)


@pytest.mark.parametrize("umask", [0o077, 0])
async def test_the_umask_does_not_decide_who_may_look(where, umask):
    before = os.umask(umask)
    try:
        async with await begun(FileSessionStore(where), "root", 1) as session:
            assert session.read("a") == entries(1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(os.path.join(where, "root")).st_mode) == 0o700


async def test_what_is_not_a_private_directory_of_ours_is_refused(directory, where):
    os.mkdir(where, 0o755)
    with pytest.raises(SessionError, match="0700"):
        FileSessionStore(where)
    link = os.path.join(directory, "link")
    os.symlink(directory, link)
    with pytest.raises(SessionError, match="link"):
        FileSessionStore(link)
    with pytest.raises(SessionError, match="No such file") as caught:
        FileSessionStore(os.path.join(directory, "no", "where"))
    assert caught.value.errno == errno.ENOENT
    os.chmod(where, 0o700)
    store = FileSessionStore(where)
    os.symlink(directory, os.path.join(where, "root"))
    for create in (None, "s-1"):
        with pytest.raises(SessionError, match="link"):
            await store.open("root", create=create)
    os.mkdir(os.path.join(where, "open"), 0o755)
    with pytest.raises(SessionError, match="0700"):
        await store.open("open", create="s-1")


async def test_a_lock_that_is_a_link_or_a_pipe_is_refused(where):
    store = FileSessionStore(where)
    await (await begun(store)).aclose()
    lock = os.path.join(where, "root", "lock")
    os.rename(lock, lock + ".x")
    os.symlink(lock + ".x", lock)
    with pytest.raises(SessionError) as caught:
        await store.open("root")
    assert caught.value.errno == errno.ELOOP
    os.unlink(lock)
    os.mkfifo(lock, 0o600)
    for create in (None, "s-2"):
        with trio.fail_after(5), pytest.raises(CorruptLogError, match="regular file"):
            await store.open("root", create=create)


@pytest.mark.proves("I37")
def test_a_directory_whose_path_leaves_no_room_is_refused_before_any_effect(directory):
    path = os.path.join(directory, *["x" * 200] * 20)
    with pytest.raises(SessionError, match="characters"):
        FileSessionStore(path)


def test_a_store_in_files_survives_at_least_the_program(where):
    for wrong in ("memory", "hope"):
        with pytest.raises(ValueError, match=r"(?i)durab"):
            FileSessionStore(where, durability=wrong)
    assert not os.path.exists(where)


def test_network_file_systems_are_refused(where, monkeypatch):
    monkeypatch.setattr(_file_sessions, "network_filesystem", lambda path: "nfs4")
    with pytest.raises(SessionError, match="nfs4"):
        FileSessionStore(where)


async def test_another_opens_the_same_store_by_its_locator(store):
    async with await begun(store, "root", 1):
        pass
    other = open_sessions(store.locator)
    assert (other.directory, other.durability) == (store.directory, store.durability)
    async with await other.open("root") as session:
        assert list(session.entries) == entries(1)
        assert session.durability is store.durability
    for wrong in ("", "file:", "file://relative", "redis://x", "file+hope:///x"):
        with pytest.raises(SessionError, match="locator"):
            open_sessions(wrong)


async def test_stray_files_in_the_store_are_no_sessions(where):
    store = FileSessionStore(where)
    await (await begun(store)).aclose()
    for stray in ("file", "UPPER", ".dot"):
        with open(os.path.join(where, stray), "w"):
            pass
    os.mkdir(os.path.join(where, "empty"), 0o700)
    assert await store.names() == ("root",)
    os.symlink("/nowhere", os.path.join(where, "loop"))
    os.mkdir(os.path.join(where, "odd"), 0o700)
    os.symlink("/nowhere", os.path.join(where, "odd", "lock"))
    with pytest.raises(SessionError, match="listed"):
        await store.names()


# Who holds a session.

HOLDER = """
import sys, trio, podkit
async def main(where):
    async with await podkit.FileSessionStore(where).open("root", create="s-1") as session:
        session.rotate("a", [b'{"n":1}'])
        print("held", flush=True)
        for line in sys.stdin:
            session.append([b'{"n":2}'])
            print("appended", flush=True)
trio.run(main, sys.argv[1])
"""


@pytest.mark.proves("I5", "I31", "F31")
async def test_of_two_programs_one_writes_and_when_it_is_killed_the_other_may(where):
    store = FileSessionStore(where)
    with subprocess.Popen(  # noqa: ASYNC220 - it waits for our words, not we for it
        [sys.executable, "-P", "-c", HOLDER, where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout.readline() == "held\n"
        for create in (None, "s-2"):
            with trio.fail_after(5), pytest.raises(SessionBusyError, match=f"process {program.pid} ") as caught:
                await store.open("root", create=create)
        assert caught.value.session == "root"
        program.stdin.write("go\n")
        program.stdin.flush()
        assert program.stdout.readline() == "appended\n"
        assert (await store.peek("root")).count == 2
        program.kill()
        program.wait()
    async with await store.open("root") as session:
        assert list(session.entries) == entries(1, 2)


@pytest.mark.proves("I5")
async def test_a_child_inherits_no_session_and_keeps_none_alive(where):
    store = FileSessionStore(where)
    session = await begun(store, "root", 1)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:  # noqa: ASYNC220
        await session.aclose()
        async with await store.open("root"):
            pass
        child.stdin.close()


@pytest.mark.proves("I5")
@pytest.mark.parametrize("durability", ["process", "power"])
async def test_a_forked_copy_holds_nothing_and_commits_nothing(where, durability):
    store = FileSessionStore(where, durability=durability)
    session = await begun(store, "root", 1)
    session.rotate("b", entries(2))
    read, end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = b"committed"
            try:
                session.append(entries(9))
            except SessionError as error:
                said = str(error).encode()
            os.write(end, said)
            os.close(end)
            signal.pause()  # and lives on
        finally:
            os._exit(0)
    try:
        os.close(end)
        answer = select.poll()  # which has no highest descriptor, as `select` has
        answer.register(read, select.POLLIN)
        answer.poll(10_000)
        assert b"forked copy" in os.read(read, 200)
        with pytest.raises(SessionBusyError):
            await store.open("root")
        session.append(entries(3))
        await session.sync()
        await session.aclose()
        async with await store.open("root") as again:
            assert list(again.entries) == entries(2, 3)
    finally:
        os.close(read)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # noqa: ASYNC222 - it is killed


@pytest.mark.proves("I5")
async def test_a_copy_lets_go_of_every_session_whatever_one_of_them_says(where, monkeypatch):
    from podkit._store import _session_forks

    store = FileSessionStore(where)
    sessions = [await begun(store, name, 1) for name in ("a", "b")]

    def fail():
        raise KeyboardInterrupt

    for session in sessions:
        session.rotate("b", [])
    monkeypatch.setattr(sessions[0], "after_fork", fail)
    _session_forks._let_go_after_fork()
    sessions[0].append(entries(2))
    with pytest.raises(SessionError, match="forked copy"):
        sessions[1].append(entries(2))
    await sessions[0].aclose()
    await sessions[1].aclose()


@pytest.mark.proves("I5")
async def test_a_session_whose_lock_was_replaced_commits_nothing_more(where):
    store = FileSessionStore(where)
    session = await begun(store, "root", 1)
    lock = os.path.join(where, "root", "lock")
    os.rename(lock, lock + ".x")
    with pytest.raises(SessionError, match="replaced"):
        for number in range(100):
            session.append(entries(number))
    committed = session._journal.mark.sequence
    assert committed < 70
    for change in (lambda: session.append(entries(1)), lambda: session.save({}), lambda: session.rotate("b", [])):
        with pytest.raises(SessionError, match="read-only"):
            change()
    await session.aclose()
    for change in ("rotate", "save"):
        os.rename(lock + ".x", lock)
        async with await store.open("root") as session:
            os.rename(lock, lock + ".x")
            with pytest.raises(SessionError, match="replaced"):
                session.rotate("c", []) if change == "rotate" else session.save({"a": 1})
    os.rename(lock + ".x", lock)
    async with await store.open("root") as session:
        assert (session.segments, session.manifest, len(session.entries)) == (("a",), None, committed)


async def test_a_lock_that_was_replaced_while_it_was_taken_is_not_taken(where):
    await (await begun(FileSessionStore(where))).aclose()

    class Racing(Disk):
        def lock(self, fd):
            os.rename(os.path.join(where, "root", "lock"), os.path.join(where, "root", "lock.x"))
            return super().lock(fd)

    with pytest.raises(SessionError, match="replaced"):
        await FileSessionStore(where, _disk=Racing()).open("root")


async def test_a_holder_that_cannot_be_named_is_another_pod(where):
    class Blind(Disk):
        def pread(self, fd, size, at):
            raise OSError(5, "broken")

    async with await begun(FileSessionStore(where)):
        with pytest.raises(SessionBusyError, match="another pod"):
            await FileSessionStore(where, _disk=Blind()).open("root")


@pytest.mark.proves("I5")
async def test_in_memory_a_holder_that_died_is_let_go_for(directory):
    store = MemorySessionStore()
    assert repr(store) == "<MemorySessionStore of 0 sessions>"
    session = await begun(store, "root", 1)
    assert repr(session) == "<MemorySession root s-1>"
    with pytest.raises(SessionBusyError):
        await store.open("root")
    store.let_go("root")
    store.let_go("nobody")
    with pytest.raises(SessionError, match="not held"):
        session.append(entries(2))
    async with await store.open("root") as again:
        assert list(again.entries) == entries(1)
    assert session.durability is Durability.MEMORY


# How durable it is.


class Counting(Disk):
    """Counts what is written out, and waits with it until it is told."""

    def __init__(self):
        self.syncs, self.go, self.threads = 0, threading.Event(), set()
        self.go.set()
        self.holding, self.done = False, threading.Event()

    def sync(self, fd):
        if self.holding:
            assert self.go.wait(10)
        self.syncs += 1
        self.threads.add(threading.current_thread())
        super().sync(fd)
        self.done.set()


class Places(Disk):
    """Sees which places of the anchor were written to since the file was synced."""

    def __init__(self):
        self.dirty, self.most = {}, 0

    def pwrite(self, fd, data, at):
        if len(data) == SIZE:
            self.dirty.setdefault(fd, set()).add(at)
            self.most = max(self.most, len(self.dirty[fd]))
        return super().pwrite(fd, data, at)

    def sync(self, fd):
        super().sync(fd)
        self.dirty.pop(fd, None)


@pytest.mark.proves("I29", "I31")
async def test_a_loss_of_power_never_finds_both_places_of_an_anchor_half_written(where):
    disk = Places()
    store = FileSessionStore(where, durability="power", _disk=disk)
    session = await begun(store, "root", 1)
    for segment in ("b", "c"):
        for number in range(4):
            session.append(entries(number))
            await session.sync()
        session.rotate(segment, entries(0))
    session.append(entries(9))
    await session.sync()
    session._lock.close()  # it died
    session._stopped = "it died"
    async with await store.open("root"):
        pass
    async with await store.open("root", create="s-2") as session:
        session.rotate("a", entries(1))
        session.append(entries(2))
        await session.sync()
        session.rotate("b", entries(3))  # which writes out what the last anchor waited for
    async with await store.open("root") as session:
        assert list(session.entries) == entries(3)
    assert disk.most == 1


@pytest.mark.proves("I31")
async def test_all_who_wait_are_served_by_one_write_out(where):
    disk = Counting()
    session = await begun(FileSessionStore(where, durability="power", _disk=disk), "root", 1)
    before = disk.syncs
    await session.sync()
    assert disk.syncs == before  # nothing was committed since
    assert disk.threads == {threading.main_thread()}

    async def write(number):
        session.append(entries(number))
        await session.sync()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(write, number)
    assert disk.syncs - before <= 2
    assert threading.main_thread() in disk.threads
    assert len(disk.threads) > 1
    await session.aclose()


async def test_a_program_that_promises_no_more_than_itself_never_waits_for_the_disk(where):
    disk = Counting()
    async with await begun(FileSessionStore(where, _disk=disk), "root", 1) as session:
        session.append(entries(2))
        session.save({})
        await session.sync()
    assert disk.syncs == 0


async def until(condition):
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


async def test_who_stops_waiting_leaves_the_write_out_and_who_else_waits(where):
    disk = Counting()
    session = await begun(FileSessionStore(where, durability="power", _disk=disk), "root", 1)
    session.append(entries(2))
    disk.holding = True
    disk.go.clear()
    done = []

    async def wait():
        await session.sync()
        done.append(disk.syncs)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as impatient:
                impatient.start_soon(session.sync)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                impatient.cancel_scope.cancel()
            assert not done
            session.append(entries(3))  # goes on meanwhile
            disk.go.set()
    assert len(done) == 1
    disk.holding = False
    await session.aclose()


async def test_letting_go_waits_for_the_disk_and_writes_out_what_nobody_waited_for(where):
    disk = Counting()
    store = FileSessionStore(where, durability="power", _disk=disk)
    session = await begun(store, "root", 1)
    session.append(entries(2))
    before = disk.syncs
    disk.holding = True
    disk.go.clear()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.aclose)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(SessionBusyError):
                await store.open("root")
            disk.go.set()
    assert disk.syncs == before + 2  # the log, and then the anchor that vouches for it
    with open(os.path.join(where, "root", "lock"), "rb") as file:
        assert b'"sequence":2' in file.read()


async def test_letting_go_of_a_disk_that_hangs_ends_and_the_lock_goes_with_the_write_out(where, monkeypatch):
    from podkit._store import _file_session

    monkeypatch.setattr(_file_session, "_PATIENCE", 0.0)
    disk = Counting()
    store = FileSessionStore(where, durability="power", _disk=disk)
    session = await begun(store, "root", 1)
    session.append(entries(2))
    disk.holding = True
    disk.go.clear()
    with trio.fail_after(10):
        await session.aclose()
        with pytest.raises(SessionBusyError):
            await store.open("root")
        disk.go.set()
        await until(lambda: session._lock._fd < 0)
        disk.holding = False
        async with await store.open("root") as again:
            assert list(again.entries) == entries(1, 2)


def test_a_program_that_ends_while_the_disk_is_busy_ends(where):
    disk = Counting()

    async def main():
        session = await begun(FileSessionStore(where, durability="power", _disk=disk), "root", 1)
        session.append(entries(2))
        disk.holding = True
        disk.go.clear()
        disk.done.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.sync)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        return session

    session = trio.run(main)
    disk.go.set()
    assert disk.done.wait(10)
    session._close_files()
    session._lock.unlock()


async def test_a_segment_begun_while_the_disk_is_busy_leaves_the_earlier_one_open_until_it_is_not(where):
    disk = Counting()
    session = await begun(FileSessionStore(where, durability="power", _disk=disk), "root", 1)
    session.append(entries(2))
    disk.holding = True
    disk.go.clear()
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.sync)
            await trio.testing.wait_all_tasks_blocked()
            await until(lambda: session._committer.busy)
            disk.holding = False  # for who comes now
            earlier = session._journal
            session.rotate("b", entries(3))
            assert earlier._fd >= 0
            disk.go.set()
        assert earlier._fd < 0
        session.append(entries(4))
        await session.sync()
    await session.aclose()
    async with await FileSessionStore(where).open("root") as again:
        assert list(again.entries) == entries(3, 4)


# What a loss of power leaves, and a change of mind about durability.


@pytest.mark.proves("I30")
async def test_after_a_restart_of_the_machine_a_log_without_its_end_is_the_session_and_is_said_to_be(where, monkeypatch, caplog):
    async with await begun(FileSessionStore(where), "root", 1) as session:
        session.append(entries(2))
        session.append(entries(3))
    log = os.path.join(where, "root", "1.s-1", "1.a.log")
    os.truncate(log, os.path.getsize(log) - 2)
    with pytest.raises(CorruptLogError, match="anchor"):
        await FileSessionStore(where).open("root")
    monkeypatch.setattr(_file_sessions, "boot_id", lambda: "later")
    later = FileSessionStore(where)
    assert (await later.peek("root")).count == 2
    assert (await later.verify("root")).entries == 2
    with caplog.at_level(logging.WARNING, "podkit.session"):
        async with await later.open("root") as session:
            assert list(session.entries) == entries(1, 2)
            session.append(entries(4))
    assert "restarted" in caplog.text
    caplog.clear()
    async with await later.open("root") as session:
        assert list(session.entries) == entries(1, 2, 4)
    assert not caplog.text
    os.truncate(log, os.path.getsize(log) - 2)
    with pytest.raises(CorruptLogError, match="anchor"):
        await later.open("root")


@pytest.mark.proves("I30", "I31")
async def test_what_was_to_survive_a_loss_of_power_and_is_gone_is_refused_after_one(where, monkeypatch):
    async with await begun(FileSessionStore(where, durability="power"), "root", 1) as session:
        session.append(entries(2))
        await session.sync()
    log = os.path.join(where, "root", "1.s-1", "1.a.log")
    os.truncate(log, os.path.getsize(log) - 2)
    monkeypatch.setattr(_file_sessions, "boot_id", lambda: "later")
    for durability in ("process", "power"):
        with pytest.raises(CorruptLogError, match="anchor"):
            await FileSessionStore(where, durability=durability).open("root")


@pytest.mark.proves("I29", "I30")
@pytest.mark.parametrize("durability", ["process", "power"])
async def test_what_a_loss_of_power_left_behind_all_that_was_promised_is_kept_beside_the_log(
    where, durability, monkeypatch, caplog
):
    async with await begun(FileSessionStore(where, durability=durability), "root", 1) as session:
        session.append(entries(2))
    log = os.path.join(where, "root", "1.s-1", "1.a.log")
    size, left = os.path.getsize(log), b"\0" * 40 + b"0123 half a record\n" + b"more"
    with open(log, "ab") as file:
        file.write(left)
    store = FileSessionStore(where, durability=durability)
    for look in (store.open, store.peek, store.verify):
        with pytest.raises(CorruptLogError):  # nothing but a restart explains that
            await look("root")
    monkeypatch.setattr(_file_sessions, "boot_id", lambda: "later")
    store = FileSessionStore(where, durability=durability)
    assert (await store.peek("root")).count == 2
    assert (await store.verify("root")).unfinished == len(left)
    with caplog.at_level(logging.WARNING, "podkit.session"):
        async with await store.open("root") as session:
            assert list(session.entries) == entries(1, 2)
    assert "kept beside it" in caplog.text
    with open(f"{log}.lost-{size}", "rb") as file:
        assert file.read() == left
    with open(log, "r+b") as file:
        file.seek(size - 9)
        file.write(b"damage")
    monkeypatch.setattr(_file_sessions, "boot_id", lambda: "still later")
    store = FileSessionStore(where, durability=durability)
    for look in (store.open, store.peek, store.verify):
        with pytest.raises(CorruptLogError):  # that was promised
            await look("root")


async def test_evidence_that_cannot_be_kept_is_not_cut_off(where, monkeypatch):
    class Full(Disk):
        def write(self, fd, data):
            return super().write(fd, data[:1])

    await (await begun(FileSessionStore(where), "root", 1)).aclose()
    log = os.path.join(where, "root", "1.s-1", "1.a.log")
    with open(log, "ab") as file:
        file.write(b"\0\0\n")
    monkeypatch.setattr(_file_sessions, "boot_id", lambda: "later")
    size = os.path.getsize(log)
    with pytest.raises(SessionError, match="evidence") as caught:
        await FileSessionStore(where, _disk=Full()).open("root")
    assert caught.value.errno == errno.ENOSPC
    assert os.path.getsize(log) == size
    async with await FileSessionStore(where).open("root") as session:
        assert list(session.entries) == entries(1)


async def test_a_boot_that_cannot_be_told_is_an_error_of_the_session(where, monkeypatch):
    def fail():
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(_file_sessions, "boot_id", fail)
    with pytest.raises(SessionError, match="broken"):
        FileSessionStore(where)


@pytest.mark.parametrize("first", ["process", "power"])
async def test_a_session_may_be_opened_with_another_durability(where, first):
    second = "power" if first == "process" else "process"
    async with await begun(FileSessionStore(where, durability=first), "root", 1) as session:
        session.append(entries(2))
    async with await FileSessionStore(where, durability=second).open("root") as session:
        assert session.durability.value == second
        session.append(entries(3))
        await session.sync()
    assert (await FileSessionStore(where).verify("root")).entries == 3


# What can be seen from outside.


async def test_a_look_at_a_session_tells_how_long_it_is_without_reading_it(where):
    class Watching(Disk):
        read = 0

        def pread(self, fd, size, at):
            data = super().pread(fd, size, at)
            self.read += len(data)
            return data

    disk = Watching()
    store = FileSessionStore(where, _disk=disk)
    session = await store.open("root", create="s-1")
    info = await store.peek("root")
    assert (info.id, info.segments, info.segment, info.count, info.manifest) == ("s-1", (), None, 0, None)
    assert (await store.verify("root")).segments == 0
    session.rotate("a", [])
    session.save({"v": 1})
    info = await store.peek("root")
    assert (info.segments, info.segment, info.count, info.manifest) == (("a",), "a", 0, {"v": 1})
    costs = []
    for size in (1, 100, 2000):
        for number in range(size):
            session.append(entries(number, number))
        before = disk.read
        assert (await store.peek("root")).count == session._journal.mark.sequence
        costs.append(disk.read - before)
    assert costs[2] < 2**15 + 2000
    big = b'{"x":"' + b"y" * 100_000 + b'"}'
    for _ in range(3):
        session.append([big, big])
        assert (await store.peek("root")).count == session._journal.mark.sequence
    verified = await store.verify("root")
    assert (verified.id, verified.segments, verified.entries, verified.unfinished) == ("s-1", 1, 4208, 0)
    await session.aclose()


@pytest.mark.proves("I30", "F48")
async def test_a_look_at_a_session_verifies_its_last_record(where):
    store = FileSessionStore(where)
    await (await begun(store, "root", 1, 2)).aclose()
    log = os.path.join(where, "root", "1.s-1", "1.a.log")
    with open(log, "rb") as file:
        whole = file.read()
    start = whole.index(b"\n") + 1
    for at in range(start, len(whole) - 1):
        with open(log, "wb") as file:
            file.write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(CorruptLogError) as caught:
            await store.peek("root")
        assert caught.value.offset == start
    with open(log, "wb") as file:
        file.write(b"")
    with pytest.raises(CorruptLogError, match="header"):
        await store.peek("root")


@pytest.mark.parametrize("look", ["open", "peek", "verify"])
async def test_there_is_nothing_to_see_of_what_is_not_there(where, look):
    with pytest.raises(UnknownSessionError):
        await getattr(FileSessionStore(where), look)("root")
    with pytest.raises(podkit.InvalidNameError):
        await getattr(FileSessionStore(where), look)("../root")


async def test_a_session_is_read_in_a_thread_so_that_others_go_on(where, monkeypatch):
    await (await begun(FileSessionStore(where), "root", 1)).aclose()
    threads = []
    real = _file_sessions.resume_session

    def resume(*args, **more):
        threads.append(threading.current_thread())
        return real(*args, **more)

    monkeypatch.setattr(_file_sessions, "resume_session", resume)
    async with await FileSessionStore(where).open("root"):
        pass
    assert threads != [threading.main_thread()]


def test_an_entry_may_have_sixteen_mebibytes():
    rest = LONGEST_ENTRY - 8
    check_entries([b'{"a":"' + b"x" * rest + b'"}'])
    with pytest.raises(ValueError, match="16 MiB"):
        check_entries([b'{"a":"' + b"x" * (rest + 1) + b'"}'])


async def test_a_manifest_has_bounds(where):
    deep = []
    for _ in range(300):
        deep = [deep]
    async with await FileSessionStore(where).open("root", create="s-1") as session:
        for bad in ({"a": "x" * LONGEST_ENTRY}, {"a": deep}):
            with pytest.raises(ValueError, match="manifest"):
                session.save(bad)
        assert session.manifest is None


@pytest.mark.proves("I34")
async def test_many_sessions_leave_no_descriptor_and_no_thread(store):
    async def cycle(number):
        async with await store.open("root", create=f"s-{number}") as session:
            session.rotate("a", entries(1))
            session.rotate("b", entries(2))
            session.append(entries(3))
            await session.sync()
        async with await store.open("root") as session:
            session.read("a")
        await store.peek("root")
        await store.verify("root")
        await store.names()
        with pytest.raises(UnknownSessionError):
            await store.open("other")

    for number in range(3):
        await cycle(number)
    before = len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))
    for number in range(10):
        await cycle(10 + number)
    assert len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd")) == before


async def test_files_that_were_let_go_may_be_let_go_again(where):
    session = await begun(FileSessionStore(where), "root", 1)
    await session.aclose()
    session._close_files()
    session._lock.unlock()
    session._lock.close()
    async with await FileSessionStore(where).open("root") as again:
        assert session._lock._fd < 0 <= again._lock._fd


async def test_a_lock_file_of_something_else_is_refused(where):
    await (await begun(FileSessionStore(where), "root", 1)).aclose()
    with open(os.path.join(where, "root", "lock"), "r+b") as file:
        file.write(fill_place(b'{"podkit":"else"}'))
    with pytest.raises(CorruptLogError, match="another podkit"):
        await FileSessionStore(where).open("root")


# The write-out by itself.


async def test_what_goes_wrong_after_a_write_out_is_raised_by_who_waits_for_it():
    def landed(error):
        assert error is None
        raise ZeroDivisionError

    committer = Committer(lambda: (lambda: None, landed))
    with trio.fail_after(5), pytest.raises(ZeroDivisionError):
        await committer.flight()
    assert not committer.busy


async def test_a_forked_copy_does_not_hear_of_a_write_out():
    heard = trio.Event()
    go = threading.Event()
    committer = Committer(lambda: (lambda: go.wait(10), lambda error: heard.set()))
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(committer.flight)
            await trio.testing.wait_all_tasks_blocked()
            committer.forget()
            assert not committer.busy
            go.set()
            await heard.wait()
            nursery.cancel_scope.cancel()
