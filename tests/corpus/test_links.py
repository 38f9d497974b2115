"""Links, moves and files that are no files: the rows of the tables that are more than one call."""

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest
import trio

from podkit.errors import AccessDeniedError, PathRefusedError, ScopeError
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

PROGRAMS = os.path.join(os.path.dirname(__file__), "programs")
DEEP = 2000
MANY = 100_000


async def refused(ground, names, error=ScopeError):
    """Reading, writing, listing and looking at each of `names` is refused, and nothing changes."""
    before = ground.seen()
    files = ground.files
    for name in names:
        for call in (files.read_bytes(name), files.write_bytes(name, b"mine"), files.listdir(name), files.stat(name)):
            with trio.fail_after(1), pytest.raises(error):
                await call
    assert ground.seen() == before


async def test_s052_too_many_links(ground):
    for number in range(41):
        os.symlink("f" if number == 0 else f"x{number - 1}", ground.path(f"w/x{number}"))
    assert await ground.files.read_text("x39") == "in w"
    await refused(ground, ["x40"], PathRefusedError)


async def test_s053_remove_link(ground):
    await ground.files.remove("l")
    await ground.files.remove_tree("ld")
    assert not os.path.lexists(ground.path("w/l"))
    assert not os.path.lexists(ground.path("w/ld"))
    assert ground.get("s/key") == "secret"
    assert ground.get("s/dir/x") == "x"


async def test_s056_link_to_etc(ground):
    os.symlink("/etc", ground.path("w/t"))
    await refused(ground, ["t/passwd", "t"], AccessDeniedError)


async def test_s057_attributes_through_link(ground):
    before = os.stat(ground.path("s/key"))
    for name in ("l", "rl", "c1", "ld/key"):
        with pytest.raises(AccessDeniedError):
            await ground.files.write_bytes(name, b"")
    after = os.stat(ground.path("s/key"))
    assert (before.st_mode, before.st_size, before.st_mtime_ns) == (after.st_mode, after.st_size, after.st_mtime_ns)


async def test_s058_walk_of_tree(ground):
    found, left = [], [ground.path("w")]
    while left:
        at = left.pop()
        try:
            names = await ground.files.listdir(at)
        except (ScopeError, FileNotFoundError):
            continue
        found += [f"{at}/{name}" for name in names]
        left += [f"{at}/{name}" for name in names]
        assert len(found) < 1000
    assert ground.path("w/d/f") in found
    assert not [path for path in found if path.startswith(ground.path("w/ld/"))]
    assert not [path for path in found if path.startswith(ground.path("w/priv/"))]


async def test_s060_link_through_proc(ground):
    os.symlink(f"/proc/self/root{ground.path('s/key')}", ground.path("w/m"))
    await refused(ground, ["m"], PathRefusedError)


async def test_s062_maze(ground):
    long, steps, up = 247 * "d", "abcdefghijklmnop", 254 * "l"
    top = os.open(ground.path("w"), os.O_RDONLY)
    os.mkdir("maze", dir_fd=top)
    at = first = os.open("maze", os.O_RDONLY, dir_fd=top)
    fds = [top, first]
    try:
        for step in steps:
            os.mkdir(long, dir_fd=at)
            os.symlink(long, step, dir_fd=at)
            at = os.open(long, os.O_RDONLY, dir_fd=at)
            fds.append(at)
        os.symlink(len(steps) * "../", up, dir_fd=at)
        os.symlink(f"{'/'.join(steps)}/{up}/../../s", "out", dir_fd=first)
        for name in ("maze/out/key", "maze/out/new", f"maze/{'/'.join(steps)}/{up}/../../s/key"):
            with trio.fail_after(1), pytest.raises(ScopeError):
                await ground.files.read_bytes(name)
            with trio.fail_after(1), pytest.raises(ScopeError):
                await ground.files.write_bytes(name, b"mine")
    finally:
        for fd in fds:
            os.close(fd)
        shutil.rmtree(ground.path("w/maze"))
    assert ground.get("s/key") == "secret"
    assert sorted(os.listdir(ground.path("s"))) == ["dir", "key"]


class Racer:
    """Another process that exchanges two names all the time."""

    def __init__(self, ground, one, other, seconds):
        argv = [sys.executable, "-I", "-S", os.path.join(PROGRAMS, "racer.py"), ground.path(one), ground.path(other)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == b"ready\n"
        self.end = time.monotonic() + seconds

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.times = int(self.process.communicate(timeout=10)[0])

    def racing(self):
        return time.monotonic() < self.end


@pytest.mark.proves("I1", "F25")
async def test_s063_race_directory(ground, long):
    """At least 100,000 tries in a minute; here three seconds of it, unless there is time."""
    ground.put("w/x/key", "fine")
    os.symlink(ground.path("s"), ground.path("w/y"))
    seconds, tries, read = 60 if long else 3, 0, 0
    with trio.fail_after(10 * seconds), Racer(ground, "w/x", "w/y", seconds) as racer:
        while racer.racing() or tries < 100 * seconds or not 0 < read < tries:
            for _ in range(20):
                tries += 1
                try:
                    assert await ground.files.read_text("x/key") == "fine"
                    read += 1
                except (ScopeError, FileNotFoundError):
                    pass
    print(f"{tries} tries, {racer.times} exchanges")
    assert racer.times > 1000


@pytest.mark.proves("I1", "F25")
async def test_s064_race_file(ground, long):
    ground.put("w/x", "fine")
    os.symlink(ground.path("s/key"), ground.path("w/y"))
    seconds, tries, written = 60 if long else 3, 0, 0
    with trio.fail_after(10 * seconds), Racer(ground, "w/x", "w/y", seconds) as racer:
        while racer.racing() or not written:
            for _ in range(20):
                tries += 1
                try:
                    assert await ground.files.read_text("x") in ("fine", "mine")
                    await ground.files.write_text("x", "mine")
                    written += 1
                except (ScopeError, FileNotFoundError):
                    pass
            if not os.path.islink(ground.path("w/x")) and not os.path.islink(ground.path("w/y")):
                os.unlink(ground.path("w/y"))  # a write replaced the link by a file: then nothing leads out any more
                os.symlink(ground.path("s/key"), ground.path("w/y"))
    print(f"{tries} tries, {racer.times} exchanges")
    assert racer.times > 1000
    assert ground.get("s/key") == "secret"
    assert sorted(os.listdir(ground.path("s"))) == ["dir", "key"]


async def test_s065_moved_while_open(ground):
    content = 6 * 2**20 * b"x"
    async with trio.open_nursery() as nursery:

        async def write():
            with contextlib.suppress(ScopeError):  # done in the directory that it was begun in, or not at all
                await ground.files.write_bytes("d/new", content)

        nursery.start_soon(write)
        while not [name for name in os.listdir(ground.path("w/d")) if name.startswith(".podkit")]:
            await trio.lowlevel.checkpoint()
        os.rename(ground.path("w/d"), ground.path("s/d"))
        secret = ground.get("s/key")
    assert ground.get("s/key") == secret
    assert sorted(os.listdir(ground.path("s"))) == ["d", "dir", "key"]
    assert set(os.listdir(ground.path("s/d"))) <= {"f", "new"}
    await ground.files.write_text("d/later", "mine")
    assert not os.path.exists(ground.path("s/d/later"))


@pytest.mark.proves("I1", "H3")
@pytest.mark.parametrize("by", ["a link", "another directory"])
async def test_s066_replaced_target(ground, by):
    os.rename(ground.path("w"), ground.path("old"))
    if by == "a link":
        os.symlink(ground.path("s"), ground.path("w"))
    else:
        shutil.copytree(ground.path("s"), ground.path("w"))
    await refused(ground, [ground.path("w/key"), ground.path("w/dir/x"), ground.path("w")])


@pytest.mark.parametrize("by", ["a link", "another directory"])
async def test_s067_replaced_ancestor(ground, by):
    ground.put("other/w/f", "stolen")
    ground.put("other/r/f", "stolen")
    aside = f"{ground.top}-aside"
    os.rename(ground.top, aside)
    try:
        if by == "a link":
            os.symlink(f"{aside}/other", ground.top)
        else:
            shutil.copytree(f"{aside}/other", ground.top)
        for path in (f"{ground.top}/w/f", f"{ground.top}/r/f"):
            with pytest.raises(ScopeError):
                await ground.files.read_text(path)
            with pytest.raises(ScopeError):
                await ground.files.write_text(path, "mine")
    finally:
        os.unlink(ground.top) if by == "a link" else shutil.rmtree(ground.top)
        os.rename(aside, ground.top)
    assert ground.get("other/w/f") == ground.get("other/r/f") == "stolen"


@pytest.mark.proves("I1")
async def test_s068_hard_link(ground):
    os.link(ground.path("s/key"), ground.path("w/h"))
    await ground.files.write_text("h", "mine")
    assert (ground.get("w/h"), ground.get("s/key")) == ("mine", "secret")
    os.unlink(ground.path("w/h"))
    os.link(ground.path("s/key"), ground.path("w/h"))
    ground.scope = Scope.write(ground.path("w/h"))
    ground.pins = ()
    with pytest.raises(PathRefusedError):
        await ground.files.write_text("h", "mine")
    assert ground.get("s/key") == "secret"


def test_s069_foreign_mount(ground):
    if not ground.kernel:
        return  # one walk is enough: the program makes its own
    own = ["unshare", "--mount", "--propagation", "private"] + ([] if os.getuid() == 0 else ["--user", "--map-root-user"])
    if shutil.which("unshare") is None or subprocess.run([*own, "true"], check=False).returncode != 0:
        pytest.skip("unshare (apt: util-linux) cannot make a mount namespace here")
    before = ground.seen("s")
    argv = [*own, sys.executable, os.path.join(PROGRAMS, "mounted.py"), ground.top]
    done = subprocess.run(argv, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert said["False"] == {"read": "DENY PathRefusedError", "write": "DENY PathRefusedError"}
    assert said["True"] == {"read": "ALLOW", "write": "ALLOW"}, "a hole that is closed need not be documented"
    os.unlink(ground.path("s/new"))
    assert ground.seen("s") == before
    os.rmdir(ground.path("w/bm"))


async def test_s070_pipe(ground):
    os.mkfifo(ground.path("w/ff"))
    before = ground.seen()
    for call in (ground.files.read_bytes("ff"), ground.files.write_bytes("ff", b"x")):
        with trio.fail_after(1), pytest.raises(PathRefusedError, match="not a regular file"):
            await call
    assert ground.seen() == before


async def test_s071_device(ground):
    ground.scope = Scope(allow=[ScopeRule("/dev/zero", Permission.WRITE), *ground.scope.allow])
    with trio.fail_after(1), pytest.raises(PathRefusedError, match="not a regular file"):
        await ground.files.read_bytes("/dev/zero")
    with trio.fail_after(1), pytest.raises(PathRefusedError, match="not a regular file"):
        await ground.files.write_bytes("/dev/zero", b"x")


async def test_s072_sparse(ground):
    os.truncate(ground.put("w/sparse"), 2**40)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with trio.fail_after(1), pytest.raises(PathRefusedError, match="more than"):
        await ground.files.read_bytes("sparse")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


@pytest.fixture
def memory(ground):
    """A directory of the ground's scope on a file system in memory: 100,000 files on a disk take their time."""
    directory = os.path.realpath(tempfile.mkdtemp(prefix="pk", dir="/dev/shm" if os.path.isdir("/dev/shm") else "/tmp"))
    ground.scope = Scope.write(directory)
    ground.pins = ()
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


async def test_s073_many_entries(ground, memory):
    at = os.open(memory, os.O_RDONLY)
    try:
        for number in range(MANY):
            os.close(os.open(f"{number}", os.O_CREAT | os.O_WRONLY, dir_fd=at))
        began = time.thread_time()
        assert len(await ground.files.listdir(memory)) == MANY
        assert time.thread_time() - began < 2
        os.mkdir("one more", dir_fd=at)
        with pytest.raises(PathRefusedError):
            await ground.files.listdir(memory)
    finally:
        os.close(at)


async def test_s074_deep_tree(ground, memory):
    at = os.open(memory, os.O_RDONLY)
    for number in range(DEEP):
        name = "d" if number else "deep"
        os.mkdir(name, dir_fd=at)
        below = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    assert await ground.files.listdir(f"{memory}/deep" + "/d" * (DEEP - 2)) == ["d"]
    with trio.fail_after(10):
        await ground.files.remove_tree(f"{memory}/deep")
    assert os.listdir(memory) == []


async def test_s075_socket_file(ground):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(ground.path("w/sock"))
        listener.listen()
        for call in (ground.files.read_bytes("sock"), ground.files.write_bytes("sock", b"x")):
            with trio.fail_after(1), pytest.raises(PathRefusedError, match="not a regular file"):
                await call


async def test_a_whole_machine_in_scope_still_has_no_processes_in_it(ground):
    ground.scope, ground.pins = Scope.read("/"), ()
    assert ground.scope.at("/proc/self/environ") is Permission.READ
    for call in (ground.files.read_bytes("/proc/self/environ"), ground.files.listdir("/proc")):
        with pytest.raises(PathRefusedError):
            await call
    assert "proc" in await ground.files.listdir("/")
