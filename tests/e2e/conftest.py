"""A private place for real pods, short enough for socket paths, and a look at what is left in it."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

import podkit
from podkit_transports import UnixTransport

PROGRAM = Path(__file__).parent / "programs" / "child.py"


class Place:
    """A registry directory and a work directory, with what the tests ask of them."""

    def __init__(self, root):
        self.root = root
        self.work = os.path.join(root, "w")
        self.dir = os.path.join(root, "r")
        os.mkdir(self.work)
        self.registry = podkit.FileRegistry(self.dir)
        self.transport = UnixTransport()
        self.home = podkit.Scope.write(self.work)

    def open_root(self, worker, **options):
        options = {"scope": self.home, "cwd": self.work} | options
        return podkit.open_pod("root", worker, transport=self.transport, registry=self.registry, **options)

    def launcher(self, *arguments):
        return podkit.ProcessLauncher([sys.executable, "-P", str(PROGRAM), *arguments])

    def part(self, name):
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return podkit.Scope.write(path)

    def left(self):
        """Everything below the registry's directory that is not the journal itself."""
        found = []
        for folder, _, files in os.walk(self.dir):
            inside = os.path.relpath(folder, self.dir)
            if inside not in (".", ".registry", ".leases"):
                found.append(inside)
            if not inside.startswith(".registry"):
                found.extend(os.path.join(inside, file) for file in files)
        return found


@pytest.fixture
def place():
    root = tempfile.mkdtemp(prefix="pk", dir="/tmp")
    try:
        yield Place(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
