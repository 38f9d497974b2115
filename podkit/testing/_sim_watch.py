"""What every connection promises, checked frame by frame: one answer for each method, and a stream without a gap (I13, I15)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

Complain = Callable[[str, str], None]


class _Said(msgspec.Struct):
    event: str | None = None
    re: str | None = None
    seq: int | None = None


class _Asked(msgspec.Struct):
    method: str | None = None
    id: str | None = None


_said, _asked = msgspec.json.Decoder(_Said), msgspec.json.Decoder(_Asked)


class WireWatch:
    """Sees both directions of one connection. `complain(invariant, what)` is told what must never be."""

    reports: bool

    def __init__(self, complain: Complain) -> None:
        self._complain = complain
        self._open: dict[str, str] = {}
        self._answered: set[str] = set()
        self._last: int | None = None
        self.hello: bytes | None = None
        self.reports = False

    def asked(self, frame: bytes) -> str | None:
        """A frame of the caller; the answer is the method's name."""
        if self.hello is None:
            self.hello = frame
            self.reports = b'"birth":' in frame
        asked = _asked.decode(frame)
        if asked.id is not None:
            if asked.id in self._open or asked.id in self._answered:
                self._complain("I13", f"the id {asked.id} is used twice on one connection")
            self._open[asked.id] = asked.method or "?"
        return asked.method

    def said(self, frame: bytes) -> None:
        """A frame of the host."""
        said = _said.decode(frame)
        if said.re is not None:
            self._answer(said.re, said.event)
        elif said.event == "snapshot":
            self._last = said.seq
        elif said.event == "lagged":
            self._last = None
        elif said.seq is not None:
            if self._last is not None and said.seq != self._last + 1:
                self._complain("I15", f"event {said.seq} ({said.event}) comes after event {self._last}")
            self._last = said.seq

    def _answer(self, re: str, event: str | None) -> None:
        method = self._open.pop(re, None)
        if method is None:
            how = "a second time" if re in self._answered else "and nobody asked"
            self._complain("I13", f"{event} answers the method {re} {how}")
        self._answered.add(re)
        if method == "hello":
            self._last = None
