"""A tree to watch: python watched.py REGISTRY WORK. Its root does what it is told: stream, spawn, wait, shout, anything else."""

import os
import sys
from pathlib import Path

import trio

import podkit
from podkit.protocol import Alert, AlertLevel, AlertSource, TextDelta, TextDone, ToolCallDone, ToolResult
from podkit_transports import UnixTransport

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\u202edesrever\x9b5n\r\nnext"


class Told(podkit.abc.Worker):
    provider, model = "scripted", HOSTILE

    async def work(self, run, emit):
        match run.text:
            case "stream":
                emit(TextDelta(text="half a "))
                emit(TextDelta(text="sentence"))
                await trio.sleep_forever()
            case "spawn":
                os.makedirs(f"{sys.argv[2]}/kid", exist_ok=True)
                launcher = podkit.TaskLauncher(Told)
                await run.pod.spawn("kid", scope=podkit.Scope.write(f"{sys.argv[2]}/kid"), launcher=launcher)
                emit(TextDone(text="there is a kid"))
            case "shout":
                emit(ToolCallDone(id="c", name=HOSTILE, arguments=HOSTILE))
                emit(ToolResult(id="c", summary=HOSTILE, output=HOSTILE, is_error=True))
                emit(Alert(AlertLevel.WARN, AlertSource.WORKER, HOSTILE, 1))
                emit(TextDone(text=HOSTILE))
            case _:
                told = ", ".join(item.message for item in run.notices)
                emit(TextDone(text=f"heard {run.text}{told}"))


async def main(registry, work):
    where = {"transport": UnixTransport(), "registry": podkit.FileRegistry(registry), "run_dir": f"{registry}/root"}
    async with podkit.open_pod("root", Told(), scope=podkit.Scope.write(work), cwd=work, **where) as root:
        Path(registry, "address").write_text(root.address)
        print("ready", flush=True)
        await root.stopped()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
