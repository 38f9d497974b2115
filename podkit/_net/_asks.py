"""What one peer asks: passed on to the pod once, and answered once."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from podkit.protocol import Accepted, Error, ErrorCode

from ._desk import Ask
from ._house import peer_of
from ._plan_admission import forbids

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.protocol import Event, MethodFrame

    from ._desk import Origin
    from ._house import House

_log = logging.getLogger("podkit.server")

_PENDING = 256  # methods of one connection that may wait for their answers at a time


class Asks:
    """The methods of one connection. Each gets one terminal reply, also when it is refused. `reply` says it, under its id."""

    def __init__(self, house: House, reply: Callable[[Event, str | None], None]) -> None:
        self._house, self._reply = house, reply
        self._pending = 0

    def __repr__(self) -> str:
        return f"<Asks, {self._pending} waiting>"

    def take(self, said: MethodFrame, origin: Origin) -> None:
        """Pass a method on, unless it was asked before or may not be asked here."""
        refusal = forbids(origin, said.method)
        if refusal is not None:
            self._reply(Error(ErrorCode.FORBIDDEN, refusal), said.id)
            return
        if self._pending >= _PENDING:
            self._reply(Error(ErrorCode.LIMIT_EXCEEDED, f"{_PENDING} methods wait for their answers already"), said.id)
            return
        answer = self._answer(said.id)
        if said.id is None or origin.plain:
            self._submit(said, origin, _once(answer))
            return
        receipts, key = self._house.receipts, (origin.role, origin.child, origin.instance, said.id)
        if receipts.open(key, answer):
            self._submit(said, origin, lambda event: receipts.settle(key, event))

    def _submit(self, said: MethodFrame, origin: Origin, answer: Callable[[Event], None]) -> None:
        try:
            tell = None if origin.plain else partial(self._house.tell, peer_of(origin))
            self._house.desk.submit(Ask(said.method, said.run, origin, answer, tell))
        except Exception:  # noqa: BLE001 - every method is answered
            _log.exception("the pod failed at a method")
            answer(Error(ErrorCode.INTERNAL, "the pod failed at this method"))

    def _answer(self, id: str | None) -> Callable[[Event], None]:
        self._pending += 1

        def answer(event: Event) -> None:
            self._pending -= 1
            # Who gave no id hears of refusals only: `accepted` would mean nothing to it.
            if id is not None or not isinstance(event, Accepted):
                self._reply(event, id)

        return answer


def _once(answer: Callable[[Event], None]) -> Callable[[Event], None]:
    answered = False

    def once(event: Event) -> None:
        nonlocal answered
        if answered:
            _log.error("a method was answered twice; the second answer was dropped")
            return
        answered = True
        answer(event)

    return once
