"""The terminal of watch.py. It is left as it was found, however the program ends."""

from __future__ import annotations

import os
import shutil
import termios
import tty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import trio
from watch_tree import Line, clean, columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENTER = "\x1b[?1049h\x1b[H\x1b[2J"  # the other screen, so that what was there comes back
LEAVE = "\x1b[0m\x1b[?25h\x1b[?1049l"
STYLES = {"": "", "bold": "\x1b[1m", "dim": "\x1b[2m", "good": "\x1b[32m", "bad": "\x1b[31m"}
CHUNK = 1024


def paint(lines: Sequence[Line], before: Sequence[Line] = ()) -> str:
    """What makes a screen that shows `before` show `lines`. The last line is the prompt, and the cursor stays behind it."""
    same = len(before) == len(lines)
    changed = [at for at, line in enumerate(lines) if not same or before[at] != line]
    made = [f"\x1b[{at + 1};1H{STYLES[lines[at].style]}{clean(lines[at].text)}\x1b[0m\x1b[K" for at in changed]
    if not same:
        made.insert(0, "\x1b[2J")
    end = sum(map(columns, clean(lines[-1].text))) + 1 if lines else 1
    return f"\x1b[?25l{''.join(made)}\x1b[{len(lines)};{end}H\x1b[?25h"


class Terminal:
    """A terminal on two descriptors: `keys` reads what is typed, `show` draws."""

    def __init__(self, source: int = 0, sink: int = 1) -> None:
        self._source, self._sink = source, sink
        self._shown: list[Line] = []

    @property
    def size(self) -> os.terminal_size:
        return shutil.get_terminal_size((100, 30))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """The terminal is ours: keys come one by one and are not shown, and Ctrl-C is a signal as ever."""
        self._before = termios.tcgetattr(self._source)
        try:
            tty.setcbreak(self._source, termios.TCSADRAIN)  # what was typed meanwhile is not thrown away
            os.write(self._sink, ENTER.encode())
            self._shown = []
            yield
        finally:
            with suppress(OSError, termios.error):  # a terminal that is gone needs nothing back
                os.write(self._sink, LEAVE.encode())
                termios.tcsetattr(self._source, termios.TCSANOW, self._before)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within `taken`: the terminal is as it was, for as long as somebody else has it."""
        ours = termios.tcgetattr(self._source)
        termios.tcsetattr(self._source, termios.TCSANOW, self._before)
        os.write(self._sink, LEAVE.encode())
        yield
        termios.tcsetattr(self._source, termios.TCSANOW, ours)
        os.write(self._sink, ENTER.encode())
        self._shown = []

    async def show(self, lines: Sequence[Line]) -> None:
        """Draw what changed. A terminal that takes nothing for now is waited for, and nothing else is."""
        data = paint(lines, self._shown).encode(errors="replace")
        self._shown = list(lines)
        while data:
            await trio.lowlevel.wait_writable(self._sink)
            data = data[os.write(self._sink, data[:CHUNK]) :]
