"""The one way of the registry, leases and private directories to the disk."""

import ast
import errno
import inspect
import os
from pathlib import Path

import portalocker
import pytest

import podkit
from podkit._os import _disk
from podkit._os._disk import Disk

ROOM = Path(podkit.__file__).parent
FILES = [*sorted(ROOM.glob("_store/*.py")), *(ROOM / "_os" / name for name in ("_lease.py", "_dirs.py"))]
ALLOWED = {
    "path",
    "PathLike",
    "fspath",
    "fsencode",
    "geteuid",
    "getpid",
    "environ",
    "register_at_fork",
    "sched_yield",
    "set_inheritable",
}
PATH = {"join", "abspath", "basename", "dirname", "split", "isabs", "samestat"}


def around_the_disk(source):
    """What a file does with files without going through a Disk."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id in ("open", "io"):
            yield node.id
        of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
        if of_os and node.attr not in ALLOWED and not node.attr.startswith(("O_", "SEEK_", "stat_result")):
            yield f"os.{node.attr}"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os.path" and node.attr not in PATH:
            yield f"os.path.{node.attr}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            yield from sorted(names & {"pathlib", "shutil", "io", "fcntl", "portalocker"}, key=str)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nobody_reaches_the_disk_but_through_a_disk(file):
    found = set(around_the_disk(file.read_text()))
    if file.name == "_file_registry.py":
        found -= {"os.stat", "os.path.isdir"}
    if file.name == "_dirs.py":
        found -= {"os.path.islink"}  # for the wording of a refusal
    assert found == set()


CHANGES = ("open", "write", "pwrite", "truncate", "ftruncate", "mkdir", "mkfifo", "rename", "replace", "rmdir", "unlink")
CHANGES += ("remove", "link", "symlink", "fchmod", "chmod", "fchown", "chown", "fsync", "fdatasync", "posix_fallocate", "utime")
WITHOUT = {
    "_os/_boot.py",  # reads /proc
    "_os/_disk.py",
    "_os/_files.py",  # files in a scope: calls on descriptors that the walk has judged
    "_os/_mountinfo.py",
    "_os/_network.py",
    "_os/_openat2.py",
    "_os/_pidfd.py",
    "_os/_resolve.py",
    "_os/_targets.py",
    "_os/_tree.py",
    "_os/_walk.py",
    "_os/_wrap.py",  # in a ward: a program of its own, with the standard library only
    "_os/_write.py",
    "_os/_fds.py",  # pipes
    "_os/_wards.py",
    "_life/_scratch.py",
    "confinement/_environment.py",
    "testing/_check_launcher_ground.py",  # a test's own files
}


def test_which_files_change_or_open_anything_without_a_disk_is_a_list():
    """A new one goes through `Disk`, or says here why it cannot."""
    found = set()
    for file in sorted(ROOM.rglob("*.py")):
        calls = {call.removeprefix("os.") for call in around_the_disk(file.read_text())}
        if calls & set(CHANGES):
            found.add(file.relative_to(ROOM).as_posix())
    assert {name for name in found if not name.startswith("_os/_kernel/")} == WITHOUT


def test_a_way_around_the_disk_is_found():
    for bad in (
        "open('x')",
        "os.open('x', 0)",
        "os.rename(a, b)",
        "os.fsync(1)",
        "os.path.exists(a)",
        "import fcntl",
        "os.write(1, b'')",
    ):
        assert list(around_the_disk(bad)), bad
    assert not list(around_the_disk("disk.open('x'); os.path.join(a, b); os.O_RDWR; os.geteuid()"))


def test_a_disk_does_what_the_system_does(top):
    disk, path = Disk(), f"{top}/f"
    fd = disk.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    assert disk.write(fd, b"hello") == 5
    assert disk.pread(fd, 99, 1) == b"ello"
    disk.truncate(fd, 2)
    disk.sync(fd)
    disk.sync_dir(top)
    disk.chmod(fd, 0o640)
    assert (disk.fstat(fd).st_size, disk.lstat(path).st_mode & 0o777) == (2, 0o640)
    other = disk.open(path, os.O_RDWR)
    assert disk.pwrite(other, b"X", 0) == 1
    assert disk.lock(fd)
    assert not disk.lock(other)
    disk.unlock(fd)
    assert disk.lock(other)
    disk.close(other)
    assert disk.lock(fd)
    disk.rename(path, f"{top}/g")
    disk.mkfifo(f"{top}/p")
    disk.mkdir(f"{top}/d")
    assert sorted(disk.listdir(top)) == ["d", "g", "p"]
    at = disk.open(top, os.O_RDONLY | os.O_DIRECTORY)
    disk.rmdir("d", dir_fd=at)
    disk.unlink("p", dir_fd=at)
    assert disk.listdir(top) == ["g"]
    disk.close(at)
    disk.close(fd)


def test_claims_are_seen_by_others_and_end_with_the_descriptor(top):
    disk = Disk()
    one, two = (disk.open(f"{top}/f", os.O_RDWR | os.O_CREAT) for _ in range(2))
    far = 2**62
    assert disk.claim(one, far)
    assert not disk.claim(two, far)
    assert disk.claim(two, far + 5)
    assert disk.first_claim(two, 0, far + 9) == far  # our own do not count
    assert disk.first_claim(one, 0, far + 9) == far + 5
    assert disk.first_claim(two, far + 1, far + 9) is None
    assert disk.first_claim(two, 9, 9) is None
    os.close(os.open(f"{top}/f", os.O_RDWR))  # unlike a lock of lockf this stays when the program opens and closes the file
    assert disk.first_claim(two, 0, far + 9) == far
    disk.disclaim(one, far)
    assert disk.first_claim(two, 0, far + 9) is None
    disk.close(two)
    assert disk.first_claim(one, 0, far + 9) is None
    disk.close(one)


def test_the_lowest_claim_is_found_in_whatever_order_they_were_made(top):
    disk = Disk()
    one, two, three = (disk.open(f"{top}/f", os.O_RDWR | os.O_CREAT) for _ in range(3))
    assert disk.claim(one, 15)
    assert disk.claim(two, 5)
    assert disk.claim(two, 6)
    assert disk.first_claim(three, 0, 20) == 5
    assert disk.first_claim(three, 6, 20) == 6
    assert disk.first_claim(three, 7, 20) == 15
    assert disk.first_claim(two, 0, 20) == 15
    for fd in (one, two, three):
        disk.close(fd)


def test_without_claims_everybody_may_and_nobody_is_seen(monkeypatch):
    monkeypatch.setattr(_disk, "_HAS_CLAIMS", False)
    assert Disk().claim(-1, 5)
    Disk().disclaim(-1, 5)
    assert Disk().first_claim(-1, 0, 9) is None


def test_a_lock_that_the_system_refuses_is_an_os_error(monkeypatch, top):
    def refuse(*_args):
        raise portalocker.LockException("no locks left")

    monkeypatch.setattr(portalocker, "lock", refuse)
    monkeypatch.setattr(portalocker, "unlock", refuse)
    for call in (Disk().lock, Disk().unlock):
        with pytest.raises(OSError, match="no locks left"):
            call(0)


def test_a_system_without_fdatasync_syncs_all(monkeypatch, top):
    synced = []
    monkeypatch.delattr(os, "fdatasync", raising=False)
    monkeypatch.setattr(os, "fsync", synced.append)
    Disk().sync(7)
    assert synced == [7]


def test_every_call_of_a_disk_raises_os_errors_and_decides_nothing():
    for name, method in inspect.getmembers(Disk, inspect.isfunction):
        if not name.startswith("_"):
            assert method.__doc__, name
    with pytest.raises(OSError) as caught:  # noqa: PT011 - by its number
        Disk().fstat(-1)
    assert caught.value.errno == errno.EBADF
