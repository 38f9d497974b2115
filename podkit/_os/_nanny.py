"""The nanny of a program: forks the wards in which its tools run, holds leases beside its pods, and leaves last.

Run by path in a bare interpreter: `python -I -S _nanny.py FD`, where FD is one end of a socket that keeps messages apart. The
program sends JSON and descriptors; closing its end, or dying, tells the nanny to see all wards end and to leave.

    {"op": "run", "id": 7, "leases": ["key"], "namespaces": true, "confined": true}
        + the call, stdin, stdout and stderr             -> on the call
    {"op": "hold", "key": "key"} + descriptor          -> {"held": "key"}
    {"op": "drop", "key": "key"}                       -> {"dropped": "key"}, once no ward has it
    {"op": "await", "id": 7}                           -> {"gone": 7}, once that ward and all it started are gone

The first message is {"ready": facts}. Nothing here waits for a ward or for the program.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from podkit._os._kernel import _cgroup, _landlock, _namespaces, _process, _reaper, _seccomp
    from podkit._os._kernel._spares import Spares
    from podkit._os._kernel._ward import Kind
    from podkit._os._kernel._wire import failure, pack, receive, say
else:  # run by path there is no podkit, only the files beside this one; last, so that nothing there hides a standard module
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from _kernel import _cgroup, _landlock, _namespaces, _process, _reaper, _seccomp
    from _kernel._spares import Spares
    from _kernel._wire import failure, pack, receive, say

_GRACE = 5.0  # seconds that wards get when the program is gone, before they are killed
_SWEEP, _SLOWEST = 0.01, 1.0  # seconds between two looks at what a killed ward left behind: at first, and when it does not help
_MAX_LEASES = 64  # of one ward
_STDIO = 4  # descriptors of a call before its leases: the call, stdin, stdout, stderr


class Nanny:
    """Everything between the first message and the last ward."""

    def __init__(self, control: socket.socket) -> None:
        self.control: socket.socket | None = control
        self.leases: dict[str, int] = {}
        self.dropping: set[str] = set()
        self.wards: dict[int, tuple[int, frozenset[str]]] = {}  # by pid: the number of the call, its leases
        self.stray: set[int] = set()  # wards that were killed: what they started may be among our children
        self.awaited: set[int] = set()
        self.answers: collections.deque[bytes] = collections.deque()
        self.pause = _SWEEP
        self.deadline = 0.0
        self.spares, facts = _look_around()
        self.answers.append(pack({"ready": facts}))
        self.news, wake = os.pipe()
        os.set_blocking(self.news, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def run(self) -> None:
        """Serve until the program is gone and the last ward has ended."""
        self._answer()
        self.spares.want(namespaces=True, confined=_landlock.abi() > 0)
        self.spares.refill()
        while self.control is not None or self.wards or self.stray:
            ready = dict(self._poll())
            if self.news in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.news, 4096)
            if self.spares.mounts in ready:  # first, as asking is what ends the event
                self.spares.remount()
            if self.control is not None and ready.get(self.control.fileno(), 0) & ~select.POLLOUT:
                self._read()
            self._collect()
            self._answer()
            self.spares.refill()

    def _poll(self) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self.news, select.POLLIN)
        if self.control is not None:
            poll.register(self.control, select.POLLIN | (select.POLLOUT if self.answers else 0))
            poll.register(self.spares.mounts, select.POLLPRI)  # an event is told once, to whom asks first
        young = self.spares.young()
        for fd in young:
            poll.register(fd, select.POLLIN)
        if not young and self._unused():
            return poll.poll(0)  # the last of them was seen to its end just now, and there is an answer that waited for that
        if self.stray:
            return poll.poll(self.pause * 1000)
        return poll.poll(max(0.0, self.deadline - time.monotonic() + _SWEEP) * 1000 if self.deadline else None)

    # What the program asks for.

    def _read(self) -> None:
        assert self.control is not None
        try:
            data, fds = receive(self.control)
        except BlockingIOError:
            return
        if not data:
            self._leave()
            return
        try:
            message = json.loads(data)
            op = message["op"]
            if op == "run":
                kind = self.spares.want(namespaces=bool(message["namespaces"]), confined=bool(message["confined"]))
                self._run(int(message["id"]), frozenset(map(str, message["leases"])), kind, fds)
                fds = []
            elif op == "hold":
                self._hold(str(message["key"]), fds)
                fds = []
            elif op == "drop":
                self.dropping.add(str(message["key"]))
            elif op == "await":
                self.awaited.add(int(message["id"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # the program speaks another version: what it asked for is not done, and it is not answered
        finally:
            _close(fds)

    def _hold(self, key: str, fds: list[int]) -> None:
        self.dropping.discard(key)
        if key in self.leases or not fds:
            _close(fds)
        else:
            self.leases[key] = fds[0]
            _close(fds[1:])
        self.answers.append(pack({"held": key}))

    def _run(self, number: int, keys: frozenset[str], kind: Kind, fds: list[int]) -> None:
        """Give the call to a ward. Whatever goes wrong before a ward has it is told here."""
        if len(fds) < _STDIO:
            _close(fds)
            return
        call = socket.socket(fileno=fds[0])
        try:
            if len(keys) > _MAX_LEASES or not keys <= self.leases.keys() - self.dropping:
                say(call, failure("lease", 0))
            else:
                pid = self.spares.give(kind, [*fds[:_STDIO], *(self.leases[key] for key in keys)])
                self.wards[pid] = (number, keys)
        except OSError as error:
            say(call, failure("ward", error.errno or 0))
        finally:
            call.close()
            _close(fds[1:])

    # What the children do.

    def _collect(self) -> None:
        ended: dict[int, int] = {}
        alone = _reaper.reap(ended)
        for pid, status in ended.items():
            if pid in self.wards and status != 0:
                self.stray.add(pid)
            elif pid in self.wards:
                del self.wards[pid]
            self.spares.ended(pid)
        if self.deadline and time.monotonic() > self.deadline:
            for pid in self.wards.keys() - self.stray:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        if self.stray:
            self._sweep(alone)

    def _sweep(self, alone: bool) -> None:
        """A ward was killed: what it started has become our children. Who is neither a ward nor below one is not to be there."""
        known = frozenset(self.wards.keys() - self.stray) | self.spares.pids()
        groups = [_cgroup.name(self.spares.cgroup, os.getpid(), pid) for pid in self.stray] if self.spares.cgroup else []
        if not alone and _children() - known:
            for group in groups:
                _cgroup.kill(group)
            _reaper.kill_children(known)
            _reaper.kill_below(known)
            self.pause = min(self.pause * 2, _SLOWEST)
            return
        for group in groups:
            _cgroup.remove(group)
        for pid in self.stray:
            del self.wards[pid]
        self.stray.clear()
        self.pause = _SWEEP

    def _unused(self) -> set[str]:
        """The leases to be let go of that no ward has."""
        return self.dropping - {key for _, keys in self.wards.values() for key in keys} if self.dropping else set()

    def _answer(self) -> None:
        """Let go of leases that nobody uses any more, answer what can be answered, and send as much as goes."""
        for key in sorted(self._unused()) if self.dropping and not self.spares.young() else ():
            self.dropping.discard(key)
            _close([self.leases.pop(key)] if key in self.leases else [])
            self.answers.append(pack({"dropped": key}))
        running = {number for number, _ in self.wards.values()}
        for number in sorted(self.awaited - running):
            self.awaited.discard(number)
            self.answers.append(pack({"gone": number}))
        try:
            while self.answers and self.control is not None:
                self.control.send(self.answers[0], socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                self.answers.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._leave()

    def _leave(self) -> None:
        """The program is gone. The calls see that by themselves; we stay until they are over, and hold what we hold."""
        if self.control is not None:
            self.control.close()
            self.control = None
            self.deadline = time.monotonic() + _GRACE
            self.wards.update(dict.fromkeys(self.spares.dismiss(), (0, frozenset())))


def _look_around() -> tuple[Spares, dict[str, object]]:
    """What this system lets us do: the wards there can be, and the same for the program."""
    privileged = os.geteuid() == 0 and _namespaces.available(user=False)
    user = not privileged and _namespaces.available(user=True)
    cgroup = _cgroup.home()
    facts: dict[str, object] = {"namespaces": privileged or user, "user": user, "cgroup": cgroup is not None}
    facts.update({"abi": _landlock.abi(), "seccomp": _seccomp.supported(), "pid": os.getpid()})
    return Spares(namespaces=privileged or user, user=user, cgroup=cgroup), facts


def _children() -> set[int]:
    """Our children, those included that have ended and wait to be reaped."""
    return {seen.pid for seen in map(_reaper.look, _pids()) if seen is not None and seen.parent == os.getpid()}


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _close(fds: list[int]) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def main() -> None:
    """Serve on the descriptor that is our only argument."""
    control = socket.socket(fileno=int(sys.argv[1]))
    os.setsid()
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}:
        signal.signal(number, signal.SIG_DFL)  # whatever the program ignores, its tools do not inherit
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # we leave when the program has left, and not before
    os.set_inheritable(control.fileno(), False)
    _process.close_others((0, 1, 2, control.fileno()))
    _process.not_dumpable()
    _process.subreaper()
    os.chdir("/")
    nanny = Nanny(control)
    gc.collect()
    gc.freeze()
    gc.disable()
    nanny.run()


if __name__ == "__main__":
    main()
