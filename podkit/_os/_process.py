"""Starting programs. Every process of podkit is started here: in a session of its own, inheriting nothing that was not named."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import attrs
import trio

from podkit._os._dirs import open_private_file
from podkit._os._pidfd import ProcessId, start_ticks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_STRING = 128 * 1024 - 1  # what Linux takes for one argument or one NAME=value, without its NUL


async def start_process(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    stdin: int | None = None,
    stdout: int | str | None = None,
    stderr: int | str | None = None,
    pass_fds: Sequence[int] = (),
    new_group: bool = True,
) -> OsProcess:
    """Start the program `argv[0]` (a path, or a name that is looked up in PATH) and return it while it runs.

    `env` is its whole environment and `cwd` its directory. `stdin`, `stdout` and `stderr` are descriptors of ours, paths of
    private files that are appended to, or None for /dev/null. It inherits these and `pass_fds` (under the same numbers) and
    nothing else. With `new_group` it leads a session and a process group of its own, so that signals reach all of its group.

    A cancelled call has started nothing. The caller owes one `wait` or `reap`. Raises `ValueError` for arguments that no
    program can be given, `PathRefusedError` for an output that is not a private file, `OSError` when it cannot be started.
    """
    command = _checked_argv(argv)
    environment = _checked_env(env)
    with contextlib.ExitStack() as ours:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            stdout=_output(stdout, ours),
            stderr=_output(stderr, ours),
            env=environment,
            cwd=cwd,
            pass_fds=tuple(pass_fds),
            start_new_session=new_group,
        )
    return OsProcess(process, new_group=new_group)


@attrs.define(eq=False, init=False, repr=False)
class OsProcess:
    """A child process of ours. `pid` and `started` (clock ticks since boot) name it for good."""

    pid: int
    started: int
    _process: trio.Process
    _group: bool
    _pidfd: int | None
    _lock: trio.Lock

    def __init__(self, process: trio.Process, *, new_group: bool) -> None:
        self.pid = process.pid
        self._process = process
        self._group = new_group
        self._lock = trio.Lock()
        # Until it is reaped the number cannot mean anybody else, so these two are about our child even when it has ended already.
        self.started = start_ticks(process.pid) or 0
        self._pidfd = _open_pidfd(process.pid)

    def __repr__(self) -> str:
        state = "running" if self.status is None else f"status {self.status}"
        return f"<OsProcess {self.id} {state}>"

    @property
    def id(self) -> ProcessId:
        """Its name for `signal_process` and `alive`."""
        return ProcessId(self.pid, self.started)

    @property
    def status(self) -> int | None:
        """How it ended, once `wait`, `reap` or `poll` has seen that: 0 to 255 as it exited, or minus the signal that ended it."""
        return self._popen.returncode

    async def wait(self) -> int:
        """Return its status when it has ended, and reap it. Any number of tasks may wait, and again later.

        What is left of its process group then is killed first: nobody could name the group safely afterwards.
        """
        async with self._lock:
            if self.status is None:
                if self._pidfd is None:
                    await self._process.wait()
                else:
                    with contextlib.suppress(trio.ClosedResourceError):  # `poll` saw it first
                        await trio.lowlevel.wait_readable(self._pidfd)
            return self._collect()

    def poll(self) -> int | None:
        """Its status when it has ended (it is reaped then), None while it runs. Never waits."""
        if self.status is None and _has_ended(self._popen):
            self._collect()
        return self.status

    async def reap(self, *, within: float = 5.0) -> int | None:
        """For cleaning up: kill what runs, wait up to `within` seconds even when cancelled, and return the status.

        None when it did not end in that time (a process in the kernel's hands cannot be killed); `wait` is still owed then.
        """
        self.kill()
        with trio.move_on_after(within, shield=True):
            await self.wait()
        return self.status

    def terminate(self) -> None:
        """Ask it to end (SIGTERM to its group). Does nothing when it was reaped, never raises for a process that is gone."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # who was stopped hears the other one only now

    def kill(self) -> None:
        """End it and its group (SIGKILL). Does nothing when it was reaped, never raises for a process that is gone."""
        self._signal(signal.SIGKILL)

    def _signal(self, sig: int) -> None:
        if self.status is not None:
            return  # reaped: the number may be somebody else's
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._group:
                os.killpg(self.pid, sig)
            else:
                os.kill(self.pid, sig)

    def _collect(self) -> int:
        """It has ended: sweep its group while the number is still ours, reap it, let go of the pidfd."""
        if self._group:
            self._signal(signal.SIGKILL)
        status = self._popen.wait()
        if self._pidfd is not None:
            pidfd, self._pidfd = self._pidfd, None
            trio.lowlevel.notify_closing(pidfd)
            os.close(pidfd)
        self._process.poll()  # lets trio close its own pidfd
        return status

    @property
    def _popen(self) -> subprocess.Popen[bytes]:
        # trio's own `returncode` reaps as a side effect; what is reaped when is decided here alone.
        return self._process._proc


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
    except AttributeError:  # a system without it: looking reaps, so there is no group to sweep afterwards
        return process.poll() is not None


def _output(where: int | str | None, ours: contextlib.ExitStack) -> int:
    if where is None:
        return subprocess.DEVNULL
    if isinstance(where, str):
        where = open_private_file(where, append=True)
        ours.callback(os.close, where)
    return where


def _checked_argv(argv: Sequence[str]) -> list[str]:
    if isinstance(argv, str) or not argv:
        raise ValueError("argv is a list of at least one string")
    for place, argument in enumerate(argv):
        _check_string(argument, f"argument {place}")
    return list(argv)


def _checked_env(env: Mapping[str, str]) -> dict[str, str]:
    for name, value in env.items():
        _check_string(name, "a name in the environment")
        if not name or "=" in name:
            raise ValueError("a name in the environment is not empty and has no '='")
        _check_string(value, f"the value of {name[:80]!r}", used=len(os.fsencode(name)) + 1)
    return dict(env)


def _check_string(text: object, what: str, *, used: int = 0) -> None:
    if not isinstance(text, str):
        raise ValueError(f"{what} is not a string")
    if "\0" in text:
        raise ValueError(f"{what} holds a NUL character")
    try:
        size = len(os.fsencode(text)) + used
    except UnicodeEncodeError:
        raise ValueError(f"{what} cannot be encoded") from None
    if size > _MAX_STRING:
        raise ValueError(f"{what} has {size} bytes; a program takes at most {_MAX_STRING} in one string")
