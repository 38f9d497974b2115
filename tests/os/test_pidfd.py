"""Who a process is, and that a signal never reaches a successor."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from podkit._os import ProcessId, alive, process_state, signal_process, start_ticks, wait_process
from podkit._os import _pidfd as room


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(100)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(params=["pidfd", "no pidfd", "no call", "denied", "old kernel"])
def either_way(request, monkeypatch):
    def refuse(error):
        def call(*_args):
            raise OSError(error, "no")

        return call

    match request.param:
        case "no pidfd":
            monkeypatch.setattr(room.os, "pidfd_open", refuse(errno.ENOSYS))
        case "denied":
            monkeypatch.setattr(room.os, "pidfd_open", refuse(errno.EPERM))
        case "no call":
            monkeypatch.delattr(room.os, "pidfd_open")
        case "old kernel":
            real = signal.pidfd_send_signal

            def send(fd, sig, info, flags):
                if flags:
                    raise OSError(errno.EINVAL, "no")
                real(fd, sig, info, flags)

            monkeypatch.setattr(room.signal, "pidfd_send_signal", send)


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("group", [False, True])
def test_the_very_process_is_signalled(either_way, child, group):
    assert signal_process(child.pid, start_ticks(child.pid), signal.SIGTERM, group=group)
    assert child.wait(10) == -signal.SIGTERM


@pytest.mark.proves("H5", "I12")
@pytest.mark.parametrize("group", [False, True])
@pytest.mark.parametrize("off", [-1, 1, 10**6])
def test_another_process_with_that_number_is_not(either_way, child, group, off):
    started = start_ticks(child.pid)
    assert not signal_process(child.pid, started + off, signal.SIGKILL, group=group)
    assert not alive(child.pid, started + off)
    assert child.poll() is None
    assert alive(child.pid, started)


@pytest.mark.proves("H5", "I12")
@pytest.mark.parametrize("group", [False, True])
def test_a_zombie_is_gone(either_way, child, group):
    started = start_ticks(child.pid)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: process_state(child.pid)[0] == "Z")
    assert start_ticks(child.pid) == started
    assert not alive(child.pid, started)
    assert not signal_process(child.pid, started, signal.SIGTERM, group=group)


@pytest.mark.parametrize("group", [False, True])
def test_one_that_was_reaped_is_gone(either_way, child, group):
    started = start_ticks(child.pid)
    child.kill()
    child.wait()
    assert start_ticks(child.pid) is None
    assert not signal_process(child.pid, started, signal.SIGTERM, group=group)


@pytest.mark.parametrize("pid", [0, -1, -5, 2**31, 2**70, True, None, "1", 1.0])
def test_a_number_that_is_no_process_is_never_signalled(monkeypatch, pid):
    monkeypatch.setattr(room.os, "kill", lambda *_args: pytest.fail("signalled"))
    monkeypatch.setattr(room.os, "killpg", lambda *_args: pytest.fail("signalled"))
    assert not signal_process(pid, 0, signal.SIGKILL)
    assert not signal_process(pid, 0, signal.SIGKILL, group=True)
    assert not alive(pid, 0)


def test_one_that_leads_no_group_has_no_group_to_signal(either_way):
    child = subprocess.Popen(["sleep", "100"])
    try:
        assert not signal_process(child.pid, start_ticks(child.pid), signal.SIGTERM, group=True)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_one_that_goes_between_the_comparison_and_the_signal_is_gone(monkeypatch, child):
    def vanish(*_args):
        raise ProcessLookupError

    started = start_ticks(child.pid)
    with monkeypatch.context() as patch:
        patch.setattr(room.signal, "pidfd_send_signal", vanish)
        assert not signal_process(child.pid, started, signal.SIGTERM)
        patch.delattr(room.os, "pidfd_open")
        patch.setattr(room.os, "kill", vanish)
        assert not signal_process(child.pid, started, signal.SIGTERM)


def test_a_process_of_somebody_else_is_an_error_and_not_gone(monkeypatch, child):
    def refuse(*_args):
        raise PermissionError(errno.EPERM, "not yours")

    monkeypatch.setattr(room.signal, "pidfd_send_signal", refuse)
    with pytest.raises(PermissionError):
        signal_process(child.pid, start_ticks(child.pid), signal.SIGTERM)


def test_a_program_may_have_any_name(tmp_path):
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(odd), "100"])
    try:
        until(lambda: b"(a) R 1 (b)" in Path(f"/proc/{child.pid}/stat").read_bytes())
        assert abs(start_ticks(child.pid) - start_ticks(os.getpid())) < 10**7
        assert process_state(child.pid)[0] in "SRD"
    finally:
        child.kill()
        child.wait()


def test_no_descriptor_is_left_open(child):
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        signal_process(child.pid, start_ticks(child.pid), 0)
        signal_process(child.pid, 1, 0)
    assert os.listdir("/proc/self/fd") == before


def test_where_there_is_no_proc_a_process_is_its_number(monkeypatch, child):
    monkeypatch.setattr(room, "_has_proc", False)
    assert process_state(child.pid) == ("?", 0)
    assert alive(child.pid, 0)
    monkeypatch.setattr(room.os, "kill", lambda *_args: (_ for _ in ()).throw(PermissionError))
    assert alive(child.pid, 0)
    monkeypatch.undo()
    monkeypatch.setattr(room, "_has_proc", False)
    child.kill()
    child.wait()
    assert not alive(child.pid, 0)


def test_a_process_has_a_name_to_show():
    assert str(ProcessId(7, 99)) == "7@99"


@pytest.mark.parametrize("pidfds", [True, False])
async def test_the_end_of_a_process_is_waited_for_whoever_its_parent_is(monkeypatch, pidfds):
    if not pidfds:
        monkeypatch.delattr(os, "pidfd_open")
    process = await trio.lowlevel.open_process([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_ticks(process.pid)
    with trio.fail_after(10):
        await wait_process(process.pid, started + 1)  # somebody else had that number
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_process, process.pid, started)
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            assert nursery.child_tasks
            process.kill()
        await wait_process(process.pid, started)
        await process.wait()
        await process.stdin.aclose()
