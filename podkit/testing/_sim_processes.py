"""The processes of a simulated machine: their numbers, which are used again, zombies, and signals.

podkit's own functions on processes run on it, without pidfds; what they take for alive is compared with what is (I12).
"""

from __future__ import annotations

import errno
import itertools
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from podkit._os import alive

if TYPE_CHECKING:
    from ._sim_program import Program

Complain = Callable[[str, str], None]


class ProcessTable:
    """The numbers of the programs of a world. Who starts a program waits for it; who has nobody left is waited for if `tidy`.

    It stands for `os` where podkit deals with processes: `pidfd_open` is not there, as on an older kernel.
    """

    def __init__(self, complain: Complain, note: Callable[[str], None], *, tidy: bool) -> None:
        self._complain, self._note, self._tidy = complain, note, tidy
        self._numbers: dict[Program, tuple[int, int]] = {}
        self._latest: dict[int, Program] = {}  # by process number, who had it last

    def number(self, program: Program) -> tuple[int, int]:
        """The process number of a program, and when it started."""
        number = self._numbers.get(program)
        if number is None:
            pid = next(pid for pid in itertools.count(2) if self._at(pid) is None)
            number = self._numbers[program] = (pid, len(self._numbers))
            self._latest[pid] = program
        return number

    def _is_there(self, program: Program) -> bool:
        """Whether it has its number: a program that ended keeps it until somebody waited for it."""
        if program.alive:
            return True
        if program.reaped:
            return False
        return not self._tidy if program.starter is None or not program.starter.alive else True

    def _at(self, pid: int) -> Program | None:
        program = self._latest.get(pid)
        return program if program is not None and self._is_there(program) else None

    # What podkit calls in place of what it has of the system.

    def state(self, pid: int) -> tuple[str, int] | None:
        """As `podkit._os.process_state`."""
        program = self._at(pid)
        if program is None:
            return None
        return ("T" if program.frozen else "S") if program.alive else "Z", self._numbers[program][1]

    def alive(self, pid: int, started: int) -> bool:
        """What `podkit._os.alive` says, with an eye on it."""
        answer, program = alive(pid, started), self._at(pid)
        if answer != (program is not None and program.alive and self._numbers[program] == (pid, started)):
            self._complain("I12", f"process {pid} that started at {started} is taken for {'alive' if answer else 'dead'}")
        return answer

    def pidfd_open(self, _pid: int) -> int:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def kill(self, pid: int, sig: int) -> None:
        """SIGTERM waits while a program is stopped. Who is a zombie feels nothing."""
        program = self._at(pid)
        if program is None:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))
        self._note(f"signal {int(sig)} to {program.name}")
        send(program, sig)

    killpg = kill

    def getpgid(self, pid: int) -> int:
        return pid  # each program leads a group of its own


def send(program: Program, sig: int) -> None:
    """What a signal does to a program."""
    if sig == signal.SIGKILL:
        program.kill()
    elif sig == signal.SIGTERM and program.alive:
        program.scope.cancel()
