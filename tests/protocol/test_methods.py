"""Methods carry authority: each frame has one meaning or is refused, and nothing we could not read is written."""

import json

import attrs
import pytest

from podkit.errors import InvalidRuleError, LocalProtocolError, RemoteProtocolError
from podkit.protocol import (
    BirthCredential,
    Cancel,
    FileRef,
    GetHistory,
    Hello,
    KnowledgeRef,
    LineDecoder,
    Notify,
    Paste,
    Pause,
    Permission,
    PodEventMethod,
    PodScopeSubDelegated,
    PodShutDown,
    PodTurnEnded,
    Resume,
    ResumePoint,
    RewindTarget,
    RewindTo,
    Run,
    ScopeRule,
    ShutdownMethod,
    Subscribe,
    Text,
    TextDelta,
    Unknown,
    WorkflowInvoke,
    decode_method,
    encode_method,
    flatten,
    peek_id,
    read_method,
    segments,
)


def refused(frame, match=None):
    with pytest.raises(RemoteProtocolError, match=match) as caught:
        decode_method(frame)
    assert frame.startswith(caught.value.frame)
    return caught.value


NESTED = b'{"method":"resume","x":%b%b}'


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (b'{"method":"resume","method":"resume"}', "twice"),
        (b'{"method":"notify","params":{"message":"a","message":"b"}}', "twice"),
        (b'{"method":"resume","x":[{"a":1,"a":1}]}', "twice"),
        (b'{"method":"resume","x":{"a":1,"\\u0061":1}}', "twice"),
        (b'{"method":"resume","x":NaN}', "NaN"),
        (b'{"method":"resume","x":-Infinity}', "Infinity"),
        (b'{"method":"resume","x":1e999}', "out of range"),
        (b'{"method":"resume","x":18446744073709551616}', "out of range"),
        (b'{"method":"resume","x":-9223372036854775809}', "out of range"),
        (b'{"method":"resume","x":' + b"1" * 5000 + b"}", "out of range"),
        (b'{"method":"resume","x":"\\ud800"}', "surrogate"),
        (b'{"method":"resume","x":{"\\udc00":1}}', "surrogate"),
        (b'{"method":"resume","x":"\\ud800\\u0041"}', "surrogate"),
        (b'{"method":"resume"}x', "Extra data"),
        (b'{"method":"resume"}{"method":"resume"}', "Extra data"),
        (b"\xef\xbb\xbf" + b'{"method":"resume"}', "BOM|not JSON"),
        ('{"method":"resume"}'.encode("utf-16"), "UTF-8"),
        ('{"method":"resume"}'.encode("utf-16-le"), "not JSON"),
        (b'{"method":"notify","params":{"message":"\xed\xa0\x80"}}', "UTF-8"),
        (b'{"method":"notify","params":{"message":"\xff"}}', "UTF-8"),
        (b'{"method":"notify","params":{"message":"\xc0\xaf"}}', "UTF-8"),
        (b'{"method":"notify","params":{"message":"a\tb"}}', "not JSON"),
        (NESTED % (b"[" * 64, b"]" * 64), "64 levels"),
        (NESTED % (b'{"a":' * 64, b"1" + b"}" * 64), "64 levels"),
        (NESTED % (b"[" * 100_000, b"]" * 100_000), "64 levels"),
        (b"[" * 1_000_000, "64 levels"),
        (b'{"a":' * 100_000, "64 levels"),
        (b"]" * 100 + b"[" * 100, "64 levels"),
        (b"", "not JSON"),
        (b"5", "an object"),
        (b'{"method":null}', "'method'"),
        (b'{"method":"' + b"x" * 100_000 + b'"}', "no method"),
        (b'{"method":"resume","params":{}}', "no params"),
        (b'{"method":"resume","params":[]}', "no params"),
        (b'{"method":"resume","params":false}', "no params"),
        (b'{"method":"notify","params":null}', "params: expected an object, got null"),
        (b'{"method":"notify","params":["a"]}', "expected an object, got an array"),
        (b'{"method":"notify","params":{"message":"a","auto_run":1}}', "params.auto_run: expected a boolean, got an integer"),
        (b'{"method":"notify","params":{"message":"a","auto_run":null}}', "expected a boolean, got null"),
        (b'{"method":"run","params":{"input":[{"content":"x"}]}}', "params.input.0: 'kind'"),
        (b'{"method":"run","params":{"input":[{"kind":5}]}}', "'kind'"),
        (b'{"method":"run","params":{"input":["x"]}}', "expected an object, got text"),
        (b'{"method":"run","params":{"input":{"kind":"text"}}}', "expected an array, got an object"),
        (
            b'{"method":"run","params":{"input":[{"kind":"text","content":"a"},{"kind":"text"}]}}',
            "params.input.1: 'content' is missing",
        ),
        (b'{"method":"pod_event","params":{"pod_name":"x"}}', "'kind'"),
        (b'{"method":"pod_event","params":{"kind":"turn_ended"}}', "'pod_name' is missing"),
        (b'{"method":"pod_event","params":"turn_ended"}', "expected an object"),
        (b'{"method":"pod_event","params":{"kind":"exploded","pod_name":"x"}}', "exploded.* is none of turn_ended"),
        (b'{"method":"list_completions","params":{"kind":5,"prefix":""}}', "expected text"),
        (b'{"method":"hello","params":{"protocol":1,"client":"c","instance":"i"}}', "expected an array"),
        (
            b'{"method":"hello","params":{"protocol":[true],"client":"c","instance":"i"}}',
            "params.protocol.0: expected an integer, got a boolean",
        ),
        (b'{"method":"hello","params":{"protocol":[1.0],"client":"c","instance":"i"}}', "got a number"),
        (b'{"method":"hello","params":{"protocol":[1],"client":"c","instance":"i","key":5}}', "expected text"),
        (b'{"method":"hello","params":{"protocol":[1],"client":"c","instance":"i","birth":{"pod_name":"x"}}}', "incarnation"),
        (b'{"method":"resume","id":5}', "an id"),
        (b'{"method":"resume","id":""}', "an id"),
        (b'{"method":"resume","id":"' + b"x" * 65 + b'"}', "an id"),
        (b'{"method":"resume","id":"\\n"}', "an id"),
        (b'{"method":"resume","id":"a\\n"}', "an id"),
        ('{"method":"resume","id":"ü"}'.encode(), "an id"),
        (b'{"method":"cancel","run":-1}', "a run"),
        (b'{"method":"cancel","run":true}', "a run"),
        (b'{"method":"pause","run":"1"}', "a run"),
        (b'{"method":"pause","run":9223372036854775808}', "a run"),
    ],
)
def test_a_frame_that_could_be_understood_in_two_ways_is_refused(frame, match):
    refused(frame, match)


def test_only_what_is_not_utf8_is_fatal_to_the_connection():
    assert refused(b'{"method":"notify","params":{"message":"\xff"}}').fatal
    assert not refused(b'{"method":"notify","params":{"message":5}}').fatal
    assert not refused(b"{").fatal


@pytest.mark.parametrize("field", ["id", "chars", "lines"])
@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("0", True),
        ("4294967295", True),
        ("4294967296", False),
        ("-1", False),
        ("1.0", False),
        ("1e0", False),
        ("true", False),
        ('"1"', False),
        ("null", False),
    ],
)
def test_the_numbers_of_a_paste_have_32_bits(field, value, good):
    numbers = {"id": "1", "chars": "2", "lines": "3"} | {field: value}
    fields = ",".join(f'"{name}":{number}' for name, number in numbers.items())
    frame = f'{{"method":"run","params":{{"input":[{{"kind":"paste","content":"",{fields}}}]}}}}'.encode()
    if good:
        assert getattr(decode_method(frame).input[0], field) == int(value)
    else:
        refused(frame, f"input.0.{field}")


def test_depth_64_is_read_and_brackets_in_text_do_not_count():
    assert decode_method(NESTED % (b"[" * 63, b"]" * 63)) == Resume()
    assert decode_method(NESTED % (b'"' + b"[" * 100, b'\\\\\\""')) == Resume()
    assert decode_method(NESTED % (b'["\\\\",', b'"' + b"{" * 200 + b'"]')) == Resume()


def test_a_frame_is_refused_with_a_typed_error_when_the_stack_is_almost_used_up():
    frame = NESTED % (b"[" * 60, b"]" * 60)

    def deeper():
        try:
            deeper()
        except RecursionError:
            return
        try:
            decode_method(frame)
        except (RemoteProtocolError, RecursionError):
            return

    deeper()
    assert decode_method(frame) == Resume()


def test_unknown_members_are_ignored_at_every_level_and_null_stands_for_an_absent_option():
    frame = (
        b'{"method":"hello","id":null,"x":1,"params":{"protocol":[1],"client":"c","instance":"i","y":{},"key":null,"birth":null}}'
    )
    assert decode_method(frame) == Hello((1,), "c", "i")
    assert read_method(b'{"method":"cancel","run":null}').run is None
    assert read_method(b'{"method":"notify","params":{"message":"a"},"run":"other"}').run is None


def test_an_input_may_be_text_or_segments():
    assert decode_method(b'{"method":"run","params":{"input":"hi"}}') == Run("hi")
    assert encode_method(Run("hi")) == b'{"method":"run","params":{"input":"hi"}}'
    assert Run([Text("a")]).input == (Text("a"),)
    assert encode_method(Run([Text("a")])) == b'{"method":"run","params":{"input":[{"kind":"text","content":"a"}]}}'
    assert encode_method(Run([])) == b'{"method":"run","params":{"input":[]}}'


def test_an_input_is_flattened_without_anything_between_its_segments():
    whole = (Text("see "), Paste(1, 2, 1, "ab"), FileRef("src/x.py"), KnowledgeRef("style"), WorkflowInvoke("review"), Unknown())
    assert flatten(whole) == "see ab@src/x.py#style/review[unknown input segment]"
    assert flatten("text") == "text"
    assert segments("text") == (Text("text"),)
    assert segments(iter(whole)) == whole


def test_a_notification_says_auto_run_only_when_it_is_false():
    assert encode_method(Notify("a")) == b'{"method":"notify","params":{"message":"a"}}'
    assert encode_method(Notify("a", auto_run=False)) == b'{"method":"notify","params":{"message":"a","auto_run":false}}'
    assert decode_method(b'{"method":"notify","params":{"message":"a","auto_run":true}}') == Notify("a")


def test_a_hello_shows_no_secret_and_leaves_out_what_it_does_not_say():
    hello = Hello([1, 2], "c/1", "i", key="SECRET", birth=BirthCredential("x", "i1", "SECRET"), resume=ResumePoint("i0", 7))
    assert hello.protocol == (1, 2)
    assert "SECRET" not in repr(hello)
    assert decode_method(encode_method(hello, id="1")) == hello
    frame = encode_method(Hello((1,), "c/1", "i"))
    assert frame == b'{"method":"hello","params":{"protocol":[1],"client":"c/1","instance":"i","subscribe":"none"}}'
    assert Hello((1,), "c/1", "i").subscribe is Subscribe.NONE


def test_what_a_child_handed_on_is_read_with_the_rules_of_scopes():
    rule = ScopeRule("/w", Permission.WRITE)
    event = PodScopeSubDelegated("a", "b", "/s", [rule])
    assert event.scope == (rule,)
    frame = encode_method(PodEventMethod(event))
    assert json.loads(frame)["params"]["scope"] == [{"target": "/w", "permission": "write", "recursive": True}]
    assert decode_method(frame.replace(b',"recursive":true', b"")) == PodEventMethod(event)
    for old, new in (
        (b'"/w"', b'"w"'),
        (b'"/w"', b'"/w/../x"'),
        (b'"/w"', b"5"),
        (b'"/w"', b'"/' + b"x" * 5000 + b'"'),
        (b'"write"', b'"none"'),
        (b'"write"', b"2"),
        (b'"write"', b'"Write"'),
        (b"true", b"1"),
        (b"true", b"null"),
        (b'"target":"/w",', b""),
        (b'"permission":"write",', b""),
        (b'[{"target":"/w","permission":"write","recursive":true}]', b'["/w"]'),
    ):
        assert old in frame
        refused(frame.replace(old, new), "params.scope")
    with pytest.raises(InvalidRuleError):
        ScopeRule("w", Permission.READ)


def test_a_pod_event_carries_its_id_and_incarnation_only_when_it_has_them():
    assert encode_method(PodEventMethod(PodShutDown("x"))) == b'{"method":"pod_event","params":{"kind":"shut_down","pod_name":"x"}}'
    event = PodTurnEnded("x", id="e1", incarnation="i1")
    assert json.loads(encode_method(PodEventMethod(event)))["params"] == {
        "kind": "turn_ended",
        "pod_name": "x",
        "id": "e1",
        "incarnation": "i1",
    }
    assert decode_method(encode_method(PodEventMethod(event))).event == event


@pytest.mark.parametrize(
    ("method", "given", "match"),
    [
        (Notify("\ud800"), {}, "surrogate"),
        (Notify(5), {}, "notify: message: expected text"),
        (Notify("a", auto_run=1), {}, "auto_run"),
        (Run([Text("a"), "b"]), {}, "input.1: expected one of text, paste"),
        (Run([TextDelta("a")]), {}, "input.0"),
        (Run([Paste(1, 2, 2**32, "")]), {}, "input.0.lines: an integer here is between 0 and 4294967295"),
        (Run([Paste(True, 2, 1, "")]), {}, "input.0.id"),
        (RewindTo(RewindTarget("not-a-uuid", 0), 0), {}, "target.segment_id"),
        (RewindTo(RewindTarget(5, 0), 0), {}, "target.segment_id"),
        (RewindTo("x", 0), {}, "expected a RewindTarget"),
        (PodEventMethod("turn_ended"), {}, "event"),
        (
            PodEventMethod(attrs.evolve(PodScopeSubDelegated("a", "b", "/s", ()), scope=["/w"])),
            {},
            "event.scope.0: expected a ScopeRule",
        ),
        (Hello((1,), "c", "i", resume="x"), {}, "resume"),
        (Hello((2**32,), "c", "i"), {}, "protocol.0"),
        (TextDelta("a"), {}, "not a method"),
        ("resume", {}, "not a method"),
        (None, {}, "not a method"),
        (Resume(), {"id": ""}, "an id"),
        (Resume(), {"id": "x" * 65}, "an id"),
        (Resume(), {"id": "a\nb"}, "an id"),
        (Resume(), {"id": 5}, "an id"),
        (Resume(), {"run": 1}, "does not speak of a run"),
        (Notify("a"), {"run": 1}, "does not speak of a run"),
        (Cancel(), {"run": -1}, "a run is a number"),
        (Cancel(), {"run": True}, "a run is a number"),
        (Pause(), {"run": 2**63}, "a run is a number"),
    ],
)
def test_what_the_wire_does_not_allow_is_not_written(method, given, match):
    with pytest.raises(LocalProtocolError, match=match):
        encode_method(method, **given)


def test_a_method_that_only_looks_like_one_is_not_written():
    class Fake:
        method = "resume"

    with pytest.raises(LocalProtocolError, match="Fake is not a method"):
        encode_method(Fake())
    odd = Run("a")
    object.__setattr__(odd, "input", ["a"])
    with pytest.raises(LocalProtocolError, match="expected a tuple"):
        encode_method(odd)


def test_methods_without_params_are_written_without_them():
    for method, name in ((Resume(), "resume"), (GetHistory(), "get_history"), (ShutdownMethod(), "shutdown")):
        assert encode_method(method, id="7") == b'{"method":"%b","id":"7"}' % name.encode()
    assert encode_method(Pause(), run=3) == b'{"method":"pause","run":3}'


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (b'{"method":"no_such","id":"7"}', "7"),
        (b'{"id":"7","params":{"deep":[1,{"x":null}]}}', "7"),
        (b'{"id":"7","method":"notify","method":"notify"}', "7"),
        (b'{"id":7}', None),
        (b'{"id":null}', None),
        (b'{"id":""}', None),
        (b'{"id":"a\\u0000"}', None),
        (b'{"id":"' + b"x" * 65 + b'"}', None),
        (b'{"id":"7"', None),
        (b'{"id":"7"} x', None),
        (b'["id"]', None),
        (b"", None),
        (b'{"id":"\xff"}', None),
        (b'{"id":"7","x":' + b"[" * 100_000, None),
    ],
)
def test_a_refusal_can_name_the_id_of_a_frame_that_is_json(frame, found):
    assert peek_id(frame) == found


KEY = "v3ry-s3cret"
CREDENTIAL = '"birth":{"incarnation":"i","secret":"v3ry-s3cret"}'


@pytest.mark.parametrize(
    "frame",
    [
        f'{{"method":"hello","params":{{"key":"{KEY}"}}}}',
        f'{{"method":"hello","params":{{"key":"{KEY}",}}}}',
        f'{{"params":{{"key":"{KEY}"}},"method":"hell"}}',
        f'{{"key":"{KEY}"}}',
        f'{{"method":"hello","params":{{"k\\u0065y":"{KEY}"}}}}',
        f'{{"method":"hello","params":{{{CREDENTIAL}}}}}',
        f'{{"method":"hello","params":{{{CREDENTIAL},"x":NaN}}}}',
        f'{{"method":"hello","params":{{"key":"{KEY}"}},"x":{"[" * 90}{"]" * 90}}}',
        f'{{"method":"hello","params":{{"key":"{KEY}","x":"\xff"}}}}',
    ],
)
@pytest.mark.proves("I36")
def test_no_error_carries_a_key_or_the_secret_of_a_birth(frame):
    raw = frame.encode("latin-1")
    for error in (refused(raw), overlong(raw)):
        assert KEY not in f"{error!r} {error} {error.reason} {error.frame!r} {error.__cause__!r} {error.args}"
    assert refused(b'{"method":"notify","params":{"message":5}}').frame  # what holds none is shown


def overlong(line):
    decoder = LineDecoder(max_line=20)
    with pytest.raises(RemoteProtocolError) as caught:
        decoder.feed(line)
    return caught.value
