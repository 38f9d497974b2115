"""Disks that are really full, and files that may not grow: what was confirmed stays, the rest is an error, and it goes on later."""

import contextlib
import os
import resource
import signal

import pytest
import trio

from podkit._store import FileRegistry
from podkit.errors import PodkitError, RegistryError
from podkit.logic import Scope, decide_free, decide_root, encode_fact, snapshot

PAGE, PAGES = os.sysconf("SC_PAGE_SIZE"), 64


async def work(registry, confirmed, prefix="p"):
    """Open roots, and compact now and then; note in `confirmed` who holds something."""
    for n in range(30):
        name = f"{prefix}{n}"
        with contextlib.suppress(PodkitError):
            lease = await registry.hold(f"{name}.{name}")
            try:
                await registry.transact(
                    lambda table, name=name: decide_root(
                        table,
                        name=name,
                        tree=name,
                        incarnation=name,
                        scope=Scope.write(f"/{name}"),
                        address="memory://x",
                        since=1.0,
                    )
                )
            except BaseException:
                lease.release()
                raise
            confirmed[name] = lease
        if n % 10 == 9:
            with contextlib.suppress(RegistryError):
                table = await registry.rows()
                await registry.compact(table.sequence, [encode_fact(fact) for fact in snapshot(table, author="x")])


@pytest.mark.proves("I8", "I9", "F32")
@pytest.mark.parametrize("free", range(8))
async def test_a_disk_with_few_pages_left_keeps_what_was_confirmed(small, free):
    directory = os.path.join(small, "r")
    confirmed = {}
    filler = os.path.join(small, "filler")
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, b"x" * PAGE)
    os.ftruncate(fd, (PAGES - free) * PAGE)
    os.close(fd)
    with contextlib.suppress(RegistryError):
        registry = FileRegistry(directory)
        await work(registry, confirmed)
    for lease in confirmed.values():
        assert lease.fd is not None
    os.unlink(filler)
    registry = FileRegistry(directory)
    table = await registry.rows()
    assert set(confirmed) == {row.name for row in table}
    assert table.refused == 0
    for row in table:
        await registry.transact(lambda table, row=row: decide_free(table, incarnation=row.incarnation, author=row.incarnation))
    for lease in confirmed.values():
        lease.release()
    again = {}
    await work(registry, again, "q")
    assert len(again) == len(await FileRegistry(directory).rows()) == 30
    for lease in again.values():
        lease.release()


@pytest.mark.proves("F32", "H6")
@pytest.mark.parametrize("limit", [0, 1, 400, 511, 512, 1000, 1024, 1100, 1152, 1500, 3000])
async def test_files_that_may_not_grow_keep_what_was_confirmed(limit, directory):
    registry = FileRegistry(directory)
    confirmed = {}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with contextlib.suppress(RegistryError):
            await work(registry, confirmed)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    other = FileRegistry(directory)
    assert set(confirmed) == {row.name for row in await other.rows()}
    more = {}
    await work(other, more, "q")
    assert len(more) == 30
    for lease in (*confirmed.values(), *more.values()):
        lease.release()


async def test_a_directory_that_may_not_be_written_is_an_error_of_the_registry(directory):
    where = os.path.join(directory, ".registry")
    root = os.geteuid() == 0
    if root:
        os.chown(directory, 65534, 65534)
        os.seteuid(65534)  # root may write into every directory
    try:
        FileRegistry(directory)
        os.chmod(where, 0o500)
        with pytest.raises(RegistryError, match=r"[Pp]ermission"):
            await FileRegistry(directory).rows()
        os.chmod(where, 0o700)
        assert len(await FileRegistry(directory).rows()) == 0
    finally:
        if root:
            os.seteuid(0)


async def test_a_file_system_that_became_read_only_refuses_changes_and_goes_on_afterwards(small):
    path = small
    directory = os.path.join(path, "r")
    confirmed = {}
    registry = FileRegistry(directory)
    await work(registry, confirmed)
    registry._log.close()
    await trio.run_process(["mount", "-o", "remount,ro", path])
    try:
        for call in (registry.rows, lambda: registry.append(0, [b"x"]), lambda: registry.hold("x.1")):
            with pytest.raises(RegistryError, match=r"[Rr]ead-only"):
                await call()
    finally:
        await trio.run_process(["mount", "-o", "remount,rw", path])
    assert len(await registry.rows()) == len(confirmed)
    await registry.transact(lambda table: decide_free(table, incarnation="p1", author="p1"))
    for lease in confirmed.values():
        lease.release()
