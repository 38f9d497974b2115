"""A disk that fails, or dies, at one call; and the workflows that are run on it at every one of their calls."""

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import stat
import subprocess
import tempfile

import attrs
import pytest
import trio

from podkit._os._disk import Disk
from podkit._os._ids import now
from podkit._store import FileRegistry, _file_registry, inspect
from podkit._store._log_files import LogFiles
from podkit.logic import Scope, decide_adopt, decide_birth, decide_free, decide_root, encode_fact, snapshot

CALLS = [name for name in vars(Disk) if not name.startswith("_")]
ERRORS = {"enospc": errno.ENOSPC, "eio": errno.EIO, "eintr": errno.EINTR, "emfile": errno.EMFILE, "erofs": errno.EROFS}


class Killed(BaseException):
    """The program ended here."""


@attrs.frozen
class Fault:
    """`kind` at call number `at`, and with `lasting` at every one after it."""

    kind: str
    at: int
    lasting: bool = False

    def strikes(self, call):
        return call >= self.at if self.lasting else call == self.at


class FaultyDisk(Disk):
    """Works like a disk until the fault; once killed it does nothing more. `fired` says whether the fault made any difference."""

    def __init__(self, fault=None):
        self.fault, self.calls, self.dead, self.fired = fault, 0, False, False
        self.fds = set()
        self.trace = []

    def bury(self):
        """What the kernel does for a program that died: close its files."""
        self.dead, self.fault = False, None
        for fd in tuple(self.fds):
            self.close(fd)

    def _do(self, name, real, args, more):
        if self.dead:
            raise Killed
        self.calls += 1
        self.trace.append(name)
        if self.fault is None or not self.fault.strikes(self.calls):
            return self._keep(name, real(self, *args, **more), args)
        return self._fail(name, real, args, more)

    def _fail(self, name, real, args, more):
        kind = self.fault.kind
        if kind.startswith("short"):
            if name not in ("write", "pwrite"):
                return self._keep(name, real(self, *args, **more), args)
            self.fired = True
            fd, data, *rest = args
            return real(self, fd, data[:1] if kind == "short-1" else data[:-1], *rest)
        self.fired = True
        if kind == "kill-after":
            with contextlib.suppress(OSError):
                self._keep(name, real(self, *args, **more), args)
        if kind.startswith("kill"):
            self.dead = True
            raise Killed
        if name == "close":  # the descriptor is gone whatever the kernel answers
            self._keep(name, real(self, *args, **more), args)
        raise OSError(ERRORS[kind], os.strerror(ERRORS[kind]))

    def _keep(self, name, result, args):
        if name == "open":
            self.fds.add(result)
        elif name == "close":
            self.fds.discard(args[0])
        return result


def _through(name):
    real = getattr(Disk, name)
    return lambda self, *args, **more: self._do(name, real, args, more)


for _name in CALLS:
    setattr(FaultyDisk, _name, _through(_name))


def rows(table):
    return {f"{row.tree}/{row.name}": (row.incarnation, row.state.value, row.parent) for row in table}


class Run:
    """One run of a workflow: what it opened and holds, and the table after each change it was told of."""

    def __init__(self, directory, disk, *, durable=False):
        self.directory, self.disk, self.durable = directory, disk, durable
        self.leases = []
        self.states = []
        self.registry = None

    def open(self):
        self.registry = FileRegistry(self.directory, _disk=self.disk, durable=self.durable, lock_timeout=1.0)
        return self.registry

    async def hold(self, key):
        self.leases.append(await self.registry.hold(key))
        return self.leases[-1]

    async def change(self, decide):
        self.states.append(rows(await self.registry.transact(decide)))

    async def root(self, name="root", target="/w", incarnation=None):
        incarnation = incarnation or f"i-{name}"
        lease = await self.hold(f"{name}.{incarnation}")
        scope = Scope.write(target)
        await self.change(
            lambda table: decide_root(
                table, name=name, tree=name, incarnation=incarnation, scope=scope, address="memory://x", since=1.0
            )
        )
        return lease

    async def child(self, name, parent="i-root", target="/w/a"):
        lease = await self.hold(f"{name}.i-{name}")
        scope = Scope.write(target)
        await self.change(
            lambda table: decide_birth(
                table, parent=parent, name=name, incarnation=f"i-{name}", scope=scope, address="memory://x", since=1.0
            )
        )
        await self.change(lambda table: decide_adopt(table, name=name, incarnation=f"i-{name}"))
        return lease

    def end(self):
        """The program is gone, whatever it was at."""
        self.disk.dead, self.disk.fault = False, None
        for lease in self.leases:
            with contextlib.suppress(Killed):
                lease.release()
        if self.registry is not None:
            self.registry._log.close()


async def nothing(run):
    pass


async def one_root(run):
    run.open()
    await run.root()


async def dead_root(run):
    lease = await one_root(run) or run.leases[-1]
    lease.release()


async def family(run):
    await one_root(run)
    await run.child("a")


async def open_new(run):
    run.open()
    run.states.append(rows(await run.registry.rows()))


async def register_root(run):
    run.open()
    await run.root("b", "/v")


async def bear(run):
    run.open()
    await run.child("c", target="/w/c")


async def release(run):
    run.open()
    await run.change(lambda table: decide_free(table, incarnation="i-a", author="i-a"))
    await run.registry.forget("a.i-a")


async def reclaim(run):
    run.open()
    await run.root("b", "/w")


async def bear_and_free(run):
    run.open()
    await run.child("c", target="/w/c")
    await run.change(lambda table: decide_free(table, incarnation="i-c", author="i-c"))
    run.leases.pop().release()
    await run.registry.forget("c.i-c")


async def compact(run):
    run.open()
    table = await run.registry.rows()
    assert await run.registry.compact(table.sequence, [encode_fact(fact) for fact in snapshot(table, author="x")])
    run.states.append(rows(await run.registry.rows()))


async def hand_over(run):
    run.open()
    lease = await run.hold("x.1")
    again = run.registry.lease_from_fd("x.1", os.dup(lease.fd))
    run.leases.append(again)
    lease.release()
    assert await run.registry.held("x.1")
    again.release()
    with trio.move_on_after(0.05):  # what cannot be looked at is never gone
        await run.registry.gone("x.1")
    await run.registry.forget("x.1")
    run.states.append(rows(await run.registry.rows()))


async def look(run):
    run.open()
    str(await inspect(run.registry))
    run.states.append(rows(await run.registry.rows()))


async def sweep(run):
    run.open()
    run.states.append(rows(await run.registry.rows()))
    await run.registry.sweep()
    run.states.append(rows(await run.registry.rows()))


async def swept(run):
    await dead_root(run)
    os.mkfifo(os.path.join(run.directory, ".leases", "old.1"), 0o600)
    os.utime(os.path.join(run.directory, ".leases", "old.1"), (now() - 999, now() - 999))


async def crashed(run):
    """Half a record, an anchor that is behind, half a compaction and one that was never vouched for."""
    run.open()
    files = LogFiles(os.path.join(run.directory, ".registry"))
    await run.root("a", "/a")
    with open(os.path.join(files.directory, "lock"), "rb") as file:
        anchor = file.read()
    await run.root("b", "/b")
    shutil.copy(files.path(1), files.path(2))
    with open(files.path(2), "rb") as file:
        header = file.readline()
    with open(files.path(2), "wb") as file:
        file.write(header)
    with open(files.path(3) + ".new", "wb") as file:
        file.write(b"half")
    with open(files.path(1), "ab") as file:
        file.write(b"0123 half a rec")
    with open(os.path.join(files.directory, "lock"), "wb") as file:
        file.write(anchor)


async def recover(run):
    run.open()
    await run.root("c", "/c")


async def damaged(run):
    await dead_root(run)
    with open(os.path.join(run.directory, ".registry", "log.1"), "r+b") as file:
        file.write(b"junk")
    run.states.append({})


async def earlier_boot(run):
    _file_registry.boot_id, real = (lambda: "an-earlier-boot"), _file_registry.boot_id
    try:
        await dead_root(run)
    finally:
        _file_registry.boot_id = real
    run.states.append({})


WORKFLOWS = {
    "open a new registry": (nothing, open_new),
    "register a root": (one_root, register_root),
    "bear a child": (family, bear),
    "release a child": (family, release),
    "reclaim what a dead pod held": (dead_root, reclaim),
    "bear and free": (one_root, bear_and_free),
    "compact": (family, compact),
    "begin after a restart": (earlier_boot, open_new),
    "hand a lease over": (one_root, hand_over),
    "inspect": (family, look),
    "sweep": (swept, sweep),
    "recover from a crash": (crashed, recover),
    "put damage aside": (damaged, open_new),
}
DURABLE = ("open a new registry", "register a root", "compact", "begin after a restart", "put damage aside")


class Ground:
    """A directory with its setup done by a program that may live on."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="pk", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        self.before = Run(self.directory, Disk())

    def lock_is_free(self):
        try:
            fd = os.open(os.path.join(self.directory, ".registry", "lock"), os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True

    def litter(self):
        """What is in the registry's directory beside the lock, one log and evidence."""
        logs = [name for name in os.listdir(os.path.join(self.directory, ".registry")) if name.startswith("log.")]
        plain = [name for name in logs if name.count(".") == 1]
        return [name for name in logs if name.endswith(".new")] + sorted(plain)[:-1]

    def remove(self):
        self.before.end()
        shutil.rmtree(self.directory)


# A loss of power: what was written and not synced may be there or not, each by itself.


@attrs.frozen
class Op:
    """`kind` is data ("write", "cut") of a file, or a change of a name ("name", "unname") in a directory."""

    kind: str
    file: int
    where: str = ""
    at: int = 0
    data: bytes = b""


class PowerDisk(Disk):
    """Works, and writes down in `ops` what it did, and between that what was synced, as ("sync", x)."""

    def __init__(self):
        self.ops = []
        self.paths = {}

    def _id(self, fd):
        return os.fstat(fd).st_ino

    def open(self, path, flags, mode=0o600, *, dir_fd=None):
        new = flags & os.O_CREAT and not os.path.lexists(path)
        fd = super().open(path, flags, mode, dir_fd=dir_fd)
        if stat.S_ISREG(os.fstat(fd).st_mode):
            if new:
                self.ops.append(Op("name", self._id(fd), path))
            elif flags & os.O_TRUNC:
                self.ops.append(Op("cut", self._id(fd)))
        return fd

    def write(self, fd, data):
        at = os.fstat(fd).st_size
        written = super().write(fd, data)
        self.ops.append(Op("write", self._id(fd), at=at, data=data))
        return written

    def pwrite(self, fd, data, at):
        self.ops.append(Op("write", self._id(fd), at=at, data=data))
        return super().pwrite(fd, data, at)

    def truncate(self, fd, size):
        self.ops.append(Op("cut", self._id(fd), at=size))
        super().truncate(fd, size)

    def rename(self, old, new):
        file = os.lstat(old).st_ino
        super().rename(old, new)
        self.ops += [Op("rename", file, new, data=old.encode())]

    def unlink(self, path, *, dir_fd=None):
        file = os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
        super().unlink(path, dir_fd=dir_fd)
        if stat.S_ISREG(file.st_mode):
            self.ops.append(Op("unname", file.st_ino, path))

    def sync(self, fd):
        self.ops.append(("sync", self._id(fd)))

    def sync_dir(self, path):
        self.ops.append(("sync", path))


def survivors(ops):
    """What is on the disk for certain after these operations, and what may be."""
    certain, pending = [], []
    for op in ops:
        if isinstance(op, tuple):
            settled = [o for o in pending if op[1] == (o.file if o.kind in ("write", "cut") else os.path.dirname(o.where))]
            certain += settled
            pending = [o for o in pending if o not in settled]
        else:
            pending.append(op)
    return certain, pending


def choices(pending, rng, most, samples):
    """Ways to keep a part of what is pending: all of them when they are few, else some, with all and nothing among them."""
    recent = pending[-most:]
    older = pending[: -most or None] if len(pending) > most else []
    ways = [tuple(way) for way in itertools.product((0, 1), repeat=len(recent))]
    if len(ways) > samples:
        ways = [ways[0], ways[-1], *rng.sample(ways, samples)]
    for way in ways:
        yield [*older, *(op for op, keep in zip(recent, way, strict=True) if keep)]
    for op in recent:
        if op.kind == "write" and len(op.data) > 1:  # torn
            yield [*older, *(attrs.evolve(o, data=o.data[: len(o.data) // 2]) if o is op else o for o in recent)]


class Picture:
    """The files of a directory as values."""

    def __init__(self, directory):
        self.directory = directory
        self.names, self.files = {}, {}
        for at, _, names in os.walk(directory):
            for name in names:
                path = os.path.join(at, name)
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode):
                    self.names[path] = info.st_ino
                    with open(path, "rb") as file:
                        self.files[info.st_ino] = file.read()

    def after(self, ops):
        """The files there would be when just these operations were done: path below the directory -> content."""
        names, files = dict(self.names), dict(self.files)
        for op in ops:
            content = files.get(op.file, b"")
            if op.kind == "write":
                content = content.ljust(op.at, b"\0")
                files[op.file] = content[: op.at] + op.data + content[op.at + len(op.data) :]
            elif op.kind == "cut":
                files[op.file] = content[: op.at].ljust(op.at, b"\0")
            elif op.kind == "unname":
                names.pop(op.where, None)
            else:
                names[op.where] = op.file
                names.pop(op.data.decode(), None)
        return {os.path.relpath(path, self.directory): files.get(file, b"") for path, file in names.items()}


@pytest.fixture
def small():
    """A file system of 64 pages."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a tmpfs needs root (and the program mount: apt install mount)")
    path = tempfile.mkdtemp(prefix="pk")

    options = f"size={64 * os.sysconf('SC_PAGE_SIZE')},mode=0700"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        os.rmdir(path)
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)
    os.rmdir(path)


@pytest.fixture
def crash():
    """The classes and workflows of this file, since tests import nothing from each other."""
    return __import__("types").SimpleNamespace(
        Disk=FaultyDisk,
        Fault=Fault,
        Run=Run,
        Ground=Ground,
        Killed=Killed,
        WORKFLOWS=WORKFLOWS,
        rows=rows,
        PowerDisk=PowerDisk,
        Picture=Picture,
        survivors=survivors,
        choices=choices,
    )


def pytest_generate_tests(metafunc):
    if "workflow" in metafunc.fixturenames:
        cases = [(name, False) for name in WORKFLOWS] + [(name, True) for name in DURABLE]
        ids = [name.replace(" ", "-") + ("-durable" if durable else "") for name, durable in cases]
        metafunc.parametrize(("workflow", "durable"), cases, ids=ids)
