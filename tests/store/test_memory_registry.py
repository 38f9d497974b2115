"""What is particular to a registry in memory."""

import trio

from podkit._store import MemoryRegistry


async def test_it_belongs_to_this_program(open_root):
    registry = MemoryRegistry()
    assert registry.locator is registry.directory is None
    lease = await open_root(registry)
    assert lease.fd is None
    assert "1 pods" in repr(registry)


async def test_an_hour_of_waiting_takes_no_time(autojump_clock, open_root):
    registry = MemoryRegistry()
    lease = await open_root(registry)

    async def later():
        await trio.sleep(3600)
        lease.release()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        await registry.gone(lease.key)
    assert trio.current_time() >= 3600
    assert [row.name for row in await registry.sweep()] == ["root"]


async def test_what_a_task_saw_is_not_taken_back_by_one_that_was_slower(open_root, monkeypatch):
    registry = MemoryRegistry()
    old = await registry.rows()
    await open_root(registry)
    new = await registry.rows()
    assert registry._keep(old) is new
