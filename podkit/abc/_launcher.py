"""The launcher port: how a child comes to run, as a task, as a program, or in any way somebody else thinks of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from ._tool import Tool
    from ._worker import Worker


class Process(ABC):
    """A launched child, as its parent holds it. Nothing here raises because the child is gone already."""

    pid: int | None = None

    @abstractmethod
    async def wait(self) -> int:
        """Return the status when the child is over and reaped: 0 for a good end, negative for a signal. May be called again."""

    @abstractmethod
    def terminate(self) -> None:
        """Ask it to end (SIGTERM to its process group, or a cancellation)."""

    @abstractmethod
    def kill(self) -> None:
        """End it."""

    def stderr_tail(self) -> str:
        """The last 4 KiB of what it said on stderr, if that is kept."""
        return ""


@attrs.frozen(kw_only=True)
class Program:
    """What a program needs to become the child. It finds its birth on the descriptor that `environment` names."""

    environment: Mapping[str, str]
    """To be added to the child's environment. It holds a descriptor's number and no secret."""
    pass_fds: Sequence[int]
    """Descriptors it must inherit under their numbers."""
    cwd: str | None
    """Where it starts; None: where the parent is."""
    stderr: str | None
    """The file to which its stderr is appended; None: nowhere."""


class Birth(ABC):
    """One child to be. A launcher uses exactly one of `program` and `task`."""

    name: str
    incarnation: str

    @abstractmethod
    def program(self) -> Program:
        """For a launcher that starts a program. Raises `LaunchFailedError` when the registry or the transport cannot be shared."""

    @abstractmethod
    def task(self, run: Callable[[], Awaitable[Any]]) -> Process:
        """For a launcher that starts a task: `run` is started beside the parent, and what comes back is a handle on it."""

    @abstractmethod
    async def adopt(self, worker: Worker, *, tools: Sequence[Tool] = ()) -> None:
        """Inside `task`: be that child until it is stopped."""


class Launcher(ABC):
    """Starts children."""

    @abstractmethod
    async def launch(self, birth: Birth) -> Process:
        """Start the child and return at once; its readiness is waited for elsewhere. Raises `LaunchFailedError` or `OSError`."""
