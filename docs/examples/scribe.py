import trio

import podkit
from podkit.protocol import TextDone, TurnStart
from podkit_transports import UnixTransport


class Scribe(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        await run.pod.files.write_text("today.txt", run.text + "\n")
        emit(TextDone(text=f"noted: {run.text}"))


async def main() -> None:
    await podkit.adopt_pod(Scribe(), transport=UnixTransport())


if __name__ == "__main__":
    trio.run(main)
