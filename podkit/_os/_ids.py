"""Fresh names, secrets and the time of day: the one place where chance and the wall clock enter podkit."""

from __future__ import annotations

import secrets
import time
import uuid

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


def new_uuid() -> str:
    """A fresh UUID of version 7: 48 bits of milliseconds since 1970, then chance, so that later ones sort after earlier ones."""
    bits = (int(time.time() * 1000) & (1 << 48) - 1) << 80 | int(secrets.token_hex(10), 16)
    bits = bits & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62
    return str(uuid.UUID(int=bits))


def now() -> float:
    """Seconds since 1970 by the wall clock: for records that people read, never for deadlines."""
    return time.time()
