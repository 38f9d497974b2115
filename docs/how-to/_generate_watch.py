"""Writes watch.svg, a picture of what docs/examples/watch.py draws, by its own drawing of a tree made up here.

python docs/how-to/_generate_watch.py [--check]: with --check nothing is written, and the exit status says whether it is up to date.
"""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "examples"))

from watch_tree import Scene, Seat, columns, draw

import podkit
from podkit.protocol import (
    Greeting,
    InvokeKind,
    InvokeStart,
    RunEnd,
    RunResult,
    Snapshot,
    StatusEvent,
    TextDelta,
    TextDone,
    ToolCallDone,
    ToolResult,
    Usage,
    UserMessage,
)
from podkit.protocol import Status as State

HERE = Path(__file__).parent
WIDTH, HEIGHT = 104, 21
COLUMN, ROW, EDGE = 8.4, 19, 16
COLOURS = {"": "#e6edf3", "bold": "#ffffff", "dim": "#8b949e", "good": "#7ee787", "bad": "#ff7b72"}


def transcript(name, *events):
    made = podkit.Transcript()
    for event in (Snapshot((), Greeting(name, "/srv/app", "acme", "m1", "", ())), *events):
        made = podkit.fold_transcript(made, event)
    return made


def scene():
    lead = transcript(
        "lead",
        InvokeStart(InvokeKind.USER_SEND, run=1),
        UserMessage("describe the parser", run=1),
        TextDone("I give src to mapper and docs to scribe.", run=1),
        ToolCallDone("1", "SpawnPod", '{"name": "scribe", "scope": ["/srv/app/docs"]}', run=1),
        ToolResult("1", "pod `scribe` is running", run=1),
        Usage(input_tokens=1840, output_tokens=96, run=1),
        RunEnd(RunResult.FINISHED, run=1),
    )
    mapper = transcript("mapper", StatusEvent(State.RUNNING), TextDelta("src/parse.py: 14 definitions", run=1))
    scribe = transcript(
        "scribe",
        StatusEvent(State.RUNNING),
        InvokeStart(InvokeKind.USER_SEND, run=1),
        UserMessage("write a page about the parser", run=1),
        ToolCallDone("1", "Read", '{"path": "/srv/app/src/parse.py"}', run=1),
        ToolResult("1", "212 lines", run=1),
        TextDelta("The parser reads one line at a time and", run=1),
    )
    app = "/srv/app"
    seats = (
        Seat("1", "lead", use=f"Writable:\n  - {app}\nLent:\n  - {app}/src (mapper)\n  - {app}/docs (scribe)", transcript=lead),
        Seat("2", "mapper", parent="1", use=f"Writable:\n  - {app}/src\nLent:\n  - {app}/src/net (helper)", transcript=mapper),
        Seat("3", "helper", parent="2", use=f"Writable:\n  - {app}/src/net", state="starting"),
        Seat(
            "4",
            "scribe",
            parent="1",
            life=2,
            incarnation="9c41d07ae2b6",
            use=f"Readable:\n  - {app}\nWritable:\n  - {app}/docs",
            transcript=scribe,
        ),
    )
    return Scene(seats, "4", ("scribe is there again, as 9c41d07ae2b6", "notify lead: it will be told"), "pause mapper")


def picture():
    """The drawing as SVG: what a terminal would show, with the same colours."""
    width, height = round(WIDTH * COLUMN + 2 * EDGE), HEIGHT * ROW + 2 * EDGE
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        ' aria-labelledby="t" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14">'
    )
    made = [
        head,
        '  <title id="t">watch.py: a tree of pods, what one of them says, and the prompt</title>',
        f'  <rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>',
    ]
    for at, line in enumerate(draw(scene(), width=WIDTH, height=HEIGHT)):
        if text := line.text.rstrip():
            length = sum(map(columns, text)) * COLUMN
            weight = ' font-weight="600"' if line.style == "bold" else ""
            made.append(
                f'  <text x="{EDGE}" y="{EDGE + ROW * at + 14}" fill="{COLOURS[line.style]}"{weight} xml:space="preserve"'
                f' textLength="{length:.1f}">{escape(text)}</text>'
            )
    return "\n".join([*made, "</svg>", ""])


def main():
    file, wanted = HERE / "watch.svg", picture()
    if "--check" in sys.argv[1:]:
        return 0 if file.is_file() and file.read_text() == wanted else f"{file.name} is not up to date"
    file.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
