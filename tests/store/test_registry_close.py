"""Letting go of a registry's files: for good, never under a pod that is open, and at the latest with the object."""

import fcntl
import gc
import os

import pytest
import trio
import trio.testing

import podkit
from podkit._store import FileRegistry
from podkit.errors import RegistryError
from podkit.logic import Scope
from podkit.testing import ScriptedWorker


@pytest.fixture
def open_files(directory):
    """How many descriptors of this process are of files of the registry."""

    def count():
        links = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                links.append(os.readlink(f"/proc/self/fd/{fd}"))
            except FileNotFoundError:  # the one that listed them
                continue
        return sum(link.startswith(directory) for link in links)

    return count


@pytest.fixture
def lock(files):
    """Have the lock, as another program might; answers what lets go of it."""

    def take():
        fd = os.open(files(".registry", "lock"), os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        return lambda: os.close(fd)

    return take


def pod_in(registry, directory):
    scope = Scope.write(f"{directory}-work")
    return podkit.open_pod("root", ScriptedWorker(), scope=scope, transport=podkit.MemoryTransport(), registry=registry)


@pytest.mark.proves("I34")
async def test_what_is_closed_has_no_file_open_and_may_be_closed_again(directory, open_files):
    registry = FileRegistry(directory)
    await registry.transact(lambda table: ())
    assert open_files() == 2
    registry.close()
    assert open_files() == 0
    registry.close()
    assert await FileRegistry(directory).table() == {}


async def test_who_never_read_it_may_close_it(directory):
    with FileRegistry(directory) as registry:
        assert registry.directory == directory
    with pytest.raises(RegistryError, match="closed"):
        await registry.rows()


ASKED = [
    lambda registry: registry.read(0),
    lambda registry: registry.append(0, [b"x"]),
    lambda registry: registry.compact(0, [b"x"]),
    lambda registry: registry.rows(),
    lambda registry: registry.table(),
    lambda registry: registry.transact(lambda table: ()),
    lambda registry: registry.sweep(),
    lambda registry: registry.hold("a.1"),
    lambda registry: registry.held("a.1"),
    lambda registry: registry.gone("a.1"),
    lambda registry: registry.forget("a.1"),
    lambda registry: registry.changed(0),
    lambda registry: podkit.inspect(registry),
]


@pytest.mark.parametrize("ask", ASKED)
async def test_what_is_asked_of_a_closed_registry_is_refused(directory, ask, open_files):
    registry = FileRegistry(directory)
    await registry.rows()
    registry.close()
    with trio.fail_after(5), pytest.raises(RegistryError, match="was closed here"):
        await ask(registry)
    with pytest.raises(RegistryError, match="was closed here"):
        registry.lost("a.1")
    with pytest.raises(RegistryError, match="was closed here"):
        registry.lease_from_fd("a.1", 0)
    assert open_files() == 0
    assert os.listdir(os.path.join(directory, ".leases")) == []


async def test_it_is_not_closed_under_a_pod(directory, open_files):
    with trio.fail_after(20):
        with FileRegistry(directory) as registry:
            async with pod_in(registry, directory) as pod:
                with pytest.raises(RegistryError, match=rf"cannot be closed: open in it are root\.{pod.incarnation}$"):
                    registry.close()
                assert set(await registry.table()) == {"root"}
        assert open_files() == 0
        with pytest.raises(RegistryError, match="was closed here"):
            async with pod_in(registry, directory):
                pass
        async with pod_in(FileRegistry(directory), directory):
            pass  # nothing was left in the way


async def test_a_lease_that_was_inherited_keeps_it_open_too(directory):
    first, second = FileRegistry(directory), FileRegistry(directory)
    lease = await first.hold("a.1")
    again = second.lease_from_fd("a.1", os.dup(lease.fd))
    with pytest.raises(RegistryError, match=r"a\.1"):
        second.close()
    again.release()
    second.close()
    assert await first.held("a.1")
    lease.release()
    first.close()


@pytest.mark.parametrize("what", ["read", "append", "transact"])
async def test_what_is_under_way_when_it_is_closed_is_done_or_refused_and_leaves_no_file(directory, open_files, lock, what):
    other = FileRegistry(directory)
    await other.transact(lambda table: ())
    registry = FileRegistry(directory)
    if what != "read":
        await registry.rows()
    registry._log._glance = lambda: False  # a reader that cannot tell without the lock
    outcome = []
    before, unlock = open_files(), lock()

    async def ask():
        try:
            match what:
                case "read":
                    outcome.append(await registry.read(0))
                case "append":
                    outcome.append(await registry.append(0, [b"x"]))
                case _:
                    outcome.append(await registry.transact(lambda table: ()))
        except RegistryError as error:
            outcome.append(str(error))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)  # this one waits for the other
            await trio.testing.wait_all_tasks_blocked()
            registry.close()
            unlock()
    assert len(outcome) == 2
    assert all(one in (True, False) or "was closed here" in one for one in outcome)
    assert (await other.read(0) == [b"x"]) is (True in outcome)
    assert open_files() <= before
    other.close()
    assert open_files() == 0


@pytest.mark.proves("I34")
async def test_who_forgets_to_close_many_has_no_more_files_open_for_it(directory, open_files):
    for _ in range(30):
        registry = FileRegistry(directory)
        await registry.transact(lambda table: ())
        del registry
    gc.collect()
    assert open_files() == 0


async def test_any_registry_can_be_used_with_a_block(registry):
    with registry as same:
        assert same is registry
        assert await registry.table() == {}
    registry.close()
