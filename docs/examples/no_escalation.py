import trio

import podkit
from podkit.protocol import Permission, ScopeRule, TextDone, TurnStart
from podkit.testing import ScriptedWorker

PROJECT = podkit.Scope(allow=[ScopeRule("/app", Permission.WRITE)], deny=[ScopeRule("/app/.git", Permission.WRITE)])


class Writer(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        try:
            name, helper = run.text.rpartition("/")[2], podkit.TaskLauncher(ScriptedWorker)
            await run.pod.spawn(name, scope=podkit.Scope.write(run.text), launcher=helper)
            emit(TextDone(text="spawned a helper"))
        except podkit.NotSubsetError as error:
            emit(TextDone(text=f"refused: {error}"))


async def main() -> None:
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    async with podkit.open_pod("root", ScriptedWorker(), scope=PROJECT, transport=net, registry=registry) as root:
        writer = await root.spawn("writer", scope=podkit.Scope.write("/app/docs"), launcher=podkit.TaskLauncher(Writer))
        # What was approved may be used and handed on, and nobody is asked again.
        assert (await writer.ask("/app/docs/api")).text == "spawned a helper"
        # It cannot do more, although its parent may, and neither can what it spawns.
        assert root.scope.at("/app/src") > writer.scope.at("/app/src")
        assert (await writer.ask("/app/src")).text.startswith("refused: asked for write at /app/src")
        # What is denied to the parent cannot be handed to anybody: a child's rules repeat the denies or stay clear of them.
        try:
            await root.spawn("all", scope=podkit.Scope.write("/app"), launcher=podkit.TaskLauncher(Writer))
        except podkit.NotSubsetError as error:
            print("refused:", error)
        else:
            raise AssertionError("a deny is inherited")


trio.run(main)
