"""The contract check of models, the scripted model and the recorder: a broken promise is found, and named."""

import json
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio
import trio.testing

from podkit.abc import (
    Finish,
    FinishReason,
    Model,
    ModelRequest,
    ModelSettings,
    ToolSpec,
    answer_items,
    check_request,
)
from podkit.errors import ModelError
from podkit.protocol import (
    InterruptItem,
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
    ToolResultItem,
    UnknownItem,
    Usage,
)
from podkit.testing import (
    MODEL_CLAUSES,
    Call,
    CallTool,
    Fail,
    Say,
    ScriptedModel,
    Sleep,
    Think,
    check_model,
    record,
)

ASK = ModelRequest.say("hello")
LOST = ModelError("connection lost", status=502, retry_after=1.5)


async def read(model, request=ASK):
    async with model.stream(request) as parts:
        return [part async for part in parts]


def in_virtual_time(check, *args):
    trio.run(check, *args, clock=trio.testing.MockClock(autojump_threshold=0))


# The contract.


async def test_the_scripted_model_keeps_the_contract():
    with trio.fail_after(30):
        await check_model(ScriptedModel)


@pytest.mark.parametrize("options", [{"piece": None}, {"piece": 1}, {"latency": 0.25}])
def test_the_scripted_model_keeps_the_contract_in_any_pieces_and_at_any_pace(options):
    in_virtual_time(check_model, lambda *replies: ScriptedModel(*replies, **options))


def test_a_recorded_model_keeps_the_contract():
    in_virtual_time(check_model, lambda *replies: record(ScriptedModel(*replies)))


def test_the_clauses_are_numbered_sentences():
    assert [name for name, _ in MODEL_CLAUSES] == [f"M{n}" for n in range(1, len(MODEL_CLAUSES) + 1)]
    assert all(sentence and not sentence.endswith(".") for _, sentence in MODEL_CLAUSES)


class Tap(trio.abc.ReceiveChannel):
    """Another answer, each part turned into any number of parts by `turn`."""

    def __init__(self, inner, turn):
        self.inner, self.turn, self.waiting = inner, turn, []

    async def receive(self):
        while not self.waiting:
            self.waiting = list(self.turn(await self.inner.receive()))
        return self.waiting.pop(0)

    async def aclose(self):
        await self.inner.aclose()


class Wrapped(Model):
    """Another model that does the same: what the mutants are made of."""

    kind = Tap

    def __init__(self, *replies):
        self.inner = ScriptedModel(*replies)

    @asynccontextmanager
    async def stream(self, request):
        async with self.inner.stream(request) as parts:
            yield self.kind(parts, self.turn)

    def turn(self, part):
        yield part


class Eager(Wrapped):
    """Asks as soon as a request is made."""

    def stream(self, request):
        self.inner._told.append(None)
        return super().stream(request)


class Nameless(Wrapped):
    provider = None


class Endless(Wrapped):
    """Ends without saying why."""

    def turn(self, part):
        if not isinstance(part, Finish):
            yield part


class Trimming(Wrapped):
    def turn(self, part):
        yield TextDone(part.text.strip()) if isinstance(part, TextDone) else part


class Doubling(Wrapped):
    """Says every delta twice."""

    def turn(self, part):
        yield part
        if isinstance(part, TextDelta):
            yield part


class Unstarted(Wrapped):
    """Thinks without a beginning."""

    def turn(self, part):
        if not isinstance(part, ThinkingStart):
            yield part


class OneId(Wrapped):
    """Gives every call the same id."""

    def turn(self, part):
        yield attrs.evolve(part, id="call") if isinstance(part, (ToolCallStart, ToolCallArgsDelta, ToolCallDone)) else part


class AlwaysStop(Wrapped):
    """Says stop also when there are calls, as some providers do."""

    def turn(self, part):
        yield Finish(FinishReason.STOP) if isinstance(part, Finish) else part


class NullArguments(Wrapped):
    def turn(self, part):
        if isinstance(part, ToolCallDone) and part.arguments == "{}":
            part = attrs.evolve(part, arguments="null")
        yield part


class Mending(Wrapped):
    """Makes JSON of what is none."""

    def turn(self, part):
        if isinstance(part, ToolCallDone):
            try:
                json.loads(part.arguments)
            except ValueError:
                part = attrs.evolve(part, arguments="{}")
        yield part


class Counting(Wrapped):
    """Tells usage again and again."""

    def turn(self, part):
        yield part
        if isinstance(part, Usage):
            yield part


class Narrow(Wrapped):
    """Knows no items but messages, calls and results."""

    def stream(self, request):
        if any(isinstance(item, UnknownItem) for item in request.history):
            raise KeyError("strange")
        return super().stream(request)


class Untyped(Wrapped):
    """Lets the errors of its HTTP client through."""

    @asynccontextmanager
    async def stream(self, request):
        try:
            async with super().stream(request) as parts:
                yield parts
        except ModelError as error:
            raise ConnectionError(str(error)) from error


class Statusless(Wrapped):
    @asynccontextmanager
    async def stream(self, request):
        try:
            async with super().stream(request) as parts:
                yield parts
        except ModelError as error:
            raise ModelError(error.message) from error


class Insisting(Wrapped):
    """Tries again by itself."""

    @asynccontextmanager
    async def stream(self, request):
        try:
            async with self.inner.stream(request) as parts:
                yield parts
        except ModelError:
            async with self.inner.stream(request) as parts:
                yield parts


class Smooth(Wrapped):
    """Takes a lost connection for the end."""

    class kind(Tap):  # noqa: N801
        async def receive(self):
            try:
                return await super().receive()
            except ModelError:
                raise trio.EndOfChannel from None


class OnceBroken(Wrapped):
    """Fails once, and then has ended in order."""

    class kind(Tap):  # noqa: N801
        failed = False

        async def receive(self):
            if self.failed:
                raise trio.EndOfChannel
            try:
                return await super().receive()
            except ModelError:
                self.failed = True
                raise


class Readable(Wrapped):
    """Can be read after its block was left."""

    class kind(Tap):  # noqa: N801
        async def receive(self):
            if self.inner._shut:
                raise trio.EndOfChannel
            return await super().receive()


class Draining(Wrapped):
    """Reads the rest of an answer that nobody wants."""

    @asynccontextmanager
    async def stream(self, request):
        async with self.inner.stream(request) as parts:
            yield parts
            with suppress(ModelError):
                async for _ in parts:
                    pass


class Explaining(Wrapped):
    """Makes a failure of its own of whatever is raised in the block."""

    @asynccontextmanager
    async def stream(self, request):
        try:
            async with self.inner.stream(request) as parts:
                yield parts
        except KeyError as error:
            raise ModelError("something is wrong") from error


class Swallowing(Wrapped):
    """Takes a cancellation for a lost connection."""

    class kind(Tap):  # noqa: N801
        async def receive(self):
            try:
                return await super().receive()
            except trio.Cancelled:
                return Finish(FinishReason.STOP)


class Queueing(Wrapped):
    """Answers one at a time, and never the one behind."""

    busy = False

    @asynccontextmanager
    async def stream(self, request):
        if self.busy:
            raise ModelError("too many at a time")
        self.busy = True
        try:
            async with super().stream(request) as parts:
                yield parts
        finally:
            self.busy = False


class Remembering(Wrapped):
    """Gives an answer it gave before."""

    def __init__(self, *replies):
        super().__init__(*replies)
        self.given = []

    @asynccontextmanager
    async def stream(self, request):
        known = next((parts for asked, parts in self.given if asked == request), None)
        if known is None:
            self.now = []
            async with super().stream(request) as parts:
                yield parts
            if any(isinstance(part, Finish) for part in self.now):
                self.given.append((request, self.now))
        else:
            async with ScriptedModel(known).stream(request) as parts:
                yield parts

    def turn(self, part):
        self.now.append(part)
        yield part


MUTANTS = {
    Eager: "M1",
    Nameless: "M1",
    Endless: "M2",
    Trimming: "M2",
    Doubling: "M2",
    Unstarted: "M3",
    OneId: "M3",
    AlwaysStop: "M4",
    NullArguments: "M5",
    Mending: "M5",
    Counting: "M6",
    Narrow: "M7",
    Untyped: "M8",
    Statusless: "M8",
    Insisting: "M8",
    Smooth: "M9",
    OnceBroken: "M9",
    Readable: "M10",
    Draining: "M10",
    Explaining: "M11",
    Swallowing: "M12",
    Queueing: "M13",
    Remembering: "M14",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_promise_is_named_by_its_clause(mutant):
    with pytest.raises(AssertionError) as caught:
        in_virtual_time(check_model, mutant)
    sentence = dict(MODEL_CLAUSES)[MUTANTS[mutant]]
    assert str(caught.value).startswith(f"{MUTANTS[mutant]}: {sentence}; ")


def test_the_wrapper_that_the_mutants_are_made_of_is_not_itself_a_mutant():
    in_virtual_time(check_model, Wrapped)


# The scripted model.


async def test_a_reply_is_a_text_an_error_steps_or_a_function_of_the_request():
    model = ScriptedModel(
        "one", LOST, Say("two"), [Think("a"), "three"], lambda request: f"to {request.history[-1].content[0].text}"
    )
    assert TextDone("one") in await read(model)
    with pytest.raises(ModelError):
        await read(model)
    assert TextDone("two") in await read(model)
    assert [type(part) for part in await read(model)][-2:] == [TextDone, Finish]
    assert TextDone("to hello") in await read(model)
    model.assert_complete()
    assert model.requests == [ASK] * 5
    assert repr(model) == "<ScriptedModel: 5 of 5 replies given>"


async def test_a_reply_is_said_in_pieces_or_whole():
    parts = await read(ScriptedModel("abcde", piece=2))
    assert parts == [TextDelta("ab"), TextDelta("cd"), TextDelta("e"), TextDone("abcde"), Finish(FinishReason.STOP)]
    assert await read(ScriptedModel("abcde", piece=None)) == [TextDone("abcde"), Finish(FinishReason.STOP)]
    assert await read(ScriptedModel([CallTool("Read", {"p": 1})], piece=99)) == [
        ToolCallStart("call-1", "Read"),
        ToolCallArgsDelta("call-1", '{"p": 1}'),
        ToolCallDone("call-1", "Read", '{"p": 1}'),
        Finish(FinishReason.TOOL_CALLS),
    ]
    done = ToolCallDone("c", "Read", "{}")
    assert await read(ScriptedModel([ToolCallStart("c", "Read"), done])) == [
        ToolCallStart("c", "Read"),
        done,
        Finish(FinishReason.TOOL_CALLS),
    ]
    with pytest.raises(ValueError, match="at least one"):
        ScriptedModel(piece=0)


async def test_a_signed_thought_goes_back_with_its_signature():
    parts = await read(ScriptedModel([Think("hm", signature="sig"), "yes"], piece=None))
    assert answer_items(parts) == (ReasoningItem("hm", signature="sig"), MessageItem("assistant", (TextPart("yes"),)))


async def test_time_passes_as_the_script_says(autojump_clock):
    began = trio.current_time()
    async with ScriptedModel([Sleep(5), "ab", Sleep(3), Sleep(1), "c"], piece=1, latency=0.5).stream(ASK) as parts:
        times = [trio.current_time() - began async for _ in parts]
    assert times == [5.5, 6.0, 6.5, 11.0, 11.5, 12.0]


async def test_a_cancelled_read_has_taken_nothing_and_lost_no_time(autojump_clock):
    began = trio.current_time()
    async with ScriptedModel([Sleep(5), "a"], piece=None).stream(ASK) as parts:
        for _ in range(4):
            with trio.move_on_after(1):
                await parts.receive()
        assert await parts.receive() == TextDone("a")
        assert trio.current_time() - began == 5


async def test_a_reply_may_break_off_anywhere():
    model = ScriptedModel([TextDelta("half a wo"), Fail(LOST)], [Fail(LOST)])
    async with model.stream(ASK) as parts:
        assert await parts.receive() == TextDelta("half a wo")
        for _ in range(2):
            with pytest.raises(ModelError):
                await parts.receive()
    with pytest.raises(ModelError) as caught:
        async with model.stream(ASK):
            pytest.fail("the block was entered")
    assert caught.value is LOST
    model.assert_complete()


async def test_one_answer_has_one_reader_and_is_closed_by_another_task():
    async with ScriptedModel([Sleep(1000)]).stream(ASK) as parts, trio.open_nursery() as nursery:

        async def receive():
            with pytest.raises(trio.ClosedResourceError):
                await parts.receive()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await parts.receive()
        await parts.aclose()


async def test_what_was_not_used_of_a_script_is_told():
    model = ScriptedModel("one", "two", "three")
    await read(model)
    async with model.stream(ASK) as parts:
        await parts.receive()
    with pytest.raises(AssertionError, match=r"1 of 3 replies were never asked for; reply 2 was not read to its end"):
        model.assert_complete()
    await read(model)
    with pytest.raises(AssertionError, match="3 replies"):
        await read(model)
    with pytest.raises(AssertionError, match="1 requests came after"):
        model.assert_complete()


@pytest.mark.parametrize("reply", [3, [3], None, ["a", None]])
def test_what_is_no_reply_is_refused_at_once(reply):
    with pytest.raises(TypeError):
        ScriptedModel(reply)


USER = MessageItem("user", (TextPart("x"),))
CALL, RESULT = ToolCallItem("c", "Read", "{}"), ToolResultItem("c", "fine")
TOOL = ToolSpec("Read", "", {"type": "object"})


@pytest.mark.parametrize(
    ("history", "tools", "said"),
    [
        ((), (), "nothing to answer"),
        ((UnknownItem("x", {}),), (), "nothing to answer"),
        ((USER, CALL), (), "no result"),
        ((USER, CALL, USER, RESULT), (), "no result"),
        ((USER, CALL, InterruptItem("stop"), RESULT), (), "no result"),
        ((USER, RESULT), (), "answers no call"),
        ((USER, CALL, RESULT, RESULT), (), "answers no call"),
        ((USER, CALL, RESULT, CALL, RESULT), (), "no id of its own"),
        ((USER, ToolCallItem("c", "Read", "[]"), RESULT), (), "no JSON object"),
        ((USER, ToolCallItem("c", "Read", "{"), RESULT), (), "no JSON object"),
        ((USER, ToolCallItem("c", "Read", "[" * 100_000), RESULT), (), "no JSON object"),
        ((USER, ToolCallItem("", "Read", "{}"), ToolResultItem("", "x")), (), "no id of its own"),
        ((USER,), (TOOL, TOOL), "told apart"),
        ((USER,), (attrs.evolve(TOOL, name=""),), "told apart"),
        ((USER,), (attrs.evolve(TOOL, input_schema={}),), "not an object's"),
    ],
)
@pytest.mark.proves("F62", "F68")
async def test_what_providers_refuse_is_refused_and_uses_up_no_reply(history, tools, said):
    model = ScriptedModel("fine")
    with pytest.raises(ModelError, match=said) as caught:
        await read(model, ModelRequest(history=history, tools=tools))
    assert caught.value.status == 400
    assert TextDone("fine") in await read(model)
    assert TextDone("x") in await read(ScriptedModel("x", strict=False), ModelRequest(history=history, tools=tools))


def test_a_good_history_is_not_refused():
    second = ToolCallItem("d", "Read", "{}")
    history = [USER, ReasoningItem("t"), CALL, second, ToolResultItem("d", "x"), RESULT, MessageItem("assistant", ()), USER]
    check_request(ModelRequest(history=history, tools=[TOOL], settings=ModelSettings(max_tokens=5)))


def test_an_answer_that_broke_off_leaves_its_whole_blocks_and_no_call():
    parts = [
        ThinkingStart(),
        ThinkingDelta("t"),
        ThinkingDone("t"),
        TextDone("a"),
        TextDone(""),
        ToolCallDone("c", "R", "{}"),
        TextDelta("b"),
    ]
    kept = (ReasoningItem("t"), MessageItem("assistant", (TextPart("a"),)))
    assert answer_items(parts) == kept
    assert answer_items([*parts, Finish(FinishReason.STOP)]) == (*kept, ToolCallItem("c", "R", "{}"))
    assert answer_items([*parts, Finish(FinishReason.STOP, items=(USER,))]) == (USER,)


def test_a_tool_is_told_as_it_is():
    class Read:
        name, description, input_schema = "Read", "reads", {"type": "object"}

    assert ToolSpec.of(Read()) == ToolSpec("Read", "reads", {"type": "object"})


# The recorder.


def rebuilt(source):
    names = {}
    exec(source, names)
    return names["model"]


async def test_a_recording_is_a_script_that_says_the_same(autojump_clock):
    replies = [
        [Think("hm", signature="s"), "I 'look'\n", Call("Read", {"p": [1]}, id="x9"), Usage(input_tokens=3)],
        [Sleep(2), TextDelta("half"), Fail(LOST)],
        LOST,
        [Say("cut off"), Finish(FinishReason.LENGTH)],
        [Call("Read", "{", id="x10"), ToolCallStart("x11", "Read"), ThinkingStart(), Fail(ModelError("no"))],
    ]
    recorder = record(ScriptedModel(*replies))
    assert (recorder.provider, recorder.name) == ("scripted", "script")

    async def run(model):
        said = []
        for _ in replies:
            began = trio.current_time()
            try:
                async with model.stream(ASK) as parts:
                    async for part in parts:
                        said.append((part, trio.current_time() - began))  # noqa: PERF401 - what came before a failure counts
            except ModelError as error:
                said.append((str(error), error.status, error.retry_after))
        return said

    first = await run(recorder)
    assert recorder.requests == [ASK] * 5
    assert "Recorder" in repr(recorder)
    assert await run(rebuilt(recorder.script(times=True))) == first
    assert [said[0] for said in await run(rebuilt(recorder.script()))] == [said[0] for said in first]
    assert "Sleep" not in recorder.script()


async def test_a_recording_that_stopped_early_says_so_and_whole_blocks_stay_whole():
    recorder = record(ScriptedModel("one two three four five", ["x"], piece=None))
    async with recorder.stream(ASK) as parts:
        await parts.receive()
        await parts.aclose()
    with pytest.raises(ModelError, match="mine"):
        async with recorder.stream(ASK) as parts:
            assert [type(part) for part in [part async for part in parts]] == [TextDone, Finish]
            raise ModelError("mine")
    source = recorder.script()
    assert "piece=None" in source
    model = rebuilt(source)
    with pytest.raises(ModelError, match="recording ends here"):
        await read(model)
    assert await read(model) == [TextDone("x"), Finish(FinishReason.STOP)]
    assert rebuilt(record(ScriptedModel()).script()).requests == []
