"""The contract of workers as a check that any worker can be held to. Needs no test framework."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio
import trio.testing

from podkit._net import connect
from podkit.errors import InvalidArgumentError, ModelError
from podkit.protocol import (
    WORKER_EVENTS,
    Error,
    ErrorCode,
    RunEnd,
    RunResult,
    TextDelta,
    TextDone,
    ToolCallDone,
    ToolResult,
    TurnEnd,
    TurnStart,
)

from ._check_clauses import Clauses
from ._check_transport_ground import require
from ._check_worker_ground import Ground, Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from podkit.abc import Tool, Worker
    from podkit.protocol import Event

_ALLOWED = (None, RunResult.FINISHED, RunResult.LIMIT_REACHED, RunResult.PAUSED)
_EVENTS = tuple(WORKER_EVENTS)
_MOST_WAITS = 30  # of one run that are tried as moments to cancel it

_clause: Clauses[Ground] = Clauses("W", seconds=30)


async def check_worker(
    make: Callable[[], Worker],
    *,
    input: str = "hello",
    tools: Sequence[Tool] = (),
    failing: Callable[[Exception], Worker] | None = None,
) -> None:
    """Hold a worker to the contract of `podkit.abc.Worker`: `trio.run(check_worker, MyWorker)`.

    `make` gives a fresh worker, which is asked `input` in a pod in memory that has `tools`; a run that waits for something now and
    then, and ends within a second, shows most. `failing(error)` gives a worker whose work meets that error where it may: at its
    model, say; without it that clause is left out. With trio's `MockClock` waiting costs nothing. Raises `AssertionError`, which
    begins with the id of the first clause of `WORKER_CLAUSES` that does not hold; every clause has thirty seconds.
    """

    @asynccontextmanager
    async def ground() -> AsyncIterator[Ground]:
        yield Ground(make=make, failing=failing, input=input, tools=tools)

    await _clause.check(ground)


@_clause("a run is answered: work() returns None, FINISHED, LIMIT_REACHED or PAUSED, run after run")
async def _ends(ground: Ground) -> None:
    async with ground.pod() as (pod, watched):
        require(all(isinstance(text, str) for text in (watched.provider, watched.model)), "provider and model are no texts")
        for number in range(3):
            await pod.wait(await pod.run(ground.input))
            _check_well(watched.works[number])
            if watched.works[number].result == RunResult.PAUSED:
                await pod.cancel()


@_clause("it emits only what a worker may, and only while it works")
async def _emits(ground: Ground) -> None:
    async with ground.pod() as (pod, watched):
        for _ in range(2):
            await pod.wait(await pod.run(ground.input))
            await trio.testing.wait_all_tasks_blocked(0.05)
            await trio.sleep(0.1)
        for work in watched.works:
            wrong = [event for event in (*work.events, *work.late) if not isinstance(event, _EVENTS)]
            require(not wrong, f"it emitted {wrong[:1]!r}")
            require(not work.late, f"it emitted {work.late[:1]!r} after work() had ended")


@_clause("turns are numbered upwards and ended one by one; pieces of a text add up to it; every call has one result")
async def _grammar(ground: Ground) -> None:
    async with ground.pod() as (pod, watched):
        await pod.wait(await pod.run(ground.input))
        _check_turns(watched.works[0].events)
        _check_texts(watched.works[0].events)
        _check_calls(watched.works[0].events)


@_clause("a cancellation goes through wherever it waits, ends the run as cancelled, and the next run is as good as the first")
async def _cancelled(ground: Ground) -> None:
    for number in range(_MOST_WAITS):
        async with ground.pod() as (pod, watched):
            run = await pod.run(ground.input)
            work = await watched.next(0)
            if not await _waits(work, number):
                return
            said = len(work.events)
            await pod.cancel()
            with trio.move_on_after(3) as patience:
                end = await pod.wait(run)
            require(not patience.cancelled_caught, f"it does not end when it is cancelled where it waits ({number + 1}. wait)")
            require(end.result == RunResult.CANCELLED, f"cancelled in its {number + 1}. wait it ended as {end.result}")
            require(isinstance(work.error, trio.Cancelled), f"out of work() came {work.error!r}, not the cancellation")
            more = [type(event).__name__ for event in work.events[said:] if isinstance(event, TurnStart)]
            require(not more, "it began another turn after it was cancelled")
            await pod.wait(await pod.run(ground.input))
            _check_well(watched.works[1])


@_clause("a paused run is carried on: called again with the same input and `resumed`, it comes to its end")
async def _paused(ground: Ground) -> None:
    async with ground.pod() as (pod, watched):
        run = await pod.run(ground.input)
        work = await watched.next(0)
        if not await work.parked():
            return
        await pod.pause(run=run)
        require((await pod.wait(run)).result == RunResult.PAUSED, "the paused run did not end as paused")
        await pod.wait(await pod.resume())
        require(watched.works[1].run.resumed, "it was not called as resumed")
        _check_well(watched.works[1])
        _check_turns(watched.works[1].events)


@_clause("a notice that wakes the pod is a run without input, and is answered like any other")
async def _noticed(ground: Ground) -> None:
    async with ground.pod() as (pod, watched):
        await pod.notify("the build is done")
        work = await watched.next(0)
        while not work.over:
            await work.moved.wait()
        _check_well(work)


@_clause("a pod that is closed while its worker waits is closed in time")
async def _closed(ground: Ground) -> None:
    with trio.move_on_after(8) as patience:
        async with ground.pod() as (pod, watched):
            await pod.run(ground.input)
            await (await watched.next(0)).parked()
    require(not patience.cancelled_caught, "the pod could not be closed")


@_clause("two of them are two: they work at the same time and say what one alone would")
async def _two(ground: Ground) -> None:
    said: list[str] = []
    async with ground.pod() as (one, _):
        alone = (await one.ask(ground.input)).text
    async with ground.pod(name="left") as (left, _), ground.pod(name="right") as (right, _), trio.open_nursery() as nursery:

        async def ask(pod: Any) -> None:
            said.append((await pod.ask(ground.input)).text)

        nursery.start_soon(ask, left)
        nursery.start_soon(ask, right)
    require(said == [alone, alone], f"alone it says {alone!r}, and two of them say {said}")


@_clause("what fails comes out as it is: a model's failure as provider_error, a tool's as tool_error, anything else as internal")
async def _fails(ground: Ground) -> None:
    if ground.failing is None:
        return
    for error, code in (
        (ModelError("overloaded", status=529), ErrorCode.PROVIDER_ERROR),
        (InvalidArgumentError("no such path"), ErrorCode.TOOL_ERROR),
        (ZeroDivisionError("by zero"), ErrorCode.INTERNAL),
    ):
        async with ground.pod(ground.failing(error)) as (pod, watched), connect(pod.address, transport=ground.transport) as client:
            await client.run(ground.input)
            codes = []
            async for event in client:
                if isinstance(event, Error):
                    codes.append(event.code)
                if isinstance(event, RunEnd):
                    require(event.result == RunResult.FAILED, f"with {error!r} the run ended as {event.result}")
                    break
            require(codes == [code], f"{error!r} is told as {', '.join(codes) or 'nothing'}, not as {code}")
            require(watched.works[0].error is not None, "work() returned")


WORKER_CLAUSES: tuple[tuple[str, str], ...] = tuple(_clause)
"""The clauses of the contract of workers, (id, sentence), in the order in which they are checked."""


async def _waits(work: Work, number: int) -> bool:
    """Let it work until it waits for the time with that number, from 0; False when it has no such wait."""
    for _ in range(number):
        if not await work.parked():
            return False
        await work.moved.wait()  # it goes on, or it is over
    return await work.parked()


def _check_well(work: Work) -> None:
    require(work.error is None, f"{work.error!r} came out of work()")
    require(
        any(work.result is allowed or (type(work.result) is RunResult and work.result == allowed) for allowed in _ALLOWED),
        f"work() returned {work.result!r}",
    )


def _check_turns(events: Sequence[Event]) -> None:
    last, current = 0, None
    for event in events:
        if isinstance(event, TurnStart):
            require(event.turn > last, f"turn {event.turn} begins after turn {last}")
            last = current = event.turn
        elif isinstance(event, TurnEnd):
            require(event.turn == current, f"turn {event.turn} ends, and {current or 'none'} is the one under way")
            current = None


def _check_texts(events: Sequence[Event]) -> None:
    said = ""
    for event in events:
        if isinstance(event, TextDelta):
            said += event.text
        elif isinstance(event, TextDone):
            require(said in ("", event.text), f"the pieces say {said!r}, and the text is {event.text!r}")
            said = ""


def _check_calls(events: Sequence[Event]) -> None:
    called: list[str] = []
    for event in events:
        if isinstance(event, ToolCallDone):
            require(event.id not in called, f"the call {event.id!r} is made twice")
            called.append(event.id)
        elif isinstance(event, ToolResult):
            require(event.id in called, f"the result {event.id!r} has no call, or is a second one")
            called.remove(event.id)
    require(not called, f"the call {called[:1]} has no result")
