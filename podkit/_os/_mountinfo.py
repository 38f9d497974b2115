"""Which mounts there are."""

from __future__ import annotations

import select
import sys

from podkit.logic import Mount, parse_mountinfo

_PATH = "/proc/self/mountinfo"
_MAX_BYTES = 64 * 2**20
_ATTEMPTS = 8


def mounts(path: str = _PATH) -> tuple[Mount, ...] | None:
    """The mounts of this process, a later one covering an earlier one; None on systems that do not tell.

    What is mounted while they are read does not tear the answer. Raises `ValueError` for a table that cannot be understood or
    never holds still.
    """
    text = _read(path) if sys.platform == "linux" else None
    return parse_mountinfo(text) if text is not None else None


def _read(path: str) -> str | None:
    for _ in range(_ATTEMPTS):
        try:
            file = open(path, encoding="utf-8", errors="backslashreplace", newline="\n")  # noqa: SIM115  # closed below
        except OSError:
            return None
        with file:
            watch = select.poll()
            watch.register(file, select.POLLPRI)
            text = file.read(_MAX_BYTES + 1)
            if len(text) > _MAX_BYTES:
                raise ValueError(f"a table of mounts has at most {_MAX_BYTES} characters")
            if not any(events & select.POLLPRI for _, events in watch.poll(0)):  # said when the table changed since it was opened
                return text
    raise ValueError("the table of mounts changes faster than it can be read")
