"""Clauses of the session contract: who holds a session, and what was there before."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from podkit.errors import InvalidNameError, SessionBusyError, SessionError, UnknownSessionError

from ._check_cancel import cancel_at
from ._check_clauses import Clauses
from ._check_registry_ground import MOST_STEPS
from ._check_sessions_ground import Ground, entries, holds, refuses
from ._check_transport_ground import raises, require

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.abc import Session

clause: Clauses[Ground] = Clauses("S")


@clause("a session has one holder: while it is held, opening or replacing it is SessionBusyError at once, and the holder goes on")
async def _busy(ground: Ground) -> None:
    session = await ground.begun(1)
    for store in ground.both:
        for create in (None, "s-2"):
            await raises(SessionBusyError, partial(store.open, "root", create=create), "opening a session that is held")
    session.append(entries(2))
    holds(session, "a", entries(1, 2))
    await session.aclose()
    for store in ground.both:
        async with await store.open("root") as next_one:
            require(next_one.id == "s-1" and list(next_one.entries) == entries(1, 2), "the refused one changed something")
            for other in ground.both:
                await raises(SessionBusyError, partial(other.open, "root"), "opening it beside the next holder")


@clause("of many that open a session one has it")
async def _race(ground: Ground) -> None:
    await (await ground.begun(1)).aclose()
    got: list[Session] = []

    async def take(number: int) -> None:
        try:
            got.append(await ground.open(store=ground.both[number % 2]))
        except SessionBusyError:
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(take, number)
    require(len(got) == 1, f"{len(got)} of eight hold one session")


@clause("aclose lets go, also cancelled, and may come again; from then on every change is SessionError and changes nothing")
async def _let_go(ground: Ground) -> None:
    session = await ground.begun(1)
    session.save({"a": 1})
    with trio.CancelScope() as scope:
        scope.cancel()
        await session.aclose()
    next_one = await ground.open(store=ground.second)
    changes: list[tuple[str, Callable[[], object]]] = [
        ("append", lambda: session.append(entries(2))),
        ("rotate", lambda: session.rotate("b", [])),
        ("save", lambda: session.save({})),
    ]
    for what, change in changes:
        refuses(SessionError, change, f"{what} after aclose")
    await raises(SessionError, session.sync, "sync after aclose")
    await session.aclose()
    holds(next_one, "a", entries(1))
    require(next_one.manifest == {"a": 1} and next_one.segments == ("a",), "who let go changed something")
    await raises(SessionBusyError, partial(ground.first.open, "root"), "opening it, when who let go did so again")


@clause("a block lets go at its end, however it ends")
async def _block(ground: Ground) -> None:
    for number in range(3):
        name = f"root-{number}"
        with trio.CancelScope() as scope:
            try:
                async with await ground.first.open(name, create="s-1") as session:
                    session.rotate("a", entries(number))
                    if number == 1:
                        raise ZeroDivisionError
                    scope.cancel()
                    await trio.lowlevel.checkpoint()
            except ZeroDivisionError:
                pass
        async with await ground.second.open(name) as next_one:
            require(list(next_one.entries) == entries(number), "what was committed in the block is not there")


@clause("names are in order, and sessions of different names have nothing to do with each other")
async def _names(ground: Ground) -> None:
    for number, name in enumerate(("b", "a", "a-b", "a_b", "0")):
        session = await ground.begun(number, name=name)
        session.save({"name": name})
    for store in ground.both:
        require(await store.names() == ("0", "a", "a-b", "a_b", "b"), f"the names are {await store.names()}")
    for number, name in enumerate(("b", "a", "a-b", "a_b", "0")):
        await raises(SessionBusyError, partial(ground.second.open, name), f"opening {name}, which is held")
        async with await ground.second.open(f"other-{number}", create="s-1"):
            pass
    await session.aclose()
    async with await ground.second.open("0") as again:
        require(list(again.entries) == entries(4) and again.manifest == {"name": "0"}, "it has what is another's")


@clause("a new session puts the earlier one of its name aside: nothing of it is in the new one, and ids may come again")
async def _replaced(ground: Ground) -> None:
    session = await ground.begun(1)
    session.save({"a": 1})
    for create in ("s-2", "s-2", "s-1"):
        await session.aclose()
        session = await ground.open(create=create, store=ground.second)
        require((session.id, session.segment, session.segments) == (create, None, ()), f"it is {session.id} in {session.segment}")
        require(list(session.entries) == [] and session.manifest is None, "something of the earlier one is in it")
        session.rotate("a", entries(7))
        session.save({"b": create})
    again = await ground.again(session)
    require(again.id == "s-1" and list(again.entries) == entries(7), "opening finds an earlier one")
    require(again.segments == ("a",) and again.manifest == {"b": "s-1"}, "it is mixed with an earlier one")
    require(await ground.first.names() == ("root",), f"the names are {await ground.first.names()}")


@clause("sync returns when what was committed is as durable as promised, for everybody who waits; cancelled, it holds nobody up")
async def _synced(ground: Ground) -> None:
    session = await ground.begun(1)
    done: list[int] = []

    async def write(number: int) -> None:
        session.append(entries(number))
        await session.sync()
        done.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(write, 2 + number)
    require(len(done) == 10, f"{len(done)} of ten were told")
    for step in range(MOST_STEPS):
        session.append(entries(100 + step))
        if not (await cancel_at(step, session.sync)).reached:
            break
    await session.sync()
    again = await ground.again(session)
    require(len(again.entries) == 12 + step, f"{len(again.entries)} entries are there, and {12 + step} were committed")
    require(len(set(again.entries)) == len(again.entries), "an entry is there twice")


@clause("an opening that is cancelled anywhere holds nothing, or has returned the session")
async def _cancelled(ground: Ground) -> None:
    await (await ground.begun(1)).aclose()
    for create in (None, "s-2"):
        for step in range(MOST_STEPS):
            cut = await cancel_at(step, partial(ground.first.open, "root", create=create))
            if cut.returned and cut.value is not None:
                await cut.value.aclose()
            async with await ground.second.open("root") as session:
                if create is None:
                    require(list(session.entries) == entries(1), "a cancelled opening changed the session")
                elif cut.returned:
                    require(session.id == create, "a session that was made is not there")
            if not cut.reached:
                break


@clause("read answers what is kept of a session, whoever holds it, and changes nothing; what is not there is UnknownSessionError")
async def _read(ground: Ground) -> None:
    for store in ground.both:
        await raises(UnknownSessionError, partial(store.read, "root"), "reading a session that nobody made")
        await raises(InvalidNameError, partial(store.read, "../x"), "reading a name that is none")
    session = await ground.open(create="s-1")
    found = await ground.second.read("root")
    require((found.segment, found.segments, found.entries, found.manifest) == (None, (), (), None), f"a new session is {found}")
    session.rotate("a", entries(1))
    session.rotate("b", entries(2, 3))
    session.append(entries(4))
    session.save({"a": [1]})
    for store in ground.both:
        found = await store.read("root")
        require((found.name, found.id, found.segment) == ("root", "s-1", "b"), f"it is segment {found.segment!r} of {found.id!r}")
        require(tuple(found.segments) == ("a", "b"), f"its segments are {found.segments}")
        require(list(found.entries) == entries(2, 3, 4), f"{len(found.entries)} entries were read, not the 3 of the segment")
        require(found.manifest == {"a": [1]}, f"its manifest is {found.manifest}")
    session.append(entries(5))
    require(list(found.entries) == entries(2, 3, 4), "what was read changes with what is committed later")
    holds(session, "b", entries(2, 3, 4, 5))
    await session.aclose()
    found = await ground.second.read("root")
    require(list(found.entries) == entries(2, 3, 4, 5), "let go, it is another")
    require(await ground.first.names() == ("root",), "reading made something")
