"""What is alive on this machine: which pod holds which path since when. And stop one.

python docs/examples/ps.py [--registry DIR] [--stop NAME|TREE/NAME]
"""

from __future__ import annotations

import argparse
import sys

import trio

import podkit
from podkit_transports import UnixTransport

PATIENCE = 15.0  # seconds for a pod, its children first, to end


async def stop(registry: podkit.FileRegistry, name: str) -> str:
    """Ask the pod to end and wait until it is gone; return a sentence. `UnknownPodError` when there is none of that name."""
    table = await registry.table()
    row = table.get(name) or next((row for row in table.values() if f"{row.tree}/{row.name}" == name), None)
    if row is None:
        raise podkit.UnknownPodError(name)
    async with podkit.connect(row.address, transport=UnixTransport(), subscribe="none") as client:
        if client.incarnation != row.incarnation:
            raise podkit.StaleIncarnationError(row.name, row.incarnation)
        await client.shutdown()
    with trio.move_on_after(PATIENCE):
        await registry.gone(row.key)
        return f"{name} is gone"
    raise podkit.StopFailedError(name, (f"it still lives after {PATIENCE:.0f} s",))


async def show(options: argparse.Namespace) -> int:
    registry = podkit.FileRegistry(options.registry)
    try:
        print(await podkit.inspect(registry) if options.stop is None else await stop(registry, options.stop))
    except podkit.PodkitError as error:
        print(f"ps.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show the pods of this user on this machine, or stop one.")
    parser.add_argument("--registry", metavar="DIR", help="look into this registry, not the user's")
    parser.add_argument("--stop", metavar="NAME", help="stop the pod of this name, or TREE/NAME when several have it")
    sys.exit(trio.run(show, parser.parse_args()))
