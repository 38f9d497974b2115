"""Wards that are ready before their call comes, one of each kind that was ever asked for."""

from __future__ import annotations

import contextlib
import errno
import os
import select

from ._ward import Kind, start_ward
from ._wire import hand_over

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket


class Spares:
    """The kinds of wards there can be here, and those that wait. `namespaces` tells whether wards can have their own; `cgroup` is
    the directory for the control groups of those that have not, if any."""

    def __init__(self, *, namespaces: bool, user: bool, cgroup: str | None) -> None:
        self.namespaces, self.cgroup = namespaces, cgroup
        self.mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._kinds = {
            (apart, confined): Kind(namespaces=apart, user=apart and user, cgroup=None if apart else cgroup, confined=confined)
            for apart in (False, True)
            for confined in (False, True)
        }
        self._waiting: dict[Kind, tuple[int, socket.socket]] = {}
        self._young: list[int] = []  # of wards that may still have copies of our descriptors
        self._wanted: set[Kind] = set()

    def want(self, *, namespaces: bool, confined: bool) -> Kind:
        """Have such a ward ready from the next `refill` on. Answers its kind; without namespaces when there are none."""
        kind = self._kinds[namespaces and self.namespaces, confined]
        self._wanted.add(kind)
        return kind

    def give(self, kind: Kind, fds: list[int]) -> int:
        """Give a call to a ward of that kind, and answer its pid. Raises `OSError` when there can be none."""
        self._look_at_mounts()
        spare = self._waiting.pop(kind, None)
        if spare is not None and _hand_to(spare[1], fds):
            return spare[0]
        spare = self._start(kind)  # there was none, or somebody killed it while it waited
        if not _hand_to(spare[1], fds):
            raise OSError(errno.ECHILD, "a ward died before its call")
        return spare[0]

    def pids(self) -> set[int]:
        """The wards that wait."""
        return {pid for pid, _ in self._waiting.values()}

    def refill(self) -> None:
        """Fork what is wanted and not there. When it cannot be, that is tried again for a call, and told there."""
        for kind in self._wanted - self._waiting.keys():
            with contextlib.suppress(OSError):
                self._waiting[kind] = self._start(kind)
        self._wanted.clear()

    def young(self) -> list[int]:
        """Descriptors that tell of wards which may still have copies of ours: there is none of those once all are at their end."""
        poll = select.poll()
        for fd in self._young:
            poll.register(fd, select.POLLIN)
        for fd, _ in poll.poll(0) if self._young else ():
            self._young.remove(fd)
            os.close(fd)
        return self._young

    def _start(self, kind: Kind) -> tuple[int, socket.socket]:
        self.young()
        pid, sock, born = start_ward(kind)
        self._young.append(born)
        return pid, sock

    def ended(self, pid: int) -> None:
        """That process has ended; it may have been one of those that wait."""
        for kind, (waiting, sock) in list(self._waiting.items()):
            if waiting == pid:
                del self._waiting[kind]
                sock.close()

    def dismiss(self) -> set[int]:
        """Let go of those that wait, and answer who they were. They end by themselves."""
        gone = self.pids()
        for _, sock in self._waiting.values():
            sock.close()
        self._waiting.clear()
        self._wanted.clear()
        return gone

    def remount(self) -> None:
        """Something was mounted. A ward that waits has the mounts of when it was made, and is not what the next call needs."""
        for kind in [kind for kind in self._waiting if kind.namespaces]:
            self._waiting.pop(kind)[1].close()
            self._wanted.add(kind)

    def _look_at_mounts(self) -> None:
        poll = select.poll()
        poll.register(self.mounts, select.POLLPRI)
        if poll.poll(0):
            self.remount()


def _hand_to(ward: socket.socket, fds: list[int]) -> bool:
    """Give a waiting ward its call, and be done with it. False when it is gone."""
    with ward:
        try:
            hand_over(ward, b"call", fds)
        except OSError:
            return False
    return True
