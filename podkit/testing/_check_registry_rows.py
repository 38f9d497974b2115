"""Clauses of the registry contract: the table, and the one way in which it changes."""

from __future__ import annotations

from functools import partial

import trio

from podkit.errors import DuplicatePodError, LocalProtocolError, WriteConflictError
from podkit.logic import Freed, Table, decide_free

from ._check_cancel import cancel_at
from ._check_clauses import Clauses
from ._check_registry_ground import MOST_STEPS, Ground, names, note, root
from ._check_transport_ground import raises, require

clause: Clauses[Ground] = Clauses("R")


@clause("what one opening decided the other sees in its next table, as rows by name")
async def _shared(ground: Ground) -> None:
    await ground.open_root()
    await ground.bear("a", "i-root", "/w/a")
    for registry in ground.both:
        table = await registry.table()
        require(set(table) >= {"root", "a"}, f"the table has {sorted(table)}")
        require(table["a"].parent_name == "root", "the child is not its parent's")
        require(names(await registry.rows()) == ["root", "a"], "rows() and table() differ")


@clause("a decision is made on the table as it is: of many that want one path one has it, and the others read who")
async def _decided(ground: Ground) -> None:
    winners: list[str] = []
    holders: list[str] = []

    async def want(number: int) -> None:
        try:
            await ground.open_root(f"p{number}", "/w/x", registry=ground.both[number % 2])
            winners.append(f"p{number}-1/p{number}")
        except WriteConflictError as error:
            holders.append(error.holder)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(want, number)
    require(len(winners) == 1, f"{len(winners)} pods write one path: {winners}")
    require(holders == winners * 7, f"{winners[0]} has it, and the others were told {holders}")
    require(len(await ground.second.rows()) == 1, "a refused pod has a row")


@clause("a decision runs again on the newer table when somebody else was quicker")
async def _again(ground: Ground) -> None:
    await ground.first.rows()
    await ground.write(ground.second, [note(1), note(2)])
    seen: list[int] = []

    def decide(table: Table) -> tuple[Freed, ...]:
        seen.append(table.sequence)
        return ()

    await ground.first.transact(decide)
    require(seen[-1] == 2, f"it was decided on the table of fact {seen[-1]}, and there are 2")
    async with trio.open_nursery() as nursery:
        for n in range(12):
            nursery.start_soon(partial(ground.open_root, f"p{n}", f"/w/{n}", registry=ground.both[n % 2]))
    for registry in ground.both:
        require(sorted(names(await registry.rows())) == sorted(f"p{n}" for n in range(12)), "a decision of twelve was lost")


@clause("what a decision raises comes out, and of a refused, failed or unlawful one nothing is kept")
async def _refused(ground: Ground) -> None:
    await ground.open_root()
    before, transact = await ground.first.read(0), ground.second.transact

    def fail(_table: Table) -> tuple[Freed, ...]:
        raise ZeroDivisionError

    await raises(
        DuplicatePodError, lambda: transact(lambda table: root(table, "new", "/v", incarnation="i-root")), "a second i-root"
    )
    await raises(ZeroDivisionError, lambda: transact(fail), "a decision that fails")
    twice = (Freed(author="x", incarnation="i-root"), Freed(author="x", incarnation="i-root"))
    await raises(LocalProtocolError, lambda: transact(lambda _table: twice), "a decision that ends a pod twice")
    require(await ground.first.read(0) == before, "something of it was kept")
    table = await ground.second.transact(lambda _table: ())
    require(names(table) == ["root"] and await ground.first.read(0) == before, "a decision of nothing changed something")


@clause("a dead pod in the way is freed by the next change that meets it; a living one, and one whose lease is unknown, stays")
async def _reclaimed(ground: Ground) -> None:
    (await ground.open_root("dead", "/w/dead")).release()
    alive = await ground.open_root("alive", "/w/alive")
    await ground.second.transact(lambda table: root(table, "odd", "/w/odd"))  # no lease: nobody knows
    lease = await ground.open_root("next", "/w/dead/x", registry=ground.second)
    require(names(await ground.first.rows()) == ["alive", "odd", "next"], f"the rows are {names(await ground.first.rows())}")
    for target, holder in (("/w/alive", "alive-1/alive"), ("/w/odd", "odd-1/odd")):
        error = await raises(
            WriteConflictError,
            partial(ground.open_root, "late", target, incarnation=f"i{target[-3:]}"),
            f"write {target}",
        )
        require(error.holder == holder, f"{target} is held by {error.holder}, not {holder}")
    alive.release()
    lease.release()


@clause("a sweep frees every row whose lease is free, children first, and nothing else")
async def _swept(ground: Ground) -> None:
    parent = await ground.open_root()
    child = await ground.bear("a", "i-root", "/w/a")
    await ground.open_root("other", "/v")
    child.release()
    parent.release()
    freed = [row.name for row in await ground.second.sweep("i-other")]
    require(freed == ["a", "root"], f"a sweep freed {freed}")
    require(names(await ground.first.rows()) == ["other"], "the other opening still has them")
    require(await ground.first.sweep("i-other") == (), "a second sweep freed something")
    await ground.open_root(incarnation="i-again", registry=ground.second)


@clause("a change that is cancelled anywhere is done or not done, and may be asked again")
async def _cancelled(ground: Ground) -> None:
    for step in range(MOST_STEPS):
        (await ground.open_root("dead", "/w/dead", incarnation=f"dead-{step}")).release()
        incarnation = f"i-{step}"

        async def change(incarnation: str = incarnation) -> None:
            await ground.first.transact(lambda table: root(table, "next", "/w", incarnation=incarnation))

        cut = await cancel_at(step, change)
        there = names(await ground.second.rows())
        told = "it returned" if cut.returned else "it was cancelled"
        require(cut.returned == ("next" in there), f"cancelled at step {step} {told}, and the rows are {there}")
        await ground.second.transact(partial(decide_free, incarnation=incarnation, author="check"))
        await ground.second.sweep()
        require(not names(await ground.first.rows()), "the rows of one round reach into the next")
        if not cut.reached:
            break
