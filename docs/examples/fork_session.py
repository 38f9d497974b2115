import trio

import podkit
from podkit.protocol import TextDone, TurnStart


class Scribe(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        emit(TextDone(text=f"noted {run.text!r}"))


async def main() -> None:
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    sessions = podkit.MemorySessionStore()  # FileSessionStore(directory) outlives the program
    scope = podkit.Scope.write("/srv/app")

    async with podkit.open_pod("scribe", Scribe(), scope=scope, sessions=sessions, transport=net, registry=registry) as pod:
        await pod.ask("the plan")
        await pod.ask("a detour")

        # what it heard until the end of its first turn, for a pod that may read; the scribe notices nothing
        fork = await podkit.fork_session(sessions, "scribe", "critic", scope=podkit.Scope.read("/srv/app"), at=1)
        async with podkit.restore_pod("critic", Scribe(), sessions=sessions, transport=net, registry=registry) as critic:
            assert (fork.turn, fork.history) == (1, 2)
            assert (await critic.ask("go on")).text == "noted 'go on'"
            print(critic, "beside", pod)

    try:
        await podkit.fork_session(sessions, "scribe", "other", scope=scope, at=9)
    except podkit.UnknownTurnError as error:
        print(error)  # session 0192f... has no turn 9: 2 of its turns have ended


trio.run(main)
