import trio

import podkit
from podkit.logic import AssistantText, ToolUse, TranscriptItem, UserInput
from podkit.protocol import TextDelta, TextDone, TurnStart


class Poet(podkit.abc.Worker):
    async def work(self, run: podkit.abc.Run, emit: podkit.abc.Emit) -> None:
        emit(TurnStart(turn=1))
        for word in ("roses ", "are ", "red"):
            emit(TextDelta(text=word))
            await trio.sleep(0.01)
        emit(TextDone(text=f"roses are red ({run.text})"))


def draw(transcript: podkit.Transcript) -> str:
    return "\n".join(line(item) for run in transcript.runs for item in (*run.items, *run.streaming))


def line(item: TranscriptItem) -> str:
    match item:
        case UserInput(text=text):
            return f"you: {text}"
        case AssistantText(text=text, done=done):
            return text if done else f"{text}…"
        case ToolUse(name=name, reply=reply):
            return f"{name}: {reply.summary if reply else 'under way'}"
    return ""


async def main() -> None:
    net, registry = podkit.MemoryTransport(), podkit.MemoryRegistry()
    scope = podkit.Scope.write("/srv/poems")
    async with (
        podkit.open_pod("poet", Poet(), scope=scope, transport=net, registry=registry) as pod,
        podkit.connect(pod.address, transport=net) as client,
    ):
        await client.run("a poem")
        transcript, shown = podkit.Transcript(), ""
        async for event in client:
            transcript = podkit.fold_transcript(transcript, event)
            if draw(transcript) != shown:
                shown = draw(transcript)
                print(shown, end="\n\n")
            if transcript.runs and transcript.runs[-1].result is not None:
                break


trio.run(main)
