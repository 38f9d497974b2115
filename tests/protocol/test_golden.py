"""Lines two other implementations were given, and what they made of them: podkit reads what either reads, with the same meaning."""

import json
from pathlib import Path

import jsonschema
import pytest

from podkit.errors import RemoteProtocolError
from podkit.protocol import (
    UnknownEvent,
    decode_event,
    decode_method,
    encode_event,
    encode_method,
    event_schemas,
    method_schemas,
)

ROWS = [json.loads(line) for line in (Path(__file__).parent.parent / "golden" / "messages.jsonl").read_text().splitlines()]
DECODE = {"method": decode_method, "event": decode_event}
ENCODE = {"method": encode_method, "event": encode_event}
SCHEMAS = {"method": method_schemas, "event": event_schemas}


def expected(row):
    return row["gen_b"] or row["gen_a"]


def contains(whole, part):
    """Whether `whole` says everything that `part` says."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and contains(whole[name], part[name]) for name in part)
    return whole == part and type(whole) is type(part)


def test_the_corpus_is_whole():
    assert len(ROWS) == 105
    assert {row["kind"] for row in ROWS} == {"method", "event"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["line"][:60])
def test_a_line_means_what_it_means_to_others(row):
    decode, line = DECODE[row["kind"]], row["line"].encode()
    if row["line"].startswith('{"event":"unknown_thing"'):
        # Others stop reading at an unknown kind. We must not: a newer pod may say it.
        assert decode(line) == UnknownEvent("unknown_thing", {})
        return
    if expected(row) is None:
        with pytest.raises(RemoteProtocolError) as caught:
            decode(line)
        assert line.startswith(caught.value.frame)
        assert caught.value.frame
        return
    value = decode(line)
    for generation in ("gen_a", "gen_b"):
        if row[generation] is not None and not (generation == "gen_a" and row["gen_b"]):
            assert value == decode(row[generation].encode())
    written, wanted = json.loads(ENCODE[row["kind"]](value)), json.loads(expected(row))
    if wanted.get("event") == "history":
        assert contains(written, wanted)  # our greeting says more than that of generation A
    else:
        assert written == wanted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["line"][:60])
def test_the_schemas_accept_exactly_the_lines_that_are_read(row):
    try:
        data = json.loads(row["line"])
    except ValueError:
        return
    accepted = set()
    for kind, schemas in SCHEMAS.items():
        accepted |= {(kind, name) for name, schema in schemas().items() if jsonschema.Draft202012Validator(schema).is_valid(data)}
    known = expected(row) is not None
    assert accepted == ({(row["kind"], data[row["kind"]])} if known else set())
