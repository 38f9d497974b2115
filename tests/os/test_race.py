"""Against somebody who swaps things as fast as the kernel lets them: nothing out of bounds is read, written or named."""

import os
import subprocess
import sys
import time
from contextlib import closing, suppress

import pytest

from podkit._os import open_listing, open_read, open_write, remove
from podkit._os._tree import remove_tree
from podkit.errors import AccessDeniedError, PathRefusedError

SWAPPER = """
import ctypes, sys
libc = ctypes.CDLL(None)
pairs = [[name.encode() for name in pair.split(":")] for pair in sys.argv[1:]]
print("go", flush=True)
while True:
    for one, other in pairs:
        libc.renameat2(-100, one, -100, other, 2)
"""
LONG = bool(os.environ.get("PODKIT_LONG"))
SECONDS = 60.0 if LONG else 1.0


@pytest.fixture
def swapper(yard):
    yard.put("w/d/key", "mine")
    yard.put("w/k", "mine")
    os.symlink(yard.path("s"), yard.path("w/dl"))
    os.symlink(yard.path("s/key"), yard.path("w/kl"))
    pairs = [f"{yard.path(a)}:{yard.path(b)}" for a, b in [("w/d", "w/dl"), ("w/k", "w/kl")]]
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", SWAPPER, *pairs], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"go\n"
    yield
    process.kill()
    process.wait()
    process.stdout.close()


def read(yard, number):
    if number % 5 == 4:
        fd, _ = open_listing(yard.root, yard.path("w/d"), yard.judge)
        names = os.listdir(fd)
        os.close(fd)
        assert "dir" not in names
        return
    fd, _ = open_read(yard.root, yard.path("w/d/key" if number % 2 else "w/k"), yard.judge)
    try:
        content = os.read(fd, 100)
    finally:
        os.close(fd)
    assert content.startswith(b"mine"), content


def write(yard, number):
    writing = open_write(yard.root, yard.path("w/d/key" if number % 2 else "w/k"), yard.judge, size=5)
    try:
        writing.write(memoryview(b"mine%d" % (number % 10)))
    except BaseException:
        writing.abandon()
        raise
    writing.commit()


def race(yard, operation, record_property):
    """Do it over and over; what came of it, in words, is counted and reported."""
    outcomes = {"done": 0, "denied": 0, "refused": 0, "absent": 0}
    until = time.monotonic() + SECONDS
    number = 0
    while number % 64 or time.monotonic() < until:
        number += 1
        yard.asked.clear()
        try:
            operation(yard, number)
            outcome = "done"
        except AccessDeniedError:
            outcome = "denied"
        except PathRefusedError:
            outcome = "refused"
        except FileNotFoundError:
            outcome = "absent"
        outcomes[outcome] += 1
    record_property("tries", number)
    print(f"{number} tries in {SECONDS} s: {outcomes}")
    assert yard.get("s/key") == "secret"
    assert sorted(os.listdir(yard.path("s"))) == ["dir", "key"]
    assert os.listdir(yard.path("s/dir")) == ["x"]
    assert outcomes["done"] > 20, outcomes
    assert outcomes["denied"] > 20, outcomes
    return number


@pytest.mark.usefixtures("swapper")
def test_s063_a_racer_has_nothing_out_of_bounds_read(yard, record_property):
    tries = race(yard, read, record_property)
    if LONG and yard.root._kernel:
        assert tries >= 100_000


@pytest.mark.usefixtures("swapper")
def test_s064_a_racer_has_nothing_out_of_bounds_written(yard, record_property):
    race(yard, write, record_property)


@pytest.mark.usefixtures("swapper")
@pytest.mark.parametrize("whole", [False, True])
def test_removing_under_a_racer_never_reaches_out_of_bounds(yard, whole):
    until = time.monotonic() + SECONDS / 4
    while time.monotonic() < until:
        try:
            if whole:
                with closing(remove_tree(yard.root, yard.path("w/d/"), yard.judge)) as removal:
                    while removal.step():
                        pass
            else:
                remove(yard.root, yard.path("w/d/key"), yard.judge)
        except (AccessDeniedError, PathRefusedError, OSError):
            pass
        with suppress(OSError):
            os.mkdir(yard.path("w/d"))
        with suppress(OSError), open(yard.path("w/d/mine"), "x"):
            pass
        with suppress(OSError):
            os.unlink(yard.path("s/mine"))  # we put it there ourselves, through the link
    assert yard.get("s/key") == "secret"
    assert yard.get("s/dir/x") == "x"
