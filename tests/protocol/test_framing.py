"""The line decoder: bytes in whatever pieces, the same frames."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podkit.errors import RemoteProtocolError
from podkit.protocol import LineDecoder

STREAM = b'{"a":1}\n\n  \t\r\n{"b":"\xe2\x80\xa8"}\r\n{"c":"\xc2\x85"}\n{"d":4}'
FRAMES = [b'{"a":1}', b'{"b":"\xe2\x80\xa8"}\r', b'{"c":"\xc2\x85"}', b'{"d":4}']


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
@pytest.mark.proves("F18")
def test_a_stream_cut_anywhere_gives_the_same_frames(cut):
    decoder = LineDecoder(max_line=100)
    assert decoder.feed(STREAM[:cut]) + decoder.feed(STREAM[cut:]) + decoder.finish() == FRAMES


@pytest.mark.proves("F18")
def test_a_stream_byte_by_byte_gives_the_same_frames():
    decoder = LineDecoder(max_line=100)
    frames = [frame for index in range(len(STREAM)) for frame in decoder.feed(STREAM[index : index + 1])]
    assert frames == FRAMES[:-1]
    assert decoder.pending == len(FRAMES[-1])
    assert decoder.finish() == FRAMES[-1:]
    assert decoder.finish() == []
    assert decoder.pending == 0


@settings(deadline=None)
@given(st.lists(st.binary(max_size=30)), st.integers(1, 20))
def test_any_bytes_in_any_pieces_are_the_lines_up_to_the_first_overlong_one(pieces, limit):
    lines = b"".join(pieces).split(b"\n")
    wanted = []
    overlong = False
    for line in lines:
        if overlong := len(line) > limit:
            break
        if line.strip(b" \t\r\x0b\x0c"):
            wanted.append(line)
    decoder, got, raised = LineDecoder(max_line=limit), [], False
    try:
        for piece in pieces:
            got += decoder.feed(piece)
        got += decoder.finish()
    except RemoteProtocolError:
        raised = True
    assert got == wanted
    assert raised == overlong == decoder.failed


def test_a_line_of_exactly_the_limit_passes_and_one_more_does_not():
    assert LineDecoder(max_line=5).feed(b"12345\n") == [b"12345"]
    assert LineDecoder(max_line=5).feed(b"12345") == []
    for late in (b"123456", b"123456\n"):
        with pytest.raises(RemoteProtocolError):
            LineDecoder(max_line=5).feed(late)


@pytest.mark.proves("I16", "I35")
def test_an_overlong_line_is_refused_before_it_ends_and_for_good():
    decoder = LineDecoder(max_line=5)
    assert decoder.feed(b"abc") == []
    for again in (lambda: decoder.feed(b"defg"), lambda: decoder.feed(b"\n{}\n"), lambda: decoder.feed(b""), decoder.finish):
        with pytest.raises(RemoteProtocolError) as caught:
            again()
        assert caught.value.frame == b"abcdefg"
        assert caught.value.fatal
        assert "5 bytes" in caught.value.reason
    assert decoder.pending == 0


def test_frames_complete_before_an_overlong_line_are_not_lost():
    decoder = LineDecoder(max_line=5)
    assert decoder.feed(b"1\n2\n" + b"x" * 200 + b"\n3\n") == [b"1", b"2"]
    assert decoder.failed
    assert "failed" in repr(decoder)
    with pytest.raises(RemoteProtocolError) as caught:
        decoder.feed(b"4\n")
    assert caught.value.frame == b"x" * 128


def test_an_overlong_line_of_white_space_is_overlong_too():
    with pytest.raises(RemoteProtocolError):
        LineDecoder(max_line=5).feed(b" " * 6)


def test_bytes_are_not_kept_by_reference():
    data = bytearray(b"ab\ncd")
    decoder = LineDecoder(max_line=5)
    frames = decoder.feed(data)
    data[:] = b"xxxxx"
    assert frames + decoder.feed(memoryview(b"e\n")) == [b"ab", b"cde"]
    assert all(type(frame) is bytes for frame in frames)


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        LineDecoder(max_line=0)


def test_the_time_a_long_line_takes_is_linear_in_its_bytes():
    def seconds(size):
        decoder, piece = LineDecoder(max_line=2**30), b"x" * 256
        begin = time.process_time()
        for _ in range(size // 256):
            decoder.feed(piece)
        return time.process_time() - begin

    # A rescan or a copy for each piece would take 16 times as long for 4 times the bytes.
    seconds(2**20)
    small = min(seconds(2**21) for _ in range(3))
    assert min(seconds(2**23) for _ in range(3)) < 10 * small
