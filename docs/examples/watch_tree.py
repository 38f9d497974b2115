"""What watch.py shows, as values: a tree of pods in, lines of text out. Nothing here touches a terminal, a file or a socket.

Whatever a pod says is a stranger's text. `clean` is what every line goes through: what comes out of it has no control characters,
no marks that change the direction of text, and no line breaks.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import podkit
from podkit.logic import AssistantText, AssistantThinking, SystemNote, ToolUse, UserInput
from podkit.protocol import RunResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podkit.logic import TranscriptItem, TranscriptRun


@dataclass(frozen=True)
class Seat:
    """One pod of the tree. `parent` is the key of the pod above it, `use` and `grant` are scopes as podkit summarizes them. `state`
    is what the registry says of it and `link` how the connection to it stands, each "" when all is well. `life` counts the pods
    that had this name one after the other."""

    key: str
    name: str
    parent: str | None = None
    incarnation: str = ""
    use: str = ""
    grant: str | None = None
    state: str = ""
    link: str = ""
    life: int = 1
    transcript: podkit.Transcript = field(default_factory=podkit.Transcript)


CURSOR = "▏"  # where more is being said


@dataclass(frozen=True)
class Line:
    """A line to show, and how: "" | "bold" | "dim" | "good" | "bad"."""

    text: str
    style: str = ""


# Text that fits, whoever wrote it.


def clean(text: str) -> str:
    """The text on one line, with nothing in it that a terminal acts upon."""
    return "".join(char if char.isprintable() else " " for char in text)


def columns(char: str) -> int:
    """How many columns a character takes."""
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, width: int) -> str:
    """A cleaned text in at most `width` columns."""
    text = clean(text)
    pieces = wrap(text, width)
    return text if len(pieces) <= 1 else wrap(text, width - 1)[0] + "…" if width > 1 else "…"


def wrap(text: str, width: int) -> list[str]:
    """A text as lines of at most `width` columns each, broken where it breaks its own lines and where a line is full."""
    made: list[str] = []
    for line in text.split("\n"):
        part, used = "", 0
        for char in clean(line.rstrip("\r").expandtabs(4)):
            wide = columns(char)
            if used + wide > width and part:
                made.append(part)
                part, used = "", 0
            if wide or len(part) < 4 * width:  # a stack of marks on one letter ends somewhere
                part, used = part + char, used + wide
        made.append(part)
    return made


def padded(text: str, width: int) -> str:
    text = fit(text, width)
    return text + " " * (width - sum(map(columns, text)))


# The tree.


def draw_tree(seats: Sequence[Seat], *, width: int, chosen: str | None = None) -> list[Line]:
    """Every pod below its parent, two lines each: what it does, and what it may."""
    made: list[Line] = []
    for seat, stem, below in _walk(seats):
        mark = ">" if seat.key == chosen else " "
        head = f"{mark}{padded(stem + seat.name, 20)} {padded(status(seat), 15)} {life(seat)}"
        said = last_said(seat.transcript)
        made.append(Line(fit(f"{head}{said}", width), _style(seat)))
        made.append(Line(fit(f" {padded(below, 20)} {authority(seat)}", width), "dim"))
    return made or [Line("no pods", "dim")]


def _walk(seats: Sequence[Seat]) -> Iterator[tuple[Seat, str, str]]:
    """Each seat with the branches before its name, and those before the line below it."""
    keys = {seat.key for seat in seats}
    below: dict[str | None, list[Seat]] = {}
    for seat in seats:
        parent = seat.parent if seat.parent in keys and seat.parent != seat.key else None
        below.setdefault(parent, []).append(seat)
    waiting: list[tuple[Seat, str, str, bool]] = [(seat, "", "", False) for seat in reversed(below.get(None, []))]
    while waiting:
        seat, stem, rest, _ = waiting.pop()
        children = below.get(seat.key, [])
        yield seat, stem, rest + ("│" if children else "")
        for at in range(len(children) - 1, -1, -1):
            last = at == len(children) - 1
            waiting.append((children[at], rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), last))


def status(seat: Seat) -> str:
    """One word, or two, for how the pod is."""
    if seat.state or seat.link:
        return seat.state or seat.link
    known = seat.transcript
    if known.over:
        return "left"
    said = "attaching" if known.status is None else known.status.value
    held = f", {known.held} held" if known.held else ""
    return f"{said}{held}" if known.complete or known.status is None else f"{said}, behind"


def life(seat: Seat) -> str:
    """Which life of that name it is, when it is not the first that was seen, and how many alerts there are."""
    again = f"[life {seat.life}] " if seat.life > 1 else ""
    alerts = len(seat.transcript.alerts)
    return again + (f"[{alerts} alert{'s' if alerts > 1 else ''}] " if alerts else "")


def authority(seat: Seat) -> str:
    """What a pod may: its scope as it is now, what of it is lent, and what it may hand out where that is something else."""
    greeting = seat.transcript.greeting
    use = seat.use or (greeting.scope_summary if greeting else "")
    grant = seat.grant or (greeting.grant_summary if greeting else None)
    parts = _targets(use)
    said = [f"{verb} {', '.join(parts[title])}" for verb, title in _VERBS if parts.get(title)]
    if grant:
        said.append(
            f"may hand out {', '.join(_targets(grant).get('Writable:') or _targets(grant).get('Readable:') or ['nothing'])}"
        )
    return " · ".join(said) or "no scope"


_VERBS = (("writes", "Writable:"), ("reads", "Readable:"), ("lends", "Lent:"))


def _targets(summary: str) -> dict[str, list[str]]:
    """The targets of a scope's summary under its headings; what may be written is not said to be readable once more."""
    found: dict[str, list[str]] = {}
    title = ""
    for line in summary.splitlines():
        if line.startswith("  - "):
            found.setdefault(title, []).append(line[4:])
        else:
            title = line
    writable = found.get("Writable:", [])
    found["Readable:"] = [target for target in found.get("Readable:", []) if target not in writable]
    return found


def _style(seat: Seat) -> str:
    if seat.state == "starting":
        return "dim"
    if seat.state or seat.link or seat.transcript.over:
        return "bad"
    run = seat.transcript.runs[-1] if seat.transcript.runs else None
    if run is not None and run.result is RunResult.FAILED:
        return "bad"
    return "good" if seat.transcript.status == "running" else "bold"


def last_said(transcript: podkit.Transcript) -> str:
    """The last of what happened in a pod, in one line."""
    for run in reversed(transcript.runs):
        if run.result is not None and run.result is not RunResult.FINISHED:
            return ended(run)
        for item in (*reversed(run.streaming), *reversed(run.items)):
            lines = [line.text.strip() for line in item_lines(item) if line.text.strip(f" {CURSOR}")]
            if lines and not isinstance(item, AssistantThinking):
                return lines[-1]
    return ""


# What one pod said.


def draw_transcript(transcript: podkit.Transcript, *, width: int, height: int) -> list[Line]:
    """The last of a transcript, at most `height` lines."""
    made: list[Line] = []
    for run in reversed(transcript.runs):
        part = run_lines(run, width)
        made = part + made
        if len(made) >= height:
            break
    return made[-height:] if height > 0 else []


def run_lines(run: TranscriptRun, width: int) -> list[Line]:
    """One run, from its cause to its end."""
    title = "earlier" if run.number is None else f"run {run.number}"
    cause = f" ({run.cause.value})" if run.cause else ""
    lines = [Line(f"── {title}{cause}", "dim")]
    lines += [Line(f"   … {run.omitted} earlier items", "dim")] if run.omitted else []
    for item in (*run.items, *run.streaming):
        lines += item_lines(item)
    if run.result is not None:
        lines.append(Line(f"── {ended(run, tokens=True)}", "bad" if run.error else "dim"))
    return [Line(part, line.style) for line in lines for part in wrap(line.text, width)]


def ended(run: TranscriptRun, *, tokens: bool = False) -> str:
    """How a run ended, with the tokens it used where they are known, and why, which may be many lines."""
    used = f", {run.usage.input_tokens or 0} in, {run.usage.output_tokens or 0} out" if run.usage != type(run.usage)() else ""
    why = f": {run.error.code.value}, {run.error.message}" if run.error else ""
    return f"{run.result.value if run.result else 'goes on'}{used if tokens else ''}{why}"


def item_lines(item: TranscriptItem) -> list[Line]:
    """One item, a line for each that it has itself."""
    match item:
        case UserInput(text=text):
            return _lines("you: ", text, "bold")
        case AssistantText(text=text, done=done):
            return _lines("", text + ("" if done else CURSOR), "")
        case AssistantThinking(text=text, done=done):
            return _lines("~ ", text + ("" if done else CURSOR), "dim")
        case SystemNote(kind=kind, text=text):
            return _lines(f"[{kind}] ", text, "dim")
        case ToolUse():
            return _tool(item)
    return [Line(f"({item.kind}, which this version cannot show)", "dim")]


def _tool(item: ToolUse) -> list[Line]:
    shown = _lines("* ", f"{item.name or 'a call'} {item.arguments}{'' if item.done else CURSOR}", "good")
    if item.reply is not None:
        shown += _lines("  → ", item.reply.summary, "bad" if item.reply.is_error else "dim")
    return shown


def _lines(before: str, text: str, style: str) -> list[Line]:
    first, *rest = text.split("\n")
    return [Line(before + first, style), *(Line(" " * len(before) + line, style) for line in rest)]


# The whole screen.


TOLD = 3  # lines of what was told last


@dataclass(frozen=True)
class Scene:
    """Everything that is on the screen: the pods, which one is looked at, what was told last, and what is being typed."""

    seats: tuple[Seat, ...] = ()
    chosen: str | None = None
    told: tuple[str, ...] = ()
    typed: str = ""


def draw(scene: Scene, *, width: int, height: int) -> list[Line]:
    """The screen, exactly `height` lines: the tree, what the chosen pod said, what was told last, and the prompt."""
    tree = draw_tree(scene.seats, width=width, chosen=scene.chosen)
    room = max(1, height - 1)
    told = [Line(part) for text in scene.told[-TOLD:] for part in wrap(text, width)[:TOLD]][-TOLD:][: max(0, room - 2)]
    top = window(tree, max(1, (room - len(told)) * 2 // 3), width)
    chosen = next((seat for seat in scene.seats if seat.key == scene.chosen), None)
    rule = Line(ruled(f"── {chosen.name} " if chosen else "", width), "dim")
    free = max(0, room - len(told) - len(top) - 1)
    middle = draw_transcript(chosen.transcript, width=width, height=free) if chosen else []
    lines = [*top, rule, *middle, *[Line("")] * (free - len(middle)), *told][:room]
    return [*lines, *[Line("")] * (room - len(lines)), prompt(scene.typed, width)][-height:]


def ruled(title: str, width: int) -> str:
    """A line across the screen, with a word at its end on what to type, where there is room for that."""
    title, hint = fit(title, width), " help, Tab: next pod ─"
    free = width - sum(map(columns, title))
    return title + ("─" * (free - len(hint)) + hint if free > 2 * len(hint) else "─" * free)


def window(tree: Sequence[Line], most: int, width: int) -> list[Line]:
    """At most so many lines of a tree, around the pod that is looked at, with how many pods are left out."""
    if len(tree) <= most or most < 3:
        return list(tree[:most])
    at = next((number for number, line in enumerate(tree) if line.text.startswith(">")), 0)
    start = min(max(0, at - most // 2), len(tree) - most)
    shown = list(tree[start : start + most])
    if start:
        shown[0] = Line(fit(f"   … {(start + 2) // 2} more above", width), "dim")
    if (below := len(tree) // 2 - (start + most) // 2) > 0:
        shown[-1] = Line(fit(f"   … {below} more below", width), "dim")
    return shown


def prompt(typed: str, width: int) -> Line:
    """The line that is being typed: its end, where it is longer than the screen is wide."""
    text = clean(typed)
    while text and sum(map(columns, text)) > max(0, width - 3):
        text = text[1:]
    return Line("> " + text, "bold")
