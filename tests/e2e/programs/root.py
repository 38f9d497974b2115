"""A root with one child, for the test that kills it: python root.py REGISTRY WORK"""

import sys
from pathlib import Path

import trio

import podkit
from podkit.testing import ScriptedWorker
from podkit_transports import UnixTransport


async def main(registry, work):
    launcher = podkit.ProcessLauncher([sys.executable, "-P", str(Path(__file__).with_name("child.py"))])
    scope = podkit.Scope.write(work)
    where = {"transport": UnixTransport(), "registry": podkit.FileRegistry(registry)}
    async with podkit.open_pod("root", ScriptedWorker(), scope=scope, **where) as root:
        await root.spawn("kid", scope=podkit.Scope.write(f"{work}/a"), launcher=launcher)
        print("ready", flush=True)
        await trio.sleep_forever()


trio.run(main, *sys.argv[1:])
