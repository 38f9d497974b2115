"""The notice queue as its log says it is: accepted, and neither seen nor given back. Nothing else is remembered of it anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from podkit.protocol import (
    LogEntry,
    NoticeEntry,
    NoticeReturnedEntry,
    NotificationItem,
    PodEventItem,
    SystemItemEntry,
)


@attrs.frozen
class NoticeQueue:
    """The notices that wait, by id, oldest first. Every change answers a new queue."""

    waiting: Mapping[str, NoticeEntry] = attrs.field(factory=dict)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, oldest first."""
        return tuple(self.waiting)


def fold_notice(queue: NoticeQueue, entry: LogEntry) -> NoticeQueue:
    """The queue after one more entry of the log. Entries that are not about notices change nothing.

    What is seen or given back without having been accepted changes nothing either, so that a damaged history has a queue too.
    """
    return project_notices((entry,), queue)


def project_notices(entries: Iterable[LogEntry], queue: NoticeQueue | None = None) -> NoticeQueue:
    """The queue after all these entries: of a whole log, or of what came after `queue`."""
    queue = NoticeQueue() if queue is None else queue
    waiting: dict[str, NoticeEntry] | None = None  # our own copy, once something changes: of many entries, one copy
    for entry in entries:
        match entry:
            case NoticeEntry(id=notice):
                waiting = dict(queue.waiting) if waiting is None else waiting
                waiting[notice] = entry
            case (
                NoticeReturnedEntry(id=notice) | SystemItemEntry(item=NotificationItem(notice=notice) | PodEventItem(notice=notice))
            ) if notice is not None and notice in (queue.waiting if waiting is None else waiting):
                waiting = dict(queue.waiting) if waiting is None else waiting
                del waiting[notice]
            case _:
                pass
    return queue if waiting is None else NoticeQueue(waiting)


def notice_item(entry: NoticeEntry) -> NotificationItem | PodEventItem:
    """What the model is shown of a notice. It follows from the entry alone, so a restored pod shows the same."""
    if entry.event is not None:
        return PodEventItem(entry.event, entry.body, notice=entry.id)
    return NotificationItem(entry.body, entry.body, notice=entry.id)
