"""What every test stands on: a registry that is nobody's, short directories for sockets, and Hypothesis without a stopwatch."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("podkit", deadline=None, print_blob=True)
settings.load_profile("podkit")


@pytest.fixture(scope="session", autouse=True)
def nobodys_registry():
    """`FileRegistry()` of a test, and of every program it starts, is in a directory of this run, never the user's own."""
    path = tempfile.mkdtemp(prefix="pk", dir="/tmp")
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = path
    yield path
    if before is None:
        del os.environ["XDG_RUNTIME_DIR"]
    else:
        os.environ["XDG_RUNTIME_DIR"] = before
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts():
    """Programs under test hear SIGINT, also when the tests run in the background, where a shell makes all it starts ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def short_dir():
    """A directory whose path leaves room for a socket: a socket path has 107 bytes, and pytest's own directories are long."""
    path = Path(tempfile.mkdtemp(prefix="pk", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
