"""The contract of models as a check that any model can be held to. Needs no test framework."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing

from podkit.abc import Finish, FinishReason, Model, ModelPart, ModelRequest, ToolSpec, answer_items
from podkit.errors import ModelError
from podkit.protocol import (
    MessageItem,
    NotificationItem,
    ReasoningItem,
    TextDelta,
    TextDone,
    TextPart,
    ThinkingDelta,
    ThinkingDone,
    ToolCallDone,
    ToolCallItem,
    ToolResultItem,
    UnknownItem,
    Usage,
)

from ._check_clauses import Clauses
from ._check_model_answer import check_answer
from ._check_transport_ground import raises, require
from ._model import Call, Think
from ._script import Fail, Say, Sleep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

_SLOW = 3600.0  # seconds; nobody waits for that
_TOOL = ToolSpec("Look", "Look at a path", {"type": "object", "properties": {"path": {"type": "string"}}})
_ASK = ModelRequest.say("What is there?", instructions="Be brief.", tools=(_TOOL,))
_TEXT = "Nothing much: a line\nand \u201cquotes\u201d, \u00fcmlauts, \U0001f33f and a backslash \\ "


@attrs.frozen(eq=False)
class _Ground:
    make: Callable[..., Model]

    def model(self, *replies: Any) -> Model:
        return self.make(*replies)


_clause: Clauses[_Ground] = Clauses("M")


async def check_model(make: Callable[..., Model]) -> None:
    """Hold a model to the contract of `podkit.abc.Model`: `trio.run(check_model, ScriptedModel)`.

    `make(*replies)` gives a model whose provider answers the first request with the first reply and so on. A reply is a sequence
    of `Say`, `Think`, `Call`, `Sleep`, `Usage` and `Fail`, as `ScriptedModel` takes them. `Fail` holds a `ModelError` with a
    `status` and perhaps a `retry_after`, which the provider answers when it comes first, and after other steps means that the
    connection breaks. For an adapter that is a stand-in for its provider: a server on the loopback interface, or the
    transport of its HTTP client.

    Raises `AssertionError`, which begins with the id of the first clause of `MODEL_CLAUSES` that does not hold. Every clause has
    ten seconds.
    """

    @asynccontextmanager
    async def ground() -> AsyncIterator[_Ground]:
        yield _Ground(make)

    await _clause.check(ground)


async def _read(model: Model, request: ModelRequest = _ASK) -> list[ModelPart]:
    """The whole answer; it ends in order or raises."""
    async with model.stream(request) as parts:
        return [part async for part in parts]


def _text(parts: Sequence[ModelPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDone))


@_clause("nothing is asked before the block is entered, and a model says who it is")
async def _lazy(ground: _Ground) -> None:
    model = ground.model([Say("first")])
    require(isinstance(model.provider, str) and isinstance(model.name, str), "provider and name are no texts")
    unused = model.stream(_ASK)
    require(hasattr(unused, "__aenter__"), f"stream() gave {type(unused).__name__}, which is no block to enter")
    require(_text(await _read(model)) == "first", "a request was made by stream() itself")


@_clause("a text comes as it was written: what its deltas say, its end says whole, and Finish(stop) is last")
async def _plain_text(ground: _Ground) -> None:
    parts = await _read(ground.model([Say(_TEXT)]))
    check_answer(parts)
    require(_text(parts) == _TEXT, f"{_TEXT!r} came as {_text(parts)!r}")
    require(_reason(parts) is FinishReason.STOP, f"it finished with {_reason(parts)!r}")


@_clause("thoughts, texts and calls come in their order, each block closed before the next but for calls")
async def _all_kinds(ground: _Ground) -> None:
    reply = [Think("Let me see."), Say("I look."), Call("Look", {"path": "/a"}, id="c1"), Call("Look", {"path": "/b"}, id="c2")]
    parts = await _read(ground.model(reply))
    check_answer(parts)
    ends = [type(part).__name__ for part in parts if isinstance(part, (ThinkingDone, TextDone, ToolCallDone))]
    require(ends == ["ThinkingDone", "TextDone", "ToolCallDone", "ToolCallDone"], f"the blocks ended as {ends}")
    calls = [(part.name, part.arguments) for part in parts if isinstance(part, ToolCallDone)]
    paths = [arguments.replace(" ", "") for _, arguments in calls]
    require(paths == ['{"path":"/a"}', '{"path":"/b"}'], f"the arguments came as {paths}")
    require(all(name == "Look" for name, _ in calls), "a call came under another name")


@_clause("the reason is tool_calls exactly when there are calls")
async def _reasons(ground: _Ground) -> None:
    for reply, reason in (
        ([Say("x")], FinishReason.STOP),
        ([Call("Look", {"path": "/a"})], FinishReason.TOOL_CALLS),
        ([Say("x"), Call("Look", {"path": "/a"})], FinishReason.TOOL_CALLS),
        ([Think("x")], FinishReason.STOP),
    ):
        parts = await _read(ground.model(reply))
        check_answer(parts)
        require(_reason(parts) is reason, f"an answer of {reply} finished with {_reason(parts)!r}")


@_clause("arguments are the text the model wrote, right or wrong, and {} where it wrote nothing or null")
async def _arguments(ground: _Ground) -> None:
    for written, expected in (("", "{}"), ("null", "{}"), ("  ", "{}"), ('{"path": "/a', '{"path": "/a')):
        parts = await _read(ground.model([Call("Look", written, id="c1")]))
        got = [part.arguments for part in parts if isinstance(part, ToolCallDone)]
        require(got == [expected], f"a call with {written!r} has {got}")
    parts = await _read(ground.model([Call("Look", {}, id="c1")]))
    require([part.arguments for part in parts if isinstance(part, ToolCallDone)] == ["{}"], "a call without arguments has not {}")


@_clause("usage is told at most once, before the end")
async def _usage(ground: _Ground) -> None:
    parts = await _read(ground.model([Say("x"), Usage(input_tokens=12, output_tokens=3)]))
    check_answer(parts)
    told = [(part.input_tokens, part.output_tokens) for part in parts if isinstance(part, Usage)]
    require(told in ([], [(12, 3)]), f"12 tokens in and 3 out were told as {told}")


@_clause("an answer may go into the next request, with its results, system items and items of other providers")
async def _conversation(ground: _Ground) -> None:
    model = ground.model([Think("hm"), Call("Look", {"path": "/a"}, id="c1")], [Say("done")])
    first = await _read(model)
    items = answer_items(first)
    calls = [item for item in items if isinstance(item, ToolCallItem)]
    require(len(calls) == 1, f"the answer as items is {items}")
    history = (
        UnknownItem("strange", {"kind": "strange"}),
        ReasoningItem("of somebody else", signature="not theirs"),
        *_ASK.history,
        *items,
        ToolResultItem(calls[0].call_id, "one file", content="a.txt"),
        NotificationItem("psst", "A notification: psst", notice="n1"),
        MessageItem("user", (TextPart("So?"),)),
    )
    second = await _read(model, attrs.evolve(_ASK, history=history))
    require(_text(second) == "done", f"the second answer was {_text(second)!r}")


@_clause("a refusal of the provider is ModelError on entering or reading, with its status and retry_after, and no part before it")
async def _refused(ground: _Ground) -> None:
    for status, retry_after in ((429, 7.0), (400, None), (500, None)):
        model = ground.model([Fail(ModelError("no", status=status, retry_after=retry_after))], [Say("now")])
        error = await raises(ModelError, partial(_read, model), f"a request answered with {status}")
        require(error.status == status, f"status {status} came as {error.status!r}")
        require(error.retry_after == retry_after, f"retry_after {retry_after} came as {error.retry_after!r}")
        require(_text(await _read(model)) == "now", "the refused request was tried again, or the next one was not asked")


@_clause("an answer that breaks off raises ModelError after what was said, and never ends in order")
async def _broken(ground: _Ground) -> None:
    lost = Fail(ModelError("connection lost"))
    for said in ([Say("half")], [Say("half"), Call("Look", {}, id="c1")], [Think("half")]):
        model = ground.model([*said, lost])
        async with model.stream(_ASK) as parts:
            got: list[ModelPart] = []

            async def read_on(parts: trio.abc.ReceiveChannel[ModelPart] = parts, got: list[ModelPart] = got) -> None:
                async for part in parts:
                    got.append(part)  # noqa: PERF401 - what came before the failure counts

            await raises(ModelError, read_on, "reading an answer that breaks off")
            require(not any(isinstance(part, Finish) for part in got), "a broken answer has a Finish")
            ends = [part.text for part in got if isinstance(part, (TextDone, ThinkingDone))]
            pieces = [part.text for part in got if isinstance(part, (TextDelta, ThinkingDelta))]
            require("".join(ends or pieces) == "half", f"before it broke off came {ends or pieces}")
            try:
                again = await parts.receive()
            except trio.EndOfChannel:
                raise AssertionError("reading again after the failure looks like the end of a good answer") from None
            except Exception:  # noqa: BLE001, S112 - any failure says that it failed
                continue
            raise AssertionError(f"reading again after the failure gave {again!r}")


@_clause("leaving the block early ends the request: nothing waits, the channel is closed, the model answers the next one")
async def _left_early(ground: _Ground) -> None:
    model = ground.model([Say("a long story"), Sleep(_SLOW), Say("its end")], [Say("next")])
    async with model.stream(_ASK) as parts:
        await parts.receive()
    await raises(trio.ClosedResourceError, parts.receive, "receive after the block")
    require(_text(await _read(model)) == "next", "the next answer is not the next one")


@_clause("what is raised in the block comes out of it as it is")
async def _error_inside(ground: _Ground) -> None:
    model = ground.model([Say("x"), Sleep(_SLOW)])
    mine = KeyError("mine")

    async def fail_inside() -> None:
        async with model.stream(_ASK) as parts:
            await parts.receive()
            raise mine

    require(await raises(KeyError, fail_inside, "the block") is mine, "another error came out")


@_clause("a cancellation goes through, before the first part and between parts, and the model answers the next request")
async def _cancelled(ground: _Ground) -> None:
    for reply, read in (([Sleep(_SLOW), Say("late")], 0), ([Say("x"), Sleep(_SLOW), Say("late")], 1)):
        model = ground.model(reply, [Say("next")])
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def ask(model: Model = model, read: int = read) -> None:
                    async with model.stream(_ASK) as parts:
                        while True:
                            part = await parts.receive()
                            require(read and not isinstance(part, Finish), f"{part!r} came although nothing was said yet")

                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked(0.05)
                scope.cancel()
        require(scope.cancelled_caught, "the cancellation was swallowed")
        require(_text(await _read(model)) == "next", "the next answer is not the next one")


@_clause("several requests may be under way at a time")
async def _side_by_side(ground: _Ground) -> None:
    model = ground.model(*([Say("one"), Sleep(0.05), Say("two")] for _ in range(4)))
    answers: list[str] = []
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(_text(await _read(model)))

        for _ in range(4):
            nursery.start_soon(ask)
    require(answers == ["onetwo"] * 4, f"four at a time answered {answers}")


@_clause("nothing is remembered: the same request may be asked again")
async def _again(ground: _Ground) -> None:
    model = ground.model([Say("a")], [Say("b")])
    require(_text(await _read(model)) + _text(await _read(model)) == "ab", "the second answer depends on the first")


MODEL_CLAUSES: tuple[tuple[str, str], ...] = tuple(_clause)
"""The clauses of the contract of models, (id, sentence), in the order in which they are checked."""


def _reason(parts: Sequence[ModelPart]) -> FinishReason | None:
    return parts[-1].reason if parts and isinstance(parts[-1], Finish) else None
