"""What happened in a world, in order: a hash over all of it, and the last lines to read."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Any

from trio.lowlevel import Task

_KEPT = 60


class Trace:
    """`step` counts the steps of all tasks so far, `lines` are the last things worth reading, `digest` covers all of it."""

    step: int
    lines: deque[str]

    def __init__(self, *, keep: int | None = _KEPT) -> None:
        self.step = 0
        self.lines = deque(maxlen=keep)
        self._hash = hashlib.blake2b(digest_size=12)
        self._marks: dict[Task, bytes] = {}

    def __repr__(self) -> str:
        return f"<Trace of {self.step} steps, {self.digest}>"

    def stepped(self, task: Task) -> None:
        """A task is about to take a step."""
        self.step += 1
        mark = self._marks.get(task)
        if mark is None:
            mark = self._marks[task] = b"%d %s\n" % (len(self._marks), task.name.encode())
        self._hash.update(mark)

    def note(self, what: str) -> None:
        """Something happened that is worth reading."""
        line = f"{self.step:6d}  {what}"
        self._hash.update(line.encode("utf-8", "replace"))
        self.lines.append(line)

    @property
    def digest(self) -> str:
        """The hash over everything so far: two runs that did the same have the same."""
        return self._hash.hexdigest()


def short(value: Any, length: int = 120) -> str:
    """A value as one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= length else text[: length - 1] + "…"
