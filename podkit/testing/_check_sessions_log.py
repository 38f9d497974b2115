"""Clauses of the session contract: what is committed, segments, and the manifest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from podkit.abc import Durability
from podkit.errors import InvalidNameError, SessionError, UnknownSessionError

from ._check_clauses import Clauses
from ._check_sessions_ground import Ground, entries, entry, holds, refuses
from ._check_transport_ground import raises, require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_BAD_NAMES = ("", "../x", "A", "a/b", ".a", "a" * 64, "a\n", "a b")
_BAD_IDS = ("", "../x", "A", "a/b", ".", "a.b", "a" * 65, "a\n", "a_b", "é")
_NO_ENTRIES = (b"", b"{}\n", b'{"a":\t1}', b"[]", b"x", b"{", b'{"a":"' + b"x" * 2**24 + b'"}')

clause: Clauses[Ground] = Clauses("S")


@clause("a fresh store has no names, and its locator is text or None; opening what is not there is UnknownSessionError")
async def _fresh(ground: Ground) -> None:
    for store in ground.both:
        require(store.locator is None or (isinstance(store.locator, str) and store.locator), f"locator is {store.locator!r}")
        require(await store.names() == (), "there are names in a fresh store")
        await raises(UnknownSessionError, partial(store.open, "root"), "opening a session that nobody made")
        require(await store.names() == (), "opening what is not there made it")


@clause("a session that was made has the name and id it was given, no segment, no entries, no manifest, and says how durable it is")
async def _made(ground: Ground) -> None:
    session = await ground.open(create="s-1")
    require((session.name, session.id) == ("root", "s-1"), f"it is session {session.id!r} of {session.name!r}")
    require(session.segment is None and tuple(session.segments) == (), f"its segments are {session.segments}")
    require(list(session.entries) == [] and session.manifest is None, "there is something in it")
    require(isinstance(session.durability, Durability), f"durability is {session.durability!r}")
    refuses(SessionError, lambda: session.append(entries(1)), "append before the first segment")
    refuses(KeyError, lambda: session.read("a"), "reading a segment that is not there")
    again = await ground.again(session)
    require((again.id, again.segment, list(again.entries)) == ("s-1", None, []), "opened again it is another")
    require(await ground.first.names() == ("root",), f"the names are {await ground.first.names()}")


@clause("a name is a pod's and an id is an id; anything else is InvalidNameError or ValueError before any effect")
async def _names(ground: Ground) -> None:
    calls: list[Callable[[str], Awaitable[object]]] = [ground.first.open, partial(ground.first.open, create="s-1")]
    for name in _BAD_NAMES:
        for call in calls:
            await raises(InvalidNameError, partial(call, name), f"opening {name!r}")
    for bad in _BAD_IDS:
        await raises(ValueError, partial(ground.first.open, "root", create=bad), f"a session with the id {bad!r}")
    require(await ground.second.names() == (), "a refused name left something")
    session = await ground.begun(1)
    for bad in _BAD_IDS:
        refuses(ValueError, partial(session.rotate, bad, []), f"a segment with the id {bad!r}")
    require(session.segments == ("a",) and session.segment == "a", f"the segments are {session.segments}")


@clause("what was appended is there byte for byte and in order, for the writer and for whoever opens the session next")
async def _appended(ground: Ground) -> None:
    session = await ground.begun(1)
    more = [b"{}", '{"é":" \\n\\t "}'.encode(), b'{"big":"' + b"x" * 2**20 + b'"}', b"{}"]
    session.append(more[:1])
    session.append(more[1:])
    expected = [entry(1), *more]
    holds(session, "a", expected)
    again = await ground.again(session)
    require(list(again.entries) == expected, "the next one finds other entries")
    again.append(entries(2))
    holds(again, "a", [*expected, entry(2)])
    require(list(again.entries) == expected, "`entries` is what was there when it was opened, and changed")
    last = await ground.again(again)
    require(list(last.entries) == [*expected, entry(2)], "what the next one appended is not there")


@clause("entries are committed all or none: what is no entry is ValueError, and nothing beside it is kept; none are nothing")
async def _whole(ground: Ground) -> None:
    session = await ground.begun(1)
    for bad in _NO_ENTRIES:
        shown = repr(bad[:20])
        refuses(ValueError, partial(session.append, [entry(2), bad, entry(3)]), f"append of {shown}")
        refuses(ValueError, partial(session.rotate, "b", [entry(2), bad]), f"a segment that begins with {shown}")
    session.append([])
    holds(session, "a", entries(1))
    require(session.segments == ("a",), "a refused segment is there")
    require(list((await ground.again(session)).entries) == entries(1), "something of it was kept")


@clause("another segment begins with its entries and is the current one; the earlier ones stay, and every one can be read")
async def _rotated(ground: Ground) -> None:
    session = await ground.begun(1, 2)
    session.rotate("b", entries(3))
    session.append(entries(4))
    session.rotate("c", [])
    session.append(entries(5))
    again = await ground.again(session)
    for it in (session, again):
        require((it.segment, it.segments) == ("c", ("a", "b", "c")), f"the segments are {it.segments}, and it is in {it.segment}")
    require(list(again.entries) == entries(5), "the next one is given entries of other segments")
    for segment, numbers in {"a": (1, 2), "b": (3, 4), "c": (5,)}.items():
        holds(again, segment, entries(*numbers))
    refuses(KeyError, lambda: again.read("d"), "reading a segment that is not there")


@clause("nobody reaches into what is kept: not by the list that was appended, nor by one that was read")
async def _apart(ground: Ground) -> None:
    session = await ground.begun()
    given = entries(1, 2)
    session.append(given)
    given.append(entry(3))
    session.read("a").append(entry(4))
    began = entries(5)
    session.rotate("b", began)
    began.append(entry(6))
    holds(session, "a", entries(1, 2))
    holds(session, "b", entries(5))


@clause("a segment's id is taken once: whoever takes it again gets SessionError, and the current segment stays")
async def _once(ground: Ground) -> None:
    session = await ground.begun(1)
    session.rotate("b", entries(2))
    for taken in ("a", "b"):
        refuses(SessionError, partial(session.rotate, taken, entries(9)), f"a second segment {taken}")
    session.append(entries(3))
    again = await ground.again(session)
    require(again.segments == ("a", "b") and list(again.entries) == entries(2, 3), "a refused segment changed something")
    refuses(SessionError, partial(again.rotate, "a", []), "a second segment a, after opening again")
    holds(again, "a", entries(1))


@clause("a manifest is there as it was saved, in place of the one before; what is not JSON is ValueError and changes nothing")
async def _saved(ground: Ground) -> None:
    session = await ground.begun()
    first: dict[str, Any] = {"a": [1, 2.5, None, True, "é\n\t"], "b": {}}
    session.save(first)
    session.save({"c": {"d": [first]}})
    session.save(first)
    not_json: list[Any] = [{"a": b"x"}, {1: 2}, {"a": {1: 2}}, {"a": float("nan")}, {"a": float("inf")}, {"a": object()}, [1], None]
    not_json.append({"a": not_json})
    for bad in not_json:
        refuses(ValueError, partial(session.save, bad), f"saving {type(bad).__name__} {str(bad)[:30]}")
    require(session.manifest == {"a": [1, 2.5, None, True, "é\n\t"], "b": {}}, f"the manifest is {session.manifest}")
    again = await ground.again(session)
    require(again.manifest == first, f"the next one finds the manifest {again.manifest}")
    session = await ground.again(again)
    session.save({})
    require(session.manifest == {} and session.manifest is not None, "an empty manifest is none")


@clause("nobody reaches into the manifest: not by what was saved, nor by what was read")
async def _manifest_apart(ground: Ground) -> None:
    session = await ground.begun()
    inner: list[int] = [1]
    session.save({"a": inner})
    inner.append(2)
    found = session.manifest
    require(found == {"a": [1]}, "what was saved changed with what it was made of")
    if isinstance(found, dict):
        found["a"].append(3)
    require(session.manifest == {"a": [1]}, "what was read changes what is kept")
