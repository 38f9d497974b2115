"""Ending everything that was started below this process, where no namespace does it: stop, kill and reap until nobody is left.

The process that does this is a subreaper: who loses its parent becomes its child. So nobody is left below it exactly when it has
no child, and that costs one system call to ask. /proc is only read when somebody is there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

_PAUSE = 0.002  # seconds between two rounds
_ROUNDS = 50  # of killing direct children before the whole tree is looked at
_ENDED = "ZXx"
_NOBODY: frozenset[int] = frozenset()


class Seen:
    """A process as /proc shows it."""

    __slots__ = ("name", "parent", "pid", "start", "state")

    def __init__(self, pid: int, text: bytes) -> None:
        close = text.rfind(b")")
        fields = text[close + 2 :].split()
        self.pid = pid
        self.name = text[text.find(b"(") + 1 : close].decode("utf-8", "replace")
        self.state = fields[0].decode("ascii", "replace")
        self.parent = int(fields[1])
        self.start = int(fields[19])


def look(pid: int) -> Seen | None:
    """That process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return Seen(pid, file.read(4096))
    except (OSError, ValueError, IndexError):
        return None


def below(root: int, spare: frozenset[int] = _NOBODY) -> list[Seen]:
    """Every process below `root` that has not ended, parents first; not those in `spare` and what is below them."""
    children: dict[int, list[Seen]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (seen := look(int(name))) is not None:
            children.setdefault(seen.parent, []).append(seen)
    found: list[Seen] = []
    todo = [root]
    while todo:
        for seen in children.pop(todo.pop(), ()):
            if seen.pid not in spare:
                todo.append(seen.pid)
                if seen.state not in _ENDED:
                    found.append(seen)
    return found


def reap(statuses: dict[int, int]) -> bool:
    """Collect the raw status of every child that has ended. True when there is no child any more, ended or not."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if pid == 0:
            return False
        statuses[pid] = status


def kill_children(spare: frozenset[int] = _NOBODY) -> bool:
    """Kill our children, and nobody further down. A child keeps its number until we reap it, so nobody else can be hit.

    False where the kernel does not list them.
    """
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", "rb") as file:
            pids = [int(pid) for pid in file.read().split()]
    except (OSError, ValueError):
        return False
    for pid in pids:
        if pid not in spare:
            with contextlib.suppress(OSError):  # it became another user
                os.kill(pid, signal.SIGKILL)
    return True


def kill_below(spare: frozenset[int] = _NOBODY) -> None:
    """Kill everybody below us: first stop them, until nobody new appears, so that none starts another one meanwhile."""
    stopped: dict[tuple[int, int], Seen] = {}
    for _ in range(_ROUNDS):
        fresh = [seen for seen in below(os.getpid(), spare) if (seen.pid, seen.start) not in stopped]
        for seen in fresh:
            stopped[seen.pid, seen.start] = seen
            _signal(seen, signal.SIGSTOP)
        if not fresh:
            break
    for seen in stopped.values():
        _signal(seen, signal.SIGKILL)


def end_all(seconds: float, statuses: dict[int, int]) -> list[tuple[int, str]]:
    """Kill and reap everything below us for at most `seconds`; answer who is left: (pid, name)."""
    deadline = time.monotonic() + seconds
    while not reap(statuses):
        for _ in range(_ROUNDS):
            if not kill_children() or reap(statuses):
                break
        if reap(statuses):
            break
        kill_below()
        if time.monotonic() > deadline:
            return [(seen.pid, seen.name) for seen in below(os.getpid())]
        time.sleep(_PAUSE)
    return []


def _signal(seen: Seen, sig: int) -> None:
    """Through a pidfd that is opened first and compared second: the number may be somebody else's by now."""
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(seen.pid)
        try:
            now = look(seen.pid)
            if now is not None and now.start == seen.start:
                signal.pidfd_send_signal(pidfd, sig)
        finally:
            os.close(pidfd)
