"""Reads one log as it grows: each run ends once, each call has one result, each notice and report counts once (I21, I23 to I28).

The log of a session goes on when its pod is restored; the reader goes on with it, over crashes and into later segments.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from ._invariants_calls import CallCheck

Complain = Callable[[str, str], None]
_Rewinds = Iterable[tuple[str, int]]


class LogCheck:
    """The reader of one log. `complain(invariant, what)` is told what must never be.

    `rewinds()` are the segments that may be gone back in, each with how many entries it has then; None: any.
    """

    def __init__(
        self, name: str, complain: Complain, rewinds: Callable[[], Iterable[tuple[str, int]] | None] = lambda: None
    ) -> None:
        self._name, self._complain, self._rewinds = name, complain, rewinds
        self._segment: str | None = None
        self._top = 0  # no run has a higher number so far, in whatever segment
        self._reports: set[str] = set()
        self._known: dict[str, list[int]] = {}  # by segment: what was read of it, as numbers that tell entries apart
        self._lost_power = False
        self._begin(None)

    def _begin(self, segment: str | None) -> None:
        self._segment, self._read = segment, 0
        self._hash = hashlib.sha256()
        self._marks: list[int] = []
        if segment is not None:
            self._known[segment] = self._marks
        self._run: int | None = None
        self._waiting: dict[str, None] = {}
        self._calls = CallCheck(self._name, self._complain)

    def read(self, segment: str, data: list[dict[str, Any]]) -> None:
        """What came since the last time."""
        if segment != self._segment:
            self._another(segment, data)
        while self._read < len(data):
            self._next(data[self._read])

    def goes_on(self, segment: str, data: list[dict[str, Any]], committed: Sequence[bytes] | None) -> None:
        """A pod takes the log over, and nobody has seen it yet: `data` is what it makes of it, `committed` what is kept.

        None: it is kept where nobody but its pods can look.
        """
        name = self._name
        if committed is not None and data != [json.loads(raw) for raw in committed]:
            self._complain("I27", f"{name} begins with a log that is not what is kept of it")
        if self._lost_power:
            self._restart(segment, data)
        elif segment == self._segment and _hash(data[: self._read]).digest() != self._hash.digest():
            self._complain("I28", f"the first {self._read} entries of the log of {name} are not what they were")
            self._begin(segment)
        self.read(segment, data)
        if self._run is not None:
            self._complain("I24", f"{name} is restored, and run {self._run} has no end")
        if self._calls.open:
            self._complain("I25", f"{name} is restored, and nothing answers {', '.join(self._calls.open)}")

    def lost_power(self) -> None:
        """What was not written out may be gone when the log is next taken over: the end of it, and nothing else."""
        self._lost_power = True

    def _restart(self, segment: str, data: list[dict[str, Any]]) -> None:
        """Go on with what a loss of power left: entries as they were up to some place, and after it what a restore closes."""
        known, marks = self._known.get(segment), [zlib.crc32(_bytes(entry)) for entry in data]
        same = 0
        if known is not None:
            same = next(
                (n for n, pair in enumerate(zip(known, marks, strict=False)) if pair[0] != pair[1]), min(len(known), len(marks))
            )
        if known is not None and same < len(known) and not all(_closes(entry) for entry in data[same:]):
            self._complain("I29", f"after {same} entries the log of {self._name} is not what it was before the power was lost")
        self._lost_power, self._top, self._reports = False, 0, set()
        self._begin(None)

    def _another(self, segment: str, data: list[dict[str, Any]]) -> None:
        """The log goes on in another segment, which begins with all of `data`: what waited then still waits."""
        before, old, was = self._waiting, self._segment, self._marks
        if old is not None and data[0].get("forked_from") is not None:
            self._rewound(data, old, was)
        self._begin(segment)
        if old is None:
            return
        top, reports, self._top, self._reports = self._top, self._reports, 0, set()
        for entry in data:
            self._next(entry)
        self._top, self._reports = max(top, self._top), reports | self._reports
        if set(self._waiting) != set(before):
            self._complain(
                "I26", f"{', '.join(before) or 'nothing'} waited in the log of {self._name}, and not in its next segment"
            )

    def _rewound(self, data: list[dict[str, Any]], old: str, was: list[int]) -> None:
        """The new segment goes back in the old one: as somebody asked, and with nothing in it that was not there."""
        allowed = self._rewinds()
        if data[0]["forked_from"]["segment_id"] != old:
            self._complain("I28", f"the log of {self._name} goes back in a segment that was not its current one")
        elif allowed is not None and not any(segment == old and length >= len(was) for segment, length in allowed):
            self._complain("I28", f"the log of {self._name} goes back, and nobody asked for that with a target that it has")
        told = {"segment_start", "notice", "extension"}
        known = set(was)
        if any(zlib.crc32(_bytes(entry)) not in known for entry in data if entry["kind"] not in told):
            self._complain("I28", f"the log of {self._name} was taken back to something that it did not say")

    def _next(self, entry: dict[str, Any]) -> None:
        self._entry(entry)
        self._calls.entry(entry)
        raw = _bytes(entry)
        self._hash.update(raw)
        self._marks.append(zlib.crc32(raw))
        self._read += 1

    def _entry(self, entry: dict[str, Any]) -> None:
        run = entry.get("run") or 0
        match entry["kind"]:
            case "invoke":
                if self._run is not None:
                    self._complain("I23", f"run {run} of {self._name} begins in run {self._run}")
                if run <= self._top:
                    self._complain("I24", f"run {run} of {self._name} begins after run {self._top}")
                self._run = self._top = run
            case "run_completed" | "run_errored":
                if run != self._run:
                    self._complain("I24", f"run {run} of {self._name} ends in run {self._run}")
                self._run = None
            case "notice":
                self._waiting[entry["id"]] = None
            case "notice_returned":
                self._seen(entry["id"])
            case "system_item":
                item = entry["item"]
                if item.get("notice") is not None:
                    self._seen(item["notice"])
                self._report(item.get("event"))

    @property
    def waiting(self) -> tuple[str, ...]:
        """The notices that were accepted, and neither seen nor given back, oldest first."""
        return tuple(self._waiting)

    def _seen(self, notice: str) -> None:
        if self._waiting.pop(notice, self) is self:
            self._complain("I26", f"{self._name} sees the notice {notice} twice, or before it was accepted")

    def _report(self, event: dict[str, Any] | None) -> None:
        if event is None or event.get("id") is None:
            return
        if event["id"] in self._reports:
            self._complain("I21", f"{self._name} hears {event['id']} twice")
        self._reports.add(event["id"])

    def end(self, *, owed: bool = False, refused: bool = False) -> None:
        """The pod ended in order. What is `owed` happened, and could not be kept; neither could anything that was `refused`."""
        if self._run is not None and not (owed or refused):
            self._complain("I24", f"run {self._run} of {self._name} has no end")
        if self._waiting and not refused:
            self._complain("I26", f"{self._name} ends, and nobody saw the notices {', '.join(self._waiting)}, nor got them back")


def _closes(entry: dict[str, Any]) -> bool:
    """Whether a restore may have written this for what was open when the program ended."""
    ends = entry["kind"] == "run_errored" and bool(entry.get("interrupted"))
    return ends or entry["kind"] in ("tool_result", "turn_end")


def _bytes(entry: dict[str, Any]) -> bytes:
    return msgspec.json.encode(entry)


def _hash(data: Sequence[dict[str, Any]]) -> Any:
    digest = hashlib.sha256()
    for entry in data:
        digest.update(_bytes(entry))
    return digest
