"""Fresh names, secrets and the time of day: the one place where chance and the wall clock enter podkit."""

from __future__ import annotations

import secrets
import time

from podkit.protocol import check_name


def new_incarnation() -> str:
    """A fresh incarnation: 16 hexadecimal characters, 64 random bits. It tells one life of a pod from the next of that name."""
    return secrets.token_hex(8)


def new_secret() -> str:
    """A fresh secret: 64 hexadecimal characters (32 random bytes from the system)."""
    return secrets.token_hex(32)


def new_tree(name: str) -> str:
    """The name of a fresh tree whose root is called `name`: `name-` and six hexadecimal characters. Raises `InvalidNameError`."""
    return f"{check_name(name)}-{secrets.token_hex(3)}"


def chance() -> float:
    """A random number from 0 to 1: for pauses that should not be everybody's, never for secrets."""
    return int(secrets.token_hex(4), 16) / 2**32


def now() -> float:
    """Seconds since 1970 by the wall clock: for records that people read, never for deadlines."""
    return time.time()
