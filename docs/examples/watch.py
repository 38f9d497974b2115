"""Watch a tree of pods, and talk to it: python docs/examples/watch.py [ADDRESS ...] [--registry DIR] [--once]

Without an address it shows every pod of the registry, the user's own unless --registry names another; with addresses, the pods
there and whoever is below them. On a terminal it draws the tree, what the chosen pod says as it says it, and a prompt (`help` lists
the commands); otherwise it prints a line for whatever happens, and takes commands from its input. Ctrl-C, `quit` or the end of the
input ends it. With --once it prints the tree as it is now, and that is all.
"""

from __future__ import annotations

import argparse
import codecs
import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

sys.path.append(str(Path(__file__).resolve().parent))

from watch_follow import Tree
from watch_prompt import HELP, Command, edit, parse
from watch_terminal import Terminal
from watch_tree import Scene, clean, draw, draw_tree

import podkit
from podkit_transports import UnixTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Follow = Callable[[], Awaitable[None]]

WIDE = 160  # columns, where nobody says
FRAME = 0.05  # seconds between two drawings, at least
ONCE = 3.0  # seconds for everybody to answer, with --once
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGWINCH)


class Watch:
    """What is followed, what is shown, and what is typed."""

    def __init__(self, tree: Tree, terminal: Terminal | None) -> None:
        self.tree, self.terminal = tree, terminal
        self.chosen: str | None = None
        self.typed = ""
        self.caught = 0

    # In.

    async def heed(self, nursery: trio.Nursery) -> None:
        """Take in what is typed, until its end."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await read():
            after = edit(self.typed, decoder.decode(data))
            self.typed = after.text
            for _ in range(after.tabs):
                self.choose_next()
            for line in after.lines:
                if await self.obey(parse(line), nursery):
                    return
            if after.over:
                return
            self.tree.touch()

    async def obey(self, command: Command | str | None, nursery: trio.Nursery) -> bool:
        """Do what was asked for; whether it was to end. A terminal waits for no answer; a script's commands keep their order."""
        if command is None:
            return False
        seat = self.tree.find(command.name) if isinstance(command, Command) and command.name else None
        if isinstance(command, str) or isinstance(seat, str):
            self.tree.tell(command if isinstance(command, str) else str(seat))
        elif seat is None:
            if command.verb == "quit":
                return True
            self.tree.tell(HELP)
        else:
            self.chosen = seat.key
            if command.verb == "show":
                return False
            if self.terminal is not None:
                nursery.start_soon(self.tree.command, command.verb, seat, command.text)
            else:
                await self.tree.command(command.verb, seat, command.text)
        return False

    def choose_next(self) -> None:
        keys = list(self.tree.seats)
        if keys:
            self.chosen = keys[(keys.index(self.chosen) + 1) % len(keys)] if self.chosen in keys else keys[0]

    # Out.

    async def show(self, terminal: Terminal) -> None:
        """Draw whenever something changed, but not all the time."""
        while True:
            changed = self.tree.changed
            if self.chosen not in self.tree.seats:
                self.chosen = next(iter(self.tree.seats), None)
            scene = Scene(tuple(self.tree.seats.values()), self.chosen, tuple(self.tree.told), self.typed)
            size = terminal.size
            await terminal.show(draw(scene, width=size.columns, height=size.lines))
            await trio.sleep(FRAME)
            await changed.wait()

    # All of it.

    async def run(self, follow: Follow) -> int:
        """Watch until the input ends or a signal comes. Returns the exit status; Ctrl-C is how one leaves, and no failure."""
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._signals, signals, nursery.cancel_scope)
                nursery.start_soon(follow)
                if self.terminal is None:
                    with trio.move_on_after(ONCE):
                        await self.tree.settled()
                    for line in draw_tree(tuple(self.tree.seats.values()), width=WIDE):
                        say(line.text.rstrip())
                    await self.heed(nursery)
                else:
                    with self.terminal.taken():
                        async with trio.open_nursery() as inner:
                            inner.start_soon(self.show, self.terminal)
                            await self.heed(inner)
                            inner.cancel_scope.cancel()
                nursery.cancel_scope.cancel()
        return 128 + self.caught if self.caught not in (0, signal.SIGINT) else 0

    async def _signals(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if number == signal.SIGWINCH:
                self.tree.touch()
            elif number == signal.SIGTSTP:
                self._suspend()
            else:
                self.caught = int(number)
                scope.cancel()

    def _suspend(self) -> None:
        """Ctrl-Z: give the terminal back until somebody brings us to the front again."""
        if self.terminal is not None:
            with self.terminal.lent():
                os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os.kill(os.getpid(), signal.SIGSTOP)
        self.tree.touch()


async def read() -> bytes:
    """What is typed or piped in next, nothing at the end. A thread reads, since not every kind of input can be waited for."""
    try:
        return await trio.to_thread.run_sync(os.read, 0, 4096, abandon_on_cancel=True)
    except OSError:
        return b""  # the terminal is gone


async def once(tree: Tree, follow: Follow) -> int:
    """Print the tree as soon as everybody told who they are, or did not in time."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow)
        with trio.move_on_after(ONCE):
            await tree.settled()
        nursery.cancel_scope.cancel()
    width = shutil.get_terminal_size((WIDE, 24)).columns
    for line in draw_tree(tuple(tree.seats.values()), width=width):
        say(line.text.rstrip())
    return 0


def say(text: str) -> None:
    """A line of the log."""
    print(clean(text), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Watch a tree of pods, and talk to it.", epilog=f"Commands: {HELP}")
    parser.add_argument("address", nargs="*", help="where a pod listens: unix:///run/x/sock, or its path (default: a registry)")
    parser.add_argument("--registry", metavar="DIR", help="watch this registry, not the user's")
    parser.add_argument("--once", action="store_true", help="print the tree as it is now, and end")
    options = parser.parse_args()
    live = os.isatty(0) and os.isatty(1) and not options.once
    status = 2
    tree = Tree(UnixTransport(), None if live or options.once else say)
    try:
        if options.address:
            follow: Follow = partial(tree.from_addresses, map(absolute, options.address))
        else:
            follow = partial(tree.from_registry, podkit.FileRegistry(options.registry))
        if options.once:
            return trio.run(once, tree, follow)
        return trio.run(Watch(tree, Terminal() if live else None).run, follow)
    except* KeyboardInterrupt:
        status = 0
    except* (podkit.PodkitError, OSError) as errors:
        print(f"watch.py: {clean('; '.join(map(str, errors.exceptions)))}", file=sys.stderr)
    return status


def absolute(address: str) -> str:
    """An address as a URL; a path means a Unix socket."""
    return address if "://" in address else f"unix://{os.path.abspath(address)}"


if __name__ == "__main__":
    sys.exit(main())
