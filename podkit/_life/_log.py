"""The session log of a pod, in memory: an append-only list of entries that snapshots and replies are projections of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podkit.protocol import encode_entry, entry_to_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.protocol import LogEntry


class SessionLog:
    """Entries as plain JSON values, in commit order. `clock()` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.data: list[dict[str, Any]] = []

    def now(self) -> int:
        """The time of an entry, in milliseconds since the epoch."""
        return int(self._clock() * 1000)

    def append(self, *entries: LogEntry) -> None:
        """Commit entries, all or none; they are never changed. Raises `LocalProtocolError` for what could not be sent or stored."""
        for entry in entries:
            encode_entry(entry)
        self.data.extend([entry_to_data(entry) for entry in entries])
