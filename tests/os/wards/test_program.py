"""What becomes of the wards of a program that dies, forks, or may not do everything."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

import podkit
from podkit._os import LeaseState, lease_state, process_state, wait_lease

PROGRAMS = Path(__file__).parent / "programs"
NOBODY = 65534
IMPORTED = ("trio", "attr", "attrs", "outcome", "sniffio", "sortedcontainers", "idna", "msgspec", "cattrs", "rpds")


class Host:
    """A hosting program in another process."""

    def __init__(self, top: Path, namespaces: bool, deed: str, *before: str, python: str = sys.executable, env=None) -> None:
        argv = [*before, python, str(PROGRAMS / "host.py"), str(top), str(namespaces), deed]
        self.top, self.lease = top, str(top / "lease")
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)

    async def ready(self) -> int:
        """The pid of its nanny, once it has a daemon in a ward."""
        line = await trio.to_thread.run_sync(self.process.stdout.readline)
        assert line, self.process.stderr.read().decode()
        nanny, self.ward = map(int, line.split())
        return nanny

    def sitting(self, processes) -> set[int]:
        return processes(str(self.top))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(params=[True, False], ids=["namespaces", "no namespaces"])
def start(request, short_dir):
    hosts = []

    def start(deed, *before, **rest):
        hosts.append(Host(short_dir, request.param, deed, *before, **rest))
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


def sitting(host, processes):
    """Who runs sit.py for it; the host's own arguments name the directory too."""
    return {
        pid for pid in processes(str(host.top)) if str(PROGRAMS / "sit.py").encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    }


@pytest.mark.proves("I4", "I33", "H30", "K57")
async def test_a_program_that_is_killed_leaves_nobody_and_then_its_leases_are_free(start, processes, until):
    with trio.fail_after(30):
        host = start("sit")
        nanny = await host.ready()
        assert len(sitting(host, processes)) == 2
        assert lease_state(host.lease) is LeaseState.HELD
        host.process.kill()
        host.process.wait()
        assert await wait_lease(host.lease) is LeaseState.FREE
        assert sitting(host, processes) == set()
        await until(lambda: not os.path.exists(f"/proc/{nanny}"))


@pytest.mark.proves("I4", "H30")
async def test_a_program_and_its_nanny_that_are_killed_leave_the_lease_to_the_ward(start, processes):
    with trio.fail_after(30):
        host = start("sit")
        nanny = await host.ready()
        os.kill(nanny, signal.SIGKILL)
        assert len(sitting(host, processes)) == 2
        host.process.kill()
        host.process.wait()
        assert await wait_lease(host.lease) is LeaseState.FREE
        assert sitting(host, processes) == set()


@pytest.mark.proves("I4", "H30")
async def test_a_program_and_its_ward_that_are_killed_leave_the_tree_to_the_nanny(start, processes, until):
    with trio.fail_after(30):
        host = start("sit")
        nanny = await host.ready()
        os.kill(nanny, signal.SIGSTOP)
        os.kill(host.ward, signal.SIGKILL)
        host.process.kill()
        host.process.wait()
        assert lease_state(host.lease) is LeaseState.HELD
        os.kill(nanny, signal.SIGCONT)
        assert await wait_lease(host.lease) is LeaseState.FREE
        assert sitting(host, processes) == set()
        await until(lambda: not os.path.exists(f"/proc/{nanny}"))


async def test_the_nanny_leaves_last(start, processes, until):
    with trio.fail_after(30):
        host = start("sit")
        nanny = await host.ready()
        os.kill(host.ward, signal.SIGSTOP)
        host.process.kill()
        host.process.wait()
        await trio.sleep(0.2)  # long enough for one that does not wait
        assert process_state(nanny)[0] not in "ZX"
        assert lease_state(host.lease) is LeaseState.HELD
        os.kill(host.ward, signal.SIGCONT)
        assert await wait_lease(host.lease) is LeaseState.FREE
        assert sitting(host, processes) == set()


async def test_a_program_that_is_stopped_keeps_what_it_has(start, processes):
    with trio.fail_after(30):
        host = start("sit")
        await host.ready()
        host.process.send_signal(signal.SIGSTOP)
        await trio.sleep(0.1)  # long enough for a nanny that thought it dead
        assert len(sitting(host, processes)) == 2
        assert lease_state(host.lease) is LeaseState.HELD


async def test_a_forked_copy_of_the_program_keeps_nobody_alive(start, processes, until):
    with trio.fail_after(30):
        host = start("fork")
        nanny = await host.ready()
        await until(lambda: (host.top / "copy").exists() and (host.top / "copy").read_text())
        copy = int((host.top / "copy").read_text())
        try:
            host.process.kill()
            host.process.wait()
            assert await wait_lease(host.lease) is LeaseState.FREE
            assert sitting(host, processes) == set()
            await until(lambda: not os.path.exists(f"/proc/{nanny}"))
            assert os.path.exists(f"/proc/{copy}")
        finally:
            os.kill(copy, signal.SIGKILL)


async def test_signals_that_ask_a_program_to_leave_do_not_make_its_nanny_leave_first(start, processes):
    with trio.fail_after(30):
        host = start("sit")
        nanny = await host.ready()
        for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            os.kill(nanny, sig)
        assert len(sitting(host, processes)) == 2
        assert process_state(nanny)[0] not in "ZX"


@pytest.fixture(scope="module")
def library():
    """podkit and what it imports, where everybody may read it."""
    place = Path(tempfile.mkdtemp(prefix="pk", dir="/tmp"))
    shutil.copytree(Path(podkit.__file__).parent, place / "podkit", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PROGRAMS, place / "programs")
    site = Path(trio.__file__).parent.parent
    for name in IMPORTED:
        if (site / name).is_dir():
            shutil.copytree(site / name, place / name, ignore=shutil.ignore_patterns("__pycache__", "tests", "_tests"))
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def unprivileged(short_dir, library):
    """How to start a program as nobody: what stands before it, an interpreter it may run, and an environment."""
    setpriv = shutil.which("setpriv")
    python = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), None)
    if os.geteuid() != 0 or setpriv is None or python is None:
        pytest.skip("needs the superuser, setpriv (package util-linux) and a system-wide python3")
    before = [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    short_dir.chmod(0o777)
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(library)}
    tried = subprocess.run(
        [*before, python, "-c", "import podkit._os._wards"], check=False, env=env, capture_output=True, text=True
    )
    if tried.returncode:
        pytest.skip(f"{python} cannot run podkit: {tried.stderr[-200:]}")
    return {"before": before, "python": python, "env": env}


@pytest.mark.proves("I4", "K57")
async def test_an_ordinary_user_has_the_same(start, processes, until, unprivileged):
    with trio.fail_after(30):
        host = start("sit", *unprivileged["before"], python=unprivileged["python"], env=unprivileged["env"])
        nanny = await host.ready()
        assert os.stat(f"/proc/{host.process.pid}").st_uid == NOBODY
        assert len(sitting(host, processes)) == 2
        host.process.kill()
        host.process.wait()
        assert await wait_lease(host.lease) is LeaseState.FREE
        assert sitting(host, processes) == set()
        await until(lambda: not os.path.exists(f"/proc/{nanny}"))


@pytest.mark.parametrize("level", ["advisory", "kernel", "strict"])
@pytest.mark.parametrize("namespaces", ["namespaces", "no namespaces"])
def test_an_ordinary_user_is_confined_alike(unprivileged, level, namespaces, short_dir):
    (short_dir / "w").mkdir(mode=0o777)
    (short_dir / "w").chmod(0o777)
    (short_dir / "s").mkdir()
    (short_dir / "s").chmod(0o777)
    argv = [*unprivileged["before"], unprivileged["python"], str(PROGRAMS / "once.py"), str(short_dir), level, namespaces]
    done = subprocess.run(argv, check=False, env=unprivileged["env"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    confined = level != "advisory"
    facts, tree, status, left, trouble = done.stdout.splitlines()
    assert (facts, left) == ("True", "()")
    assert tree == "namespace"
    assert (status == "0") is not confined, trouble
    assert (short_dir / "w" / "x").read_text() == "x\n"
    assert (short_dir / "s" / "x").exists() is not confined


@pytest.mark.skipif(not os.environ.get("PODKIT_LONG"), reason="waits for the patience of a ward: PODKIT_LONG=1")
@pytest.mark.proves("I4", "K57")
async def test_who_cannot_be_killed_is_named_and_keeps_the_lease(unprivileged, short_dir, until):
    """A program of another user that a set-user-ID file started: an ordinary user's ward may not signal it."""
    again = short_dir / "again"
    shutil.copyfile(unprivileged["python"], again)
    again.chmod(0o4755)
    with trio.fail_after(60):
        argv = [*unprivileged["before"], unprivileged["python"], str(PROGRAMS / "stubborn.py"), str(short_dir), str(again)]
        process = await trio.lowlevel.open_process(argv, stdout=subprocess.PIPE, env=unprivileged["env"])
        try:
            pid, name = (await process.stdout.receive_some()).split()
            assert name == b"again"
            assert lease_state(str(short_dir / "lease")) is LeaseState.HELD
            os.kill(int(pid), signal.SIGKILL)
            assert (await process.stdout.receive_some()).split() == [b"gone", b"FREE"]
        finally:
            process.kill()
            await process.wait()
            await process.stdout.aclose()
