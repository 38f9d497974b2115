import trio

import podkit
from podkit.protocol import RunResult, TextDone, TurnStart


class Scribe(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        emit(TextDone(text="resumed" if run.resumed else f"working on {run.text!r}"))
        if run.text == "a long job" and not run.resumed:
            await trio.sleep_forever()


async def main() -> None:
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    sessions = podkit.MemorySessionStore()  # FileSessionStore(directory) outlives the program
    scope = podkit.Scope.write("/srv/app")

    async with podkit.open_pod("scribe", Scribe(), scope=scope, sessions=sessions, transport=net, registry=registry) as pod:
        await pod.ask("a note")
        run = await pod.run("a long job")
        await pod.pause(run=run)

    # scope, limits and history: as they were
    async with podkit.restore_pod("scribe", Scribe(), sessions=sessions, transport=net, registry=registry) as pod:
        assert pod.status == "paused"
        end = await pod.wait(await pod.resume())
        assert end.result is RunResult.FINISHED
        print(pod)


trio.run(main)
