"""A scenario that holds a pod with a session to what restoring promises, while its session is full now and then and it dies.

Nothing in it is about any one mistake. A pod works, is killed at some moment, and is restored:

- whatever a client was shown as committed is in the restored log
- no tool runs on a call that is not in the log, and none runs twice
- every call has one result, and every run one end
"""

import errno
import json

import trio

from podkit import Scope
from podkit.abc import Session, Tool, ToolOutput, Worker
from podkit.errors import PodkitError, SessionError
from podkit.protocol import RunEnd, RunResult, Status, TextDone, ToolCallDone, ToolResult, TurnEnd, TurnResult, TurnStart

_WORKS, _ENDS = 12.0, 60.0  # seconds


class Full(Session):
    """A session that has no room now and then, as its chance has it."""

    def __init__(self, inner, chance):
        self._inner, self._chance = inner, chance
        self.name, self.id, self.durability = inner.name, inner.id, inner.durability

    segment = property(lambda self: self._inner.segment)
    entries = property(lambda self: self._inner.entries)
    segments = property(lambda self: self._inner.segments)
    manifest = property(lambda self: self._inner.manifest)

    def append(self, entries):
        if self._chance.random() < 0.05:
            error = SessionError("no room")
            error.errno = errno.ENOSPC
            raise error
        self._inner.append(entries)

    def rotate(self, segment, entries):
        self._inner.rotate(segment, entries)

    def save(self, manifest):
        self._inner.save(manifest)

    async def sync(self):
        await self._inner.sync()

    def read(self, segment):
        return self._inner.read(segment)

    async def aclose(self):
        await self._inner.aclose()


class Effect(Tool):
    """Has an effect some time after it was called, and answers some time after that."""

    name, description, input_schema = "effect", "effect", {"type": "object"}

    def __init__(self, chance):
        self.chance, self.had = chance, []

    async def call(self, arguments, context):
        await trio.sleep(0.3 * self.chance.random())
        self.had.append(arguments["n"])
        await trio.sleep(self.chance.random())
        return ToolOutput("done")


class Toiler(Worker):
    """Speaks and calls the tool, each time with a number of its own."""

    def __init__(self, first):
        self.number = first

    async def work(self, run, emit):
        for turn in (1, 2):
            emit(TurnStart(turn=turn))
            self.number += 1
            emit(TextDone(text=f"word {self.number}"))
            call = f"call-{self.number}"
            emit(ToolCallDone(id=call, name="effect", arguments=json.dumps({"n": self.number})))
            await run.committed()
            output = await run.pod.call_tool("effect", {"n": self.number})
            emit(ToolResult(id=call, summary=output.summary))
            emit(TurnEnd(turn=turn, result=TurnResult.FINISHED))


class Keeps:
    def __init__(self, world):
        self.world, self.tool = world, Effect(world.chance)
        self.shown, self.finished = [], []

    async def asks(self, pod):
        try:
            async with self.world.connect(pod.address) as client:
                while True:
                    await client.ask("go on")
                    await trio.sleep(self.world.chance.random())
        except (PodkitError, trio.EndOfChannel):
            return  # it died

    async def watches(self, pod):
        try:
            async with self.world.connect(pod.address) as client:
                async for event in client:
                    match event:
                        case TextDone(text=text):
                            self.shown.append(text)
                        case RunEnd(result=RunResult.FINISHED, run=run):
                            self.finished.append(run)
        except PodkitError:
            return

    async def works(self, pod):
        with trio.move_on_after(_WORKS):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.asks, pod)
                nursery.start_soon(self.watches, pod)
                await trio.sleep(_WORKS * self.world.chance.random())
                self.world.crash(pod)

    async def restored(self, pod):
        with trio.fail_after(_ENDS):
            while pod.status is Status.RUNNING:  # noqa: ASYNC110 - time is virtual
                await trio.sleep(1)
            await trio.sleep(5)
        data = pod.log.data
        said = {entry["item"]["content"][0]["text"] for entry in _kind(data, "assistant_item", "message")}
        lost = [text for text in self.shown if text not in said]
        assert not lost, f"a client was shown what a restored pod knows nothing of: {lost}"
        ended = {entry["run"] for entry in data if entry["kind"] == "run_completed"}
        assert set(self.finished) <= ended, f"runs ended for a client and not in the log: {set(self.finished) - ended}"
        calls = _kind(data, "assistant_item", "tool_call")
        called = [json.loads(entry["item"]["arguments"])["n"] for entry in calls]
        had = self.tool.had
        assert set(had) <= set(called), f"a tool ran on a call that is not in the log: {set(had) - set(called)}"
        assert len(set(had)) == len(had), f"a tool ran twice: {sorted(had)}"
        results = [entry["item"]["call_id"] for entry in data if entry["kind"] == "tool_result"]
        assert sorted(results) == sorted(entry["item"]["call_id"] for entry in calls), "a call has no result, or two"
        begun = [entry["run"] for entry in data if entry["kind"] == "invoke"]
        assert begun == [entry["run"] for entry in data if entry["kind"] in ("run_completed", "run_errored")]


def _kind(data, kind, item):
    return [entry for entry in data if entry["kind"] == kind and entry["item"]["kind"] == item]


async def keeps(world):
    """One pod that works until it dies, and is restored."""
    keeps, scope = Keeps(world), Scope.write("/w")
    world.sessions.opened = lambda program, session: Full(session, world.chance)
    async with world.open_pod("root", Toiler(0), scope=scope, tools=[keeps.tool], sessions=world.sessions) as pod:
        await keeps.works(pod)
    world.sessions.opened = None
    async with world.restore_pod("root", Toiler(1000), tools=[keeps.tool]) as pod:
        await keeps.restored(pod)
