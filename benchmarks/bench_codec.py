"""What an event costs as bytes, beside other codecs for the same bytes: python benchmarks/bench_codec.py [--quick]

The mix is what a conversation is made of: 1000 pieces of text, 50 finished tool calls of 700 bytes, one snapshot of 500 log
entries, each with its number in the stream. Every codec reads the same lines and has to write what reads the same. The pieces of
text are also read as one chunk of lines, which podkit and msgspec can do in one call. The limit is msgspec with Structs: a
tagged union of typed envelopes, read and written in C. podkit reads into frozen attrs classes and refuses besides what is nested
too deep, numbers beyond 64 bits and text that is not Unicode. Peers: plain json into dictionaries, cattrs with a tagged union of
the same classes, pydantic with a discriminated union, and the envelope of MCP around the same data.

Processor time; each case is measured between two slices of the limit, and the ratio is to the mean of these two (median of the
rounds).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, Literal

import attrs
import cattrs
import msgspec
from _rounds import installed, machine, sandwiched, skipped, table

from podkit.protocol import Event, Greeting, Snapshot, TextDelta, ToolCallDone, encode_event, read_event, read_events

Read = Callable[[bytes], object]
Write = Callable[[Any], bytes]
ReadMany = Callable[[bytes], object]

PEERS: dict[str, str | None] = {"pydantic, discriminated union": "pydantic", "mcp, the envelope alone": "mcp"}
LIMIT = "msgspec.Struct"
OURS = "podkit"


def entries() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range(125):
        stamp, run = 1_700_000_000_000 + number, number // 5 + 1
        say = {"kind": "message", "role": "assistant", "content": [{"kind": "text", "text": "I looked at it. " * 20}]}
        call = {
            "kind": "tool_call",
            "call_id": f"call_{number}",
            "name": "Edit",
            "arguments": json.dumps({"path": "/w/a.py", "old": "x" * 150}),
        }
        think = {"kind": "reasoning", "text": "what follows from this " * 12, "summary": ["a step"]}
        result = {"kind": "tool_result", "call_id": f"call_{number}", "summary": "edited", "content": "line of a file\n" * 20}
        made += [{"kind": "assistant_item", "ts": stamp, "item": item, "run": run} for item in (think, say, call)]
        made.append({"kind": "tool_result", "ts": stamp, "item": result, "run": run})
    return made


GREETING = Greeting("root", "/home/user/work", "anthropic", "claude", "write /home/user/work", ("Read", "Edit", "Bash"))
DELTA = TextDelta("and then we see what it does", run=3)
CALL = ToolCallDone(
    "call_17", "Edit", json.dumps({"path": "/w/src/module.py", "old": "return None\n" * 20, "new": "return 1\n" * 32}), run=3
)
KINDS: dict[str, tuple[Event, int]] = {
    "text_delta": (DELTA, 1000),
    "tool_call_done": (CALL, 50),
    "snapshot": (Snapshot(entries(), GREETING), 1),
}
LINES = {name: encode_event(event, seq=123_456) for name, (event, _) in KINDS.items()}
STREAM = "1000 text_delta, one chunk"


class DeltaData(msgspec.Struct, frozen=True, omit_defaults=True):
    text: str
    run: int | None = None


class CallData(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    name: str
    arguments: str
    run: int | None = None


class GreetingData(msgspec.Struct, frozen=True):
    pod_name: str
    cwd: str
    provider: str
    model: str
    scope_summary: str
    tools: tuple[str, ...]
    context_window: int = 0
    context_tokens: int = 0


class SnapshotData(msgspec.Struct, frozen=True, omit_defaults=True):
    entries: tuple[Any, ...]
    greeting: GreetingData
    status: Literal["idle", "running", "paused"] = "idle"
    in_flight: Any = None


class DeltaFrame(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event", tag="text_delta"):
    data: DeltaData
    seq: int | None = None


class CallFrame(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event", tag="tool_call_done"):
    data: CallData
    seq: int | None = None


class SnapshotFrame(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="event", tag="snapshot"):
    data: SnapshotData
    seq: int | None = None


def by_msgspec() -> tuple[Read, Write]:
    return msgspec.json.Decoder(DeltaFrame | CallFrame | SnapshotFrame).decode, msgspec.json.Encoder().encode


def many_by_msgspec() -> ReadMany:
    return msgspec.json.Decoder(DeltaFrame | CallFrame | SnapshotFrame).decode_lines


def by_podkit() -> tuple[Read, Write]:
    return read_event, lambda said: encode_event(said.event, seq=said.seq)


def by_json() -> tuple[Read, Write]:
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    return json.loads, lambda value: encode(value).encode()


def by_cattrs() -> tuple[Read, Write]:
    converter = cattrs.Converter()
    classes = {"text_delta": TextDelta, "tool_call_done": ToolCallDone, "snapshot": Snapshot}
    names = {cls: name for name, cls in classes.items()}
    encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

    def read(frame: bytes) -> object:
        made = json.loads(frame)
        return converter.structure(made["data"], classes[made["event"]]), made.get("seq")

    def write(said: Any) -> bytes:
        event, seq = said
        return encode({"event": names[type(event)], "data": converter.unstructure(event), "seq": seq}).encode()

    converter.register_structure_hook(
        Snapshot, lambda data, _: Snapshot(data["entries"], converter.structure(data["greeting"], Greeting))
    )
    return read, write


def by_pydantic() -> tuple[Read, Write]:
    pydantic: Any = import_module("pydantic")

    def frame(kind: str, **fields: Any) -> Any:
        data = pydantic.create_model(f"{kind}_data", **fields)
        return pydantic.create_model(f"{kind}_frame", event=(Literal[kind], kind), data=(data, ...), seq=(int | None, None))

    greeting = {field.name: (Any if field.name == "tools" else str | int | None, None) for field in attrs.fields(Greeting)}
    kinds = (
        frame("text_delta", text=(str, ...), run=(int | None, None)),
        frame("tool_call_done", id=(str, ...), name=(str, ...), arguments=(str, ...), run=(int | None, None)),
        frame("snapshot", entries=(list[Any], ...), greeting=(pydantic.create_model("g", **greeting), ...), status=(str, "idle")),
    )
    adapter = pydantic.TypeAdapter(Annotated[kinds[0] | kinds[1] | kinds[2], pydantic.Field(discriminator="event")])
    return adapter.validate_json, lambda value: bytes(value.model_dump_json().encode())


def by_mcp() -> tuple[Read, Write]:
    types: Any = import_module("mcp.types")

    def read(frame: bytes) -> object:
        return types.jsonrpc_message_adapter.validate_json(frame)

    return read, lambda value: bytes(value.model_dump_json(by_alias=True, exclude_unset=True).encode())


def as_jsonrpc(line: bytes) -> bytes:
    made = json.loads(line)
    params = {**made["data"], "seq": made["seq"]}
    return json.dumps(
        {"jsonrpc": "2.0", "method": made["event"], "params": params}, separators=(",", ":"), ensure_ascii=False
    ).encode()


def codecs() -> dict[str, tuple[Read, Write, dict[str, bytes]]]:
    made = {
        OURS: (*by_podkit(), LINES),
        "json, dictionaries": (*by_json(), LINES),
        "json and cattrs": (*by_cattrs(), LINES),
    }
    if installed("pydantic"):
        made["pydantic, discriminated union"] = (*by_pydantic(), LINES)
    if installed("mcp"):
        made["mcp, the envelope alone"] = (*by_mcp(), {kind: as_jsonrpc(line) for kind, line in LINES.items()})
    return made


def acts(read: Read, write: Write, lines: dict[str, bytes], read_many: ReadMany | None = None) -> dict[str, Callable[[], object]]:
    """Reading and writing each kind, a chunk of lines, and the whole mix of them."""
    values = {kind: read(line) for kind, line in lines.items()}
    for kind, line in lines.items():
        assert json.loads(write(values[kind])).items() >= json.loads(line).items() or kind == "snapshot", kind
    made: dict[str, Callable[[], object]] = {}
    for kind, one in lines.items():
        made[f"{kind} read"] = lambda line=one: read(line)  # type: ignore[misc]
        made[f"{kind} write"] = lambda value=values[kind]: write(value)  # type: ignore[misc]
    chunk = b"\n".join([lines["text_delta"]] * 1000) + b"\n"
    many = read_many if read_many is not None else lambda chunk: [read(line) for line in chunk.splitlines()]
    made[STREAM] = lambda: many(chunk)
    every = [line for kind, line in lines.items() for _ in range(KINDS[kind][1])]
    said = [value for kind, value in values.items() for _ in range(KINDS[kind][1])]

    def read_mix() -> None:
        for line in every:
            read(line)

    def write_mix() -> None:
        for value in said:
            write(value)

    def mix() -> None:
        read_mix()
        write_mix()

    return made | {"mix read": read_mix, "mix write": write_mix, "mix": mix}


def measure(rounds: int, seconds: float, columns: list[str]) -> None:
    limit = acts(*by_msgspec(), LINES, many_by_msgspec())
    cases = {name: acts(*codec, read_events if name == OURS else None) for name, codec in codecs().items()}
    found = {
        column: sandwiched({name: made[column] for name, made in cases.items()}, limit[column], rounds, seconds)
        for column in columns
    }
    rows = [[LIMIT, *("1.00" for _ in columns), ""]]
    rows += [[name, *(f"{found[column].ratio(name):.2f}" for column in columns), found["mix"].spread(name)] for name in cases]
    table(["time, as a multiple of the limit", *columns, "mix, least to most"], rows)
    mix = found["mix"].value(OURS)
    count = sum(count for _, count in KINDS.values())
    print(f"\npodkit the mix of {count} events in {mix / 1000:.2f} ms, {count / mix:.2f} million a second")
    print(f"aim: mix <= 2.0x msgspec.Struct; measured {found['mix'].ratio(OURS):.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the mix only, a few rounds")
    options = parser.parse_args()
    print(machine(["msgspec", "cattrs", "pydantic", "mcp"]))
    print(*skipped(PEERS), sep="\n")
    print(", ".join(f"{kind} {len(line):,} B" for kind, line in LINES.items()))
    columns = [f"{kind} {way}" for kind in KINDS for way in ("read", "write")] + [STREAM, "mix read", "mix write"]
    measure(
        3 if options.quick else 15, 0.005 if options.quick else 0.03, [*(columns if not options.quick else columns[-2:]), "mix"]
    )


if __name__ == "__main__":
    main()
