import os
import tempfile

import trio

import podkit
from podkit.protocol import TextDone, TurnStart


class Scribe(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        await run.pod.files.write_text(f"{run.text}/today.txt", "written by the scribe\n")
        emit(TextDone(text="noted"))


class Idle(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        pass


async def main(app: str) -> None:
    notes = f"{app}/notes"
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    async with podkit.open_pod("root", Idle(), scope=podkit.Scope.write(app), transport=net, registry=registry) as root:
        scribe = await root.spawn("scribe", scope=podkit.Scope.write(notes), launcher=podkit.TaskLauncher(Scribe))
        print("root may now", root.scope.at(notes), "the notes")  # read

        print("the scribe says:", (await scribe.ask(notes)).text)
        print(await podkit.inspect(registry))
        try:
            await root.files.write_text(f"{notes}/mine.txt", "by the root")
        except podkit.AccessDeniedError as error:
            print("refused:", error)

        report = await scribe.stop()
        print("the scribe ended,", report.how, "and root may", root.scope.at(notes), "the notes again")  # write
        await root.files.write_text(f"{notes}/mine.txt", "by the root")


with tempfile.TemporaryDirectory() as home:
    os.mkdir(f"{home}/notes")
    trio.run(main, os.path.realpath(home))
