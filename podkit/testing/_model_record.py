"""Recording what a model says, as a script that says it again."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias, get_args

import attrs
import trio

from podkit.abc import Finish, FinishReason, Model, ModelPart, ModelRequest
from podkit.errors import ModelError
from podkit.protocol import (
    LoggedItem,
    RefusalPart,
    TextDelta,
    TextDone,
    TextPart,
    ThinkingDelta,
    ThinkingDone,
    ThinkingStart,
    ToolCallArgsDelta,
    ToolCallDone,
    ToolCallStart,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_Said: TypeAlias = "tuple[float, ModelPart]"
_DELTAS = (TextDelta, ThinkingDelta, ToolCallArgsDelta)
_KINDS = {*get_args(ModelPart), *get_args(LoggedItem), TextPart, RefusalPart}
_HOMES = {
    "podkit.abc": ("Finish", "FinishReason"),
    "podkit.errors": ("ModelError",),
    "podkit.protocol": tuple(sorted(kind.__name__ for kind in _KINDS if kind is not Finish)),
    "podkit.testing": ("Call", "Fail", "Say", "ScriptedModel", "Sleep", "Think"),
}


@attrs.define(eq=False)
class Recorded:
    """One request, and what came of it: the parts with the seconds before each, and the error that ended it, if one did."""

    request: ModelRequest
    parts: list[_Said] = attrs.field(factory=list)
    error: BaseException | None = None


class Recorder(Model):
    """Stands in front of a model, passes everything on, and keeps it: `requests`, and `script()`."""

    provider: str
    name: str

    def __init__(self, model: Model) -> None:
        self.provider, self.name = model.provider, model.name
        self.answers: list[Recorded] = []
        self._model = model

    def __repr__(self) -> str:
        return f"<Recorder of {self._model!r}, {len(self.answers)} answers>"

    @property
    def requests(self) -> list[ModelRequest]:
        """What was asked, in the order of asking."""
        return [answer.request for answer in self.answers]

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncIterator[trio.abc.ReceiveChannel[ModelPart]]:
        answer = Recorded(request)
        self.answers.append(answer)
        began, entered = trio.current_time(), False
        try:
            async with self._model.stream(request) as parts:
                entered = True
                yield _Tap(parts, answer, began)
        except ModelError as error:
            if not entered:  # else it is what whoever asked made of it
                answer.error = error
            raise

    def script(self, *, times: bool = False) -> str:
        """Python source of a `ScriptedModel`, called `model`, that gives the same answers; with `times` also at the same pace.

        The same are the blocks, their order, ids, usage, reasons and failures; pieces are cut anew. An answer that was not read to
        its end ends in a failure that says so, because nobody knows what would have come.
        """
        lines = [f"    {_reply(answer, times)},\n" for answer in self.answers]
        if not any(isinstance(part, _DELTAS) for answer in self.answers for _, part in answer.parts):
            lines.append("    piece=None,\n")
        made = "model = ScriptedModel(\n" + "".join(lines) + ")\n"
        return _imports(made) + "\n" + made


def record(model: Model) -> Recorder:
    """A model that passes everything on to `model` and keeps what was said."""
    return Recorder(model)


class _Tap(trio.abc.ReceiveChannel[ModelPart]):
    def __init__(self, inner: trio.abc.ReceiveChannel[ModelPart], answer: Recorded, began: float) -> None:
        self._inner, self._answer, self._last = inner, answer, began

    async def receive(self) -> ModelPart:
        try:
            part = await self._inner.receive()
        except ModelError as error:
            self._answer.error = error
            raise
        now = trio.current_time()
        self._answer.parts.append((now - self._last, part))
        self._last = now
        return part

    async def aclose(self) -> None:
        await self._inner.aclose()


def _reply(answer: Recorded, times: bool) -> str:
    """One reply, as source."""
    parts = [part for _, part in answer.parts]
    steps: list[str] = []
    waited = 0.0
    for seconds, part in answer.parts:
        waited += seconds
        said = _step(part, parts)
        if said is None:
            continue
        if times and round(waited, 3):
            steps.append(f"Sleep({round(waited, 3)})")
        steps.append(said)
        waited = 0.0
    if answer.error is not None:
        steps.append(f"Fail({_error(answer.error)})")
    elif not any(isinstance(part, Finish) for part in parts):
        steps.append("Fail(ModelError('the recording ends here: whoever asked had heard enough'))")
    return f"[{', '.join(steps)}]"


def _step(part: ModelPart, parts: list[ModelPart]) -> str | None:
    """What says this part again; None for one that another step says too."""
    match part:
        case TextDone(text=text):
            return f"Say({text!r})"
        case ThinkingDone(text=text):
            return f"Think({text!r})"
        case ToolCallDone():
            return f"Call({part.name!r}, {part.arguments!r}, id={part.id!r})"
        case TextDelta():
            return None if _ends_later(part, parts, TextDone) else repr(part)
        case ThinkingStart() | ThinkingDelta():
            return None if _ends_later(part, parts, ThinkingDone) else repr(part)
        case ToolCallStart() | ToolCallArgsDelta():
            ended = any(isinstance(other, ToolCallDone) and other.id == part.id for other in parts)
            return None if ended else repr(part)
        case Finish():
            return _finish(part, any(isinstance(other, ToolCallDone) for other in parts))
        case _:
            return repr(part)


def _ends_later(part: ModelPart, parts: list[ModelPart], end: type[TextDone | ThinkingDone]) -> bool:
    place = next(n for n, other in enumerate(parts) if other is part)
    return any(isinstance(other, end) for other in parts[place:])


def _finish(finish: Finish, calls: bool) -> str | None:
    usual = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
    if not finish.items:
        return None if finish.reason == usual else f"Finish(FinishReason.{FinishReason(finish.reason).name})"
    items = "".join(f"{item!r}, " for item in finish.items)
    return f"Finish(FinishReason.{FinishReason(finish.reason).name}, items=({items}))"


def _imports(source: str) -> str:
    """The imports that this source needs."""
    lines = []
    for module, names in _HOMES.items():
        used = [name for name in names if re.search(rf"\b{name}[(.]", source)]
        if used:
            lines.append(f"from {module} import {', '.join(used)}\n")
    return "".join(lines)


def _error(error: BaseException) -> str:
    assert isinstance(error, ModelError)
    more = "".join(f", {name}={value!r}" for name in ("status", "retry_after") if (value := getattr(error, name)) is not None)
    return f"ModelError({error.message!r}{more})"
