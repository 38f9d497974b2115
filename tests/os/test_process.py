"""Real children: what they inherit, how they end, and that none is left."""

import contextlib
import functools
import gc
import os
import signal
import sys

import pytest
import trio

from podkit._os import _process as room
from podkit._os import process_state, start_process
from podkit.errors import PathRefusedError

ENV = {"PATH": os.environ["PATH"]}


def python(code):
    return [sys.executable, "-I", "-S", "-c", code]


def zombies():
    out = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (state := process_state(int(entry))) and state[0] == "Z":
            with open(f"/proc/{entry}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
            if parent == os.getpid():
                out.append(int(entry))
    return out


def bounded(test):
    @functools.wraps(test)
    async def run(**fixtures):
        with trio.fail_after(20):
            await test(**fixtures)

    return run


def descriptors():
    """What every descriptor of ours is, but the one that looks. What earlier tests left to the collector is collected first."""
    gc.collect()
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found


@pytest.fixture(autouse=True)
def nothing_is_left():
    before = descriptors()
    yield
    assert zombies() == []
    assert {fd: what for fd, what in descriptors().items() if before.get(fd) != what} == {}


@pytest.fixture(params=["pidfd", "no pidfd"])
def either_way(request, monkeypatch):
    if request.param == "no pidfd":
        monkeypatch.setattr(room, "_open_pidfd", lambda pid: None)


def ended(process):
    """Wait, without reaping, until it has ended."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def reap_behind_its_back(process):
    os.waitpid(process.pid, 0)


def content(path):
    with open(path) as file:
        return file.read()


class Output:
    """A pipe that children write to; its end is seen when the last of them is gone."""

    def __init__(self):
        self.read, self.write = os.pipe()
        self.stream = trio.lowlevel.FdStream(self.read)

    async def line(self):
        return (await self.stream.receive_some(100)).decode().strip()

    async def end(self):
        async with self.stream:
            assert await self.stream.receive_some(100) == b""


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", -9), ("", 0)])
@bounded
async def test_how_it_ended_is_told_to_everybody_and_again(either_way, code, status):
    process = await start_process(python(code), env=ENV, cwd="/")
    seen = []

    async def ask():
        seen.append(await process.wait())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert [*seen, await process.wait(), process.status, process.poll()] == [status] * 6


@bounded
async def test_one_that_ends_at_once_has_a_start_and_is_reaped(either_way):
    process = await start_process(["true"], env=ENV, cwd="/")
    ended(process)
    assert process.started == process_state(process.pid)[1] > 0
    assert "running" in repr(process)
    assert await process.wait() == 0
    assert "status 0" in repr(process)
    assert str(process.id) in repr(process)


@bounded
async def test_a_cancelled_wait_loses_nothing(either_way):
    process = await start_process(["sleep", "100"], env=ENV, cwd="/")
    with trio.move_on_after(0):
        await process.wait()
    assert process.status is None
    process.kill()
    assert await process.wait() == -signal.SIGKILL


@bounded
async def test_who_polls_first_does_not_hang_who_waits():
    process = await start_process(["sleep", "100"], env=ENV, cwd="/")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(process.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        ended(process)  # blocks: the waiter must not run before poll does
        assert process.poll() == -signal.SIGKILL


@pytest.mark.parametrize("how", ["terminate", "kill"])
@bounded
async def test_signals_reach_its_whole_group(how):
    output = Output()
    process = await start_process(["sh", "-c", "sleep 100 & echo go; wait"], env=ENV, cwd="/", stdout=output.write)
    os.close(output.write)
    assert await output.line() == "go"
    getattr(process, how)()
    assert await process.wait() == (-signal.SIGTERM if how == "terminate" else -signal.SIGKILL)
    await output.end()


@bounded
async def test_what_its_group_leaves_behind_is_swept():
    output = Output()
    process = await start_process(["sh", "-c", "sleep 100 & echo go; exit 5"], env=ENV, cwd="/", stdout=output.write)
    os.close(output.write)
    assert await output.line() == "go"
    assert await process.wait() == 5
    await output.end()


@bounded
async def test_one_that_was_stopped_is_ended_too():
    process = await start_process(["sleep", "100"], env=ENV, cwd="/")
    os.kill(process.pid, signal.SIGSTOP)
    process.terminate()
    assert await process.wait() == -signal.SIGTERM


@bounded
async def test_without_a_group_of_its_own_only_it_is_signalled():
    process = await start_process(["sleep", "100"], env=ENV, cwd="/", new_group=False)
    assert os.getpgid(process.pid) == os.getpgid(0)
    process.kill()
    assert await process.wait() == -signal.SIGKILL


@bounded
async def test_one_that_is_gone_is_not_signalled_any_more(monkeypatch):
    process = await start_process(["true"], env=ENV, cwd="/")
    await process.wait()
    monkeypatch.setattr(room.os, "killpg", lambda *_args: pytest.fail("the number may be somebody else's"))
    process.terminate()
    process.kill()
    assert await process.reap() == 0


@bounded
async def test_reaping_ends_it_even_when_cancelled(either_way):
    process = await start_process(["sleep", "100"], env=ENV, cwd="/")
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await process.reap() == -signal.SIGKILL
    assert process.status == -signal.SIGKILL


@bounded
async def test_reaping_gives_up_on_one_that_cannot_be_killed(monkeypatch):
    process = await start_process(["sleep", "100"], env=ENV, cwd="/")
    with monkeypatch.context() as patch:
        patch.setattr(room.os, "killpg", lambda *_args: None)
        assert await process.reap(within=0.01) is None
    assert await process.reap() == -signal.SIGKILL


@bounded
async def test_one_that_somebody_else_reaped_does_not_hang():
    process = await start_process(["true"], env=ENV, cwd="/")
    ended(process)
    reap_behind_its_back(process)
    assert process.poll() == 0


@bounded
async def test_a_cancelled_start_has_started_nothing():
    with trio.CancelScope() as scope:
        scope.cancel()
        await start_process(["sleep", "100"], env=ENV, cwd="/")
    assert scope.cancelled_caught


@bounded
async def test_it_inherits_what_was_named_and_nothing_else(top):
    keep, close = os.pipe()
    out = f"{top}/out"
    code = (
        "import os, sys; print(sorted(os.listdir('/proc/self/fd')), os.getcwd(), dict(os.environ), os.getsid(0) == os.getpid());"
        "print(repr(sys.stdin.read()))"
    )
    process = await start_process(python(code), env={"A": "b"}, cwd=top, pass_fds=[keep], stdout=out, stderr=out)
    assert await process.wait() == 0
    first, second = content(out).splitlines()
    listing = 3 if keep != 3 else 4
    assert first.startswith(f"{sorted(['0', '1', '2', str(listing), str(keep)])} {top} ")
    assert "'A': 'b'" in first
    assert "PATH" not in first
    assert first.endswith("True")
    assert second == "''"
    assert os.stat(out).st_mode & 0o777 == 0o600
    os.close(keep)
    os.close(close)


@bounded
async def test_outputs_and_input_may_be_descriptors_of_ours(top):
    output, given = Output(), os.open("/proc/self/comm", os.O_RDONLY)
    process = await start_process(["cat"], env=ENV, cwd="/", stdin=given, stdout=output.write)
    os.close(given)
    os.close(output.write)
    assert await output.line() == content("/proc/self/comm").strip()
    await output.end()
    assert await process.wait() == 0


@bounded
async def test_an_output_goes_to_private_files_only(top):
    os.symlink(f"{top}/elsewhere", f"{top}/link")
    with pytest.raises(PathRefusedError):
        await start_process(["true"], env=ENV, cwd="/", stdout=f"{top}/fine", stderr=f"{top}/link")
    assert sorted(os.listdir(top)) == ["fine", "link"]


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        ([], {}),
        ("true", {}),
        (["true", "a\0b"], {}),
        (["true", b"x"], {}),
        (["true", "\ud800"], {}),
        (["true", 131_072 * "x"], {}),
        (["true"], {"A": "\0"}),
        (["true"], {"A=B": "x"}),
        (["true"], {"": "x"}),
        (["true"], {"A": 7}),
        (["true"], {7: "A"}),
        (["true"], {"A": 131_070 * "x"}),
    ],
)
@bounded
async def test_what_no_program_can_be_given_is_refused_before_anything_starts(monkeypatch, argv, env):
    monkeypatch.setattr(trio.lowlevel, "open_process", lambda *_args, **_more: pytest.fail("started"))
    with pytest.raises(ValueError, match=r"string|argv|NUL|encoded|bytes|name"):
        await start_process(argv, env=env, cwd="/")


@bounded
async def test_the_longest_string_that_fits_is_passed_on():
    process = await start_process(["true", 131_071 * "x"], env={**ENV, "A": 131_069 * "x"}, cwd="/")
    assert await process.wait() == 0


@pytest.mark.parametrize(("argv", "cwd"), [(["/none/such"], "/"), (["true"], "/none/such"), (["/etc/passwd"], "/")])
@bounded
async def test_what_cannot_be_started_says_so(argv, cwd):
    with pytest.raises((FileNotFoundError, PermissionError)):
        await start_process(argv, env=ENV, cwd=cwd)


def test_a_system_without_pidfds_is_none(monkeypatch):
    monkeypatch.delattr(room.os, "pidfd_open")
    assert room._open_pidfd(os.getpid()) is None


@bounded
async def test_a_system_that_cannot_look_without_reaping_is_enough(monkeypatch):
    process = await start_process(["sleep", "100"], env=ENV, cwd="/")
    with monkeypatch.context() as patch:
        patch.delattr(room.os, "waitid")
        assert process.poll() is None
    process.kill()
    ended(process)
    monkeypatch.delattr(room.os, "waitid")
    assert process.poll() == -signal.SIGKILL
