"""The enumerations are open where a newer peer may say more, and nothing it says makes them grow."""

import copy
import pickle

import pytest

from podkit.errors import LocalProtocolError, RemoteProtocolError
from podkit.protocol import (
    AlertLevel,
    AlertSource,
    CompletionKind,
    Error,
    ErrorCode,
    Hello,
    InvokeKind,
    ListCompletions,
    Role,
    RunEnd,
    RunResult,
    Status,
    Subscribe,
    TurnResult,
    decode_event,
    decode_method,
    encode_event,
    encode_method,
)

ENUMS = [AlertLevel, AlertSource, CompletionKind, ErrorCode, InvokeKind, Role, RunResult, Status, Subscribe, TurnResult]


@pytest.mark.parametrize("cls", ENUMS)
def test_members_are_known_and_are_their_text(cls):
    for member in cls:
        assert member.known
        assert member == member.value == str(member) == f"{member}"
        assert cls(member.value) is member
        assert member.name.lower() == member.value
        assert pickle.loads(pickle.dumps(member)) is copy.deepcopy(member) is copy.copy(member) is member


@pytest.mark.parametrize("cls", ENUMS)
def test_an_unknown_value_equals_its_text_and_is_not_known(cls):
    value = cls("from the future")
    assert isinstance(value, cls)
    assert not value.known
    assert value == "from the future" == str(value) == value.value
    assert hash(value) == hash("from the future")
    assert value == cls("from the future")
    assert value not in list(cls)
    assert value != next(iter(cls))
    assert {value: 1}[cls("from the future")] == 1
    for twin in (copy.copy(value), copy.deepcopy(value), *(pickle.loads(pickle.dumps(value, n)) for n in range(6))):
        assert twin == value
        assert type(twin) is cls
        assert not twin.known


def test_members_have_a_repr_that_names_them_and_unknown_values_one_that_is_bounded():
    assert repr(Status.IDLE) == "<Status.IDLE: 'idle'>"
    assert repr(Status("x")) == "<Status unknown 'x'>"
    assert len(repr(Status("\n" * 10_000))) < 400


def test_what_is_not_text_is_no_value():
    for odd in (5, None, b"idle", True):
        with pytest.raises(ValueError, match="not a valid Status"):
            Status(odd)


def test_ten_thousand_unknown_values_leave_nothing_behind():
    before = len(ErrorCode), len(ErrorCode._value2member_map_), len(vars(ErrorCode))
    for index in range(10_000):
        assert decode_event(b'{"event":"error","data":{"code":"c%d","message":""}}' % index).code == f"c{index}"
    assert (len(ErrorCode), len(ErrorCode._value2member_map_), len(vars(ErrorCode))) == before


def test_events_keep_unknown_values_and_methods_refuse_them():
    frame = b'{"event":"run_end","data":{"result":"evaporated"}}'
    assert decode_event(frame) == RunEnd(RunResult("evaporated"))
    assert encode_event(decode_event(frame)) == frame
    with pytest.raises(RemoteProtocolError, match=r"evaporated.*file, knowledge, workflow"):
        decode_method(b'{"method":"list_completions","params":{"kind":"evaporated","prefix":""}}')
    with pytest.raises(LocalProtocolError, match="evaporated"):
        encode_method(ListCompletions(CompletionKind("evaporated"), ""))
    with pytest.raises(LocalProtocolError, match="subscribe"):
        encode_method(Hello((1,), "c/1", "i", subscribe=Subscribe("evaporated")))


def test_a_value_of_another_enumeration_or_plain_text_is_not_written():
    for odd in (Status.IDLE, "internal", None):
        with pytest.raises(LocalProtocolError, match="ErrorCode"):
            encode_event(Error(odd, "m"))
