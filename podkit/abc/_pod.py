"""The pod as workers and tools see it, and a child as its parent holds it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    import trio

    from podkit.logic import Scope
    from podkit.protocol import Event, Method, RunEnd, Segment, Snapshot, Status, Usage

    from ._launcher import Launcher
    from ._programs import Completed, Job
    from ._tool import ToolOutput


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of one run: everything it said (`text`), how it ended (`result`) and what it used (`usage`, summed)."""

    text: str
    result: str
    usage: Usage


@attrs.frozen(kw_only=True)
class StopReport:
    """How a child ended: `how` is "asked", "terminated", "killed" or "gone", `returned` the scope that came back."""

    name: str
    incarnation: str
    how: str
    returned: Scope
    seconds: float


class Controls(ABC):
    """What `Pod`, `Child` and `Client` share."""

    @abstractmethod
    async def send(self, method: Method) -> Event:
        """Send a method and return its one terminal reply. Raises `MethodRejectedError` when the pod refuses."""

    @abstractmethod
    async def run(self, input: str | Sequence[Segment]) -> int:
        """Start a run; return its number once it is committed and started. Refused (already_running) while one runs."""

    @abstractmethod
    async def wait(self, run: int) -> RunEnd:
        """Return that run's one end."""

    @abstractmethod
    async def ask(self, input: str | Sequence[Segment]) -> Outcome:
        """Run, wait, and collect what was said."""

    @abstractmethod
    async def notify(self, message: str, *, wake: bool = True) -> None:
        """Put a message into the queue, to be seen exactly once; with `wake` an idle pod starts a run for it."""

    @abstractmethod
    async def pause(self, *, run: int | None = None) -> None:
        """Return when the current run is paused. NOT_RUNNING when it ended first."""

    @abstractmethod
    async def cancel(self, *, run: int | None = None) -> None:
        """Cancel the current run; returns when that is under way."""

    @abstractmethod
    async def resume(self) -> int:
        """Carry on a paused run under a new number."""

    @abstractmethod
    async def shutdown(self) -> None:
        """Ask the pod to end; returns when that is under way."""


class Child(Controls):
    """A handle on a child. It acts on (name, incarnation) only, never on a successor of the same name."""

    name: str
    incarnation: str
    address: str
    scope: Scope
    gone: trio.Event
    """Set from when it is gone, whoever ended it. With a session its handle stays among the children until it is stopped."""
    unseen: tuple[str, ...] = ()
    """The notices we sent it that it never saw, by the ids that `Accepted.notice` said. Known when it took its leave."""

    @property
    @abstractmethod
    def status(self) -> Status:
        """What is known of its status: hints it sent, not a question asked now. Idle when it is gone."""

    @abstractmethod
    async def snapshot(self) -> Snapshot:
        """Its log, greeting and status, asked for now."""

    @abstractmethod
    async def stop(self, *, grace: float = 5.0) -> StopReport:
        """Ask, terminate, kill, its children first; return a `StopReport` when no process is left and the scope is back.

        `grace` is in seconds and counts for each of the three. Idempotent. Raises `StopFailedError`, and keeps the record, when
        something is left.
        """


@attrs.frozen(kw_only=True)
class FileStat:
    """What is at a path: `kind` is "file", "directory" or "other", `size` in bytes, `modified` in unix seconds."""

    kind: str
    size: int
    modified: float


class Files(ABC):
    """Files within the scope: every path is walked safely and judged before anything happens.

    Raises `AccessDeniedError`, `PathRefusedError`, and `OSError` for plain absence and the like.
    """

    @abstractmethod
    async def read_bytes(self, path: str) -> bytes:
        """The whole content of a regular file."""

    @abstractmethod
    async def read_text(self, path: str) -> str:
        """The same, as UTF-8 text."""

    @abstractmethod
    async def write_bytes(self, path: str, data: bytes) -> None:
        """Make `data` the whole content of a file, new or not, at once; missing directories on the way are made."""

    @abstractmethod
    async def write_text(self, path: str, text: str) -> None:
        """The same, as UTF-8 text."""

    @abstractmethod
    async def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted."""

    @abstractmethod
    async def stat(self, path: str) -> FileStat:
        """What is there, links followed."""

    @abstractmethod
    async def make_directory(self, path: str) -> None:
        """Make one directory in one that is there. Raises `FileExistsError`."""

    @abstractmethod
    async def remove(self, path: str) -> None:
        """Remove a file, a link (never what it leads to) or an empty directory."""

    @abstractmethod
    async def rename(self, source: str, target: str) -> None:
        """Give `source` (a link itself, never what it leads to) the name `target`; a file there is replaced."""

    @abstractmethod
    async def remove_tree(self, path: str) -> None:
        """Remove a directory with everything below it, or whatever else is there. No link is followed."""


class Pod(Controls):
    """Our own pod, as its worker, its tools and the program that opened it see it."""

    name: str
    incarnation: str
    address: str

    @property
    @abstractmethod
    def status(self) -> Status:
        """idle, running or paused."""

    @property
    @abstractmethod
    def scope(self) -> Scope:
        """What it may use right now: its own scope, less what is lent."""

    @property
    @abstractmethod
    def grant(self) -> Scope:
        """What it may hand out."""

    @property
    @abstractmethod
    def children(self) -> Mapping[str, Child]:
        """Its children, by name."""

    @property
    @abstractmethod
    def files(self) -> Files:
        """Files within the scope."""

    @abstractmethod
    async def spawn(
        self,
        name: str,
        *,
        scope: Scope,
        launcher: Launcher,
        task: str | None = None,
        grant: Scope | None = None,
        cwd: str | None = None,
        on_parent_death: str = "stop",
        ready_timeout: float = 10.0,
    ) -> Child:
        """Start a child with a part of our authority. See `podkit.Pod.spawn`."""

    @abstractmethod
    async def restore_child(self, name: str, *, launcher: Launcher, ready_timeout: float = 10.0) -> Child:
        """Start a child again that is gone, from its session. See `podkit.Pod.restore_child`."""

    @abstractmethod
    async def call_tool(self, name: str, arguments: Mapping[str, Any], *, call_id: str = "") -> ToolOutput:
        """Call one of our tools as a model would. `call_id` is what the model called the call, for the tool. Raises `ToolError`."""

    @property
    @abstractmethod
    def jobs(self) -> Mapping[str, Job]:
        """The programs that go on running, by name."""

    @abstractmethod
    async def shortfalls(self) -> Sequence[str]:
        """What the scope allows right now and a program could not do, in sentences."""

    @abstractmethod
    async def run_process(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        input: bytes | str | None = None,
        timeout: float | None = None,
        unix_sockets: bool = False,
        job: str | None = None,
        env: Mapping[str, str] | None = None,
        network: bool = True,
    ) -> Completed:
        """Run a program confined to the scope, at the pod's level. See `podkit.Pod.run_process`."""

    @abstractmethod
    async def stopped(self) -> None:
        """Return when the pod is gone, whoever stopped it."""
