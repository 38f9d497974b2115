"""Which boot of the machine this is."""

from __future__ import annotations

import re

_PATH = "/proc/sys/kernel/random/boot_id"
_ID = re.compile(r"[0-9a-f-]{36}")


def boot_id() -> str:
    """An id that stays until the machine is restarted; `unknown` where the system tells none: nothing is told apart by it then."""
    try:
        with open(_PATH, encoding="ascii") as file:
            text = file.read(64).strip()
    except OSError:
        return "unknown"
    return text if _ID.fullmatch(text) else "unknown"
