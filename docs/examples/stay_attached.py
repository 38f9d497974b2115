from collections.abc import Callable

import trio

import podkit
from podkit.protocol import TextDone

SOONEST, LATEST = 0.05, 2.0  # seconds before the next try


async def stay_attached(address: str, transport: podkit.abc.Transport, show: Callable[[str, podkit.Transcript], None]) -> None:
    """Follow whoever is at `address`, over lost connections and restarts, until cancelled."""
    wait, incarnation, transcript = SOONEST, "", podkit.Transcript()
    while True:
        try:
            async with podkit.connect(address, transport=transport) as client:
                wait = SOONEST
                if client.incarnation != incarnation:  # another pod in the same place: what the last one said is not its
                    incarnation, transcript = client.incarnation, podkit.Transcript()
                async for event in client:
                    transcript = podkit.fold_transcript(transcript, event)
                    show(incarnation, transcript)
        except podkit.PodUnreachableError:
            pass  # it may come back
        await trio.sleep(wait)
        wait = min(LATEST, wait * 2)


class Echo(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TextDone(text=f"you said {run.text}"))


async def main() -> None:
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    lives: dict[str, int] = {}
    heard = trio.Event()

    def show(incarnation: str, transcript: podkit.Transcript) -> None:
        lives[incarnation] = len(transcript.runs)
        if transcript.runs and transcript.runs[-1].result is not None:
            heard.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay_attached, "memory://echo", net, show)
        for word in ("one", "two"):
            heard = trio.Event()
            scope = podkit.Scope.write("/srv/echo")
            async with podkit.open_pod(
                "echo", Echo(), scope=scope, transport=net, registry=registry, address="memory://echo"
            ) as pod:
                await pod.run(word)
                await heard.wait()
        nursery.cancel_scope.cancel()
    print(f"followed {len(lives)} lives of one pod")
    assert list(lives.values()) == [1, 1]


trio.run(main)
