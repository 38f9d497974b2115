"""Notices on their way to the model: drafted, in the log once accepted, seen once, or given back when the pod ends."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import attrs

from podkit.errors import LocalProtocolError
from podkit.logic import Digest, Waiting, from_other, notice_item, project_notices
from podkit.protocol import NoticeEntry, NoticeReturnedEntry, Returned, SystemItemEntry, entry_from_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from podkit._net import Ask
    from podkit.abc import Notice
    from podkit.logic import NoticeQueue
    from podkit.protocol import LogEntry, PodEvent

    from ._log import SessionLog

_CLIENT, _PODS = "client", "pods"
_LONGEST = 2**20  # characters of a notice: when it is seen it is in one entry of the log twice, whatever they are written as


@attrs.frozen
class _Draft:
    """A notice that is not accepted yet."""

    sender: str
    body: str
    wake: bool
    event: PodEvent | None = None
    ask: Ask | None = None
    replaces: str | None = None
    digest: Digest | None = None


class NoticeBox:
    """The queue of one pod. What waits is `queue`, a projection of the log: nothing enters or leaves it but by an entry.

    Ids carry the pod's incarnation, so that they are unique in a session whatever happens to its log and its pods.
    """

    queue: NoticeQueue
    returned: tuple[tuple[str, Ask], ...]
    """What was given back, and whose it was."""

    def __init__(self, log: SessionLog, *, incarnation: str, text_limit: int) -> None:
        self._log, self._incarnation, self._text_limit = log, incarnation, text_limit
        self._ids = count(1)
        self._drafts: dict[str, _Draft] = {}
        self._asks: dict[str, Ask] = {}
        self._digest: tuple[str, Digest] | None = None
        self.queue = project_notices(entry_from_data(data) for data in log.data)
        self.returned = ()

    def __len__(self) -> int:
        return len(self.queue.waiting)

    def waiting(self) -> tuple[Waiting, ...]:
        """What the queue holds, as the table knows it. With a log from before it is not empty at the start."""
        return tuple(Waiting(notice, entry.wake, _child(entry)) for notice, entry in self.queue.waiting.items())

    def draft(self, ask: Ask, message: str, *, wake: bool) -> str:
        """An id for a message that is not accepted yet. What a child says is made safe and marked with its name."""
        if ask.origin.child is None:
            return self._drafted(_Draft(_CLIENT, message, wake, ask=ask))
        sender = ask.origin.child[0]
        return self._drafted(_Draft(sender, from_other(message, sender, limit=self._text_limit), wake, ask=ask))

    def news(self, child: str, event: PodEvent, body: str, *, wake: bool) -> str:
        """The same for something that happened to a child; `body` is safe to read already."""
        return self._drafted(_Draft(child, body, wake, event))

    def digest(self, child: str, event: PodEvent, *, wake: bool, gone: bool, fixed: Sequence[str]) -> tuple[str, str | None]:
        """The same when there is no room: put together with what came without room before.

        Also answers the notice it replaces, if there is one; those in `fixed` are not replaced.
        """
        known, told = (None, Digest()) if self._digest is None else self._digest
        before = self.queue.waiting.get(known) if known is not None and known not in fixed else None
        if before is None:
            known, told = None, Digest()
        told = told.add(child, event, gone=gone)
        wake = wake or (before is not None and before.wake)
        draft = _Draft(_PODS, told.text(limit=self._text_limit), wake, replaces=known, digest=told)
        return self._drafted(draft), known

    def keep(self, notice: str) -> None:
        """Commit an accepted notice to the queue. Raises `LocalProtocolError` for one that could not be committed as seen."""
        draft = self._drafts[notice]
        if len(draft.body) > _LONGEST:
            raise LocalProtocolError(f"a notice has up to {_LONGEST} characters")
        entries: list[LogEntry] = [
            NoticeEntry(self._log.now(), notice, draft.sender, draft.body, wake=draft.wake, event=draft.event)
        ]
        if draft.replaces is not None:
            entries.append(NoticeReturnedEntry(self._log.now(), draft.replaces, into=notice))
        self._commit(entries)
        del self._drafts[notice]
        if draft.ask is not None:
            self._asks[notice] = draft.ask
        if draft.digest is not None:
            self._digest = notice, draft.digest

    def drop(self, notice: str) -> None:
        """Forget a notice that was refused."""
        self._drafts.pop(notice, None)

    def take(self, notices: Iterable[str], run: int, *, after: Sequence[LogEntry] = ()) -> tuple[Notice, ...]:
        """Hand notices to a run: committed as seen, in one with the entries `after` which they come, and then gone from here.

        Those that are not in the queue were seen already, and are not seen again.
        """
        taken = tuple(notice for notice in notices if notice in self.queue.waiting)
        items = tuple(notice_item(self.queue.waiting[notice]) for notice in taken)
        self._commit([*after, *(SystemItemEntry(ts=self._log.now(), item=item, run=run) for item in items)])
        for notice in taken:
            self._asks.pop(notice, None)
        return items

    def give_back(self, notices: Iterable[str], reason: str) -> None:
        """Return what nobody saw, and tell whoever sent it and can still be reached: the pod ends in order.

        When that cannot be kept, nothing was returned: the notices are still in the log, for whoever goes on with it.
        """
        known = [notice for notice in notices if notice in self.queue.waiting]
        for notice in notices:
            self.drop(notice)
        if not known:
            return
        self._commit([NoticeReturnedEntry(ts=self._log.now(), id=notice) for notice in known])
        self.returned += tuple((notice, self._asks.pop(notice)) for notice in known if notice in self._asks)
        for notice, ask in self.returned:
            if ask.tell is not None:
                ask.tell(Returned(notice, reason))

    def gave_back(self, notice: str) -> bool:
        """Whether this notice was returned to whoever sent it."""
        return any(notice == known for known, _ in self.returned)

    def _drafted(self, draft: _Draft) -> str:
        notice = f"{self._incarnation}.{next(self._ids)}"
        self._drafts[notice] = draft
        return notice

    def _commit(self, entries: Sequence[LogEntry]) -> None:
        self._log.append(*entries)
        self.queue = project_notices(entries, self.queue)


def _child(entry: NoticeEntry) -> str | None:
    """Whose notice it is, as far as waking goes."""
    return None if entry.sender in (_CLIENT, _PODS) else entry.sender
