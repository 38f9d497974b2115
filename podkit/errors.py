"""The error tree. Fields first, the message from `__str__`: who catches an error reads its fields and never parses text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

_error = attrs.define(eq=False, slots=False, repr=False, str=False, kw_only=False)


def shown(value: object, limit: int = 80) -> str:
    """Text from outside, bounded and escaped, so that no error message can carry control characters or a flood."""
    text = value if isinstance(value, str) else repr(value)
    if len(text) > limit:
        text = text[:limit] + "…"
    return text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text


class PodkitError(Exception):
    """The root of everything podkit raises on purpose."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


# What is said on the wire.


class ProtocolError(PodkitError):
    """A message broke the rules of the wire."""


@_error
class LocalProtocolError(ProtocolError):
    """We tried to say something the wire does not allow; nothing was sent. `reason` says what."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@_error
class RemoteProtocolError(ProtocolError):
    """The peer said something that is not the protocol. `frame` holds the first bytes of it, `reason` says what is wrong."""

    reason: str
    frame: bytes = b""

    def __str__(self) -> str:
        if not self.frame:
            return self.reason
        head = self.frame[:60].decode("utf-8", "backslashreplace")
        return f"{self.reason} in {shown(head)!r}"


@_error
class InvalidNameError(PodkitError):
    """Not a pod name: `[a-z0-9][a-z0-9_-]{0,62}`."""

    name: object
    reason: str = "a name is 1 to 63 characters of a-z, 0-9, _ and -, and starts with a letter or digit"

    def __str__(self) -> str:
        return f"invalid pod name {shown(self.name)!r}: {self.reason}"


# What a pod may do with files.


class ScopeError(PodkitError):
    """Something about authority over files."""


@_error
class InvalidRuleError(ScopeError):
    """A scope rule, or a path asked about, is not an absolute normal path, or a rule's fields are of the wrong kind."""

    target: object
    reason: str = "a target is an absolute path without '.', '..', empty parts or NUL"

    def __str__(self) -> str:
        return f"invalid rule for {shown(self.target)!r}: {self.reason}"


@_error
class NotSubsetError(ScopeError):
    """Somebody asked for more than there is to give. `path` is a witness: there `asked` exceeds `held`."""

    path: str
    asked: Any
    held: Any
    explanation: Any = None

    def __str__(self) -> str:
        text = f"asked for {_low(self.asked)} at {shown(self.path)}, where only {_low(self.held)} may be handed out"
        return f"{text}: {self.explanation}" if self.explanation is not None else text


@_error
class AccessDeniedError(ScopeError):
    """The scope does not allow this. `holder` names the pod that has the path instead, when there is one."""

    path: str
    asked: Any
    explanation: Any = None
    holder: str | None = None

    def __str__(self) -> str:
        text = f"{_low(self.asked)} denied at {shown(self.path, 200)}"
        if self.explanation is not None:
            text += f": {self.explanation}"
        if self.holder is not None and self.holder not in text:
            text += f" (held by pod `{self.holder}`)"
        return text


@_error
class PathRefusedError(ScopeError):
    """The path itself is refused, whatever the scope says: a link out, a loop, not a regular file, replaced, too long."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.path, 200)} refused: {self.reason}"


# Who holds what.


class RegistryError(PodkitError):
    """The registry refused, or cannot be used."""


@_error
class DuplicatePodError(RegistryError):
    """There is a pod of this name in the tree."""

    name: str
    holder: str | None = None
    incarnation: str | None = None

    def __str__(self) -> str:
        return f"there is already a pod `{self.name}` in this tree; choose another name or stop it first"


@_error
class UnknownPodError(RegistryError):
    """No such pod."""

    name: str

    def __str__(self) -> str:
        return f"no pod `{shown(self.name)}` is known here"


@_error
class WriteConflictError(RegistryError):
    """Another pod may write there. `holder` is its name, or `tree/name` when it belongs to another tree."""

    path: str
    holder: str
    incarnation: str | None = None

    def __str__(self) -> str:
        return f"{shown(self.path, 200)} is already written by pod `{self.holder}`; stop it or ask for a part it does not hold"


@_error
class StaleIncarnationError(RegistryError):
    """The name lives on in another incarnation, or not at all; nothing was done to it."""

    name: str
    incarnation: str

    def __str__(self) -> str:
        return f"pod `{self.name}` is no longer incarnation {self.incarnation}"


@_error
class AdoptionRefusedError(RegistryError):
    """This process may not be that pod: unknown reservation, wrong secret, or adopted before."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"cannot become pod `{shown(self.name)}`: {self.reason}"


@_error
class CorruptRegistryError(RegistryError):
    """The registry's files are damaged. Nothing is granted and nothing is repaired; the evidence is kept."""

    file: str
    reason: str
    line: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        return _where(self.file, self.line, self.offset) + self.reason


@_error
class RegistryBusyError(RegistryError):
    """The registry's lock could not be had in time. `holder` is what the lock file says of who has it."""

    waited: float
    holder: str | None = None

    def __str__(self) -> str:
        return f"the registry was locked for {self.waited:.1f} s by {self.holder or 'somebody unknown'}"


# How pods are reached.


@_error
class TransportError(PodkitError):
    """Something about reaching a pod."""

    address: str
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.address, 200)}: {self.reason}"


@_error
class UnknownSchemeError(TransportError):
    """No transport for this scheme."""

    reason: str = "no transport for this scheme"


@_error
class PodUnreachableError(TransportError):
    """Nobody answers at the address. That says nothing about whether the pod lives."""

    reason: str = "nobody answers there"


@_error
class AuthenticationError(TransportError):
    """The pod did not accept our credentials, or it is not the pod we were to meet."""

    reason: str = "the pod did not accept our key"


@_error
class MethodRejectedError(PodkitError):
    """The pod answered with an error. `code` is an `ErrorCode`."""

    code: Any
    message: str

    def __str__(self) -> str:
        return f"{getattr(self.code, 'value', self.code)}: {shown(self.message, 500)}"


# Births and deaths.


@_error
class SpawnError(PodkitError):
    """A child could not be born. Nothing is left of the attempt unless the class says otherwise."""

    name: str
    reason: str = "could not be started"

    def __str__(self) -> str:
        return f"pod `{shown(self.name)}`: {self.reason}"


@_error
class LaunchFailedError(SpawnError):
    """The child ended before it was ready. `stderr_tail` holds the last of what it said, `status` its exit status."""

    stderr_tail: str = ""
    status: int | None = None

    def __str__(self) -> str:
        text = f"pod `{shown(self.name)}`: {self.reason}"
        if self.status is not None:
            text += f" (exit status {self.status})"
        return f"{text}\n--- child stderr ---\n{self.stderr_tail.rstrip()}" if self.stderr_tail else text


@_error
class NeverReadyError(SpawnError):
    """The child was not ready in time and was ended. `waited` is in seconds, `blocked_by` names what the birth waited for."""

    reason: str = "was not ready in time"
    waited: float = 0.0
    stderr_tail: str = ""
    blocked_by: str | None = None

    def __str__(self) -> str:
        text = f"pod `{shown(self.name)}`: {self.reason} ({self.waited:.1f} s)"
        if self.blocked_by is not None:
            text += f", held up by {self.blocked_by}"
        return f"{text}\n--- child stderr ---\n{self.stderr_tail.rstrip()}" if self.stderr_tail else text


@_error
class LimitExceededError(SpawnError):
    """One more would exceed a limit: `limit` says which, `allowed` how many."""

    limit: str = ""
    allowed: int = 0

    def __str__(self) -> str:
        return f"pod `{shown(self.name)}`: over the limit of {self.allowed} {self.limit}"


@_error
class NotBornError(SpawnError):
    """`adopt_pod` was called in a program that no launcher started."""

    name: str = "?"
    reason: str = "this program was not started by a podkit launcher (PODKIT_BIRTH is not set)"

    def __str__(self) -> str:
        return self.reason


@_error
class DeliveryError(SpawnError):
    """The child lives and is among the children, but its task could not be delivered."""

    reason: str = "lives, but did not accept its task"


@_error
class StopFailedError(PodkitError):
    """The pod could not be ended in time. Its record is kept, so that stopping can be tried again. `holding` says what is left."""

    name: str
    holding: Sequence[str] = ()

    def __str__(self) -> str:
        return f"pod `{self.name}` could not be stopped; still there: {', '.join(self.holding) or 'unknown'}"


# Sessions, confinement, models, tools.


class SessionError(PodkitError):
    """Something about a session log."""


@_error
class CorruptLogError(SessionError):
    """A session log is damaged inside. Nothing is skipped or dropped."""

    file: str
    reason: str
    line: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        return _where(self.file, self.line, self.offset) + self.reason


@_error
class SessionBusyError(SessionError):
    """Somebody else writes this session."""

    session: str

    def __str__(self) -> str:
        return f"session {self.session} is being written by another pod"


@_error
class ConfinementError(PodkitError):
    """The level of confinement asked for is not to be had here."""

    level: str
    reason: str

    def __str__(self) -> str:
        return f"confinement {shown(self.level)!r} is not available: {self.reason}"


@_error
class ModelError(PodkitError):
    """The model failed. `retry_after` is in seconds."""

    message: str
    status: int | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.message} (status {self.status})"


@_error
class ToolError(PodkitError):
    """What a model reads when its tool call fails."""

    message: str

    def __str__(self) -> str:
        return self.message


@_error
class InvalidArgumentError(ToolError):
    """The call itself was wrong; with other arguments it may work."""


@_error
class ExecutionFailedError(ToolError):
    """The call was fine and the work failed."""


def _low(permission: object) -> str:
    name = getattr(permission, "name", permission)
    return "no access" if name == "NONE" else str(name).lower()


def _where(file: str, line: int | None, offset: int | None) -> str:
    place = file if line is None else f"{file}, line {line}"
    return (place if offset is None else f"{place}, offset {offset}") + ": "
