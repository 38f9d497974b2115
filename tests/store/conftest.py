import os
import tempfile

import pytest

from podkit._store import FileRegistry, MemoryRegistry
from podkit.logic import Scope, decide_adopt, decide_birth, decide_root


@pytest.fixture
def directory():
    with tempfile.TemporaryDirectory(prefix="pk") as directory:
        yield directory


@pytest.fixture(params=["memory", "file"])
def registry(request, directory):
    return MemoryRegistry() if request.param == "memory" else FileRegistry(directory)


@pytest.fixture
def files(directory):
    """Where the files of a `FileRegistry` are: name -> path."""
    return lambda *names: os.path.join(directory, *names)


@pytest.fixture
def open_root():
    """Take a lease and open a tree, as a pod does."""

    async def open_root(registry, name="root", target="/w", *, incarnation=None):
        incarnation = incarnation or f"i-{name}"
        lease = await registry.hold(f"{name}.{incarnation}")
        await registry.transact(
            lambda table: decide_root(
                table,
                name=name,
                tree=f"{name}-1",
                incarnation=incarnation,
                scope=Scope.write(target),
                address="memory://x",
                since=1.0,
            )
        )
        return lease

    return open_root


@pytest.fixture
def bear():
    """Take a lease, reserve a row and adopt it, as a parent and its child do."""

    async def bear(registry, name, parent, target, *, incarnation=None):
        incarnation = incarnation or f"i-{name}"
        lease = await registry.hold(f"{name}.{incarnation}")
        await registry.transact(
            lambda table: decide_birth(
                table, parent=parent, name=name, incarnation=incarnation, scope=Scope.write(target), address="memory://x", since=1.0
            )
        )
        await registry.transact(lambda table: decide_adopt(table, name=name, incarnation=incarnation))
        return lease

    return bear
