"""What came of a program that a pod ran, and a handle on one that goes on running."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class Completed:
    """One program, run to its end or, for a job, begun.

    `status` is 0 to 255 as it exited, minus the signal that ended it, and None while it runs. `stdout` and `stderr` are what it
    said; `dropped` counts the bytes beyond what is kept. `timed_out` says that it was ended because its time was up. `seconds` is
    how long it took. `level` is the confinement in force for it, `tree` how its processes are ended: "namespace" (at once, by the
    kernel), "cgroup" (the same) or "best-effort". `shortfalls` says in sentences what the scope allows and the program cannot do.
    """

    argv: Sequence[str]
    status: int | None
    stdout: bytes = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")
    stderr: bytes = attrs.field(default=b"", repr=lambda data: f"<{len(data)} bytes>")
    dropped: int = 0
    timed_out: bool = False
    seconds: float = 0.0
    level: str = "advisory"
    tree: str = "best-effort"
    shortfalls: Sequence[str] = ()

    @property
    def ok(self) -> bool:
        """Whether it exited with status 0 in time."""
        return self.status == 0 and not self.timed_out

    @property
    def text(self) -> str:
        """`stdout` as text; what is not UTF-8 is replaced."""
        return self.stdout.decode("utf-8", "replace")


class Job(ABC):
    """A program that a pod goes on running after the call that began it. It ends with the pod at the latest.

    While it runs nothing of the pod's write can be lent: a birth that would take some waits, and names the job when its time is up.
    """

    name: str
    argv: Sequence[str]

    @property
    @abstractmethod
    def running(self) -> bool:
        """Whether it, or anything it started, is still there."""

    @abstractmethod
    def output(self) -> bytes:
        """The last of what it said so far, stdout and stderr as they came."""

    @abstractmethod
    async def wait(self) -> Completed:
        """Return what came of it, when it is over with everything it started."""

    @abstractmethod
    async def stop(self) -> Completed:
        """End it now with everything it started, and return what came of it. May be called again."""
