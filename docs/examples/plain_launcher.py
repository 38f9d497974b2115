import os
import signal
import subprocess
from functools import partial
from typing import BinaryIO

import trio

import podkit
from podkit.abc import Birth, Launcher, Process
from podkit.testing import check_launcher
from podkit_transports import UnixTransport


def to_append(path: str | None) -> BinaryIO:
    return open(path or os.devnull, "ab")


class PlainLauncher(Launcher):
    """Starts a program, as `podkit.ProcessLauncher` does, with less care."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        self.argv = argv

    async def launch(self, birth: Birth) -> Process:
        program = birth.program()  # raises LaunchFailedError where programs cannot be children
        with to_append(program.stderr) as stderr, trio.CancelScope(shield=True):  # what was started comes back as a process
            process = await trio.lowlevel.open_process(
                self.argv,
                env={**os.environ, **program.environment},
                pass_fds=program.pass_fds,
                cwd=program.cwd,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )
        return PlainProcess(process, program.stderr)


class PlainProcess(Process):
    def __init__(self, process: trio.Process, stderr: str | None) -> None:
        self.process, self.stderr, self.tail = process, stderr, ""
        self.pid = process.pid

    async def wait(self) -> int:
        status = await self.process.wait()
        self.tail = self.stderr_tail()  # the file goes with the child's directory
        return status

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def signal(self, number: int) -> None:
        if self.process.returncode is None:  # else the number may be somebody else's by now
            os.killpg(self.process.pid, number)

    def stderr_tail(self) -> str:
        try:
            with open(self.stderr or os.devnull, "rb") as stderr:
                return stderr.read()[-4096:].decode(errors="replace") or self.tail
        except FileNotFoundError:
            return self.tail


check = partial(
    check_launcher,
    lambda child: PlainLauncher(child.argv),
    transport=UnixTransport,
    registry=podkit.FileRegistry,
)

if __name__ == "__main__":
    trio.run(check)
