"""The prompt of watch.py: keys in, a line or a wish out; lines in, commands out. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O.|.)?")
MOST = 4096  # characters of a line
HELP = "run NAME TEXT · notify NAME TEXT · pause NAME · resume NAME · cancel NAME · stop NAME · show NAME · quit; Tab: the next pod"
WITH_TEXT = frozenset({"run", "notify"})
WITH_NAME = frozenset({"pause", "resume", "cancel", "stop", "show"}) | WITH_TEXT
ALONE = frozenset({"help", "quit"})


@dataclass(frozen=True)
class Typed:
    """What is typed so far, the lines that were finished, how often Tab was hit, and whether it is the end."""

    text: str = ""
    lines: tuple[str, ...] = ()
    tabs: int = 0
    over: bool = False


def edit(text: str, keys: str) -> Typed:
    """The line after some keys: backspace, Ctrl-U, Enter, Tab, and Ctrl-D on an empty line, which is the end."""
    lines, tabs = [], 0
    for key in SEQUENCE.sub("", keys):
        if key in "\r\n":
            lines.append(text)
            text = ""
        elif key in "\x7f\b":
            text = text[:-1]
        elif key == "\x15":
            text = ""
        elif key == "\t":
            tabs += 1
        elif key == "\x04" and not text:
            return Typed(text, tuple(lines), tabs, over=True)
        elif key.isprintable():
            text = (text + key)[:MOST]
    return Typed(text, tuple(lines), tabs)


@dataclass(frozen=True)
class Command:
    """What was asked for: a verb, the name of a pod for most, and a text for some."""

    verb: str
    name: str = ""
    text: str = ""


def parse(line: str) -> Command | str | None:
    """A command, a sentence that says what is wrong, or None for an empty line."""
    verb, _, rest = line.strip().partition(" ")
    name, _, text = rest.strip().partition(" ")
    if not verb:
        return None
    if verb in ALONE:
        return Command(verb)
    if verb not in WITH_NAME:
        return f"there is no command {verb}: {HELP}"
    if not name:
        return f"{verb} needs the name of a pod"
    if verb in WITH_TEXT and not text.strip():
        return f"{verb} needs a text"
    return Command(verb, name, text.strip())
