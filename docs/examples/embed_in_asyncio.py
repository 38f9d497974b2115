import asyncio
from concurrent.futures import Future

import trio

import podkit
from podkit.protocol import TextDone, TurnStart

Handle = tuple[podkit.Pod, trio.lowlevel.TrioToken, trio.Event]


class Echo(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        emit(TextDone(text=f"you said {run.text}"))


async def pods(ready: Future[Handle]) -> None:
    """Runs under trio, in a thread of its own, until the event is set."""
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    try:
        async with podkit.open_pod("root", Echo(), scope=podkit.Scope.write("/srv/app"), transport=net, registry=registry) as pod:
            end = trio.Event()
            ready.set_result((pod, trio.lowlevel.current_trio_token(), end))
            await end.wait()
    except BaseException as error:
        if not ready.done():
            ready.set_exception(error)
        raise


async def main() -> None:
    """Runs under asyncio."""
    ready: Future[Handle] = Future()
    running = asyncio.create_task(asyncio.to_thread(trio.run, pods, ready))
    pod, token, end = await asyncio.wrap_future(ready)

    def ask(text: str) -> podkit.Outcome:
        return trio.from_thread.run(pod.ask, text, trio_token=token)

    try:
        print((await asyncio.to_thread(ask, "hello")).text)
    finally:
        trio.from_thread.run_sync(end.set, trio_token=token)
        await running


asyncio.run(main())
