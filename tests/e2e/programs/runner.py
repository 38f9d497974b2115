"""A root whose program beats for ever, for the test that kills it: python runner.py REGISTRY WORK"""

import sys

import trio

import podkit
from podkit.testing import ScriptedWorker
from podkit_transports import UnixTransport

BEAT = "(setsid sh -c 'while :; do date > pulse; sleep 0.02; done' &); sleep 1000"


async def main(registry, work):
    where = {"transport": UnixTransport(), "registry": podkit.FileRegistry(registry), "cwd": work}
    async with podkit.open_pod("root", ScriptedWorker(), scope=podkit.Scope.write(work), **where) as root:
        await root.run_process(["/bin/sh", "-c", BEAT], job="beat")
        await root.run_process(["/bin/sh", "-c", "until [ -e pulse ]; do sleep 0.01; done"])
        print("running", flush=True)
        await trio.sleep_forever()


trio.run(main, *sys.argv[1:])
