import os
import sys
import tempfile

import trio

import podkit
from podkit_transports import UnixTransport


class Idle(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        pass


async def main(app: str) -> None:
    transport, registry = UnixTransport(), podkit.FileRegistry()
    scope = podkit.Scope.write(app)
    async with podkit.open_pod("root", Idle(), scope=scope, transport=transport, registry=registry, cwd=app) as root:
        print("level:", root.confinement)

        done = await root.run_process([sys.executable, "-c", "print(6 * 7, file=open('answer', 'w'))"])
        print("status:", done.status, "answer:", await root.files.read_text("answer"))

        outside = f"{os.path.dirname(app)}/outside"
        done = await root.run_process(["sh", "-c", f"echo x > {outside}"])
        print("outside:", done.status, done.stderr.decode().strip())

        await root.run_process(["sh", "-c", "while :; do date >> log; sleep 0.1; done"], job="ticker")
        print("jobs:", list(root.jobs))
        print("stopped:", (await root.jobs["ticker"].stop()).status)


with tempfile.TemporaryDirectory() as home:
    os.mkdir(f"{home}/app")
    trio.run(main, os.path.realpath(f"{home}/app"))
