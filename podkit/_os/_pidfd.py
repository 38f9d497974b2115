"""Processes that may not be our children: who they are, and signals that never reach a successor.

A process id is a number that is used again. A process is therefore named by its id *and* the moment it started, and a signal
goes through a pidfd that is opened first and compared second: whatever the id means later, the pidfd means one process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal

import attrs
import trio

_POLL = 0.02  # seconds, where there are no pidfds
_GROUP = 4  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
_DEAD = frozenset("ZXx")
_has_proc = os.path.exists("/proc/self/stat")


@attrs.frozen
class ProcessId:
    """One process of this machine since it was booted: `pid`, and `started` in clock ticks since then (0 where nobody can tell)."""

    pid: int
    started: int

    def __str__(self) -> str:
        return f"{self.pid}@{self.started}"


def process_state(pid: int) -> tuple[str, int] | None:
    """The state letter and the start time of process `pid` in ticks, or None when there is none.

    Zombies have both. Where there is no /proc, the answer is `("?", 0)` for every process that can be seen.
    """
    if not _is_pid(pid):
        return None
    if not _has_proc:
        return ("?", 0) if _answers(pid) else None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read(4096)
    except OSError:  # gone, or going while it was read
        return None
    # The second field is the program's name in parentheses and may hold anything, parentheses and blanks too.
    fields = text[text.rfind(b")") + 2 :].split()
    return fields[0].decode("ascii", "replace"), int(fields[19])


def start_ticks(pid: int) -> int | None:
    """When process `pid` started, in clock ticks since boot; None when there is no such process. A zombie still has its start."""
    state = process_state(pid)
    return None if state is None else state[1]


def alive(pid: int, started: int) -> bool:
    """Whether that very process still runs. A zombie does not."""
    state = process_state(pid)
    return state is not None and state[1] == started and state[0] not in _DEAD


def signal_process(pid: int, started: int, sig: int, *, group: bool = False) -> bool:
    """Send `sig` to the process that has `pid` and started at `started` ticks, or to the whole process group it leads.

    True when it was sent. False, and nothing done, when that process is gone, is a zombie, or the id belongs to another one by
    now; with `group=True` also when it leads no group. Raises `PermissionError` when it belongs to somebody else.
    """
    if not _is_pid(pid):
        return False  # 0 and negative numbers mean groups, and -1 means everybody
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSYS, errno.EPERM, errno.EMFILE, errno.ENFILE):
            return False
        return _signal_by_number(pid, started, sig, group=group)
    try:
        if not alive(pid, started):
            return False
        return _signal_by_fd(pidfd, pid, started, sig, group=group)
    finally:
        os.close(pidfd)


async def wait_process(pid: int, started: int) -> None:
    """Return when that very process is over (a zombie is). It need not be a child of ours."""
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        while alive(pid, started):  # noqa: ASYNC110 - nothing else tells of it here
            await trio.sleep(_POLL)
        return
    try:
        if alive(pid, started):
            await trio.lowlevel.wait_readable(pidfd)
    finally:
        trio.lowlevel.notify_closing(pidfd)
        os.close(pidfd)


def _signal_by_fd(pidfd: int, pid: int, started: int, sig: int, *, group: bool) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, sig, None, _GROUP if group else 0)
    except ProcessLookupError:
        return False
    except OSError as error:
        if group and error.errno == errno.EINVAL:  # a kernel that cannot address groups by pidfd
            return _signal_by_number(pid, started, sig, group=True)
        raise
    return True


def _signal_by_number(pid: int, started: int, sig: int, *, group: bool) -> bool:
    """The best there is without pidfds: compare, then signal at once."""
    if not alive(pid, started):
        return False
    with contextlib.suppress(ProcessLookupError):
        if not group:
            os.kill(pid, sig)
            return True
        if os.getpgid(pid) == pid:
            os.killpg(pid, sig)
            return True
    return False


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_pid(pid: object) -> bool:
    return isinstance(pid, int) and not isinstance(pid, bool) and 0 < pid < 2**31
