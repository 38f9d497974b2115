"""What a log promises about tool calls: each that is logged has exactly one result, within its run, however that ends (I25)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Complain = Callable[[str, str], None]


class CallCheck:
    """Reads the entries of one log in order. `complain(invariant, what)` is told what must never be."""

    def __init__(self, name: str, complain: Complain) -> None:
        self._name, self._complain = name, complain
        self.open: dict[str, None] = {}
        """The calls that have no result yet."""

    def entry(self, entry: dict[str, Any]) -> None:
        """The next entry."""
        match entry["kind"]:
            case "assistant_item" if entry["item"]["kind"] == "tool_call":
                call = entry["item"]["call_id"]
                if call in self.open:
                    self._complain("I25", f"{self._name} calls {call} again before it has a result")
                self.open[call] = None
            case "tool_result":
                call = entry["item"]["call_id"]
                if self.open.pop(call, self) is self:
                    self._complain("I25", f"{self._name} has a result of {call}, which was not called or has one already")
            case "run_completed" | "run_errored" if self.open:
                self._complain("I25", f"run {entry.get('run')} of {self._name} ends without a result of {', '.join(self.open)}")
                self.open.clear()
