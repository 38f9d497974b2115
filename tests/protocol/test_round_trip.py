"""What is encoded is decoded to the same value, for every class there is."""

import json
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podkit import protocol
from podkit.protocol import (
    Cancel,
    Event,
    LogEntry,
    Method,
    Pause,
    decode_entry,
    decode_event,
    decode_method,
    encode_entry,
    encode_event,
    encode_method,
    entry_from_data,
    entry_to_data,
    read_event,
    read_method,
)

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def check_frame(frame):
    assert b"\n" not in frame
    text = frame.decode()
    assert text == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) or any(c in text for c in ".e")
    return frame


@pytest.mark.parametrize("cls", get_args(Method), ids=lambda cls: cls.__name__)
@pytest.mark.proves("I17")
def test_every_method_comes_back_as_it_was(cls, wire):
    @QUICK
    @given(wire.instances(cls, lax=False), wire.ids, wire.counts)
    def check(method, name, run):
        run = run if isinstance(method, Cancel | Pause) else None
        frame = check_frame(encode_method(method, id=name, run=run))
        assert decode_method(frame) == method
        assert type(decode_method(frame)) is cls
        read = read_method(frame)
        assert (read.method, read.id, read.run) == (method, name, run)
        assert encode_method(decode_method(frame), id=name, run=run) == frame

    check()


@pytest.mark.parametrize("cls", get_args(Event), ids=lambda cls: cls.__name__)
@pytest.mark.proves("I17")
def test_every_event_comes_back_as_it_was(cls, wire):
    @QUICK
    @given(wire.instances(cls, lax=True), wire.ids, wire.counts, wire.counts)
    def check(event, re, seq, first):
        frame = check_frame(encode_event(event, re=re, seq=seq, first=first))
        assert decode_event(frame) == event
        assert type(decode_event(frame)) is cls
        read = read_event(frame)
        assert (read.event, read.re, read.seq, read.first) == (event, re, seq, first)
        assert encode_event(decode_event(frame), re=re, seq=seq, first=first) == frame

    check()


@pytest.mark.parametrize("cls", get_args(LogEntry), ids=lambda cls: cls.__name__)
def test_every_log_entry_comes_back_as_it_was(cls, wire):
    @QUICK
    @given(wire.instances(cls, lax=True))
    def check(entry):
        assert decode_entry(check_frame(encode_entry(entry))) == entry
        assert entry_from_data(entry_to_data(entry)) == entry
        assert json.loads(encode_entry(entry)) == entry_to_data(entry)

    check()


def test_text_is_written_as_it_is_and_not_escaped():
    frame = encode_event(protocol.TextDelta("☃ \u2028 ü"))
    assert "☃ \u2028 ü".encode() in frame


def test_the_writer_made_per_class_and_the_plain_way_write_the_same(wire, monkeypatch):
    from podkit.protocol import _events_codec

    @settings(max_examples=300, deadline=None)
    @given(wire.events, st.data())
    def check(event, data):
        with pytest.MonkeyPatch.context() as patch:
            quick = encode_event(event, seq=3)
            patch.setattr(_events_codec, "_WRITERS", {})
            assert encode_event(event, seq=3) == quick

    check()
