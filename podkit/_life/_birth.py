"""One birth under way: what a launcher gets, and what the parent holds until the child stands on its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs
import trio

import podkit.abc as ports
from podkit._os import close_fds, pipe
from podkit.errors import LaunchFailedError

from ._plan_document import Document, encode_document

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from podkit.abc import Lease, Process, Tool, Worker

    from ._launch_task import TaskProcess
    from ._pod import Pod

ENVIRONMENT = "PODKIT_BIRTH"


class Birth(ports.Birth):
    """See `podkit.abc.Birth`. `listener` and `lease` are the child's; the parent lets go of its copies after the launch."""

    def __init__(self, parent: Pod, document: Document, *, lease: Lease, listener: Any, stderr: str | None) -> None:
        self.name, self.incarnation = document.name, document.incarnation
        self.parent, self.document = parent, document
        self.lease, self.listener, self.stderr = lease, listener, stderr
        self.ready = trio.Event()
        self._fds: list[int] = []
        self._config_write: int | None = None
        self._ready_read: int | None = None
        self._handed = False
        self.process: TaskProcess | None = None

    def __repr__(self) -> str:
        return f"<Birth {self.name} {self.incarnation}>"

    def program(self) -> ports.Program:
        listener_fd = getattr(self.listener, "fd", None)
        if not self.document.locator:
            raise LaunchFailedError(self.name, "its registry is known in this program only; use FileRegistry for programs")
        if listener_fd is None or self.lease.fd is None:
            raise LaunchFailedError(self.name, "its transport has no listener that a program can inherit")
        if self.document.restore and not self.document.sessions:
            raise LaunchFailedError(self.name, "its sessions are known in this program only, so no other can restore it")
        config_read, self._config_write = pipe()
        self._fds.append(config_read)  # at once, to be closed when there is no second one
        self._ready_read, ready_write = pipe()
        self._fds.append(ready_write)
        self.document = attrs.evolve(self.document, lease_fd=self.lease.fd, listener_fd=listener_fd, ready_fd=ready_write)
        return ports.Program(
            environment={ENVIRONMENT: str(config_read)},
            pass_fds=(config_read, ready_write, self.lease.fd, listener_fd),
            cwd=self.document.cwd,
            stderr=self.stderr,
        )

    def task(self, run: Callable[[], Awaitable[Any]]) -> Process:
        from ._launch_task import TaskProcess

        self._handed = True  # the lease and the listener belong to the task from here on
        self.process = process = TaskProcess(self, run)
        self.parent.start_soon(process.live)
        return process

    async def adopt(self, worker: Worker, *, tools: Sequence[Tool] = ()) -> None:
        from ._adopt import adopt_in_task

        await adopt_in_task(self, worker, tools=tools)

    def let_go(self) -> None:
        """The child has its copies: close ours at once, so that a dead child's lease is free and its address refuses."""
        close_fds(self._fds)
        self._fds = []
        if not self._handed:
            self.lease.release()
            detach = getattr(self.listener, "detach", None)
            if detach is not None:
                detach()

    async def tell(self) -> None:
        """Write the document into the pipe; a child that dies meanwhile is noticed elsewhere."""
        if self._config_write is None:
            return
        fd, self._config_write = self._config_write, None
        async with trio.lowlevel.FdStream(fd) as stream:
            try:
                await stream.send_all(encode_document(self.document))
            except trio.BrokenResourceError:
                await trio.lowlevel.checkpoint()

    async def wait_ready(self) -> bool:
        """Return True when the child says that it is ready, False when it can no longer say so."""
        if self._ready_read is None:
            await self.ready.wait()
            return True
        fd, self._ready_read = self._ready_read, None
        async with trio.lowlevel.FdStream(fd) as stream:
            return bool(await stream.receive_some(1))

    async def abandon(self) -> None:
        """Close everything that is still ours."""
        close_fds([*self._fds, *(fd for fd in (self._config_write, self._ready_read) if fd is not None)])
        self._fds, self._config_write, self._ready_read = [], None, None
        if not self._handed:
            self.lease.release()
            await self.listener.aclose()


def take_birth_descriptor() -> int | None:
    """The descriptor named in the environment, which forgets it at once."""
    text = os.environ.pop(ENVIRONMENT, None)
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text)
