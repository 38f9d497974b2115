"""What a pod keeps for the day it is restored: its log, and beside it the manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os import now
from podkit.errors import SessionError
from podkit.logic import SessionState, close_interrupted, replay

from ._log import SessionLog
from ._plan_manifest import Manifest, decode_manifest, encode_manifest

if TYPE_CHECKING:
    from podkit.abc import Session, SessionStore


@attrs.frozen(kw_only=True)
class Kept:
    """A log that was opened, the state it comes to once everything in it is closed, and the manifest as it is from here.

    `sessions` is where children keep theirs; None: nothing is kept. `restored`: there was a pod of this session before.
    """

    log: SessionLog
    state: SessionState
    manifest: Manifest
    sessions: SessionStore | None = None
    restored: bool = False


async def open_log(
    sessions: SessionStore | None, manifest: Manifest, *, restore: bool = False, session: Session | None = None
) -> Kept:
    """Open the session of that pod: a new one, or with `restore` the one it had; `session` when that is open already.

    Before anybody sees it, what the last pod left open is closed, and the manifest says who has it now. Of an earlier manifest only
    the children are taken over. Raises `SessionError` and its kinds; then nothing is held.
    """
    if sessions is None:
        return Kept(log=SessionLog(now), state=SessionState(), manifest=manifest)
    if session is None:
        session = await sessions.open(manifest.name, create=None if restore else manifest.session)
    try:
        if restore:
            before = decode_manifest(session.manifest, session.id)
            _check_same(before, manifest, session)
            manifest = attrs.evolve(manifest, session=session.id, children=before.children)
        log = SessionLog(now, session)
        state = log.load()
        closing = close_interrupted(state, log.now())
        log.append(*closing)
        log.save(encode_manifest(manifest))
        if closing or not state.entries:
            state = replay(log.entries())
        await trio.lowlevel.checkpoint()  # all of that was work without a wait
    except BaseException:
        with trio.CancelScope(shield=True):
            await session.aclose()
        raise
    return Kept(log=log, state=_begins_with(state), manifest=manifest, sessions=sessions, restored=restore)


def _begins_with(state: SessionState) -> SessionState:
    """What a pod begins its life with. All that was said is in its log, and would be kept a second time."""
    return attrs.evolve(state, start=None, history=(), inputs=(), usage=(), extensions=())


def _check_same(before: Manifest, manifest: Manifest, session: Session) -> None:
    """A store serves one tree: a session of that name that another tree began is not the history of this pod."""
    if (before.name, before.tree, before.parent) != (manifest.name, manifest.tree, manifest.parent):
        whose = "its root" if before.parent is None else f"a child of {before.parent}"
        raise SessionError(
            f"session {session.id} is of pod {before.name} of the tree {before.tree}, {whose}, and not of the tree "
            f"{manifest.tree}: trees that have the same names need a store each"
        )
