"""Which boot of the machine this is."""

from __future__ import annotations

import re

UNKNOWN = "unknown"
_PATH = "/proc/sys/kernel/random/boot_id"
_ID = re.compile(r"[0-9a-f-]{36}")


def boot_id() -> str:
    """An id that stays until the machine is restarted; `UNKNOWN` where the system tells none: nothing is told apart by it then.

    Raises `OSError` when it is there and cannot be read now: who took that for another boot would take everybody for dead.
    """
    try:
        with open(_PATH, encoding="ascii", errors="replace") as file:
            text = file.read(64).strip()
    except (FileNotFoundError, NotADirectoryError):
        return UNKNOWN
    return text if _ID.fullmatch(text) else UNKNOWN
