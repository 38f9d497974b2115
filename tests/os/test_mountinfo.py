"""The table of mounts, read from the kernel that keeps it."""

import subprocess
import sys

import pytest

from podkit._os import _mountinfo as room
from podkit._os._mountinfo import mounts
from podkit.logic import Scope
from podkit.logic._mounts import Mount, where

# Binds directories of a small tree onto each other in a mount namespace of its own, in any order, moves one mount over another, and
# asks of every pair of names: are they one object for the kernel exactly when they are one place for us?
PROGRAM = """
import ctypes, itertools, os, random, sys, tempfile
from podkit._os._mountinfo import mounts
from podkit.logic import Scope
from podkit.logic._mounts import where

libc = ctypes.CDLL(None, use_errno=True)
def check(answer):
    if answer != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
NEWNS, NEWUSER, BIND, REC, PRIVATE, MOVE = 0x20000, 0x10000000, 0x1000, 0x4000, 1 << 18, 0x2000
try:
    check(libc.unshare(NEWNS if os.geteuid() == 0 else NEWNS | NEWUSER))
    check(libc.mount(b"none", b"/", None, REC | PRIVATE, None))
except OSError as error:
    print("cannot", error); sys.exit(3)
chance = random.Random(int(sys.argv[1]))
top = sys.argv[2]
pairs = 0
for number in range(12):
    grounds = f"{top}/{number}"
    names = ["/".join(p) for depth in (1, 2, 3) for p in itertools.product("ab", repeat=depth)]
    for name in names:
        os.makedirs(f"{grounds}/{name}", exist_ok=True)
    done = []
    for step in range(chance.randrange(1, 6)):
        source, target = (f"{grounds}/{chance.choice(names)}".encode() for _ in "st")
        kind = chance.randrange(6)
        try:
            if kind == 0:
                check(libc.mount(b"none", target, b"tmpfs", 0, None))
                for name in names:
                    os.makedirs(f"{target.decode()}/{name}", exist_ok=True)
                done.append(target)
            elif kind == 1 and done:
                check(libc.mount(chance.choice(done), target, None, MOVE, None))
            else:
                check(libc.mount(source, target, None, BIND | (REC if kind == 2 else 0), None))
                done.append(target)
        except OSError:
            pass  # onto itself, into itself: the kernel has its reasons
    seen = mounts()
    objects, places = {}, {}
    for at, below, _ in os.walk(grounds):
        info = os.stat(at)
        objects[at] = info.st_dev, info.st_ino
        places[at] = where(Scope.read(at), seen).allow[0].target
    for one, other in itertools.combinations(objects, 2):
        assert (objects[one] == objects[other]) == (places[one] == places[other]), (one, other, places[one], places[other])
        pairs += objects[one] == objects[other]
print(pairs)
"""


def test_the_mounts_of_this_process_are_read():
    if sys.platform != "linux":
        assert mounts() is None
        return
    found = mounts()
    assert found is not None
    assert any(mount.point == "/" for mount in found)
    assert len(where(Scope.write("/proc"), found).allow) >= 1


def test_elsewhere_and_without_proc_nothing_is_known(monkeypatch, tmp_path):
    assert mounts(str(tmp_path / "none")) is None
    monkeypatch.setattr(room.sys, "platform", "darwin")
    assert mounts() is None


def test_odd_bytes_in_a_name_keep_nothing_from_being_read(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_bytes(b"27 1 8:1 / / rw - a b c\n28 27 8:2 /\xff /\xfe\xc3\xa9\r rw - a b c\n")
    assert mounts(str(path)) == (Mount("8:1", "/", "/"), Mount("8:2", "/\\xff", "/\\xfeé\r"))


def test_a_table_too_large_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "mountinfo"
    path.write_text("27 1 8:1 / / rw - a b c\n")
    monkeypatch.setattr(room, "_MAX_BYTES", 10)
    with pytest.raises(ValueError, match="at most 10"):
        mounts(str(path))


class Restless:
    """A poll that says that the table changed while it was read, the first `times` times."""

    left = 0

    def register(self, file, events):
        pass

    def poll(self, timeout):
        Restless.left -= 1
        return [(0, room.select.POLLPRI | room.select.POLLERR)] if Restless.left >= 0 else []


@pytest.mark.parametrize(("times", "good"), [(3, True), (8, False)])
def test_a_table_that_changes_while_it_is_read_is_read_again(monkeypatch, tmp_path, times, good):
    path = tmp_path / "mountinfo"
    path.write_text("27 1 8:1 / / rw - a b c\n")
    monkeypatch.setattr(room.select, "poll", Restless)
    Restless.left = times
    if good:
        assert mounts(str(path)) == (Mount("8:1", "/", "/"),)
    else:
        with pytest.raises(ValueError, match="faster"):
            mounts(str(path))


@pytest.mark.proves("I1")
@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")
@pytest.mark.parametrize("seed", [1, 2])
def test_two_names_are_one_place_exactly_when_they_are_one_object_for_the_kernel(seed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(seed), str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode == 3:
        pytest.skip(f"no mount namespaces here: {done.stdout}")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20, "hardly any two names of one object"
