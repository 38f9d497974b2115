"""A program is forked at every call of a change and ends there, and the copy lives on: it is in nobody's way.

A copy has no part in what its program had open. So whatever the program was at, another one has its turn as soon as it ended.
"""

import os
import tempfile

import trio

from podkit._os._disk import Disk
from podkit._store import FileRegistry
from podkit.errors import RegistryError
from podkit.logic import Scope, decide_root

_PATIENCE = 1.0
_MOST = 200
_ENDED, _DONE = 7, 0
_CALLS = ("pread", "write", "pwrite", "truncate", "rename", "unlink", "sync", "fstat", "lock", "unlock", "claim", "disclaim")


class Forking(Disk):
    """A disk of which one call is the last one of its program, which leaves a copy of itself that does nothing."""

    def __init__(self, last, holding):
        self._left, self._holding = last, holding

    def _forks(self):
        self._left -= 1
        if self._left:
            return
        if os.fork() == 0:
            os.read(self._holding, 1)  # until the one that looks has seen enough
            os._exit(_DONE)
        os._exit(_ENDED)


def _called(name):
    real = getattr(Disk, name)

    def call(self, *args, **more):
        answer = real(self, *args, **more)
        self._forks()
        return answer

    return call


for _name in _CALLS:
    setattr(Forking, _name, _called(_name))


async def _open(registry, name):
    await registry.transact(
        lambda table: decide_root(
            table, name=name, tree=name, incarnation=name, scope=Scope.write(f"/{name}"), address="memory://x", since=1.0
        )
    )


def _first(directory, last, holding):
    """The program that ends at its call number `last`."""
    try:
        registry = FileRegistry(directory, _disk=Forking(last, holding), lock_timeout=_PATIENCE)
        trio.run(_open, registry, "first")
    finally:
        os._exit(_DONE)


def copies(_seeds):
    """Whether a copy keeps others from changing something."""
    for last in range(1, _MOST):
        holding, letting_go = os.pipe()
        with tempfile.TemporaryDirectory(prefix="pk") as directory:
            pid = os.fork()
            if pid == 0:
                os.close(letting_go)
                _first(directory, last, holding)
            try:
                _, status = os.waitpid(pid, 0)
                trio.run(_open, FileRegistry(directory, lock_timeout=_PATIENCE), "second")
            except RegistryError as error:
                print(f"after call {last}: {error}")
                return True
            finally:
                os.close(letting_go)
                os.close(holding)
        if os.waitstatus_to_exitcode(status) == _DONE:
            return False
    raise AssertionError(f"a change of more than {_MOST} calls")
