"""A program in a ward, as its hosting program sees it: streams, a status, and the end of its whole tree."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, Self

import attrs
import trio

from podkit._os._kernel import _cgroup
from podkit._os._pidfd import process_state
from podkit.errors import ConfinementError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

_PATIENCE = 10.0  # seconds for a tree to end when we clean up
_STOPPED = 1.0  # seconds after which a ward that says nothing is looked at
_PAUSE = 0.01  # seconds between two looks at a control group
_AT_ONCE = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)  # not every system that imports this has it
_LONGEST = 2**20  # bytes of one message of a ward
_ABOUT_THE_PROGRAM = ("exec", "cwd")


@attrs.define(eq=False, init=False, repr=False)
class Ward:
    """A program that runs, and everything it starts. `stdin`, `stdout` and `stderr` are its streams, `pid` its process id.

    Leaving its block ends the tree. Until then the program is owed somebody who reads its output.
    """

    pid: int
    stdin: trio.lowlevel.FdStream | None
    stdout: trio.lowlevel.FdStream
    stderr: trio.lowlevel.FdStream
    number: int
    _level: str
    _seen_off: Callable[[Ward], Awaitable[bool]]
    _call: socket.socket | None
    _buffer: bytearray
    _said: dict[str, Any]
    _rest: bytes
    _reading: bool
    _silent: bool
    _news: trio.Event

    def __init__(self, number: int, level: str, seen_off: Callable[[Ward], Awaitable[bool]], call: socket.socket) -> None:
        """`seen_off` waits until the nanny has seen a killed ward's tree end; False when there is no nanny to tell."""
        self.pid, self.number, self.stdin = 0, number, None
        self._level, self._seen_off, self._call = level, seen_off, call
        self._buffer, self._said, self._rest = bytearray(), {}, b""
        self._reading, self._silent, self._news = False, False, trio.Event()

    def __repr__(self) -> str:
        state = "ended" if "ended" in self._said else f"status {self._said['exited']}" if "exited" in self._said else "running"
        return f"<Ward {self.number} pid {self.pid} {self._level} {state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def wait(self) -> int:
        """The status of the program itself: 0 to 255 as it exited, or minus the signal that ended it. Its tree may still be ending.

        Any number of tasks may wait, and again. Raises `ConfinementError` when the ward was killed, so that nobody knows.
        """
        status = await self._until("exited")
        if status is None:
            raise ConfinementError(self._level, "the ward was killed")
        return os.waitstatus_to_exitcode(status)

    def end(self) -> None:
        """End the tree now. Never waits; doing it again does nothing."""
        if self._call is not None:
            with contextlib.suppress(OSError):
                self._call.shutdown(socket.SHUT_WR)

    async def ended(self) -> tuple[tuple[int, str], ...]:
        """Return when the tree is over: who is left, as (process id, name). Nobody is, unless best effort was not enough.

        Raises `ConfinementError` when both the ward and the nanny were killed: what it started may then still run.
        """
        ended = await self._until("ended")
        if ended is not None:
            return tuple((pid, name) for pid, name in ended["left"])
        await self._ask_nanny()
        return ()

    async def gone(self) -> None:
        """Return when nobody is left, also of those whom `ended` named. Until then the ward holds its leases.

        Raises `ConfinementError` as `ended` does. After `aclose` it does not know any more, and returns.
        """
        if await self.ended() and await self._until("gone") is None and self._call is not None:
            await self._ask_nanny()

    async def _ask_nanny(self) -> None:
        if not await self._seen_off(self) and not await _end_group(self._said.get("group")):
            raise ConfinementError(self._level, "the ward and the nanny were killed; what they watched may still run")

    async def aclose(self) -> None:
        """End the tree, wait for that at most 10 seconds even when cancelled, and close the streams."""
        self.end()
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_STOPPED):
                await self._quietly_ended()
            if self._call is not None and not self._silent and "ended" not in self._said:
                self.wake()
                with trio.move_on_after(_PATIENCE - _STOPPED):
                    await self._quietly_ended()
            for stream in (self.stdin, self.stdout, self.stderr):
                if stream is not None:
                    stream.close()
            self._hang_up()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def _quietly_ended(self) -> None:
        if "failed" not in self._said:
            with contextlib.suppress(ConfinementError):
                await self.ended()

    # What `Wards` does with it.

    @classmethod
    def make(
        cls, number: int, level: str, seen_off: Callable[[Ward], Awaitable[bool]], *, stdin: bool
    ) -> tuple[Ward, tuple[int, int, int, int]]:
        """A ward that nobody serves yet, and what to serve it with: call, stdin (-1 for none), stdout, stderr. Raises `OSError`."""
        with contextlib.ExitStack() as undo:

            def pipe() -> tuple[int, int]:
                ends = os.pipe()
                for fd in ends:
                    undo.callback(os.close, fd)
                return ends

            call, theirs = socket.socketpair()
            undo.callback(call.close)
            undo.callback(theirs.close)
            call.setblocking(False)
            ward = cls(number, level, seen_off, call)
            out, err = pipe(), pipe()
            to = pipe() if stdin else (-1, -1)
            undo.pop_all()
        ward.stdout, ward.stderr = trio.lowlevel.FdStream(out[0]), trio.lowlevel.FdStream(err[0])
        ward.stdin = trio.lowlevel.FdStream(to[1]) if stdin else None
        return ward, (theirs.detach(), to[0], out[1], err[1])

    def give(self, order: bytes) -> None:
        """Send the order, or as much of it as goes without waiting."""
        self._rest = len(order).to_bytes(4, "big") + order
        self._give()

    async def begin(self) -> None:
        """Send the rest of the order and wait until the program runs. Raises `OSError` or `ConfinementError` when it does not.

        When this was cancelled it may be called again.
        """
        while self._rest and self._call is not None:
            await trio.lowlevel.wait_writable(self._call)
            self._give()
        started = await self._until("started", "failed")
        if "failed" in self._said:
            self._hang_up()
            raise _refusal(self._level, self._said["failed"])
        if started is None:
            raise ConfinementError(self._level, "the ward was killed")
        self.pid = started

    def _give(self) -> None:
        assert self._call is not None
        try:
            self._rest = self._rest[self._call.send(self._rest, _AT_ONCE) :]
        except BlockingIOError:
            pass
        except OSError:  # the ward is not interested any more, and has said why
            self._rest = b""

    def forget(self) -> None:
        """For a forked copy of this process: it does not keep the tree alive."""
        if self._call is not None:
            self._call.close()
            self._call = None

    def _hang_up(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            trio.lowlevel.notify_closing(call)
            call.close()
            self._silent = True

    def wake(self) -> None:
        """A ward that was stopped cannot end anything: let it go on."""
        pid = self._said.get("ward", 0)
        state = process_state(pid) if pid else None
        if state is not None and state[0] in "Tt":
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGCONT)

    # What the ward says. Whoever needs to know reads for all.

    async def _until(self, *keys: str) -> Any:
        """What the ward says under the first of `keys`, or None: it said another of them, or will say nothing any more."""
        await trio.lowlevel.checkpoint()
        while not self._silent and not any(key in self._said for key in keys):
            if self._reading:
                await self._news.wait()
                continue
            self._reading = True
            try:
                await self._read()
            finally:
                self._reading = False
                news, self._news = self._news, trio.Event()
                news.set()
        return self._said.get(keys[0])

    async def _read(self) -> None:
        assert self._call is not None
        try:
            await trio.lowlevel.wait_readable(self._call)
            data = self._call.recv(65536)
        except BlockingIOError:
            return
        except (OSError, trio.ClosedResourceError):
            data = b""
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = rest
        for line in lines:
            self._said.update(json.loads(line))
        if not data or len(rest) > _LONGEST:
            self._silent = True


async def _end_group(group: str | None) -> bool:
    """What ward and nanny would have done, where there is a control group to do it with. False when it did not help."""
    with trio.move_on_after(_PATIENCE):
        while group is not None and _cgroup.kill(group):
            if _cgroup.remove(group):
                return True
            await trio.sleep(_PAUSE)
    return False


def _refusal(level: str, failed: dict[str, Any]) -> Exception:
    step, number, path = failed["step"], failed["errno"], failed["path"]
    if step in _ABOUT_THE_PROGRAM and number:
        return OSError(number, os.strerror(number), path)
    why = f": {os.strerror(number)}" if number else ""
    about = f" ({path})" if path else ""
    return ConfinementError(level, f"{step}{why}{about}", step=step)
