"""Restoring a pod: the root of a tree again, as its session says it was."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os import new_incarnation
from podkit.confinement import choose
from podkit.errors import SessionError
from podkit.protocol import check_name

from ._open import Opening, check_plain, living
from ._plan_manifest import decode_manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from podkit.abc import Registry, SessionStore, Tool, Transport, Worker

    from ._house import House
    from ._pod import Pod


@asynccontextmanager
async def restore_pod(
    name: str,
    worker: Worker,
    *,
    sessions: SessionStore,
    transport: Transport,
    registry: Registry,
    tools: Sequence[Tool] = (),
) -> AsyncIterator[Pod]:
    """Open the root `name` again from its session, after a crash or an orderly end; a context manager as `open_pod` is.

    Everything comes from what was kept: scope and grant as declared, working directory, address, limits, level of confinement,
    children by name. Nothing is read from this program's surroundings. It is a new incarnation; nothing of an old one touches it.

    The history is what was committed. A run that was under way ended as interrupted, and each of its calls without a result has one
    that says so: no tool is run again. A paused pod is paused, and `resume` goes on. Notices that nobody saw are still queued, and
    an idle pod that they wake starts a run. What a child that lives on writes stays the child's; children that are gone are in
    `pod.children` too, to be restored (`pod.restore_child`) or forgotten (`child.stop`).

    Raises `UnknownSessionError`, `SessionBusyError` (that pod lives), `CorruptLogError` and `SessionError` (nothing is guessed),
    `ConfinementError` (the level it had is not to be had), and what `open_pod` raises; then nothing is left behind.
    """
    house = await restored_house(name, worker, sessions=sessions, transport=transport, registry=registry, tools=tools)
    async with living(house) as pod:
        yield pod


async def restored_house(
    name: str, worker: Worker, *, sessions: SessionStore, transport: Transport, registry: Registry, tools: Sequence[Tool] = ()
) -> House:
    """The pod as it was kept, before anything of it runs. Raises as `restore_pod` does."""
    check_name(name)
    session = await sessions.open(name)
    try:
        manifest = decode_manifest(session.manifest, session.id)
        if manifest.name != name or manifest.parent is not None:
            whose = f"of pod {manifest.name}" if manifest.parent is None else f"of a child of {manifest.parent}, which restores it"
            raise SessionError(f"session {session.id} is {whose}")
        check_plain(manifest.plain, manifest.generation, transport)
        choose(manifest.level, manifest.level)
        manifest = attrs.evolve(manifest, incarnation=new_incarnation())
        opening = Opening(
            manifest, worker=worker, transport=transport, registry=registry, tools=tools, sessions=sessions, session=session
        )
        return await opening.build()
    except BaseException:
        with trio.CancelScope(shield=True):
            await session.aclose()
        raise
