"""Births on the wire between parent and child: read strictly, or not at all."""

import json
import os

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import podkit
from podkit._life._plan_document import Document, decode_document, encode_document
from podkit.testing import ScriptedWorker
from podkit_transports import UnixTransport

WHOLE = Document(
    name="kid",
    incarnation="0123456789abcdef",
    tree="root-abcdef",
    scope=podkit.Scope.write("/w/a"),
    grant=podkit.Scope(
        allow=[podkit.ScopeRule("/w", podkit.Permission.READ)], deny=[podkit.ScopeRule("/w/x", podkit.Permission.READ)]
    ),
    parent="root",
    parent_incarnation="fedcba9876543210",
    parent_address="unix:///r/root/sock",
    parent_instance="i" * 32,
    address="unix:///r/kid/sock",
    run_dir="/r",
    locator="file:///r",
    cwd="/w",
    on_parent_death="stop",
    confinement="advisory",
    limits=podkit.Limits(depth=3, notices=7),
    sessions="file:///s",
    restore=False,
    secret="s" * 64,
    lease_fd=7,
    listener_fd=8,
    ready_fd=9,
)


def test_a_document_survives_the_pipe():
    assert decode_document(encode_document(WHOLE)) == WHOLE


@pytest.mark.proves("I36")
def test_the_secrets_are_not_in_the_repr():
    assert "s" * 64 not in repr(WHOLE)
    assert "i" * 32 not in repr(WHOLE)


@pytest.mark.parametrize("key", sorted(json.loads(encode_document(WHOLE))))
@pytest.mark.parametrize("value", ["missing", None, 5, True, [], {}, ""])
def test_one_wrong_member_is_enough_to_refuse(key, value):
    data = json.loads(encode_document(WHOLE))
    if value == "missing":
        del data[key]
    else:
        data[key] = value
    lawful = {"run_dir": value is None, "sessions": value == "", "restore": value is True}
    if lawful.get(key) or (key.endswith("_fd") and value == 5):
        decode_document(json.dumps(data).encode())
        return
    with pytest.raises(podkit.NotBornError):
        decode_document(json.dumps(data).encode())


@pytest.mark.parametrize(
    "change",
    [{"extra": 1}, {"format": 2}, {"lease_fd": 2}, {"lease_fd": -1}, {"name": "../x"}, {"scope": {"allow": []}, "grant": 1}],
)
def test_what_is_unknown_or_out_of_range_is_refused(change):
    data = json.loads(encode_document(WHOLE)) | change
    with pytest.raises(podkit.NotBornError):
        decode_document(json.dumps(data).encode())


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_refused_and_nothing_else_happens(raw):
    with pytest.raises(podkit.NotBornError):
        decode_document(raw)


def test_deep_nesting_is_refused():
    with pytest.raises(podkit.NotBornError):
        decode_document(b"[" * 100_000)


async def adopt():
    with trio.fail_after(5):
        await podkit.adopt_pod(ScriptedWorker(), transport=UnixTransport())


async def test_a_program_that_nobody_started_is_not_born(monkeypatch):
    monkeypatch.delenv("PODKIT_BIRTH", raising=False)
    with pytest.raises(podkit.NotBornError, match="PODKIT_BIRTH is not set"):
        await adopt()


@pytest.mark.parametrize("value", ["", "x", "-1", "1e3", "999999999999", "٣", "987654321"])
async def test_a_descriptor_that_is_none_is_refused_and_forgotten(monkeypatch, value):
    monkeypatch.setenv("PODKIT_BIRTH", value)
    with pytest.raises(podkit.NotBornError):
        await adopt()
    assert "PODKIT_BIRTH" not in os.environ


async def test_a_descriptor_of_something_else_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(encode_document(WHOLE))
    fd = os.open(path, os.O_RDONLY)
    monkeypatch.setenv("PODKIT_BIRTH", str(fd))
    with pytest.raises(podkit.NotBornError):
        await adopt()


async def test_a_birth_that_ends_in_the_middle_is_refused(monkeypatch):
    read, write = os.pipe()
    os.write(write, encode_document(WHOLE)[:40])
    os.close(write)
    monkeypatch.setenv("PODKIT_BIRTH", str(read))
    with pytest.raises(podkit.NotBornError):
        await adopt()
