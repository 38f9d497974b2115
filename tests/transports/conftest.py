"""Short directories: a socket path has 107 bytes, and pytest's own are long."""

import shutil
import tempfile

import pytest


@pytest.fixture
def short_dir():
    where = tempfile.mkdtemp(prefix="pk")
    yield where
    shutil.rmtree(where, ignore_errors=True)
