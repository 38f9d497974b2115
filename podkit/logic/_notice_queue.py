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
    match entry:
        case NoticeEntry(id=notice):
            return NoticeQueue({**queue.waiting, notice: entry})
        case NoticeReturnedEntry(id=notice):
            return _without(queue, notice)
        case SystemItemEntry(item=NotificationItem(notice=notice) | PodEventItem(notice=notice)):
            return _without(queue, notice)
        case _:
            return queue


def project_notices(entries: Iterable[LogEntry], queue: NoticeQueue | None = None) -> NoticeQueue:
    """The queue after all these entries: of a whole log, or of what came after `queue`."""
    queue = NoticeQueue() if queue is None else queue
    for entry in entries:
        queue = fold_notice(queue, entry)
    return queue


def notice_item(entry: NoticeEntry) -> NotificationItem | PodEventItem:
    """What the model is shown of a notice. It follows from the entry alone, so a restored pod shows the same."""
    if entry.event is not None:
        return PodEventItem(entry.event, entry.body, notice=entry.id)
    return NotificationItem(entry.body, entry.body, notice=entry.id)


def _without(queue: NoticeQueue, notice: str | None) -> NoticeQueue:
    if notice not in queue.waiting:
        return queue
    return NoticeQueue({other: entry for other, entry in queue.waiting.items() if other != notice})
