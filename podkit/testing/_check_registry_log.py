"""Clauses of the registry contract: the log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio
import trio.testing

from podkit.errors import CorruptRegistryError
from podkit.logic import decide_free, encode_fact, snapshot

from ._check_cancel import cancel_at
from ._check_clauses import Clauses
from ._check_registry_ground import MOST_STEPS, Ground, names, note, root, steps
from ._check_transport_ground import raises, require, settled

if TYPE_CHECKING:
    from podkit.abc import Registry

_WRITERS = 6  # tasks at each of the two openings


clause: Clauses[Ground] = Clauses("R")


@clause("a fresh registry is empty; locator, directory and exclusive are text or None")
async def _fresh(ground: Ground) -> None:
    for registry in ground.both:
        for name in ("locator", "directory", "exclusive"):
            value = getattr(registry, name)
            require(value is None or (isinstance(value, str) and value), f"{name} is {value!r}")
        require(await registry.read(0) == [], "there are facts in a fresh registry")
        require(not await registry.table(), "there are rows in a fresh registry")


@clause("facts are numbered from 1 and kept byte for byte; read(after) gives those after that number, in every opening")
async def _numbered(ground: Ground) -> None:
    facts = [note(1), note(2), b'{"fact":"shared","format":7,"text":"' + "\u00e9\u2028 ".encode() * 20_000 + b'"}', note(4)]
    require(await ground.first.append(0, facts[:2]) is True, "append to an empty log did not answer True")
    require(await ground.second.append(2, facts[2:3]) is True, "append at the other opening did not answer True")
    require(await ground.first.append(3, facts[3:]) is True, "append after the other opening's did not answer True")
    for registry in ground.both:
        for after in range(5):
            got = await registry.read(after)
            require(got == facts[after:], f"read({after}) gave {len(got)} facts, not the {len(facts) - after} that were kept")


@clause("what was read is a list of its own: whoever changes it changes nothing else")
async def _own_list(ground: Ground) -> None:
    facts = [note(1), note(2)]
    await ground.first.append(0, facts)
    facts.clear()
    (await ground.first.read(0)).clear()
    require(await ground.first.read(0) == [note(1), note(2)], "the log changed with a list outside")


@clause("an append on any other number than the last answers False and changes nothing")
async def _stale(ground: Ground) -> None:
    await ground.first.append(0, [note(1), note(2)])
    for registry in ground.both:
        for after in (0, 1, 3, 7):
            require(await registry.append(after, [note(9)]) is False, f"append({after}) after fact 2 did not answer False")
        require(await registry.read(0) == [note(1), note(2)], "a refused append changed the log")


@clause("of many that append at a time nothing is lost, doubled or torn: a batch is there whole or not at all")
async def _together(ground: Ground) -> None:
    size, writers = 5, 2 * _WRITERS
    seen: list[bytes] = []

    async def write(registry: Registry, writer: int) -> None:
        for turn in range(3):
            await ground.write(registry, [note(100 * writer + 10 * turn + n) for n in range(size)])
            await steps(writer % 3)

    async def watch(registry: Registry) -> None:
        while True:
            await registry.changed(len(seen))
            seen.extend(await registry.read(len(seen)))
            require(len(seen) % size == 0, f"{len(seen)} facts were seen, in batches of {size}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, ground.second)
        async with trio.open_nursery() as writing:
            for writer in range(writers):
                writing.start_soon(write, ground.both[writer % 2], writer)
        nursery.cancel_scope.cancel()
    seen.extend(await ground.second.read(len(seen)))
    for registry in ground.both:
        facts = await registry.read(0)
        require(facts == seen, "two openings do not read the same log")
        require(len(set(facts)) == len(facts) == writers * 3 * size, f"{len(set(facts))} of {len(facts)} facts differ")
    for place in range(0, len(seen), size):
        batch = [int(line.partition(b"nobody-")[2].partition(b'"')[0]) for line in seen[place : place + size]]
        require(batch == list(range(batch[0], batch[0] + size)), f"a batch came as {batch}")


@clause("a cancelled append is done or not done, never cancelled once it is kept, and holds nobody else up")
async def _cancelled(ground: Ground) -> None:
    for step in range(MOST_STEPS):
        before = await ground.last()
        cut = await cancel_at(step, partial(ground.first.append, before, [note(step)]))
        there = len(await ground.second.read(before))
        told = f"it answered {cut.value}" if cut.returned else "it was cancelled"
        require(there == (1 if cut.value else 0), f"cancelled at step {step} {told}, and {there} facts are there")
        require(step or not there, "an append that was cancelled before it began was made")
        await cancel_at(step, partial(ground.first.read, 0))
        await ground.write(ground.second, [note(1000 + step)])
        if not cut.reached:
            break


@clause("changed(after) returns when there is a later fact, and not before; cancelled, it leaves nothing")
async def _changed(ground: Ground) -> None:
    await ground.first.append(0, [note(1)])
    await ground.first.changed(0)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_settled, nursery.cancel_scope)
            await ground.second.changed(1)
            scope.cancel()
    require(not scope.cancel_called, "changed(1) returned after fact 1")
    async with trio.open_nursery() as nursery:
        for registry in ground.both:
            nursery.start_soon(registry.changed, 1)
        await settled()
        await ground.first.append(1, [note(2)])


@clause("a log that drops its past goes on counting and says the same, in every opening; one that does not answers False")
async def _compacted(ground: Ground) -> None:
    lease = await ground.open_root()
    for number in range(5):
        await ground.write(ground.first, [note(number)])
    table = await ground.second.rows()
    require(ground.first.droppable() >= 0, "droppable() is negative")
    facts = [encode_fact(fact) for fact in snapshot(table, author="check")]
    require(not await ground.first.compact(table.sequence - 1, facts), "an older state was dropped in favour of nothing newer")
    done = await ground.first.compact(table.sequence, facts)
    for registry in ground.both:
        after = await registry.rows()
        require(names(after) == ["root"], f"after dropping the past the rows are {names(after)}")
        expected = table.sequence + len(facts) if done else table.sequence
        require(after.sequence == expected, f"fact {expected} is counted as {after.sequence}")
        if done:
            require(await registry.read(0) == facts, "the log is not what replaced it")
    number = await ground.last(ground.second)
    require(await ground.second.append(number, [note(7)]), "nothing can be appended after dropping the past")
    require(await ground.first.read(number) == [note(7)], "the fact after that cannot be read by its number")
    lease.release()


@clause("who follows sees every lawful fact once and in order, whoever appended it, and can be closed and cancelled")
async def _followed(ground: Ground) -> None:
    following = ground.second.follow()
    await ground.open_root()
    await ground.write(ground.first, [note(1)])  # unlawful: nobody of that name lived
    await ground.first.transact(lambda table: decide_free(table, incarnation="i-root", author="i-root"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await following.receive()
    got = [type(await following.receive()).__name__ for _ in range(3)]
    require(got == ["Reserved", "Adopted", "Freed"], f"the facts came as {got}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raises, trio.ClosedResourceError, following.receive, "the waiting receive")
        await settled()
        await following.aclose()


@clause("what is no fact stops everything, and a fact of a newer podkit stops every grant but no end")
async def _foreign(ground: Ground) -> None:
    lease = await ground.open_root()
    await ground.write(ground.first, [b'{"fact":"shared","format":7}'])
    for registry in ground.both:
        await raises(
            CorruptRegistryError,
            partial(registry.transact, lambda table: root(table, "b", "/v")),
            "a grant after a newer fact",
        )
    table = await ground.second.transact(lambda table: decide_free(table, incarnation="i-root", author="i-root"))
    require(names(table) == [], "a row does not end when a newer podkit wrote here")
    await ground.write(ground.first, [b'{"fact":"freed","format":1}'])
    for registry in ground.both:
        await raises(CorruptRegistryError, registry.rows, "reading what is no fact")
    lease.release()


async def _cancel_when_settled(scope: trio.CancelScope) -> None:
    await settled()
    scope.cancel()
