import os
import sys
import tempfile
from pathlib import Path

import trio

import podkit
from podkit_transports import UnixTransport

SCRIBE = [sys.executable, "-P", str(Path(__file__).with_name("scribe.py"))]


class Idle(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        pass


async def main(app: str) -> None:
    transport, registry = UnixTransport(), podkit.FileRegistry()
    async with podkit.open_pod("root", Idle(), scope=podkit.Scope.write(app), transport=transport, registry=registry) as root:
        scribe = await root.spawn(
            "scribe",
            scope=podkit.Scope.write(f"{app}/notes"),
            cwd=f"{app}/notes",
            launcher=podkit.ProcessLauncher(SCRIBE),
        )
        print((await scribe.ask("the meeting is at nine")).text)
        print(await scribe.stop())
        print(await root.files.read_text(f"{app}/notes/today.txt"))


with tempfile.TemporaryDirectory() as home:
    os.mkdir(f"{home}/notes")
    trio.run(main, os.path.realpath(home))
