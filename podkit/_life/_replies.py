"""Who waits for which answer: tokens for the table, asks for the wire."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podkit._net import Ask


class Replies:
    """Open asks by token. Each is closed exactly once; closing an unknown token answers nobody."""

    def __init__(self) -> None:
        self._tokens = count(1)
        self._open: dict[int, tuple[Ask, str | None]] = {}

    def open(self, ask: Ask, *, notice: str | None = None) -> int:
        token = next(self._tokens)
        self._open[token] = (ask, notice)
        return token

    def peek(self, token: int) -> Ask | None:
        found = self._open.get(token)
        return found[0] if found else None

    def close(self, token: int) -> tuple[Ask | None, str | None]:
        return self._open.pop(token, (None, None))
