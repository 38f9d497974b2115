"""Leases as named pipes, with real processes."""

import os
import select
import signal
import subprocess
import sys
import tempfile

import pytest
import trio

from podkit._os import LeaseState, drop_lease, hold_lease, lease_state, take_lease, wait_lease

HOLDER = """
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK) if sys.argv[1:] else None
print("holding", flush=True)
time.sleep(600)
"""


@pytest.fixture
def path():
    with tempfile.TemporaryDirectory(prefix="pk") as directory:
        yield os.path.join(directory, "a.1")


def descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def holder(*pass_fds):
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", HOLDER], stdout=subprocess.PIPE, pass_fds=pass_fds)
    assert process.stdout is not None
    assert process.stdout.readline() == b"holding\n"
    return process


def end(process):
    process.kill()
    process.communicate()


def test_a_lease_is_held_then_free_then_missing(path):
    assert lease_state(path) is LeaseState.MISSING
    lease = hold_lease("a.1", path)
    assert (lease.key, lease_state(path)) == ("a.1", LeaseState.HELD)
    assert "held" in repr(lease)
    assert not os.get_inheritable(lease.fd)
    assert os.stat(path).st_mode & 0o077 == 0
    assert not drop_lease(path)
    lease.release()
    lease.release()
    assert (lease.fd, lease_state(path)) == (None, LeaseState.FREE)
    assert "free" in repr(lease)
    assert drop_lease(path)
    assert drop_lease(path)
    assert lease_state(path) is LeaseState.MISSING


def test_a_lease_lasts_for_a_block(path):
    with hold_lease("a.1", path) as lease:
        assert lease_state(path) is LeaseState.HELD
    assert lease.fd is None


def test_a_lease_is_taken_once(path):
    lease = hold_lease("a.1", path)
    lease.release()
    with pytest.raises(FileExistsError):
        hold_lease("a.1", path)


def test_a_pipe_that_cannot_be_opened_is_not_left_behind(path, monkeypatch):
    def refuse(*_args, **_more):
        raise OSError(24, "too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="too many"):
        hold_lease("a.1", path)
    assert not os.path.lexists(path)


def test_what_is_no_pipe_counts_as_held(path):
    os.mknod(path)
    assert lease_state(path) is LeaseState.HELD
    os.unlink(path)
    os.symlink("/dev/null", path)
    assert lease_state(path) is LeaseState.HELD


async def test_what_is_no_pipe_is_never_gone(path):
    os.mknod(path)
    before = descriptors()
    with trio.move_on_after(0.1) as scope:
        await wait_lease(path)
    assert scope.cancelled_caught
    assert descriptors() == before
    os.unlink(path)
    os.symlink("/dev/null", path)
    with trio.move_on_after(0.1) as scope:
        await wait_lease(path)
    assert scope.cancelled_caught


async def test_waiting_for_a_lease_ends_when_it_is_let_go(path, nursery):
    lease = hold_lease("a.1", path)
    woken = []

    async def wait():
        woken.append(await wait_lease(path))

    for _ in range(3):
        nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    lease.release()
    with trio.fail_after(5):
        while len(woken) < 3:
            await trio.testing.wait_all_tasks_blocked()
    assert woken == [LeaseState.FREE] * 3


async def test_waiting_goes_on_when_the_pipe_is_forgotten_meanwhile(path, nursery):
    lease = hold_lease("a.1", path)
    done = trio.Event()

    async def wait():
        assert await wait_lease(path) is LeaseState.FREE
        done.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    os.unlink(path)
    lease.release()
    with trio.fail_after(5):
        await done.wait()


async def test_waiting_for_a_lease_that_is_not_there_says_so(path):
    with trio.fail_after(5):
        assert await wait_lease(path) is LeaseState.MISSING


async def test_waiting_for_a_free_lease_returns_at_once(path):
    hold_lease("a.1", path).release()
    with trio.fail_after(5):
        assert await wait_lease(path) is LeaseState.FREE


async def test_a_cancelled_wait_leaves_no_descriptor(path):
    before = descriptors()
    with hold_lease("a.1", path):
        during = descriptors()
        for _ in range(3):
            with trio.move_on_after(0.01) as scope:
                await wait_lease(path)
            assert scope.cancelled_caught
        assert descriptors() == during
    assert descriptors() == before


async def test_without_epoll_waiting_looks_again_and_again(path, nursery, monkeypatch):
    monkeypatch.delattr(select, "epoll")
    lease = hold_lease("a.1", path)
    done = trio.Event()

    async def wait():
        assert await wait_lease(path) is LeaseState.FREE
        done.set()

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    lease.release()
    with trio.fail_after(5):
        await done.wait()


@pytest.mark.parametrize("error", [6, 2])
async def test_a_lease_that_ends_between_two_looks_is_looked_at_again(path, monkeypatch, error):
    lease = hold_lease("a.1", path)
    real, calls = os.open, []

    def racing(name, flags, *rest, **more):
        calls.append(name)
        if len(calls) == 2:
            lease.release()
            if error == 2:
                os.unlink(path)
        return real(name, flags, *rest, **more)

    monkeypatch.setattr(os, "open", racing)
    with trio.fail_after(5):
        assert await wait_lease(path) is (LeaseState.FREE if error == 6 else LeaseState.MISSING)


async def test_a_killed_holder_frees_its_lease_and_wakes_who_waits(path):
    lease = hold_lease("a.1", path)
    process = holder(lease.fd)
    try:
        lease.release()
        assert lease_state(path) is LeaseState.HELD
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_lease, path)
            await trio.testing.wait_all_tasks_blocked()
            process.send_signal(signal.SIGKILL)
            with trio.fail_after(5):
                while nursery.child_tasks:
                    await trio.testing.wait_all_tasks_blocked()
        assert lease_state(path) is LeaseState.FREE  # although nobody has reaped the process yet
    finally:
        end(process)


def test_a_lease_is_free_only_when_every_holder_let_go(path):
    lease = hold_lease("a.1", path)
    process = holder(lease.fd)
    end(process)
    assert lease_state(path) is LeaseState.HELD
    lease.release()
    assert lease_state(path) is LeaseState.FREE


def test_a_child_process_does_not_hold_what_was_not_handed_over(path):
    lease = hold_lease("a.1", path)
    process = holder()
    try:
        lease.release()
        assert lease_state(path) is LeaseState.FREE
    finally:
        end(process)


def test_an_inherited_lease_is_taken_by_its_descriptor(path):
    lease = hold_lease("a.1", path)
    inherited = os.dup(lease.fd)
    os.set_inheritable(inherited, True)
    again = take_lease("a.1", path, inherited)
    lease.release()
    assert lease_state(path) is LeaseState.HELD
    assert not os.get_inheritable(again.fd)
    again.release()
    assert lease_state(path) is LeaseState.FREE


def test_a_descriptor_that_is_not_the_lease_is_refused(path):
    read, write = os.pipe()
    try:
        with pytest.raises(FileNotFoundError):
            take_lease("a.1", path, read)
        with hold_lease("a.1", path), pytest.raises(OSError, match="not this lease"):
            take_lease("a.1", path, read)
        os.unlink(path)
        os.mknod(path)
        with pytest.raises(OSError, match="not this lease"):
            take_lease("a.1", path, os.open(path, os.O_RDONLY))
    finally:
        os.close(read)
        os.close(write)


def test_a_forked_copy_of_the_program_holds_no_lease(path):
    lease = hold_lease("a.1", path)
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(ready_write, b"1" if lease.fd is None else b"0")
            signal.pause()
        finally:
            os._exit(0)
    try:
        assert os.read(ready_read, 1) == b"1"
        assert lease_state(path) is LeaseState.HELD
        lease.release()
        assert lease_state(path) is LeaseState.FREE
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready_read)
        os.close(ready_write)


def test_there_is_one_boot_id(monkeypatch):
    from podkit._os import _boot, boot_id

    assert boot_id() == boot_id() != "unknown"
    monkeypatch.setattr(_boot, "_PATH", "/nowhere/boot_id")
    assert boot_id() == "unknown"
    monkeypatch.setattr(_boot, "_PATH", "/proc/self/comm")
    assert boot_id() == "unknown"


def test_a_network_file_system_is_told_by_its_mount(tmp_path, monkeypatch):
    from podkit._os import _network, network_filesystem

    assert network_filesystem(str(tmp_path)) is None
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(_network, "_MOUNTS", str(mounts))
    assert network_filesystem(str(tmp_path)) is None
    line = f"36 35 {os.major(device)}:{os.minor(device)} / /mnt rw - "
    for kind, found in (("ext4 /dev/x rw", None), ("nfs4 host:/x rw", "nfs4"), ("", None)):
        mounts.write_text(f"odd\n25 1 999:999 / /y rw - nfs a rw\n{line}{kind}\n")
        assert network_filesystem(str(tmp_path)) == found
