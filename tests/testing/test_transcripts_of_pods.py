"""Transcripts of pods as they are: whoever attaches, at whatever moment, is shown the same."""

import attrs
import pytest
import trio
import trio.testing

from podkit import Scope, Transcript, fold_transcript
from podkit.logic import AssistantText, SystemNote, ToolReply, ToolUse, UserInput
from podkit.protocol import (
    InvokeKind,
    RunResult,
    Shutdown,
    Snapshot,
    Status,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallStart,
    ToolResult,
    TurnStart,
    Usage,
)
from podkit.testing import ScriptedWorker, open_world

ROOT = Scope.write("/w")


class Talking(ScriptedWorker):
    """Thinks, calls a tool and answers, a delta at a time; told to fail, it fails; told to wait, it waits in the middle."""

    async def work(self, run, emit):
        emit(TurnStart(turn=1))
        for event in (
            ThinkingStart(),
            ThinkingDelta(text="hm"),
            ThinkingDone(text="hmm"),
            ToolCallStart(id="c", name="read"),
            ToolCallArgsDelta(id="c", json="{}"),
            ToolCallDone(id="c", name="read", arguments="{}"),
            ToolResult(id="c", summary="3 lines"),
            TextDelta(text="half "),
        ):
            emit(event)
            await trio.lowlevel.checkpoint()
        if run.text == "wait" and not run.resumed:
            await trio.sleep_forever()
        if run.text == "fail":
            raise RuntimeError("as told")
        emit(TextDelta(text="and whole"))
        await trio.lowlevel.checkpoint()
        emit(TextDone(text="half and whole"))
        emit(Usage(input_tokens=7, output_tokens=3))


async def a_life(client):
    """Everything that a run may come to."""
    await client.ask("go")
    await client.ask("fail")
    await client.run("wait")
    await client.notify("psst")
    await client.pause()
    await client.wait(await client.resume())
    await client.run("wait")
    await client.cancel()
    await client.ask("again")


def known_since(transcript):
    """A transcript but for the greeting, which is as old as the snapshot."""
    return attrs.evolve(transcript, greeting=None)


@pytest.mark.proves("I15", "F52", "F57")
async def test_whoever_attaches_after_any_event_of_a_life_is_shown_the_same(autojump_clock):
    known, late = {}, []

    async def watch(world, address, heard, opened=None):
        async with world.connect(address) as client:
            transcript = Transcript()
            async for event in client:
                transcript = fold_transcript(transcript, event)
                heard(client, event, transcript)
                if opened is not None:
                    opened.set()

    with trio.fail_after(60):
        async with open_world() as world, trio.open_nursery() as nursery:

            def also(client, event, transcript):
                if isinstance(event, Snapshot | Shutdown):
                    late.append((client.seq, transcript))

            def first(client, event, transcript):
                known[client.seq] = transcript
                if not isinstance(event, Shutdown):
                    nursery.start_soon(watch, world, pod.address, also)

            opened = trio.Event()
            async with world.open_pod("root", Talking(), scope=ROOT) as pod:
                nursery.start_soon(watch, world, pod.address, first, opened)
                await opened.wait()
                async with world.connect(pod.address, subscribe="none") as client:
                    await a_life(client)
                    await trio.testing.wait_all_tasks_blocked()  # who attaches last gets in before the pod leaves
    assert len(late) > 60
    for seq, transcript in late:
        assert known_since(transcript) == known_since(known[seq]), seq
    end = known[max(known)]
    assert (end.over, end.complete, end.status) == (True, True, Status.IDLE)
    said = ToolUse("c", "read", "{}", reply=ToolReply("3 lines"))
    assert [(run.number, run.cause, run.result) for run in end.runs[:5]] == [
        (1, InvokeKind.USER_SEND, RunResult.FINISHED),
        (2, InvokeKind.USER_SEND, RunResult.FAILED),
        (3, InvokeKind.USER_SEND, RunResult.PAUSED),
        (4, InvokeKind.USER_SEND, RunResult.FINISHED),
        (5, InvokeKind.USER_SEND, RunResult.CANCELLED),
    ]
    assert end.runs[0].items[0] == UserInput("go")
    assert end.runs[0].items[2:] == (said, AssistantText("half and whole"))
    assert end.runs[0].usage == Usage(input_tokens=7, output_tokens=3)
    assert "as told" in end.runs[1].error.message
    assert any(isinstance(item, SystemNote) and "psst" in item.text for run in end.runs for item in run.items)
