"""A ward: the process that holds one call's tree. It is forked ahead, waits for its call, and outlives everything it started.

With namespaces it stands outside them and forks `init`, the first process of a new pid namespace; init forks `tool`, which
becomes the program. When the program is over init leaves, and the kernel ends whatever is left in there at once. Without
namespaces the ward is a subreaper, forks `tool` itself, and kills and reaps what is left.

The ward hands the call's descriptors to the tool; the tool says why it could not become the program, or nothing; init says with
which status the program ended. The ward tells the call: {"started"}, {"exited"}, {"ended"}, or {"failed"} when nothing ran.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys

from . import _cgroup, _namespaces, _process, _reaper
from ._calls import KernelError
from ._tool import READY, TRYING, wait_for_order
from ._wire import MAX_MESSAGE, failure, hand_over, receive, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

END_WITHIN = 5.0  # seconds for killing what is left, before the call is told who that is
_CREDENTIALS = struct.Struct("3i")
_STATUS = struct.Struct("i")
_HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR | select.POLLNVAL


class Kind:
    """What a ward is made of: `namespaces` or not, a `user` namespace or not, a directory for its control group, or none, and
    whether its tool will be `confined` at all."""

    __slots__ = ("cgroup", "confined", "namespaces", "user")

    def __init__(self, *, namespaces: bool, user: bool, cgroup: str | None, confined: bool) -> None:
        self.namespaces, self.user, self.cgroup, self.confined = namespaces, user, cgroup, confined


def fork(main: Callable[[], object]) -> int:
    """Fork a process that runs `main` and ends, with 0 when that returned. What its original had under way is not unwound in it."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        main()
        status = 0
    except BrokenPipeError:
        pass  # whom it would have told was killed meanwhile, and nobody waits for it any more
    except BaseException as error:  # noqa: BLE001 - whatever it was, the copy must not go on as its original
        sys.stderr.write(f"podkit: {type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        os._exit(status)


def start_ward(kind: Kind) -> tuple[int, socket.socket, int]:
    """Fork a ward that waits. Answers its pid, the socket on which it takes its one call, and a descriptor.

    Closing the socket ends the ward. The descriptor is at its end as soon as the ward has let go of what it has of its original:
    a lease, for one, has one holder too many until then. Raises `OSError` when there can be no further process or descriptor.
    """
    born, alive = os.pipe()
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                return fork(Ward(kind, theirs, alive).run), ours, born
            except BaseException:
                ours.close()
                raise
    except BaseException:
        os.close(born)
        raise
    finally:
        os.close(alive)


class Ward:
    """What the forked process does."""

    def __init__(self, kind: Kind, inbox: socket.socket, alive: int) -> None:
        self.kind, self.inbox, self.alive = kind, inbox, alive
        self.failed: dict[str, Any] | None = None
        self.first = 0  # our child: init with namespaces, the tool without
        self.pid = 0  # the tool, as the hosting program sees it
        self.group: str | None = None
        self.news = -1  # readable when the program ended (with namespaces), or when any child did
        self.statuses: dict[int, int] = {}

    def run(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        _keep_only(self.inbox.fileno(), self.alive)
        os.close(self.alive)
        try:
            self._prepare()
        except KernelError as error:
            self.failed = failure(error.step, error.error, error.path)
        except OSError as error:
            self.failed = failure("ward", error.errno or 0)
        _, fds = receive(self.inbox)
        self.inbox.close()
        if len(fds) >= 4:
            self._serve(socket.socket(fileno=fds[0]), fds[1:4], fds[4:])
        else:
            self._end()
        if self.group is not None:
            _cgroup.remove(self.group)

    # Getting ready, before there is a call.

    def _prepare(self) -> None:
        self.mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.mine.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with theirs:
            if self.kind.namespaces:
                self._fork_init(theirs)
            else:
                self._fork_tool(theirs)
        data, ancillary, _, _ = self.mine.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(_CREDENTIALS.size))
        for level, kind, content in ancillary:  # which process the tool is, in the numbers of our own namespace
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                self.pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
        if data != READY:
            self.failed = _read_failure(data)

    def _fork_init(self, theirs: socket.socket) -> None:
        _namespaces.enter(user=self.kind.user, pid=True, mount=True)
        self.news, status = os.pipe()
        try:
            self.first = fork(lambda: _init(theirs, status, self.kind.confined))
        finally:
            os.close(status)

    def _fork_tool(self, theirs: socket.socket) -> None:
        _process.subreaper()
        self.news, wake = os.pipe()
        os.set_blocking(self.news, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        if self.kind.cgroup is not None:
            self.group = _cgroup.make(self.kind.cgroup)
        self.first = fork(lambda: self._tool(theirs))

    def _tool(self, theirs: socket.socket) -> None:
        signal.set_wakeup_fd(-1)
        _keep_only(theirs.fileno())
        if self.group is not None:
            _cgroup.enter(self.group)
        wait_for_order(theirs, namespaces=False, confined=self.kind.confined)

    # One call.

    def _serve(self, call: socket.socket, stdio: list[int], leases: list[int]) -> None:
        """Let the tool become the program, say how that goes, end the tree, and only then let go of the leases."""
        if self.failed is None:
            with contextlib.suppress(OSError):  # it is gone: there is nothing to read from it either
                hand_over(self.mine, b"order", [call.fileno(), *stdio])
        for fd in stdio:
            os.close(fd)
        started, status = False, None
        if self.failed is None and self._became(call):
            started = True
            say(call, {"started": self.pid, "ward": os.getpid(), "group": self.group})
            status = self._over(call)
            if status is not None:
                say(call, {"exited": status})
        left = self._end()
        if started and status is None:
            say(call, {"exited": self.statuses.get(self.first, signal.SIGKILL) if not self.kind.namespaces else signal.SIGKILL})
        if left:  # then the leases are held for as long as it takes
            say(call, {"ended": {"left": left}})
            while self._end():
                pass
        for fd in leases:
            os.close(fd)
        if left:
            say(call, {"gone": True})
        else:
            say(call, {"ended": {"left": []}} if started else self.failed or failure("ended", 0))
        call.close()

    def _became(self, call: socket.socket) -> bool:
        """Wait until the tool runs the program. False when that failed, or when the call was given up."""
        poll = select.poll()
        poll.register(call, _HUNG_UP)
        poll.register(self.mine, 0)  # hangs up when the tool has become something else, or ended
        if self.mine.fileno() not in dict(poll.poll()):
            return False
        said = b""
        while last := self.mine.recv(MAX_MESSAGE):
            said = last
        if said != TRYING:
            self.failed = _read_failure(said)
        return self.failed is None

    def _over(self, call: socket.socket) -> int | None:
        """Wait until the program is over and answer its raw status; None when the call was given up before, or nobody knows."""
        poll = select.poll()
        poll.register(call, _HUNG_UP)
        poll.register(self.news, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self.news in ready:
                data = os.read(self.news, 4096)
                if self.kind.namespaces:
                    return _STATUS.unpack(data)[0] if len(data) == _STATUS.size else None
                _reaper.reap(self.statuses)
                if self.first in self.statuses:
                    return self.statuses[self.first]
            if call.fileno() in ready:
                return None

    def _end(self) -> list[tuple[int, str]]:
        """End everybody below us; answer who is left after a while. With namespaces nobody ever is."""
        if self.first == 0:
            return []
        if self.kind.namespaces:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(self.first, signal.SIGKILL)
                os.waitpid(self.first, 0)
            return []
        if _reaper.reap(self.statuses):
            return []
        if self.group is not None:
            _cgroup.kill(self.group)
        return _reaper.end_all(END_WITHIN, self.statuses)


def _init(theirs: socket.socket, status: int, confined: bool) -> None:
    """The first process of a namespace: whatever is orphaned in there becomes its child, and all of it ends with it."""
    _process.die_with_parent()
    _keep_only(theirs.fileno(), status)

    def tool() -> None:
        os.close(status)
        wait_for_order(theirs, namespaces=True, confined=confined)

    first = fork(tool)
    theirs.close()
    while True:
        pid, ended = os.waitpid(-1, 0)
        if pid == first:
            os.write(status, _STATUS.pack(ended))
            return


def _keep_only(*fds: int) -> None:
    """Close what this copy has of its original, except `fds` and the first three: leases, above all."""
    low = 3
    for fd in sorted(fds):
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, os.sysconf("SC_OPEN_MAX"))


def _read_failure(data: bytes) -> dict[str, Any]:
    """What the tool said; it is our own code that says it, but a killed one says nothing."""
    try:
        return dict(json.loads(data))
    except ValueError:
        return failure("died", 0)
