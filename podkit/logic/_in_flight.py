"""What a run has streamed and not committed yet: blocks of text, thinking and tool calls, folded from its events."""

from __future__ import annotations

from collections import deque
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from podkit.protocol import (
    InvokeStart,
    LlmRetry,
    RunEnd,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallStart,
    ToolResult,
    TurnEnd,
    TurnStart,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podkit.protocol import Event

_PARTS = 1024  # pieces of one block that are kept apart before they are joined
_FRAME = 64  # characters that a block counts for beside what it says
_TEXT, _THINKING, _CALL = "text", "thinking", "tool_call"


class _Block:
    """One block. `missing` is how many characters of its beginning are left out.

    Of a long text every piece is copied a bounded number of times, also while its beginning is left out with every piece.
    """

    __slots__ = ("_fresh", "_parts", "_skip", "call", "kind", "missing", "name", "run", "size")

    def __init__(self, kind: str, run: int | None, call: str = "", name: str = "") -> None:
        self.kind, self.run, self.call, self.name = kind, run, call, name
        self._parts: deque[str] = deque()  # what is said, but for `_skip` characters at its beginning
        self._fresh: list[str] = []  # the pieces after that, as they came
        self.size = self.missing = self._skip = 0

    @property
    def weight(self) -> int:
        return self.size + len(self.call) + len(self.name) + _FRAME

    def extend(self, pieces: list[str]) -> int:
        """Add `pieces` to the end; returns how many characters they are."""
        self._fresh += pieces
        added = sum(map(len, pieces))
        self.size += added
        if len(self._fresh) > _PARTS:
            self._gather()
        return added

    def shorten(self, most: int) -> int:
        """Leave out up to `most` characters of the beginning; returns how many."""
        if not self._parts:
            self._gather()
        first = self._parts[0]
        cut = min(most, len(first) - self._skip)
        self._skip += cut
        if self._skip == len(first):
            self._parts.popleft()
            self._skip = 0
        elif 2 * self._skip >= len(first):
            self._parts[0] = first[self._skip :]
            self._skip = 0
        self.size -= cut
        self.missing += cut
        return cut

    def _gather(self) -> None:
        said = "".join(self._fresh)
        self._fresh.clear()
        if said:
            self._parts.append(said)

    def data(self) -> dict[str, Any]:
        said = "".join([*self._parts, *self._fresh])[self._skip :]
        made: dict[str, Any] = {"kind": self.kind}
        if self.kind == _CALL:
            made |= {"id": self.call, "name": self.name, "arguments": said}
        else:
            made["text"] = said
        if self.run is not None:
            made["run"] = self.run
        if self.missing:
            made["missing"] = self.missing
        return made


class InFlight:
    """The blocks of the current run that are streamed and not committed, in the order in which they began.

    Feed it every event of a pod. A delta extends its block, what commits a block removes it (`text_done`, `thinking_done`,
    `tool_call_done`), and what makes an answer void or ends it removes all of them: a retry, a turn's beginning and end, a run's
    beginning and end. At most `limit` characters are kept; of more, the oldest are left out first.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._blocks: dict[str, _Block] = {}

    def __repr__(self) -> str:
        return f"<InFlight: {len(self._blocks)} blocks, {self._size} characters>"

    def fold(self, event: Event) -> None:
        """Take in one event."""
        act = _ACTS.get(type(event))
        if act is not None:
            act(self, event)

    def fold_all(self, events: Iterable[Event]) -> None:
        """Take in several events: the same as one after the other, and cheaper for deltas that stand side by side."""
        for kind, group in groupby(events, type):
            begin = _STREAMS.get(kind)
            said: list[Any] = list(group)
            if begin is not None:
                key, pieces = begin(self, said[0]), [event.text for event in said]
                if len(self._blocks) == 1 or self._size + sum(map(len, pieces)) <= self._limit:
                    self._extend(key, pieces)
                    continue
            # Also where it is decided anew after each which block is the oldest one.
            for event in said:
                self.fold(event)

    def data(self) -> dict[str, Any] | None:
        """What `Snapshot.in_flight` holds: `{"blocks": [...]}`, or None when nothing is in flight.

        A block is `{"kind": "text" | "thinking", "text": ...}` or `{"kind": "tool_call", "id": ..., "name": ...,
        "arguments": ...}`, with the number of its `run`, and with `missing` when so many characters of its beginning are left out.
        """
        return {"blocks": [block.data() for block in self._blocks.values()]} if self._blocks else None

    def _begin(self, key: str, block: _Block) -> None:
        self._remove(key)
        self._blocks[key] = block
        self._size += block.weight
        self._bound()

    def _extend(self, key: str, pieces: list[str]) -> None:
        self._size += self._blocks[key].extend(pieces)
        if self._size > self._limit:
            self._bound()

    def _remove(self, key: str) -> None:
        block = self._blocks.pop(key, None)
        if block is not None:
            self._size -= block.weight

    def _clear(self) -> None:
        self._blocks.clear()
        self._size = 0

    def _bound(self) -> None:
        """Leave out the oldest characters, and then whole blocks, until the rest is within the limit. The last block stays."""
        for key, block in tuple(self._blocks.items()):
            while self._size > self._limit and block.size:
                self._size -= block.shorten(self._size - self._limit)
            if self._size <= self._limit:
                return
            if len(self._blocks) > 1:
                self._remove(key)


def _said(state: InFlight, event: TextDelta) -> str:
    if _TEXT not in state._blocks:
        state._begin(_TEXT, _Block(_TEXT, event.run))
    return _TEXT


def _thought(state: InFlight, event: ThinkingDelta) -> str:
    if _THINKING not in state._blocks:
        state._begin(_THINKING, _Block(_THINKING, event.run))
    return _THINKING


def _text(state: InFlight, event: TextDelta | ThinkingDelta) -> None:
    state._extend(_STREAMS[type(event)](state, event), [event.text])


def _think(state: InFlight, event: ThinkingStart) -> None:
    state._begin(_THINKING, _Block(_THINKING, event.run))


def _call(state: InFlight, event: ToolCallStart) -> None:
    state._begin(_CALL + event.id, _Block(_CALL, event.run, event.id, event.name))


def _arguments(state: InFlight, event: ToolCallArgsDelta) -> None:
    key = _CALL + event.id
    if key not in state._blocks:
        state._begin(key, _Block(_CALL, event.run, event.id))
    state._extend(key, [event.json])


# The block that a piece of text goes on with.
_STREAMS: Final[dict[type, Callable[[InFlight, Any], str]]] = {TextDelta: _said, ThinkingDelta: _thought}
# Keys of tool calls begin with a word of their own, so no id that a model makes up is taken for another kind of block.
_ACTS: Final[dict[type, Callable[[InFlight, Any], None]]] = {
    TextDelta: _text,
    TextDone: lambda state, _event: state._remove(_TEXT),
    ThinkingStart: _think,
    ThinkingDelta: _text,
    ThinkingDone: lambda state, _event: state._remove(_THINKING),
    ToolCallStart: _call,
    ToolCallArgsDelta: _arguments,
    ToolCallDone: lambda state, event: state._remove(_CALL + event.id),
    ToolResult: lambda state, event: state._remove(_CALL + event.id),
    **dict.fromkeys((InvokeStart, TurnStart, TurnEnd, LlmRetry, RunEnd), lambda state, _event: state._clear()),
}
