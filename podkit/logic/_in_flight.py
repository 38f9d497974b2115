"""What a run has streamed and not committed yet: blocks of text, thinking and tool calls, folded from its events."""

from __future__ import annotations

from collections import deque
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
    from collections.abc import Callable

    from podkit.protocol import Event

_PARTS = 1024  # pieces of one block that are kept apart before they are joined
_FRAME = 64  # characters that a block counts for beside what it says
_TEXT, _THINKING, _CALL = "text", "thinking", "tool_call"


class _Block:
    """One block. `missing` is how many characters of its beginning are left out."""

    __slots__ = ("call", "kind", "missing", "name", "parts", "run", "size")

    def __init__(self, kind: str, run: int | None, call: str = "", name: str = "") -> None:
        self.kind, self.run, self.call, self.name = kind, run, call, name
        self.parts: deque[str] = deque()
        self.size = self.missing = 0

    @property
    def weight(self) -> int:
        return self.size + len(self.call) + len(self.name) + _FRAME

    def shorten(self, most: int) -> int:
        """Leave out up to `most` characters of the beginning; returns how many."""
        first = self.parts.popleft()
        cut = min(most, len(first))
        if cut < len(first):
            self.parts.appendleft(first[cut:])
        self.size -= cut
        self.missing += cut
        return cut

    def data(self) -> dict[str, Any]:
        said = "".join(self.parts)
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

    def _extend(self, key: str, piece: str) -> None:
        block = self._blocks[key]
        block.parts.append(piece)
        block.size += len(piece)
        self._size += len(piece)
        if len(block.parts) > _PARTS:
            block.parts = deque(("".join(block.parts),))
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
            while self._size > self._limit and block.parts:
                self._size -= block.shorten(self._size - self._limit)
            if self._size <= self._limit:
                return
            if len(self._blocks) > 1:
                self._remove(key)


def _text(state: InFlight, event: TextDelta) -> None:
    if _TEXT not in state._blocks:
        state._begin(_TEXT, _Block(_TEXT, event.run))
    state._extend(_TEXT, event.text)


def _think(state: InFlight, event: ThinkingStart) -> None:
    state._begin(_THINKING, _Block(_THINKING, event.run))


def _thought(state: InFlight, event: ThinkingDelta) -> None:
    if _THINKING not in state._blocks:
        state._begin(_THINKING, _Block(_THINKING, event.run))
    state._extend(_THINKING, event.text)


def _call(state: InFlight, event: ToolCallStart) -> None:
    state._begin(_CALL + event.id, _Block(_CALL, event.run, event.id, event.name))


def _arguments(state: InFlight, event: ToolCallArgsDelta) -> None:
    key = _CALL + event.id
    if key not in state._blocks:
        state._begin(key, _Block(_CALL, event.run, event.id))
    state._extend(key, event.json)


# Keys of tool calls begin with a word of their own, so no id that a model makes up is taken for another kind of block.
_ACTS: Final[dict[type, Callable[[InFlight, Any], None]]] = {
    TextDelta: _text,
    TextDone: lambda state, _event: state._remove(_TEXT),
    ThinkingStart: _think,
    ThinkingDelta: _thought,
    ThinkingDone: lambda state, _event: state._remove(_THINKING),
    ToolCallStart: _call,
    ToolCallArgsDelta: _arguments,
    ToolCallDone: lambda state, event: state._remove(_CALL + event.id),
    ToolResult: lambda state, event: state._remove(_CALL + event.id),
    **dict.fromkeys((InvokeStart, TurnStart, TurnEnd, LlmRetry, RunEnd), lambda state, _event: state._clear()),
}
