"""Clauses of the registry contract: leases."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

from podkit.abc import Registry
from podkit.errors import InvalidNameError, RegistryError
from podkit.logic import decide_free

from ._check_cancel import cancel_at
from ._check_clauses import Clauses
from ._check_registry_ground import MOST_STEPS, Ground
from ._check_transport_ground import raises, require, settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


clause: Clauses[Ground] = Clauses("R")


@clause("a lease is held from hold() until release(), as every opening sees at once; release comes again without harm")
async def _held(ground: Ground) -> None:
    lease = await ground.hold("a.1")
    require(lease.key == "a.1", f"the lease a.1 calls itself {lease.key!r}")
    for registry in ground.both:
        require(await registry.held("a.1") is True, "a lease that was taken is not held")
    other = await ground.hold("a.2", registry=ground.second)
    lease.release()
    for registry in ground.both:
        require(await registry.held("a.1") is False, "a lease that was let go is held")
        require(await registry.held("a.2") is True, "another lease went with it")
    lease.release()
    with other:
        pass
    require(await ground.first.held("a.2") is False, "a lease outlives its block")


@clause("a lease is taken once: whoever comes later, and after its end, gets RegistryError, and its holder stays")
async def _once(ground: Ground) -> None:
    lease = await ground.hold("a.1")
    for registry in ground.both:
        await raises(RegistryError, partial(registry.hold, "a.1"), "hold of a lease that is held")
        require(await registry.held("a.1"), "the refused one ended the lease")
    lease.release()
    for registry in ground.both:
        await raises(RegistryError, partial(registry.hold, "a.1"), "hold of a lease that was let go")
    taken: list[object] = []

    async def take(number: int) -> None:
        try:
            taken.append(await ground.hold("b.1", registry=ground.both[number % 2]))
        except RegistryError:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(take, number)
    require(len(taken) == 1, f"{len(taken)} of ten have one lease")


@clause("a lease that cannot be found says nothing, and counts as held")
async def _unknown(ground: Ground) -> None:
    for registry in ground.both:
        require(await registry.held("nobody.1") is True, "a lease that nobody ever took is free")


@clause("forget() leaves a held lease alone, removes one that was let go, and may come again")
async def _forgotten(ground: Ground) -> None:
    lease = await ground.hold("a.1")
    for registry in ground.both:
        await registry.forget("a.1")
    require(await ground.second.held("a.1"), "a lease ended by being forgotten")
    lease.release()
    require(not await ground.second.held("a.1"), "a held lease was forgotten")
    for registry in ground.both:
        await registry.forget("a.1")
        await registry.forget("never.1")


@clause("a key is name.incarnation; anything else is InvalidNameError before any effect")
async def _keys(ground: Ground) -> None:
    registry = ground.first
    calls: list[Callable[[str], Awaitable[object]]] = [registry.hold, registry.held, registry.gone]
    if type(registry).forget is not Registry.forget:  # else it does nothing at all
        calls.append(registry.forget)
    for key in ("../x.1", "a", "a/b.1", "", "A.1", "a.1/../b", f"{'a' * 64}.1", "a.", "a.1\n"):
        for call in calls:
            await raises(InvalidNameError, partial(call, key), f"{call.__name__}({key!r})")


@clause("gone() returns when the holder lets go, in every opening and for everybody who waits, and not before")
async def _gone(ground: Ground) -> None:
    lease = await ground.open_root()
    returned: list[int] = []

    async def wait(number: int) -> None:
        await ground.both[number % 2].gone(lease.key)
        returned.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(wait, number)
        await settled()
        await ground.open_root("other", "/v")
        await settled()
        require(not returned, "gone() returned while the lease was held")
        lease.release()
    for registry in ground.both:
        await registry.gone(lease.key)


@clause("gone() of a lease that cannot be found returns when its row is freed, and not before")
async def _gone_without_lease(ground: Ground) -> None:
    lease = await ground.open_root()
    lease.release()
    await ground.first.forget(lease.key)
    if not await ground.first.held(lease.key):
        return  # this driver remembers every lease for good: there is none that cannot be found
    returned: list[int] = []

    async def wait(number: int) -> None:
        await ground.both[number].gone(lease.key)
        returned.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(wait, number)
        await settled()
        require(not returned, "gone() returned while the row was there")
        await ground.second.transact(lambda table: decide_free(table, incarnation="i-root", author="i-root"))


@clause("a cancelled hold took nothing, or its lease is over; a cancelled gone leaves the lease and who else waits")
async def _cancelled(ground: Ground) -> None:
    for step in range(MOST_STEPS):
        key = f"a.{step}"
        cut = await cancel_at(step, partial(ground.hold, key))
        if cut.returned:
            require(await ground.second.held(key), f"the lease that was taken though cancelled at step {step} is not held")
        else:
            await _check_not_held(ground, key, step)
        if not cut.reached:
            break
    lease = await ground.open_root()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ground.second.gone, lease.key)
        async with trio.open_nursery() as impatient:
            impatient.start_soon(ground.first.gone, lease.key)
            await settled()
            impatient.cancel_scope.cancel()
        require(await ground.first.held(lease.key), "a cancelled wait ended the lease")
        lease.release()


@clause("where leases have descriptors a copy holds the lease too; what is no such descriptor is RegistryError")
async def _descriptors(ground: Ground) -> None:
    lease = await ground.hold("a.1")
    if lease.fd is None:
        await raises(RegistryError, partial(_take, ground.second, 0), "lease_from_fd without descriptors")
        return
    require(os.get_inheritable(lease.fd) is False, "every program started from here would hold the lease")
    stranger, end = os.pipe()
    try:
        await raises(RegistryError, partial(_take, ground.second, stranger), "lease_from_fd of a stranger's")
    finally:
        os.close(end)
        os.close(stranger)
    copy = ground.second.lease_from_fd("a.1", os.dup(lease.fd))
    require(copy.key == "a.1" and copy.fd is not None and not os.get_inheritable(copy.fd), "the copy is not a lease like the first")
    lease.release()
    require(await ground.first.held("a.1"), "the lease ended though a copy is held")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ground.first.gone, "a.1")
        await settled()
        copy.release()
    require(not await ground.first.held("a.1"), "the lease outlives its last holder")


async def _check_not_held(ground: Ground, key: str, step: int) -> None:
    try:
        (await ground.hold(key, registry=ground.second)).release()
    except RegistryError:
        require(not await ground.second.held(key), f"a hold that was cancelled at step {step} holds {key} for ever")


async def _take(registry: Registry, fd: int) -> object:
    await trio.lowlevel.checkpoint()
    return registry.lease_from_fd("a.1", fd)
