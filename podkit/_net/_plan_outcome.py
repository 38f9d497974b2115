"""What came of one run, gathered from a snapshot and the events after it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podkit.protocol import RunEnd, RunResult, Snapshot, Status, StatusEvent, TextDone, Usage, said_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podkit.protocol import Event


class Tally:
    """Follows one run. Feed it every event of a subscription; `end` is set when its end was seen, `gone` when it cannot come.

    A snapshot replaces everything gathered before it: what a subscriber missed is in the log. After a snapshot that was taken
    when the run had its number already, a pod that is not running has ended that run or never knew it.
    """

    def __init__(self, run: int) -> None:
        self.run = run
        self.end: RunEnd | None = None
        self.gone = False
        self.texts: list[str] = []
        self._tokens: list[tuple[int | None, int | None, int | None]] = []
        self._reliable = False

    def see(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Snapshot(entries=entries, status=status):
                self._reliable = True
                self.texts.clear()
                self._tokens.clear()
                for entry in entries:
                    if isinstance(entry, dict) and entry.get("run") == self.run:
                        self._recall(entry)
                self.gone = self.end is None and status is not Status.RUNNING
            case RunEnd(run=self.run):
                self.end = event
            case RunEnd(run=int() as other) if other > self.run:
                self.gone = True
            case StatusEvent(status=Status.IDLE | Status.PAUSED) if self._reliable:
                self.gone = True
            case TextDone(text=text, run=self.run):
                self.texts.append(text)
            case Usage(run=self.run):
                self._tokens.append((event.input_tokens, event.output_tokens, event.cache_read_input_tokens))

    @property
    def text(self) -> str:
        """Everything that was said, one blank line between the parts."""
        return "\n\n".join(self.texts)

    @property
    def usage(self) -> Usage:
        """The sum over all model calls; None where nobody said anything."""
        sums = [[number for call in self._tokens if (number := call[column]) is not None] for column in range(3)]
        said = [sum(numbers) if numbers else None for numbers in sums]
        return Usage(input_tokens=said[0], output_tokens=said[1], cache_read_input_tokens=said[2], run=self.run)

    def _recall(self, entry: Mapping[str, Any]) -> None:
        match entry.get("kind"):
            case "assistant_item":
                text = said_text(entry)
                self.texts += [text] if text else []
            case "llm_usage":
                names = ("input_total_tokens", "output_tokens", "cache_read_tokens")
                numbers = [number if type(number := entry.get(name)) is int else None for name in names]
                self._tokens.append((numbers[0], numbers[1], numbers[2]))
            case "run_completed" | "run_errored" as kind:
                said = entry.get("result")
                result = RunResult(said) if isinstance(said, str) else None
                fallback = RunResult.FAILED if kind == "run_errored" else RunResult.FINISHED
                self.end = RunEnd(fallback if result is None else result, run=self.run)
