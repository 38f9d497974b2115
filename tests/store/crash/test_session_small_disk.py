"""Sessions on disks that are really full, and in files that may not grow: what was confirmed stays, and it goes on later."""

import contextlib
import errno
import os
import resource
import signal

import pytest

from podkit._store import FileSessionStore
from podkit.errors import SessionError

PAGE, PAGES = os.sysconf("SC_PAGE_SIZE"), 64


def entries(*numbers):
    return [b'{"n":%d,"x":"%b"}' % (number, b"x" * (number * 37 % 300)) for number in numbers]


async def work(store, told):
    """Append, and begin a segment and save now and then; note in `told` what was confirmed. Raises what it was refused last."""
    session = await store.open("root", create="s-1")
    refused = None
    try:
        session.rotate("a", entries(0))
        told["a"] = entries(0)
        for number in range(1, 120):
            segment = session.segment
            try:
                session.append(entries(number, number + 1))
                told[segment] += entries(number, number + 1)
                if number % 20 == 0:
                    session.save({"n": number})
                    told["manifest"] = number
                    session.rotate(f"s-{number}", entries(number))
                    told[f"s-{number}"] = entries(number)
            except SessionError as error:
                refused = error
    finally:
        await session.aclose()
    if refused is not None:
        raise refused


async def check(store, told):
    """That all of it is there and nothing else, and that it goes on."""
    if not told:
        return
    async with await store.open("root") as session:
        manifest = (session.manifest or {}).get("n")
        assert manifest == told.pop("manifest", None)
        assert list(session.segments) == list(told)
        for segment, kept in told.items():
            assert session.read(segment) == kept
        session.append(entries(7))
        session.rotate("later", entries(8))
        session.save({"n": 9})
    assert (await store.peek("root")).count == 1


@pytest.mark.proves("I27", "F32", "H21")
@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("free", range(8))
async def test_a_disk_with_few_pages_left_keeps_what_was_confirmed_of_a_session(small, free, durability):
    filler = os.path.join(small, "filler")
    fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(fd, b"x" * PAGE)
    os.ftruncate(fd, (PAGES - free) * PAGE)
    os.close(fd)
    told = {}
    with pytest.raises(SessionError) as caught:
        await work(FileSessionStore(os.path.join(small, "s"), durability=durability), told)
    assert caught.value.errno == errno.ENOSPC
    os.unlink(filler)
    await check(FileSessionStore(os.path.join(small, "s"), durability=durability), told)


@pytest.mark.proves("I27", "F32")
@pytest.mark.parametrize("limit", [0, 1, 400, 512, 1000, 1024, 1152, 1500, 3000, 9000])
async def test_files_that_may_not_grow_keep_what_was_confirmed_of_a_session(limit, directory):
    store, told = FileSessionStore(os.path.join(directory, "s")), {}
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with contextlib.suppress(SessionError):
            await work(store, told)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    await check(store, told)
