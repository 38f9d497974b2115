import trio

import podkit
from podkit.protocol import TextDone, TurnStart


class Echo(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        emit(TextDone(text=f"you said {run.text}"))


async def main() -> None:
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    async with podkit.open_pod("root", Echo(), scope=podkit.Scope.write("/srv/app"), transport=net, registry=registry) as pod:
        print((await pod.ask("hello")).text)


trio.run(main)
