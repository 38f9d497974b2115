"""Starting programs in wards: this program's side of its nanny.

Below: `_nanny.py`, which forks the wards, and `_kernel`, which confines what runs in them. Above: whoever knows scopes. There is no
policy here: an order says what is run and how it is confined, and a ward does all of that or nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import weakref
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os._order import Order as Order
from podkit._os._order import WardFacts as WardFacts
from podkit._os._pidfd import process_state
from podkit._os._process import OsProcess, start_process
from podkit._os._ward import Ward as Ward
from podkit.errors import ConfinementError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_nanny.py")
_PATIENCE = 10.0  # seconds for a nanny to answer, and to leave
_STOPPED = 1.0  # seconds after which a nanny that does not answer is looked at
_PASSED_ON = ("LD_LIBRARY_PATH", "LC_ALL", "LC_CTYPE", "LANG")  # what an interpreter may need to start; nothing else of ours
_AT_ONCE = socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)  # not every system that imports this has it


@attrs.define(eq=False, init=False, repr=False)
class Wards:
    """The nanny of this program, and the wards it forks. Nothing is started before it is needed.

    A program whose nanny died opens no ward any more: what holds scopes beside its pods is gone. The wards that were open go on.
    """

    _stderr: str | None
    _facts: WardFacts | None
    _control: socket.socket | None
    _process: OsProcess | None
    _start: trio.Lock
    _numbers: itertools.count[int]
    _kept: dict[str, int]
    _held: set[str]
    _replies: dict[tuple[str, object], trio.Event]
    _wards: weakref.WeakSet[Ward]
    _lost: trio.Event
    _closed: bool
    _null: int

    def __init__(self, *, stderr: str | None = None) -> None:
        """`stderr` is the path of a private file that takes what a nanny in trouble has to say."""
        self._stderr, self._facts, self._control, self._process = stderr, None, None, None
        self._start, self._numbers = trio.Lock(), itertools.count(1)
        self._kept, self._held, self._replies, self._wards = {}, set(), {}, weakref.WeakSet()
        self._lost, self._closed, self._null = trio.Event(), False, -1
        _all.add(self)

    def __repr__(self) -> str:
        state = "not started" if self._process is None else "dead" if self.dead else f"pid {self._process.pid}"
        return f"<Wards {state}, {len(self._wards)} open>"

    @property
    def dead(self) -> bool:
        """Whether the nanny is gone without having been asked."""
        return self._lost.is_set()

    async def lost(self) -> None:
        """Return when the nanny is gone without having been asked. It may never be."""
        await self._lost.wait()

    async def facts(self) -> WardFacts:
        """What can be had here. Starts the nanny when there is none. Raises `ConfinementError` when it cannot be had."""
        async with self._start:
            if self._facts is None and not self.dead and not self._closed:
                await self._launch()
            self._check("advisory")
            assert self._facts is not None
            return self._facts

    async def hold(self, key: str, fd: int) -> None:
        """Have the nanny hold the lease `key`, of which `fd` is a descriptor, until `drop`. Doing it again does nothing.

        It gets a copy; before there is a nanny, a copy is kept for it here.
        """
        await trio.lowlevel.checkpoint()
        if key in self._held or key in self._kept:
            return
        if self._control is None:
            self._kept[key] = os.dup(fd)
            return
        await self._pass_on(key, fd)

    async def drop(self, key: str) -> None:
        """Let go of the lease `key`. Returns when the nanny has, which is once no ward has it any more."""
        await trio.lowlevel.checkpoint()
        kept = self._kept.pop(key, None)
        if kept is not None:
            os.close(kept)
        if key in self._held and self._control is not None:
            await self._ask({"op": "drop", "key": key}, ("dropped", key))
            self._held.discard(key)

    async def open(self, order: Order, *, keys: Sequence[str] = (), stdin: bool = False) -> Ward:
        """Run the program of `order` in a new ward, and return once it runs. The ward holds the leases `keys` while its tree lives.

        With `stdin` there is a stream to it, else it reads /dev/null. A cancelled call has started nothing, or ended it.
        Raises `ValueError` for what no program can be given, and a key that is not held; `FileNotFoundError`, `PermissionError` and
        other `OSError`s for the program and its directory; `ConfinementError` for a step of the confinement that failed, and
        when the nanny is gone.
        """
        data = order.to_bytes()
        await self.facts()
        self._check(order.level)
        if not self._held.issuperset(keys):
            raise ValueError("a ward holds only leases that the nanny holds")
        if self._null == -1:
            self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        ward, theirs = Ward.make(next(self._numbers), order.level, self._gone, stdin=stdin)
        self._wards.add(ward)
        message: dict[str, object] = {"op": "run", "id": ward.number, "leases": list(keys), "namespaces": order.namespaces}
        message["confined"] = order.level != "advisory"
        try:
            try:
                ward.give(data)
                await self._send(message, [fd if fd != -1 else self._null for fd in theirs], order.level)
            finally:
                for fd in theirs:
                    if fd != -1:
                        os.close(fd)
            with trio.move_on_after(_STOPPED):
                await ward.begin()
                return ward
            self._wake()
            with trio.move_on_after(_PATIENCE):
                await ward.begin()
                return ward
            raise ConfinementError(order.level, "the nanny does not answer")
        except BaseException:
            await ward.aclose()
            raise

    async def aclose(self) -> None:
        """End the wards that are open, and let the nanny leave. Waits for it at most 10 seconds, even when cancelled."""
        if self._process is None and not self._wards and not self._start.locked():
            self._closed = True  # there never was a nanny, and from here there will be none
            self._let_go()
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        with trio.CancelScope(shield=True):
            async with self._start:
                self._closed = True
            async with trio.open_nursery() as nursery:
                for ward in tuple(self._wards):
                    nursery.start_soon(ward.aclose)
            self._let_go()
            if self._process is not None:
                with trio.move_on_after(_PATIENCE):
                    await self._process.wait()
        await trio.lowlevel.checkpoint_if_cancelled()

    # The way to the nanny.

    async def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            ours.setblocking(False)
            argv = [sys.executable, "-I", "-S", _SCRIPT, str(theirs.fileno())]
            env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            self._process = await start_process(
                argv, env=env, cwd="/", stderr=self._stderr, pass_fds=(theirs.fileno(),), new_group=False
            )
            theirs.close()
            with trio.fail_after(_PATIENCE):
                await trio.lowlevel.wait_readable(ours)
                ready = json.loads(ours.recv(65536))["ready"]
        except BaseException as error:
            ours.close()
            theirs.close()
            if self._process is not None:
                process, self._process = self._process, None
                await process.reap()
            if isinstance(error, Exception):
                raise ConfinementError("advisory", f"the nanny cannot be started: {error!r}") from error
            raise
        ready.pop("user", None)
        self._control, self._facts = ours, WardFacts(**ready)
        trio.lowlevel.spawn_system_task(self._listen, ours)
        for key in tuple(self._kept):
            await self._pass_on(key, self._kept[key])
            if (kept := self._kept.pop(key, None)) is not None:
                os.close(kept)

    async def _listen(self, control: socket.socket) -> None:
        """Take the nanny's answers until it is gone, or we let it go."""
        while self._control is control:
            try:
                await trio.lowlevel.wait_readable(control)
                data = control.recv(65536)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                data = b""
            if not data:
                break
            for pair in json.loads(data).items():
                if (event := self._replies.pop(pair, None)) is not None:
                    event.set()
        if self._control is control:
            self._let_go()
            self._lost.set()
        for event in self._replies.values():
            event.set()
        self._replies.clear()

    async def _ask(self, message: dict[str, object], reply: tuple[str, object], fds: Sequence[int] = ()) -> bool:
        """Send a message and wait for its reply. False when the nanny is gone."""
        event = self._replies.setdefault(reply, trio.Event())
        try:
            await self._send(message, fds, "advisory")
        except ConfinementError:
            return False
        await event.wait()
        return self._control is not None

    async def _gone(self, ward: Ward) -> bool:
        """Wait until the nanny has seen everybody end whom a killed ward left behind. False when there is no nanny to tell."""
        return await self._ask({"op": "await", "id": ward.number}, ("gone", ward.number))

    def _wake(self) -> None:
        """A nanny that was stopped answers nothing: let it go on."""
        if self._process is not None and (state := process_state(self._process.pid)) is not None and state[0] in "Tt":
            with contextlib.suppress(OSError):
                os.kill(self._process.pid, signal.SIGCONT)

    async def _pass_on(self, key: str, fd: int) -> None:
        self._held.add(key)
        await self._ask({"op": "hold", "key": key}, ("held", key), [fd])

    async def _send(self, message: dict[str, object], fds: Sequence[int], level: str) -> None:
        data = json.dumps(message).encode()
        while True:
            self._check(level)
            assert self._control is not None
            try:
                socket.send_fds(self._control, [data], fds, _AT_ONCE)
                return
            except BlockingIOError:
                with contextlib.suppress(trio.ClosedResourceError):
                    await trio.lowlevel.wait_writable(self._control)
            except OSError as error:
                raise ConfinementError(level, "the nanny is gone") from error

    def _check(self, level: str) -> None:
        if self._closed:
            raise ConfinementError(level, "the wards were closed")
        if self.dead or (self._facts is not None and self._control is None):
            raise ConfinementError(level, "the nanny is gone")

    def _let_go(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            trio.lowlevel.notify_closing(control)
            control.close()
        for fd in self._kept.values():
            os.close(fd)
        self._kept.clear()
        if self._null != -1:
            os.close(self._null)
            self._null = -1

    def _forget(self) -> None:
        """In a forked copy of this process: it keeps neither nanny nor wards nor leases."""
        control, self._control, self._closed = self._control, None, True
        if control is not None:
            control.close()
        for ward in tuple(self._wards):
            ward.forget()
        self._let_go()


_all: weakref.WeakSet[Wards] = weakref.WeakSet()


def _forget_after_fork() -> None:
    for wards in tuple(_all):
        wards._forget()


os.register_at_fork(after_in_child=_forget_after_fork)
