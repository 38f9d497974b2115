"""What happened in a world, in order: a hash over all of it, and the last lines to read."""

from __future__ import annotations

import hashlib
import re
from collections import deque
from typing import Any

import trio
from trio.lowlevel import Task

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_KEPT = 60
_UNHASHED = 4096  # pieces of the trace that wait to be hashed together


class Trace:
    """`step` counts the steps of all tasks so far, `lines` are the last things worth reading, `digest` covers all of it.

    A line begins with the step and the second of the world's clock.
    """

    step: int
    lines: deque[str]

    def __init__(self, *, keep: int | None = _KEPT) -> None:
        self.step = 0
        self.lines = deque(maxlen=keep)
        self._hash = hashlib.blake2b(digest_size=12)
        self._marks: dict[Task, bytes] = {}
        self._unhashed: list[bytes] = []

    def __repr__(self) -> str:
        return f"<Trace of {self.step} steps, {self.digest}>"

    def stepped(self, task: Task) -> int:
        """A task is about to take a step; the answer is which one it is."""
        self.step = step = self.step + 1
        mark = self._marks.get(task)
        if mark is None:
            mark = self._marks[task] = b"%d %s\n" % (len(self._marks), task.name.encode())
            if len(self._unhashed) > _UNHASHED:
                self._catch_up()
        self._unhashed.append(mark)
        return step

    def note(self, what: str) -> None:
        """Something happened that is worth reading."""
        line = f"{self.step:6d} {trio.current_time():9.3f}  {what}"
        self._unhashed.append(line.encode("utf-8", "replace"))
        self.lines.append(line)

    @property
    def digest(self) -> str:
        """The hash over everything so far: two runs that did the same have the same."""
        self._catch_up()
        return self._hash.hexdigest()

    def _catch_up(self) -> None:
        self._hash.update(b"".join(self._unhashed))
        self._unhashed.clear()


def short(value: Any, length: int = 120) -> str:
    """A value as one short line, without what is different in every process."""
    text = _ADDRESS.sub("", " ".join(str(value).split()))
    return text if len(text) <= length else text[: length - 1] + "…"
