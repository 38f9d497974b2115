"""Errors say what to do, with fields first, and carry nothing that acts on a terminal."""

import inspect

import pytest

from podkit import errors
from podkit.protocol import ErrorCode, Permission

SAMPLES = [
    errors.LocalProtocolError("too long"),
    errors.RemoteProtocolError("not JSON", b"\x00\x1b[31m"),
    errors.RemoteProtocolError("gone"),
    errors.InvalidNameError("A b\n"),
    errors.InvalidRuleError("relative\x07"),
    errors.NotSubsetError("/x", Permission.WRITE, Permission.NONE),
    errors.NotSubsetError("/x", Permission.WRITE, Permission.READ, "because"),
    errors.AccessDeniedError("/x\n", Permission.WRITE, "because", "notes"),
    errors.AccessDeniedError("/x", Permission.READ),
    errors.PathRefusedError("/x\x1b", "loops"),
    errors.DuplicatePodError("kid"),
    errors.UnknownPodError("kid\n"),
    errors.WriteConflictError("/x", "t/kid"),
    errors.StaleIncarnationError("kid", "abc"),
    errors.AdoptionRefusedError("kid", "adopted before"),
    errors.CorruptRegistryError("/r/log", "broken", 3, 17),
    errors.CorruptRegistryError("/r/log", "broken"),
    errors.RegistryBusyError(1.5, "pid 3"),
    errors.RegistryBusyError(1.5),
    errors.TransportError("unix:///x\n", "taken"),
    errors.UnknownSchemeError("x://y"),
    errors.PodUnreachableError("unix:///x"),
    errors.PodUnreachableError("unix:///x", "lost\n", may_have_run=True),
    errors.AuthenticationError("unix:///x"),
    errors.MethodRejectedError(ErrorCode.NOT_RUNNING, "no\x1brun"),
    errors.SpawnError("kid"),
    errors.LaunchFailedError("kid", stderr_tail="a\x1b[2J\nb\tc", status=3),
    errors.LaunchFailedError("kid"),
    errors.NeverReadyError("kid", waited=2.0, blocked_by="writing /x", stderr_tail="x"),
    errors.NeverReadyError("kid"),
    errors.LimitExceededError("kid", limit="living children", allowed=64),
    errors.NotBornError(),
    errors.DeliveryError("kid"),
    errors.StopFailedError("kid", ("kid",)),
    errors.StopFailedError("kid"),
    errors.CorruptLogError("/l", "broken", 2),
    errors.SessionBusyError("s"),
    errors.SessionBusyError("s", "process 7"),
    errors.UnknownSessionError("kid"),
    errors.UnknownTurnError("0192-a", 9, 3),
    errors.ConfinementError("kernel", "no Landlock"),
    errors.ModelError("overloaded", 529, 2.0),
    errors.ModelError("overloaded"),
    errors.InvalidArgumentError("no"),
    errors.ExecutionFailedError("no"),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_speaks_in_one_safe_sentence(error):
    text = str(error)
    assert text
    assert all(sign.isprintable() or sign in "\n\t" for sign in text)
    assert type(error).__name__ in repr(error)
    assert isinstance(error, errors.PodkitError)


def test_every_error_with_fields_is_among_the_samples():
    tree = {cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.PodkitError)}
    only_roots = {"PodkitError", "ProtocolError", "ScopeError", "RegistryError", "SessionError", "ToolError"}
    assert {cls.__name__ for cls in tree} - {type(error).__name__ for error in SAMPLES} == only_roots


def test_a_holder_is_named_once():
    error = errors.AccessDeniedError("/w/top/x", Permission.WRITE, "pod `top` holds it", "top")
    assert str(error).count("top`") == 1
    assert "held by pod `top`" in str(errors.AccessDeniedError("/w/top/x", Permission.WRITE, None, "top"))


def test_what_is_shown_is_bounded_and_escaped():
    assert errors.shown("a" * 500) == "a" * 80 + "…"
    assert errors.shown("a\nb") == "a\\nb"
    assert errors.shown(None) == "None"
    assert errors.shown("é☃") == "é☃"
