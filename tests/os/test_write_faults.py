"""A disk that fails at any call of a write of a scope's file: the file is the old one or the new one, and nothing else is there.

The walk's calls are made on descriptors that it has judged, and do not go through a `Disk`; here the system itself is stood in for.
"""

import errno
import itertools
import os
import types

import pytest

from podkit._os import _files, _resolve, _walk, _write, open_write
from podkit.errors import PodkitError

CALLS = (
    "write",
    "ftruncate",
    "fsync",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "fchmod",
    "fchown",
    "posix_fallocate",
    "open",
    "fstat",
    "stat",
)
ERRORS = {"full": errno.ENOSPC, "error": errno.EIO, "interrupted": errno.EINTR, "descriptors": errno.EMFILE}


class System(types.ModuleType):
    """`os`, of which call number `at` fails, or writes one byte only."""

    def __init__(self, kind, at):
        super().__init__("os")
        self.kind, self.at, self.count, self.fired = kind, at, 0, None

    def __getattr__(self, name):
        real = getattr(os, name)
        return self.standing_in(name, real) if name in CALLS else real

    def standing_in(self, name, real):
        def call(*args, **more):
            self.count += 1
            if self.count != self.at or (self.kind == "short" and name != "write"):
                return real(*args, **more)
            self.fired = name
            if self.kind == "short":
                fd, data = args
                return real(fd, data[:1])
            raise OSError(ERRORS[self.kind], os.strerror(ERRORS[self.kind]))

        return call


def write(yard, judge, name, data):
    writing = open_write(yard.root, yard.path(name), judge, size=len(data))
    try:
        writing.write(memoryview(data))
    except BaseException:
        writing.abandon()
        raise
    writing.commit(sync=True)


@pytest.mark.parametrize("kind", [*ERRORS, "short"])
@pytest.mark.parametrize("name", ["w/f", "w/new", "w/a/b/new"])
@pytest.mark.proves("I34", "F30")
def test_a_fault_at_any_call_leaves_the_old_file_or_the_new_one(yard, monkeypatch, kind, name):
    before, fired = yard.names(), 0
    for at in itertools.count(1):
        system = System(kind, at)
        raised = None
        with monkeypatch.context() as patch:
            for room in (_files, _resolve, _walk, _write):
                patch.setattr(room, "os", system)
            try:
                write(yard, yard.judge, name, b"the new content")
            except (OSError, PodkitError) as error:
                raised = error
        after = yard.names()
        there = name in after
        content = yard.get(name) if there else None
        assert content in ("the new content", "file" if name == "w/f" else None), (system.fired, content)
        if raised is None:
            assert content == "the new content", system.fired
        new = {name, "w/a", "w/a/b"} if name == "w/a/b/new" else {name}
        left = after - before - new
        assert not left or system.fired in ("unlink", "rmdir"), (system.fired, left)
        for path in sorted(left, key=len, reverse=True):
            (os.rmdir if os.path.isdir(yard.path(path)) else os.unlink)(yard.path(path))
        if name == "w/f":
            yard.put(name, "file")
        elif there:
            os.unlink(yard.path(name))
        for directory in ("w/a/b", "w/a"):
            if os.path.isdir(yard.path(directory)):
                assert there or system.fired in ("unlink", "rmdir") or raised is not None
                os.rmdir(yard.path(directory))
        if system.count < at:
            break
        fired += system.fired is not None
    assert fired >= (1 if kind == "short" else 8)
