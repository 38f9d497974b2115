"""Notices on their way to the model: drafted, kept once accepted, seen once, or given back when the pod ends."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from podkit.logic import from_other
from podkit.protocol import NoticeEntry, NoticeReturnedEntry, NotificationItem, PodEventItem, SystemItemEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from podkit._net import Origin
    from podkit.protocol import LogEntry, PodEvent, SystemItem

    from ._log import SessionLog


class NoticeBox:
    """The text of every notice that nobody has seen yet, by id. The log leads: what is here is in the log."""

    def __init__(self, log: SessionLog, *, text_limit: int) -> None:
        self._log, self._text_limit = log, text_limit
        self._ids = count(1)
        self._waiting: dict[str, tuple[str, NotificationItem | PodEventItem, bool]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def draft(self, message: str, origin: Origin, *, wake: bool) -> str:
        """An id for a message that is not accepted yet."""
        sender = origin.child[0] if origin.child is not None else "client"
        body = message if origin.child is None else from_other(message, sender, limit=self._text_limit)
        notice = f"n{next(self._ids)}"
        self._waiting[notice] = (sender, NotificationItem(message, body, notice=notice), wake)
        return notice

    def event(self, event: PodEvent, body: str, sender: str, *, wake: bool) -> str:
        """The same for something that happened to a child; `body` is safe to read already."""
        notice = f"n{next(self._ids)}"
        self._waiting[notice] = (sender, PodEventItem(event, body, notice=notice), wake)
        return notice

    def keep(self, notice: str) -> None:
        """Commit an accepted notice to the queue."""
        sender, item, wake = self._waiting[notice]
        self._log.append(NoticeEntry(ts=self._log.now(), id=notice, sender=sender, body=item.body, wake=wake))

    def drop(self, notice: str) -> None:
        """Forget a notice that was refused."""
        self._waiting.pop(notice, None)

    def take(self, notices: Iterable[str], run: int, *, after: Sequence[LogEntry] = ()) -> tuple[SystemItem, ...]:
        """Hand notices to a run: committed as seen, in one with the entries `after` which they come, and then gone from here."""
        taken = tuple(notices)
        items = tuple(self._waiting[notice][1] for notice in taken)
        self._log.append(*after, *(SystemItemEntry(ts=self._log.now(), item=item, run=run) for item in items))
        for notice in taken:
            del self._waiting[notice]
        return items

    def give_back(self, notices: Iterable[str]) -> None:
        """Return what nobody saw: the pod ends in order."""
        for notice in notices:
            if self._waiting.pop(notice, None) is not None:
                self._log.append(NoticeReturnedEntry(ts=self._log.now(), id=notice))
