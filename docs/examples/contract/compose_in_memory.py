"""Compose a pod in memory, talk to it, and let it go."""


# --- as in the page ---
import trio, podkit
from podkit.protocol import RunEnd, TextDone, TurnStart

class Echo(podkit.abc.Worker):
    async def work(self, run, emit):
        emit(TurnStart(turn=1)); emit(TextDone(text=f"you said {run.text}"))

async def main():
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    async with podkit.open_pod("root", Echo(), scope=podkit.Scope.write("/srv/app"), transport=net, registry=registry) as pod:
        async with podkit.connect(pod.address, transport=net) as client:
            await client.run("hello")                      # returns when the run is accepted, raises MethodRejectedError if not
            async for event in client:                     # a trio ReceiveChannel[Event]
                print(event)
                if isinstance(event, RunEnd): break

trio.run(main)
