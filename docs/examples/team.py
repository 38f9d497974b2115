import trio

import podkit
from podkit.protocol import TextDone, TurnStart


class Lead(podkit.abc.Worker):
    """Has every part of the application written by a pod of its own, all at once, and says how it went."""

    def __init__(self, writers: podkit.abc.Launcher, *, patience: float = 7200) -> None:
        self.writers, self.patience = writers, patience

    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))

        async def have_written(part: str) -> None:
            scope = podkit.Scope.write(f"/app/{part}")
            try:
                writer = await run.pod.spawn(part, scope=scope, launcher=self.writers)
            except podkit.PodkitError as error:
                emit(TextDone(text=f"{part}: {type(error).__name__}"))
                return
            said = "took too long"
            try:
                with trio.move_on_after(self.patience):
                    said = (await writer.ask(f"write {part}")).text
            except podkit.PodkitError as error:
                said = type(error).__name__
            report = await writer.stop()
            emit(TextDone(text=f"{part}: {said} ({report.how})"))

        async with trio.open_nursery() as nursery:
            for part in run.text.split():
                nursery.start_soon(have_written, part)
