"""Pod names: one rule for every place a name reaches (paths, addresses, tmux, logs), checked before any effect."""

from __future__ import annotations

import re

from podkit.errors import InvalidNameError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def check_name(name: object) -> str:
    """Return `name` when it is a pod name, else raise `InvalidNameError`."""
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidNameError(name)
    return name
