"""A model that follows a script: for testing a worker without a provider, a key, or luck."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import attrs
import trio

from podkit.abc import Finish, FinishReason, Model, ModelPart, ModelRequest, check_request
from podkit.protocol import (
    LoggedItem,
    MessageItem,
    ReasoningItem,
    TextDelta,
    TextDone,
    TextPart,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallItem,
    ToolCallStart,
)

from ._script import CallTool, Fail, Say, Sleep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@attrs.frozen
class Think:
    """Think `text`. `signature` is what a provider puts under a thought and wants to see again."""

    text: str
    signature: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class Call:
    """Call the tool `name`. `arguments` that are text are said as they are, valid or not; without `id` the model makes one up."""

    name: str
    arguments: Mapping[str, Any] | str = attrs.field(factory=dict)
    id: str | None = attrs.field(default=None, kw_only=True)


ModelStep: TypeAlias = str | Say | Think | Call | CallTool | Sleep | Fail | ModelPart
"""What a reply is made of. A part is said as it stands, so that a reply may break off inside a block."""
Reply: TypeAlias = "ModelStep | Exception | Sequence[ModelStep] | Callable[[ModelRequest], Any]"
"""One answer: a text, an error, a sequence of steps, or a function of the request that gives one of these."""

_STEPS = (str, Say, Think, Call, CallTool, Sleep, Fail, *get_args(ModelPart))


class ScriptedModel(Model):
    """Answers the first request with the first reply, the second with the second, and so on.

    Texts, thoughts and arguments come in pieces of `piece` characters (None: whole, without deltas), and `latency` seconds pass
    before each part; `Sleep` is a step for single waits. `Finish` is added to a reply that has none. A `Fail` that begins a reply
    fails on entering the block, any other while reading.

    What was asked is in `requests`. A request that providers would refuse (see `podkit.abc.check_request`) is refused here too, and
    uses up no reply; `strict=False` lets it pass. A request after the last reply raises `AssertionError`.
    """

    provider: str
    name: str

    provider, name = "scripted", "script"

    def __init__(self, *replies: Reply, piece: int | None = 16, latency: float = 0.0, strict: bool = True) -> None:
        if piece is not None and piece < 1:
            raise ValueError("a piece has at least one character")
        for reply in replies:
            if not callable(reply):
                _steps(reply)
        self.requests: list[ModelRequest] = []
        self._replies, self._piece, self._latency, self._strict = replies, piece, latency, strict
        self._calls = itertools.count(1)
        self._told: list[_Answer] = []
        self._beyond = 0

    def __repr__(self) -> str:
        return f"<ScriptedModel: {len(self._told)} of {len(self._replies)} replies given>"

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[trio.abc.ReceiveChannel[ModelPart]]:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        if self._strict:
            check_request(request)
        if len(self._told) == len(self._replies):
            self._beyond += 1
            raise AssertionError(f"the script has {len(self._replies)} replies, and here is another request")
        reply = self._replies[len(self._told)]
        steps = _steps(reply(request) if callable(reply) else reply)
        answer = _Answer(list(self._plan(steps)), self._latency)
        self._told.append(answer)
        answer.open()
        try:
            yield answer
        finally:
            answer.shut()

    def assert_complete(self) -> None:
        """Raise `AssertionError` unless every reply was asked for and read to its end, and nothing was asked beyond them."""
        untold = len(self._replies) - len(self._told)
        cut = [number for number, answer in enumerate(self._told, 1) if not answer.over]
        problems = [
            *([f"{untold} of {len(self._replies)} replies were never asked for"] if untold else ()),
            *([f"reply {', '.join(map(str, cut))} was not read to its end"] if cut else ()),
            *([f"{self._beyond} requests came after the last reply"] if self._beyond else ()),
        ]
        if problems:
            raise AssertionError("; ".join(problems))

    def _plan(self, steps: Sequence[ModelStep]) -> Iterator[ModelPart | Sleep | Fail]:
        """The steps as parts, waits and failures."""
        items: list[LoggedItem] = []
        signed = False
        for step in steps:
            match step:
                case str() | Say():
                    text = step if isinstance(step, str) else step.text
                    items.append(MessageItem("assistant", (TextPart(text),)))
                    yield from (TextDelta(piece) for piece in self._pieces(text))
                    yield TextDone(text)
                case Think(text=text, signature=signature):
                    signed = signed or signature is not None
                    items.append(ReasoningItem(text, signature=signature))
                    yield ThinkingStart()
                    yield from (ThinkingDelta(piece) for piece in self._pieces(text))
                    yield ThinkingDone(text)
                case Call() | CallTool():
                    done = self._call(step)
                    items.append(ToolCallItem(done.id, done.name, done.arguments))
                    yield ToolCallStart(done.id, done.name)
                    yield from (ToolCallArgsDelta(done.id, piece) for piece in self._pieces(done.arguments))
                    yield done
                case ToolCallDone():
                    items.append(ToolCallItem(step.id, step.name, step.arguments))
                    yield step
                case Finish() | Fail():
                    yield step
                    return
                case _:
                    yield step
        calls = any(isinstance(item, ToolCallItem) for item in items)
        yield Finish(FinishReason.TOOL_CALLS if calls else FinishReason.STOP, items=items if signed else ())

    def _call(self, step: Call | CallTool) -> ToolCallDone:
        given = step.id if isinstance(step, Call) else None
        arguments = step.arguments if isinstance(step.arguments, str) else json.dumps(dict(step.arguments))
        if arguments.strip() in ("", "null"):
            arguments = "{}"
        return ToolCallDone(given or f"call-{next(self._calls)}", step.name, arguments)

    def _pieces(self, text: str) -> Iterator[str]:
        size = self._piece or 0
        return (text[start : start + size] for start in range(0, len(text), size)) if size else iter(())


class _Answer(trio.abc.ReceiveChannel[ModelPart]):
    """One reply as it is read. `over` says that its reader came to its end."""

    def __init__(self, plan: list[ModelPart | Sleep | Fail], latency: float) -> None:
        self._plan, self._latency = plan, latency
        self._place = 0
        self._due: float | None = None
        self._scope: trio.CancelScope | None = None
        self._shut = False
        self.over = False

    def open(self) -> None:
        """Raise the failure that stands at the very beginning, if one does."""
        if isinstance(self._plan[0], Fail):
            self.over = True
            raise self._plan[0].error

    async def receive(self) -> ModelPart:
        if self._scope is not None:
            raise trio.BusyResourceError("another task is reading this answer")
        with trio.CancelScope() as scope:
            self._scope = scope
            if self._shut:
                scope.cancel()
            try:
                await self._until_due()
            finally:
                self._scope = None
        if self._shut:
            raise trio.ClosedResourceError("the block of this answer was left")
        return self._next()

    async def _until_due(self) -> None:
        await trio.lowlevel.checkpoint()
        while self._place < len(self._plan):
            step = self._plan[self._place]
            seconds = step.seconds if isinstance(step, Sleep) else self._latency
            if self._due is None:
                self._due = trio.current_time() + seconds
            await trio.sleep_until(self._due)
            if not isinstance(step, Sleep):
                return
            self._advance()

    def _next(self) -> ModelPart:
        if self._place == len(self._plan):
            self.over = True
            raise trio.EndOfChannel
        step = self._plan[self._place]
        if isinstance(step, Fail):  # and it stays there: a failed answer has no end
            self.over = True
            raise step.error
        self._advance()
        self.over = isinstance(step, Finish)
        assert not isinstance(step, Sleep)
        return step

    def _advance(self) -> None:
        self._place, self._due = self._place + 1, None

    async def aclose(self) -> None:
        self.shut()
        await trio.lowlevel.checkpoint()

    def shut(self) -> None:
        """Whoever reads, or comes to read, is told that this is over."""
        self._shut = True
        if self._scope is not None:
            self._scope.cancel()


def _steps(reply: Any) -> tuple[ModelStep, ...]:
    """A reply as its steps. Raises `TypeError` for what is none."""
    if isinstance(reply, Exception):
        return (Fail(reply),)
    steps = tuple(reply) if isinstance(reply, Sequence) and not isinstance(reply, str) else (reply,)
    for step in steps:
        if not isinstance(step, _STEPS):
            raise TypeError(f"a reply is a text, an error, steps or a function of the request, and {step!r} is none of them")
    return steps
