"""Where a file registry is, who may use it, its lock, and other processes."""

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest
import trio

from podkit._os._disk import Disk
from podkit._store import FileRegistry, _file_registry, open_registry
from podkit._store._anchor import PLACES, SIZE
from podkit._store._lockfile import LockFile
from podkit.errors import RegistryBusyError, RegistryError, WriteConflictError

PROGRAM = """
import sys, trio
from podkit._store import FileRegistry, open_registry
from podkit.logic import Scope, decide_birth, decide_adopt, decide_free, decide_root
from podkit.errors import PodkitError

def root(registry, name, target, incarnation):
    return registry.transact(lambda table: decide_root(table, name=name, tree=name + "-" + incarnation, incarnation=incarnation,
                             scope=Scope.write(target), address="memory://x", since=1.0))
async def main(registry):
"""


def start(directory, body, *args, **more):
    code = PROGRAM + textwrap.indent(textwrap.dedent(body), "    ") + "\ntrio.run(main, FileRegistry(sys.argv[1]))\n"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code, directory, *args], stdout=subprocess.PIPE, stdin=subprocess.PIPE, **more
    )


def line(process):
    return process.stdout.readline().decode().strip()


def end(process):
    process.kill()
    process.communicate()


def test_a_registry_is_a_private_directory(directory, files):
    path = files("mine")
    registry = FileRegistry(path)
    assert (registry.directory, registry.locator) == (path, f"file://{path}")
    assert sorted(os.listdir(path)) == [".leases", ".registry"]
    for name in (".", ".leases", ".registry"):
        assert os.stat(os.path.join(path, name)).st_mode & 0o777 == 0o700
    assert path in repr(registry)
    assert open_registry(registry.locator).directory == path
    assert FileRegistry(os.path.relpath(path)).directory == path


@pytest.mark.parametrize("locator", ["", "file://", "file://relative", "redis://x", "/tmp/x", "file:/tmp/x"])
def test_what_is_no_locator_of_ours_is_refused(locator):
    with pytest.raises(RegistryError, match="no registry at"):
        open_registry(locator)


def test_a_directory_that_is_not_ours_alone_is_refused(directory, files):
    os.mkdir(files("open"))
    os.chmod(files("open"), 0o755)
    with pytest.raises(RegistryError, match="others may enter"):
        FileRegistry(files("open"))
    os.symlink(directory, files("link"))
    with pytest.raises(RegistryError, match="link"):
        FileRegistry(files("link"))
    with open(files("file"), "w"):
        pass
    with pytest.raises(RegistryError):
        FileRegistry(files("file"))
    with pytest.raises(RegistryError):
        FileRegistry(files("no", "parent"))
    if os.geteuid() == 0:
        os.mkdir(files("theirs"), 0o700)
        os.chown(files("theirs"), 12345, 12345)
        with pytest.raises(RegistryError, match="another user"):
            FileRegistry(files("theirs"))


def test_a_directory_that_other_machines_see_is_refused(directory, monkeypatch):
    monkeypatch.setattr(_file_registry, "network_filesystem", lambda path: "nfs4")
    with pytest.raises(RegistryError, match="nfs4"):
        FileRegistry(directory)
    assert os.listdir(directory) == []


def test_without_a_directory_it_is_the_users_own(directory, files, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
    assert FileRegistry().directory == files("podkit")
    temporary = files("tmp")
    os.mkdir(temporary)
    monkeypatch.setattr(tempfile, "tempdir", temporary)
    for value in ("relative", files("missing"), ""):
        monkeypatch.setenv("XDG_RUNTIME_DIR", value)
        assert FileRegistry().directory == f"{temporary}/podkit-{os.geteuid()}"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert FileRegistry().directory == f"{temporary}/podkit-{os.geteuid()}"


async def test_who_waits_too_long_for_the_lock_hears_who_has_it(directory, files, open_root):
    registry = FileRegistry(directory, lock_timeout=0.05)
    await open_root(registry)
    fd = os.open(files(".registry", "lock"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.pwrite(fd, b"process 4711 (somebody)".ljust(128), PLACES * SIZE)
    with pytest.raises(RegistryBusyError) as caught:
        await open_root(registry, "b", "/v")
    assert caught.value.holder == "process 4711 (somebody)"
    assert 0.05 <= caught.value.waited < 5
    assert len(await registry.rows()) == 1  # reading needs no lock
    os.close(fd)
    await open_root(registry, "b", "/v", incarnation="again")


@pytest.mark.proves("I38")
async def test_whoever_sets_the_clock_makes_no_wait_for_the_lock_longer_or_shorter(directory, files, open_root, monkeypatch):
    registry = FileRegistry(directory, lock_timeout=0.2)
    await open_root(registry)
    fd = os.open(files(".registry", "lock"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    jumps = itertools.cycle((2e9, 0.0))
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    with trio.fail_after(10), pytest.raises(RegistryBusyError) as caught:
        await open_root(registry, "b", "/v")
    assert 0.2 <= caught.value.waited < 10
    os.close(fd)


async def test_a_cancelled_waiter_takes_no_lock(directory, files, open_root):
    registry = FileRegistry(directory)
    await open_root(registry)
    fd = os.open(files(".registry", "lock"), os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with trio.move_on_after(0.05) as scope:
        await open_root(registry, "b", "/v")
    assert scope.cancelled_caught
    os.close(fd)
    other = os.open(files(".registry", "lock"), os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    assert [row.name for row in await registry.rows()] == ["root"]


async def test_the_lock_is_free_after_whatever_happened(directory, files, open_root, monkeypatch):
    registry = FileRegistry(directory)
    await open_root(registry)

    def lock_is_free():
        fd = os.open(files(".registry", "lock"), os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)

    lock_is_free()
    for name in ("pwrite", "lstat"):
        with monkeypatch.context() as patch:
            patch.setattr(Disk, name, lambda *_a, **_k: (_ for _ in ()).throw(OSError("broken")))
            with pytest.raises(RegistryError, match="broken"):
                await registry.append(2, [b"x"])
        lock_is_free()
    with monkeypatch.context() as patch:
        patch.setattr(registry._log._state, "settle", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await registry.append(2, [b"x"])
    lock_is_free()


async def test_a_lock_that_cannot_be_had_at_all_is_an_error(directory, monkeypatch):
    import portalocker

    def refuse(*_args):
        raise portalocker.LockException("no locks left")

    monkeypatch.setattr(portalocker, "lock", refuse)
    with pytest.raises(RegistryError, match="no locks left"):
        await FileRegistry(directory).rows()


async def test_a_lock_file_says_nothing_before_somebody_had_it(directory, files):
    lock = LockFile(files("lock"), timeout=1.0)
    assert not lock.open(create=False)
    assert lock.open(create=True)
    assert lock.open(create=False)
    assert lock.holder() is None
    await lock.acquire()
    lock.release()
    assert f"process {os.getpid()}" in lock.holder()
    lock.close()


async def test_a_lease_taken_twice_over_or_in_the_wrong_place_is_refused(directory, files):
    registry = FileRegistry(directory)
    lease = await registry.hold("a.1")
    with pytest.raises(RegistryError, match="not inherited"):
        registry.lease_from_fd("b.1", lease.fd)
    again = registry.lease_from_fd("a.1", os.dup(lease.fd))
    lease.release()
    assert await registry.held("a.1")
    again.release()
    assert not await registry.held("a.1")


@pytest.mark.proves("I38")
async def test_a_sweep_removes_old_leases_that_nobody_has_a_row_for(directory, files, open_root):
    registry = FileRegistry(directory)
    await open_root(registry)
    for key in ("old.1", "young.1", "held.1"):
        lease = await registry.hold(key)
        if key != "held.1":
            lease.release()
    for key in ("old.1", "held.1", "root.i-root"):
        os.utime(files(".leases", key), (0, 0))
    os.mknod(files(".leases", "not a key"))
    await registry.sweep()
    assert sorted(os.listdir(files(".leases"))) == ["held.1", "not a key", "root.i-root", "young.1"]


async def test_a_lease_that_cannot_be_removed_is_left(directory, monkeypatch):
    registry = FileRegistry(directory)
    (await registry.hold("a.1")).release()
    monkeypatch.setattr(os, "unlink", lambda *_a, **_k: (_ for _ in ()).throw(PermissionError()))
    await registry.forget("a.1")
    assert not await registry.held("a.1")


async def test_an_unknown_lease_with_a_row_is_waited_for(directory, open_root, monkeypatch):
    registry = FileRegistry(directory)
    lease = await open_root(registry)
    os.unlink(os.path.join(directory, ".leases", lease.key))
    with trio.move_on_after(0.1) as scope:
        await registry.gone(lease.key)
    assert scope.cancelled_caught


async def test_a_killed_program_gives_back_what_it_held(directory, open_root):
    process = start(
        directory,
        'lease = await registry.hold("r.1"); await root(registry, "r", "/w", "1"); print("up", flush=True); await trio.sleep(600)',
    )
    try:
        assert line(process) == "up"
        registry = FileRegistry(directory)
        with pytest.raises(WriteConflictError) as caught:
            await open_root(registry, "b", "/w/x")
        assert caught.value.holder == "r-1/r"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(registry.gone, "r.1")
            await trio.testing.wait_all_tasks_blocked()
            process.send_signal(signal.SIGKILL)
            with trio.fail_after(10):
                while nursery.child_tasks:
                    await trio.testing.wait_all_tasks_blocked()
        await open_root(registry, "b", "/w/x", incarnation="second")
    finally:
        end(process)


async def test_a_child_process_takes_over_the_lease_its_parent_took(directory, open_root, bear):
    registry = FileRegistry(directory)
    await open_root(registry)
    lease = await bear(registry, "a", "i-root", "/w/a")
    body = """
    lease = registry.lease_from_fd("a.i-a", int(sys.argv[2])); print("mine", flush=True)
    await trio.sleep(600)
    """
    process = start(directory, body, str(lease.fd), pass_fds=(lease.fd,))
    try:
        assert line(process) == "mine"
        lease.release()
        assert await registry.held("a.i-a")
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registry.gone, "a.i-a")
                await trio.testing.wait_all_tasks_blocked()
                process.kill()
        assert [row.name for row in await registry.sweep()] == ["a"]
    finally:
        end(process)


async def test_programs_contending_for_one_path_never_both_have_it(directory, files):
    body = """
    import os
    inside = won = 0
    for n in range(25):
        key = f"{sys.argv[2]}-{n}"
        lease = await registry.hold("p." + key)
        try:
            await root(registry, "p", "/w", key)
        except PodkitError:
            lease.release(); await registry.forget("p." + key); await trio.sleep(0.001); continue
        won += 1
        fd = os.open(sys.argv[3], os.O_CREAT | os.O_EXCL)
        await trio.sleep(0.002)
        os.close(fd); os.unlink(sys.argv[3])
        await registry.transact(lambda table: decide_free(table, incarnation=key, author=key))
        lease.release(); await registry.forget("p." + key)
    print(won)
    """
    processes = [start(directory, body, f"x{n}", files("inside")) for n in range(3)]
    try:
        out = [process.communicate(timeout=60)[0] for process in processes]
    finally:
        for process in processes:
            end(process)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(map(int, out)) >= 10  # a loser tries again sooner than the winner is done, so not every try can win
    table = await FileRegistry(directory).rows()
    assert (len(table), table.refused) == (0, 0)
    assert os.listdir(files(".leases")) == []


async def test_changes_of_many_programs_all_count(directory):
    body = """
    for n in range(1, 40):
        await root(registry, "p", f"/{sys.argv[2]}/{n}", f"{sys.argv[2]}-{n}")
        if n > 1:
            await registry.transact(lambda table: decide_free(table, incarnation=f"{sys.argv[2]}-{n - 1}", author="x"))
    """
    processes = [start(directory, body, f"x{n}") for n in range(3)]
    try:
        for process in processes:
            process.communicate(timeout=60)
    finally:
        for process in processes:
            end(process)
    assert [process.returncode for process in processes] == [0, 0, 0]
    table = await FileRegistry(directory).rows()
    assert sorted(row.incarnation for row in table) == ["x0-39", "x1-39", "x2-39"]
    assert (table.refused, table.sequence) == (0, 3 * (39 * 2 + 38))


FORKING = """
import os, random, signal, sys, time
import portalocker
async def work(registry, me):
    for n in range(1_000_000):
        lease = await registry.hold(f"p.{me}-{n}")
        await root(registry, "p", f"/{me}", f"{me}-{n}")
        await registry.transact(lambda table: decide_free(table, incarnation=f"{me}-{n}", author="x"))
        lease.release()
        await registry.forget(f"p.{me}-{n}")
random.seed(7)
for turn in range(20):
    children = []
    for n in range(3):
        pid = os.fork()
        if pid == 0:
            trio.run(work, FileRegistry(sys.argv[1]), f"t{turn}x{n}")
        children.append(pid)
    for pid in children:
        time.sleep(random.uniform(0.01, 0.04))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    def left(registry=FileRegistry(sys.argv[1])):
        return trio.run(registry.rows), trio.run(registry.sweep), trio.run(registry.rows)
    before, swept, after = left()
    assert before.refused == 0 and len(before) <= 3 and len(after) == 0, (before, after)
print(before.sequence)
"""


def test_programs_killed_at_any_moment_leave_a_registry_that_can_be_read(directory):
    code = PROGRAM.replace("async def main(registry):", "") + FORKING
    process = subprocess.run([sys.executable, "-P", "-c", code, directory], capture_output=True, timeout=60, check=False)
    assert process.stderr == b""
    assert int(process.stdout) > 60
