"""What was answered to whom, so that a method that is sent twice runs once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.protocol import Event

_log = logging.getLogger("podkit.server")

ReceiptKey: TypeAlias = tuple[object, ...]
"""Who asked, and under which id. It says more than the peer chose itself, so that nobody can read another's answers."""


class Receipts:
    """The last answers of one pod, by who asked and under which id; at most `limit` answered ones, the oldest forgotten first.

    Methods that still wait for their answer are never forgotten; there are as many of them as connections may have open.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pending: dict[ReceiptKey, list[Callable[[Event], None]]] = {}
        self._settled: OrderedDict[ReceiptKey, Event] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Receipts: {len(self._pending)} open, {len(self._settled)} answered>"

    def __len__(self) -> int:
        return len(self._pending) + len(self._settled)

    def open(self, key: ReceiptKey, answer: Callable[[Event], None]) -> bool:
        """Whether the method under `key` is new and has to run.

        If not, `answer` is called with what was answered before, now or as soon as that is known.
        """
        known = self._settled.get(key)
        if known is not None:
            self._settled.move_to_end(key)
            answer(known)
            return False
        waiting = self._pending.get(key)
        if waiting is not None:
            waiting.append(answer)
            return False
        self._pending[key] = [answer]
        return True

    def settle(self, key: ReceiptKey, event: Event) -> None:
        """The answer to the method under `key`; everybody who waits for it gets it. Only the first one counts."""
        waiting = self._pending.pop(key, None)
        if waiting is None:
            _log.error("a method was answered twice; the second answer was dropped")
            return
        self._settled[key] = event
        while len(self._settled) > self._limit:
            self._settled.popitem(last=False)
        for answer in waiting:
            answer(event)
