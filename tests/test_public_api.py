"""The doors: every promised name is where it is promised, can be called as promised, and nothing else stands there by accident."""

import ast
import importlib
import inspect
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

PROMISED = {
    "podkit": """
        open_pod adopt_pod connect Scope ScopeRule Permission Limits MemoryTransport MemoryRegistry FileRegistry TaskLauncher
        restore_pod fork_session Fork MemorySessionStore FileSessionStore SessionInfo VerifiedSession ProcessLauncher
        UnknownTurnError Transcript TranscriptLimits fold_transcript inspect Completed Outcome StopReport Client Pod Child
        abc protocol errors
        PodkitError ProtocolError LocalProtocolError RemoteProtocolError InvalidNameError ScopeError InvalidRuleError NotSubsetError
        AccessDeniedError PathRefusedError RegistryError DuplicatePodError UnknownPodError WriteConflictError StaleIncarnationError
        AdoptionRefusedError CorruptRegistryError RegistryBusyError TransportError UnknownSchemeError PodUnreachableError
        AuthenticationError MethodRejectedError SpawnError LaunchFailedError NeverReadyError LimitExceededError NotBornError
        DeliveryError StopFailedError SessionError CorruptLogError SessionBusyError UnknownSessionError ConfinementError ModelError
        ToolError InvalidArgumentError ExecutionFailedError""",
    "podkit.protocol": """
        decode_method encode_method decode_event encode_event read_method read_event read_events MethodFrame EventFrame
        LineDecoder
        Permission ScopeRule ErrorCode RunResult Status InvokeKind Role Hello Run Notify Cancel Pause Resume ShutdownMethod
        Welcome Accepted Snapshot UserMessage InvokeStart TurnStart TurnEnd TextDelta TextDone ToolCallDone ToolResult Usage
        RunEnd Error StatusEvent Alert Lagged Shutdown UnknownEvent""",
    "podkit.logic": """
        Scope Limits step Transcript TranscriptLimits TranscriptRun fold_transcript UserInput AssistantText AssistantThinking
        ToolUse ToolReply SystemNote OtherItem""",
    "podkit.abc": """
        Worker Run Tool ToolOutput Transport Registry Lease Launcher Process Pod Completed Job Model ModelRequest FileStat
        Session SessionStore Durability""",
    "podkit.errors": "PodkitError",
    "podkit.tools": "pod_tools",
    "podkit.testing": """
        check_transport check_registry check_launcher check_worker check_model check_session_store open_world simulate Faults Report
        ScriptedWorker Say Sleep CallTool Spawn Fail ScriptedModel record""",
    "podkit_transports": "UnixTransport TcpTransport",
}

# How they are called. What has a default is keyword-only, but for the few that POSITIONAL_DEFAULTS names.
SIGNATURES = {
    "podkit:open_pod": (
        "name worker * scope transport registry"
        " grant= tools= run_dir= cwd= address= plain= generation= confinement= require= limits="
    ),
    "podkit:restore_pod": "name worker * sessions transport registry tools=",
    "podkit:fork_session": "sessions name as_name * scope grant= at=",
    "podkit:adopt_pod": "worker * transport registry= tools=",
    "podkit:connect": "address * transport subscribe= buffer=",
    "podkit:inspect": "registry",
    "podkit:fold_transcript": "transcript event",
    "podkit:ScopeRule": "target permission * recursive=",
    "podkit:Scope": "* allow deny=",
    "podkit:Scope.explain": "path * asked=",
    "podkit:MemoryTransport": "",
    "podkit:MemoryRegistry": "",
    "podkit:FileRegistry": "dir= * lock_timeout= durable=",
    "podkit:MemorySessionStore": "",
    "podkit:FileSessionStore": "directory * durability=",
    "podkit:FileSessionStore.peek": "name",
    "podkit:FileSessionStore.verify": "name",
    "podkit.abc:SessionStore.open": "name * create=",
    "podkit.abc:Session.append": "entries",
    "podkit.abc:Session.rotate": "segment entries",
    "podkit.abc:Session.read": "segment",
    "podkit.abc:Session.save": "manifest",
    "podkit.testing:check_session_store": "make * make_second=",
    "podkit:TaskLauncher": "make_worker",
    "podkit:ProcessLauncher": "argv * env= cwd=",
    "podkit:Client.notify": "message * wake=",
    "podkit:Client.pause": "* run=",
    "podkit:Client.cancel": "* run=",
    "podkit:Client.run": "input",
    "podkit:Client.ask": "input",
    "podkit:Client.wait": "run",
    "podkit:Client.send": "method",
    "podkit:Client.resume": "",
    "podkit:Client.shutdown": "",
    "podkit:Pod.spawn": "name * scope launcher task= grant= cwd= on_parent_death= ready_timeout=",
    "podkit:Pod.call_tool": "name arguments",
    "podkit:Pod.run_process": "argv * cwd= input= timeout= unix_sockets= job= env= network=",
    "podkit:Pod.stopped": "",
    "podkit:Child.stop": "* grace=",
    "podkit.protocol:decode_method": "frame",
    "podkit.protocol:encode_method": "method * id= run=",
    "podkit.protocol:decode_event": "frame",
    "podkit.protocol:encode_event": "event * re= seq=",
    "podkit.protocol:LineDecoder": "* max_line",
    "podkit.abc:Worker.work": "run emit",
    "podkit.abc:Tool.call": "arguments context",
    "podkit.abc:ToolOutput": "summary content=",
    "podkit.abc:Transport.key": "address",
    "podkit.abc:Transport.address": "name run_dir",
    "podkit.abc:Transport.connect": "address",
    "podkit.abc:Transport.listen": "address",
    "podkit.abc:Registry.transact": "decide",
    "podkit.abc:Registry.append": "after facts",
    "podkit.abc:Launcher.launch": "birth",
    "podkit.tools:pod_tools": "launcher",
    "podkit_transports:UnixTransport": "* max_method= max_event=",
    "podkit_transports:TcpTransport": "* key",
    "podkit.testing:check_transport": "make * address=",
    "podkit.testing:open_world": "",
}
POSITIONAL_DEFAULTS = {"podkit:FileRegistry", "podkit.abc:ToolOutput"}


def find(place: str):
    module, _, path = place.partition(":")
    found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


@pytest.mark.parametrize(("door", "name"), [(door, name) for door, names in PROMISED.items() for name in names.split()])
def test_a_promised_name_is_where_it_is_promised(door, name):
    assert hasattr(importlib.import_module(door), name), f"{door}.{name} is missing"


@pytest.mark.parametrize("place", SIGNATURES)
def test_a_promised_call_takes_what_it_is_promised_to_take(place):
    parameters = [p for p in inspect.signature(find(place)).parameters.values() if p.name != "self"]
    positional, _, keywords = (part.split() for part in f" {SIGNATURES[place]} ".partition("* "))
    if not SIGNATURES[place].count("*"):
        positional, keywords = SIGNATURES[place].split(), []

    def as_written(p: inspect.Parameter) -> str:
        return p.name + ("=" if p.default is not p.empty else "")

    assert [as_written(p) for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
    built = {as_written(p) for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert set(keywords) <= built
    assert all(extra.endswith("=") for extra in built - set(keywords)), "what is not promised must not be needed"
    if place not in POSITIONAL_DEFAULTS:
        assert not [word for word in positional if word.endswith("=")]


def exported(door: str) -> set[str]:
    """The names that a door re-exports as `X as X`; fails on any other public way of putting a name there."""
    file = Path(importlib.import_module(door).__file__ or "")
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                private = (alias.asname or alias.name).startswith("_")
                assert private or alias.asname == alias.name, f"{file}:{node.lineno}: {alias.name} is not written `X as X`"
                names |= set() if private else {alias.name}
    return names


@pytest.mark.parametrize("door", PROMISED)
def test_a_door_holds_what_it_exports_and_nothing_else(door):
    module = importlib.import_module(door)
    names = exported(door)
    public = {name for name, value in vars(module).items() if not name.startswith("_")}
    stray = {name for name in public - names if not isinstance(getattr(module, name), types.ModuleType)}
    assert not stray
    assert names <= public
    assert (module.__doc__ or "").strip(), f"{door} has no docstring"


def undocumented(value: object, name: str) -> list[str]:
    """What of `value` a reader of the reference would find without a word: itself, or a public method of its own."""
    missing = []
    if isinstance(value, type):
        if not value.__dict__.get("__doc__"):
            missing.append(name)
        for key, member in vars(value).items():
            function = getattr(member, "__func__", getattr(member, "fget", member))
            if not key.startswith("_") and isinstance(function, types.FunctionType) and not inspect.getdoc(getattr(value, key)):
                missing.append(f"{name}.{key}")
    elif isinstance(value, types.FunctionType) and not value.__doc__:
        missing.append(name)
    return missing


@pytest.mark.parametrize("door", PROMISED)
def test_everything_public_says_what_it_is(door):
    module = importlib.import_module(door)
    names = exported(door)
    missing = [line for name in sorted(names) for line in undocumented(getattr(module, name), name) if not name.startswith("_")]
    assert not missing


def test_the_front_door_opens_without_what_is_slow_or_for_tests():
    code = "import sys, podkit; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert "podkit.errors" in loaded
    assert not {"jsonschema", "portalocker", "podkit.testing", "podkit_transports", "pytest"} & loaded


def test_the_error_tree_has_one_root_and_is_whole_at_the_front_door():
    podkit, errors = importlib.import_module("podkit"), importlib.import_module("podkit.errors")
    tree = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
    assert all(issubclass(value, errors.PodkitError) for value in tree.values())
    assert set(tree) <= set(vars(podkit))
