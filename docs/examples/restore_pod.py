import trio

import podkit
from podkit.protocol import RunResult, TextDone, TurnStart


class Scribe(podkit.abc.Worker):
    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        emit(TextDone(text="resumed" if run.resumed else f"working on {run.text!r}"))
        if run.text == "a long job" and not run.resumed:
            await trio.sleep_forever()


async def main() -> None:
    here = {"transport": podkit.MemoryTransport(), "registry": podkit.MemoryRegistry()}
    sessions = podkit.MemorySessionStore()  # FileSessionStore(directory) outlives the program
    scope = podkit.Scope.write("/srv/app")

    async with podkit.open_pod("scribe", Scribe(), scope=scope, sessions=sessions, **here) as pod:
        await pod.ask("a note")
        run = await pod.run("a long job")
        await pod.pause(run=run)

    async with podkit.restore_pod("scribe", Scribe(), sessions=sessions, **here) as pod:  # scope, limits, history: as they were
        assert pod.status == "paused"
        end = await pod.wait(await pod.resume())
        assert end.result is RunResult.FINISHED
        print(pod)


trio.run(main)
