"""Real programs, killed by the kernel at a chosen system call, or given an error by it: strace does both."""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest
import trio

from podkit._store import FileRegistry

LONG = "PODKIT_LONG" in os.environ
STRACE = shutil.which("strace")
needs_strace = pytest.mark.skipif(STRACE is None, reason="strace is not installed (apt install strace)")

# a program that forks one worker for every line it reads, lets it be traced, and tells how it ended and how far it came
SERVER = """
import json, mmap, os, sys, time
import portalocker, trio
from podkit._store import FileRegistry
from podkit.errors import RegistryError
from podkit.logic import Scope, decide_adopt, decide_birth, decide_free, decide_root, encode_fact, snapshot

def rows(table):
    return {f"{row.tree}/{row.name}": [row.incarnation, row.state.value] for row in table}

async def work(directory, durable, told):
    registry = FileRegistry(directory, durable=durable, lock_timeout=2.0)
    async def change(decide):
        told(rows(await registry.transact(decide)))
    def root(name):
        return lambda table: decide_root(table, name=name, tree=name, incarnation="i-" + name, scope=Scope.write("/" + name),
                                         address="memory://x", since=1.0)
    leases = [await registry.hold("a.i-a")]
    await change(root("a"))
    leases.append(await registry.hold("b.i-b"))
    await change(lambda table: decide_birth(table, parent="i-a", name="b", incarnation="i-b", scope=Scope.write("/a/b"),
                                            address="memory://x", since=1.0))
    await change(lambda table: decide_adopt(table, name="b", incarnation="i-b"))
    table = await registry.rows()
    await registry.compact(table.sequence, [encode_fact(fact) for fact in snapshot(table, author="x")])
    await change(lambda table: decide_free(table, incarnation="i-b", author="i-b"))
    leases.pop().release()
    await registry.forget("b.i-b")
    leases.append(await registry.hold("c.i-c"))
    await change(root("c"))
    leases.pop().release()
    await registry.sweep()
    told(rows(await registry.rows()))

def worker(directory, durable, count):
    def told(state):
        count[0] += 1
    status = os.open("/proc/self/status", os.O_RDONLY)
    try:
        while b"TracerPid:\\t0" in os.pread(status, 4096, 0):
            time.sleep(0.0005)
    except OSError:
        pass  # an error that is meant for us: we are traced
    try:
        trio.run(work, directory, durable, told)
    except RegistryError:
        return 3
    return 0

sys.stdout.write("ready\\n"); sys.stdout.flush()
for line in sys.stdin:
    directory, durable, trace = json.loads(line)
    if not trace:
        states = []
        trio.run(work, directory, durable, states.append)
        print(json.dumps(states), flush=True)
        continue
    count = mmap.mmap(-1, 4096)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = worker(directory, durable, count)
        except BaseException as error:
            os.write(2, repr((error, error.__traceback__.tb_lineno)).encode() + b"\\n")
        finally:
            os._exit(code)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(json.dumps([os.waitstatus_to_exitcode(status), count[0]]), flush=True)
"""


class Server:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.read() == "ready"
        self.top = tempfile.mkdtemp(prefix="pk", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.states = {durable: [{}, *json.loads(self.ask(durable, trace=False))] for durable in (False, True)}

    def read(self):
        return self.process.stdout.readline().strip()

    def ask(self, durable, *, trace):
        self.directory = tempfile.mkdtemp(prefix="r", dir=self.top)
        self.process.stdin.write(json.dumps([self.directory, durable, trace]) + "\n")
        self.process.stdin.flush()
        return self.read()

    def run(self, calls, what="", *, durable):
        """One worker, with `what` done to some of these calls: (exit code, changes confirmed)."""
        pid = self.ask(durable, trace=True)
        self.trace = os.path.join(self.directory, "trace")
        inject = ["-e", f"inject={calls}:{what}"] if what else []
        tracer = subprocess.Popen(
            [STRACE, "-qq", "-o", self.trace, "-e", f"trace={calls}", *inject, "-p", pid],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, complaint = tracer.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.kill(int(pid), signal.SIGKILL)
            tracer.communicate()
            raise
        if tracer.returncode and not complaint.startswith(b"+++"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        code, count = json.loads(self.read())
        if b"ptrace" in complaint or b"attach" in complaint:
            pytest.skip(f"strace may not trace here: {complaint.decode()}")
        return code, count

    def count(self, calls, *, durable):
        """How often a worker that nothing happens to makes these calls."""
        assert self.run(calls, durable=durable) == (0, len(self.states[durable]) - 1)
        with open(self.trace) as file:
            return sum("(" in line for line in file)

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()
        self.process.stderr.close()
        shutil.rmtree(self.top)


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.close()


def rows(table):
    return {f"{row.tree}/{row.name}": [row.incarnation, row.state.value] for row in table}


async def check(server, confirmed, *, durable):
    """What every other program finds afterwards."""
    where = os.path.join(server.directory, ".registry")
    if os.path.exists(os.path.join(where, "lock")):
        fd = os.open(os.path.join(where, "lock"), os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the dead hold nothing
        os.close(fd)
    registry = FileRegistry(server.directory, durable=durable)
    with trio.fail_after(30):
        table = await registry.rows()
    states = server.states[durable]
    allowed = states[confirmed : confirmed + 2]
    if confirmed == len(states) - 2:
        allowed.append({})  # the last change is a sweep, of two rows
        allowed += [{name: row} for name, row in states[confirmed].items()]
    assert rows(table) in allowed
    assert table.refused == 0
    logs = [name for name in os.listdir(where) if name.startswith("log")]
    assert len(logs) == 1, logs
    assert not logs[0].endswith(".new")
    registry._log.close()
    shutil.rmtree(server.directory)


CALLS = {  # system call -> every how many of its occurrences in CI
    "write": 1,
    "pwrite64": 1,
    "ftruncate": 1,
    "rename,renameat,renameat2": 1,
    "openat": 1,
    "unlink,unlinkat": 1,
    "mknod,mknodat": 1,
    "mkdir,mkdirat": 1,
    "flock": 1,
    "fdatasync,fsync": 1,
    "newfstatat": 2,
    "fcntl": 2,
    "pread64": 3,
    "close": 3,
    "getdents64": 1,
}


@needs_strace
@pytest.mark.proves("I9", "I11", "H6", "I31")
async def test_a_program_killed_at_any_system_call_leaves_a_registry_that_goes_on(server, record_property):
    kills = {}
    for calls, step in CALLS.items():
        for durable in (True, False) if LONG else (True,):
            at = 1
            while True:
                code, confirmed = server.run(calls, f"signal=KILL:when={at}", durable=durable)
                try:
                    await check(server, confirmed, durable=durable)
                except BaseException as error:
                    error.add_note(f"killed at {calls} number {at}, {confirmed} changes confirmed")
                    raise
                if code == 0:
                    break
                assert code == -signal.SIGKILL
                kills[calls] = kills.get(calls, 0) + 1
                at += 1 if LONG else step
    record_property("kills", sum(kills.values()))
    print(f"{sum(kills.values())} kills: {kills}")
    assert sum(kills.values()) >= 150


ERRORS = [("write", "ENOSPC"), ("pwrite64", "ENOSPC"), ("openat", "EMFILE"), ("rename", "EROFS"), ("mknod,mknodat", "ENOSPC")]
ERRORS += [("fdatasync", "EIO"), ("pread64", "EIO"), ("flock", "ENOLCK"), ("unlink", "EROFS")]


@needs_strace
@pytest.mark.proves("I9", "I31")
@pytest.mark.parametrize(("calls", "errno"), ERRORS)
async def test_an_error_of_any_system_call_is_an_error_of_the_registry(server, calls, errno):
    for at in range(1, server.count(calls, durable=True) + 1, 1 if LONG else 4):
        for more in ("", "+"):
            code, confirmed = server.run(calls, f"error={errno}:when={at}{more}", durable=True)
            assert code in (0, 3), server.process.stderr.readline()
            try:
                await check(server, confirmed, durable=True)
            except BaseException as error:
                error.add_note(f"{errno} at {calls} number {at}{more}, {confirmed} changes confirmed")
                raise
