"""The JSON Schemas say what the codec does."""

import json
from typing import get_args

import jsonschema
import pytest
from hypothesis import given, settings

from podkit.errors import RemoteProtocolError
from podkit.protocol import Event, Method, UnknownEvent, decode_method, encode_event, encode_method, event_schemas, method_schemas

SCHEMAS = {**method_schemas(), **{f"event {name}": schema for name, schema in event_schemas().items()}}


def test_every_message_has_a_schema():
    assert set(method_schemas()) == {cls.method for cls in get_args(Method)}
    assert set(event_schemas()) == {cls.event for cls in get_args(Event) if cls is not UnknownEvent}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_a_schema_and_is_json(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert json.loads(json.dumps(SCHEMAS[name])) == SCHEMAS[name]
    assert SCHEMAS[name]["description"]


def test_every_method_we_write_is_valid_under_its_schema(wire):
    validators = {name: jsonschema.Draft202012Validator(schema) for name, schema in method_schemas().items()}

    @settings(max_examples=300, deadline=None)
    @given(wire.methods, wire.ids)
    def check(method, name):
        validators[method.method].validate(json.loads(encode_method(method, id=name)))

    check()


def test_every_event_we_write_is_valid_under_its_schema(wire):
    validators = {name: jsonschema.Draft202012Validator(schema) for name, schema in event_schemas().items()}

    @settings(max_examples=300, deadline=None)
    @given(wire.events, wire.ids, wire.counts)
    def check(event, re, seq):
        frame = json.loads(encode_event(event, re=re, seq=seq))
        if type(event) is UnknownEvent:
            assert not any(validator.is_valid(frame) for validator in validators.values())
        else:
            validators[event.event].validate(frame)

    check()


@pytest.mark.parametrize(
    "segment_id",
    [
        "018f4e1c-0000-7000-8000-000000000001",
        "018F4E1C-0000-7000-8000-000000000001",
        "018f4e1c000070008000000000000001",
        "{018f4e1c-0000-7000-8000-000000000001}",
        "urn:uuid:018f4e1c-0000-7000-8000-000000000001",
        "018f4e1c-0000-7000-8000-00000000000",
        "018f4e1c-0000-7000-8000-00000000000g",
        "018f4e1c00007000-8000-000000000001",
        "{018f4e1c-0000-7000-8000-000000000001",
        "018f4e1c-0000-7000-8000-000000000001\n",
        "",
        "urn:uuid:",
        "\u066018f4e1c-0000-7000-8000-000000000001",
        5,
    ],
)
def test_schema_and_codec_agree_on_what_a_uuid_is(segment_id):
    params = {"target": {"segment_id": segment_id, "user_input_entry_index": 0}, "expected_head_entries": 0}
    data = {"method": "rewind_to", "params": params}
    valid = jsonschema.Draft202012Validator(method_schemas()["rewind_to"]).is_valid(data)
    try:
        method = decode_method(json.dumps(data).encode())
    except RemoteProtocolError:
        assert not valid
    else:
        assert valid
        assert method.target.segment_id == "018f4e1c-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("target", "good"),
    [
        ("/", True),
        ("/a/b", True),
        ("/...", True),
        ("/.git", True),
        ("/a\n", True),
        ("/..\n", True),
        ("/a//b", False),
        ("/a/", False),
        ("/a/.", False),
        ("/a/..", False),
        ("/../a", False),
        ("a", False),
        ("", False),
        ("/a\0", False),
        ("//", False),
    ],
)
def test_schema_and_codec_agree_on_what_a_target_is(target, good):
    rule = {"target": target, "permission": "read"}
    event = {"kind": "scope_sub_delegated", "parent_pod": "a", "sub_pod": "b", "sub_socket": "/s", "scope": [rule]}
    data = {"method": "pod_event", "params": event}
    assert jsonschema.Draft202012Validator(method_schemas()["pod_event"]).is_valid(data) is good
    if good:
        assert decode_method(json.dumps(data).encode()).event.scope[0].target == target
    else:
        with pytest.raises(RemoteProtocolError):
            decode_method(json.dumps(data).encode())
