"""Forking a session: a new one that goes on from what another one said, while that one goes on as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os import new_incarnation, new_tree, new_uuid, now
from podkit.errors import LocalProtocolError, SessionError, UnknownTurnError
from podkit.logic import Scope, UnknownTurn, plan_fork
from podkit.protocol import check_name, encode_entry

from ._log import read_entries
from ._plan_manifest import Manifest, decode_manifest, encode_manifest

if TYPE_CHECKING:
    from podkit.abc import SessionStore
    from podkit.protocol import LogEntry

LONGEST = 2**24
"""Bytes of an entry, and so of the history that a session can begin with."""


@attrs.frozen(kw_only=True)
class Fork:
    """A session that was made of another one: `session` is its id, and it begins with what `origin` had at the end of turn `turn`.

    `origin` is the segment it was read from; `history` is how many items the model will find said.
    """

    name: str
    session: str
    origin: str
    turn: int
    history: int


async def fork_session(
    sessions: SessionStore, name: str, as_name: str, *, scope: Scope, grant: Scope | None = None, at: int | None = None
) -> Fork:
    """Make a session for a root `as_name` that begins with the history of the pod `name`; `restore_pod(as_name)` opens that root.

    `at` is the turn after which the history ends, counted from 1 in the current segment; 0 is what that segment began with, None
    all that is committed now. What the model was told and said, the system prompt, the configuration and what workers
    keep in the log (extensions) go along; a call of a tool that has no result by then gets one that says so. Runs,
    waiting notices, a pause and children stay with `name`. That may be a root or a child, alive or gone: it is only read,
    and nothing of it changes.

    Authority is not history: the new root may do what `scope` and `grant` declare (None: the scope), and it is asked for when
    it is opened. The level of confinement, the limits and the working directory are those of `name`; address and run directory
    are new. An earlier session of `as_name` is put aside, as by `open_pod`.

    Raises `UnknownTurnError`, `UnknownSessionError`, `CorruptLogError`, `InvalidNameError`, `SessionBusyError` (a pod `as_name`
    lives), and `SessionError`, also for a history of more than 16 MiB. A fork that was not finished (the program died, the disk
    was full) cannot be restored and says so; fork again. `ValueError` when both names are one: it would put aside what it is of.
    """
    if check_name(as_name) == check_name(name):
        raise ValueError("a fork has another name than the session that it is of")
    source = await sessions.read(name)
    before = decode_manifest(source.manifest, source.id)
    if source.segment is None:
        raise SessionError(f"session {source.id} of {name} has no segment: the opening of its pod was never finished")
    own = new_uuid()
    entries = read_entries(source.entries, f"session {source.id} of {name}, segment {source.segment}")
    plan = plan_fork(entries, at=at, segment=source.segment, session=own, ts=int(now() * 1000))
    if isinstance(plan, UnknownTurn):
        raise UnknownTurnError(source.id, plan.turn, plan.turns)
    raw = _raw(plan.entries)
    manifest = Manifest(
        name=as_name,
        session=own,
        tree=new_tree(as_name),
        incarnation=new_incarnation(),
        scope=scope,
        grant=grant,
        cwd=before.cwd,
        address=None,
        run_dir=None,
        plain=None,
        generation=before.generation,
        level=before.level,
        limits=before.limits,
    )
    kept = encode_manifest(manifest)
    made = await sessions.open(as_name, create=own)
    with trio.CancelScope(shield=True):  # a few writes, and then there is one
        async with made:
            made.rotate(new_uuid(), raw)
            await made.sync()
            made.save(kept)  # from here it can be restored
    return Fork(name=as_name, session=own, origin=source.segment, turn=plan.origin.at_turn_index, history=plan.history)


def _raw(entries: tuple[LogEntry, ...]) -> list[bytes]:
    """The entries in bytes, checked before anything is made."""
    try:
        raw = [encode_entry(entry) for entry in entries]
    except LocalProtocolError as error:
        raise SessionError(f"the history cannot be the beginning of a session: {error}") from None
    if any(len(one) > LONGEST for one in raw):
        raise SessionError("the history is longer than the 16 MiB that a session can begin with; fork at an earlier turn")
    return raw
