"""What the simulator takes from inside other rooms, by name and in one place: these rooms promise it to nobody."""

from __future__ import annotations

import importlib
from typing import Any


def inner(module: str, name: str) -> Any:
    """The object of that name in a private file. Raises `AttributeError` or `ImportError` when it is not there any more."""
    return getattr(importlib.import_module(module), name)


# The two ends and the two directions of a connection in memory.
Channel: Any = inner("podkit._net._memory_channel", "MemoryChannel")
Pipe: Any = inner("podkit._net._memory_channel", "Pipe")
# A child from its birth document to its house, and the wait until it is stopped: what `adopt_pod` does in a program of its own.
house_of: Any = inner("podkit._life._adopt", "_house")
until_stopped: Any = inner("podkit._life._adopt", "_until_stopped")
wants_birth: Any = inner("podkit._life._launch_task", "_wants_birth")
