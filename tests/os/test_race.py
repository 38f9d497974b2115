"""Against somebody who swaps things as fast as the kernel lets them: nothing out of bounds is read, written or named."""

import os
import subprocess
import sys
import time

import pytest

from podkit._os import open_listing, open_read, open_write, remove
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
SECONDS = 2.0


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


def attempt(yard, number):
    """One operation; its outcome in a word."""
    match number % 5:
        case 0 | 1:
            name = "w/d/key" if number % 2 else "w/k"
            fd, _ = open_read(yard.root, yard.path(name), yard.judge)
            with open(fd, "rb") as file:
                content = file.read()
            assert content.startswith(b"mine"), content
        case 2 | 3:
            name = "w/d/key" if number % 2 else "w/k"
            writing = open_write(yard.root, yard.path(name), yard.judge, size=5)
            try:
                writing.write(memoryview(b"mine%d" % (number % 10)))
            finally:
                writing.commit()
        case _:
            fd, _ = open_listing(yard.root, yard.path("w/d"), yard.judge)
            names = os.listdir(fd)
            os.close(fd)
            assert "dir" not in names
    return "done"


def test_a_racer_gets_nothing_out_of_bounds(yard, swapper):
    before = {"key": "secret", "dir": ["x"]}
    outcomes = {"done": 0, "denied": 0, "refused": 0, "absent": 0}
    until = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < until:
        number += 1
        yard.asked.clear()
        try:
            outcome = attempt(yard, number)
        except AccessDeniedError:
            outcome = "denied"
        except PathRefusedError:
            outcome = "refused"
        except FileNotFoundError:
            outcome = "absent"
        outcomes[outcome] += 1
    assert yard.get("s/key") == before["key"]
    assert sorted(os.listdir(yard.path("s"))) == ["dir", "key"]
    assert os.listdir(yard.path("s/dir")) == before["dir"]
    assert outcomes["done"] > 50, outcomes
    assert outcomes["denied"] > 50, outcomes


def test_removing_under_a_racer_never_reaches_out_of_bounds(yard, swapper):
    until = time.monotonic() + SECONDS / 4
    while time.monotonic() < until:
        try:
            yard.root.walk(yard.path("w/d"), lambda place: yard.judge(place, 2))
            remove(yard.root, yard.path("w/d/key"), yard.judge)
        except (AccessDeniedError, PathRefusedError, OSError):
            pass
    assert yard.get("s/key") == "secret"
