"""A root that keeps its session, and is killed at its n-th commit.

python keeper.py REGISTRY SESSIONS WORK AT before|after|stay|leave [durability]

With "stay" it has a child; with "leave" that child outlives it.
"""

import json
import os
import signal
import sys
from pathlib import Path

import trio

import podkit
from podkit.protocol import TextDone, ToolCallDone, ToolResult, TurnEnd, TurnResult, TurnStart
from podkit_transports import UnixTransport


class Ledger(podkit.abc.Tool):
    """Writes one line, and is not to write it twice."""

    name, description, input_schema = "ledger", "write a line", {"type": "object"}

    async def call(self, arguments, context):
        with Path(context.pod.setting.cwd, "ledger").open("a") as file:
            file.write(arguments["line"] + "\n")
        return podkit.abc.ToolOutput("written")


class Clerk(podkit.abc.Worker):
    async def work(self, run, emit):
        for turn in (1, 2):
            emit(TurnStart(turn=turn))
            emit(TextDone(text=f"turn {turn}"))
            line = f"{run.number}.{turn}"
            emit(ToolCallDone(id=f"call-{turn}", name="ledger", arguments=json.dumps({"line": line})))
            await run.committed()
            emit(ToolResult(id=f"call-{turn}", summary=(await run.pod.call_tool("ledger", {"line": line})).summary))
            emit(TurnEnd(turn=turn, result=TurnResult.FINISHED))


class Counted(podkit.FileSessionStore):
    """The store of a program that ends at the n-th change of its session, as SIGKILL ends one."""

    at, after = 0, False

    async def open(self, name, *, create=None):
        session = await super().open(name, create=create)
        count = 0

        def watched(change):
            def changed(*arguments):
                nonlocal count
                count += 1
                if count == self.at and not self.after:
                    os.kill(os.getpid(), signal.SIGKILL)
                change(*arguments)
                if count == self.at:
                    os.kill(os.getpid(), signal.SIGKILL)

            return changed

        for name in ("append", "rotate", "save"):
            setattr(session, name, watched(getattr(session, name)))
        return session


async def main(registry, sessions, work, at, when, durability="process"):
    store = Counted(sessions, durability=durability)
    store.at, store.after = int(at), when == "after"
    scope = podkit.Scope.write(work)
    where = {"transport": UnixTransport(), "registry": podkit.FileRegistry(registry), "cwd": work}
    async with podkit.open_pod("root", Clerk(), scope=scope, sessions=store, tools=[Ledger()], **where) as root:
        print("open", flush=True)
        await root.notify("news", wake=False)
        await root.ask("go")
        print("done", flush=True)
        if when in ("stay", "leave"):
            launcher = podkit.ProcessLauncher([sys.executable, "-P", str(Path(__file__).with_name("child.py"))])
            given = {"scope": podkit.Scope.write(f"{work}/a"), "grant": scope}
            ends = "keep" if when == "leave" else "stop"
            kid = await root.spawn("kid", launcher=launcher, on_parent_death=ends, **given)
            await kid.ask("hello")
            print("ready", flush=True)
            await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
