"""Starting a child as a program of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import podkit.abc as ports
from podkit._os import start_process, tail
from podkit.errors import LaunchFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from podkit._os import OsProcess
    from podkit.abc import Birth

_TAIL = 4096


class ProcessLauncher(ports.Launcher):
    """Starts `argv` as the child; the program then awaits `podkit.adopt_pod(worker, transport=…)`.

    For a Python child begin `argv` with `[sys.executable, "-P", …]`, so that it imports installed modules only. `env` is its whole
    environment (None: ours); podkit adds the number of one descriptor and no secret. `cwd` is where it starts (None: the pod's). It
    leads a session and a process group of its own, its stderr and stdout go to `stderr.log` in its directory, and it inherits no
    other descriptor.
    """

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None) -> None:
        self._argv = tuple(argv)
        self._env = None if env is None else dict(env)
        self._cwd = cwd

    def __repr__(self) -> str:
        return f"ProcessLauncher({list(self._argv)!r})"

    async def launch(self, birth: Birth) -> ports.Process:
        program = birth.program()
        env = dict(os.environ if self._env is None else self._env)
        env.update(program.environment)
        try:
            process = await start_process(
                self._argv,
                env=env,
                cwd=self._cwd or program.cwd or "/",
                pass_fds=program.pass_fds,
                stdout=program.stderr,
                stderr=program.stderr,
            )
        except (OSError, ValueError) as error:
            raise LaunchFailedError(birth.name, f"could not be started: {error}") from error
        return _Program(process, program.stderr)


class _Program(ports.Process):
    def __init__(self, process: OsProcess, stderr: str | None) -> None:
        self._process, self._stderr = process, stderr
        self._tail = ""
        self.pid = process.pid

    def __repr__(self) -> str:
        return repr(self._process)

    async def wait(self) -> int:
        status = await self._process.wait()
        self._tail = self.stderr_tail()  # the file goes with the pod's directory
        return status

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def stderr_tail(self) -> str:
        if self._stderr is None:
            return self._tail
        try:
            return tail(self._stderr, _TAIL) or self._tail
        except OSError:
            return self._tail
