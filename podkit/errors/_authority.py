"""Errors of authority: names, scopes, paths, and the registry of who holds what."""

from __future__ import annotations

from typing import Any

from ._root import PodkitError, error, shown, where


@error
class InvalidNameError(PodkitError):
    """Not a pod name: `[a-z0-9][a-z0-9_-]{0,62}`."""

    name: object
    reason: str = "a name is 1 to 63 characters of a-z, 0-9, _ and -, and starts with a letter or digit"

    def __str__(self) -> str:
        return f"invalid pod name {shown(self.name)!r}: {self.reason}"


class ScopeError(PodkitError):
    """Something about authority over files."""


@error
class InvalidRuleError(ScopeError):
    """A scope rule, or a path asked about, is not an absolute normal path, or a rule's fields are of the wrong kind."""

    target: object
    reason: str = "a target is an absolute path without '.', '..', empty parts or NUL"

    def __str__(self) -> str:
        return f"invalid rule for {shown(self.target)!r}: {self.reason}"


@error
class NotSubsetError(ScopeError):
    """Somebody asked for more than there is to give. `path` is a witness: there `asked` exceeds `held`."""

    path: str
    asked: Any
    held: Any
    explanation: Any = None

    def __str__(self) -> str:
        text = f"asked for {_low(self.asked)} at {shown(self.path)}, where only {_low(self.held)} may be handed out"
        return f"{text}: {self.explanation}" if self.explanation is not None else text


@error
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
        if self.holder is not None and f"`{self.holder}`" not in text:
            text += f" (held by pod `{self.holder}`)"
        return text


@error
class PathRefusedError(ScopeError):
    """The path itself is refused, whatever the scope says: a link out, a loop, not a regular file, replaced, too long."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.path, 200)} refused: {self.reason}"


# Who holds what.


class RegistryError(PodkitError):
    """The registry refused, or cannot be used."""


@error
class DuplicatePodError(RegistryError):
    """There is a pod of this name in the tree."""

    name: str
    holder: str | None = None
    incarnation: str | None = None

    def __str__(self) -> str:
        return f"there is already a pod `{self.name}` in this tree; choose another name or stop it first"


@error
class UnknownPodError(RegistryError):
    """No such pod."""

    name: str

    def __str__(self) -> str:
        return f"no pod `{shown(self.name)}` is known here"


@error
class WriteConflictError(RegistryError):
    """Another pod may write there. `holder` is its name, or `tree/name` when it belongs to another tree."""

    path: str
    holder: str
    incarnation: str | None = None

    def __str__(self) -> str:
        return f"{shown(self.path, 200)} is already written by pod `{self.holder}`; stop it or ask for a part it does not hold"


@error
class StaleIncarnationError(RegistryError):
    """The name lives on in another incarnation, or not at all; nothing was done to it."""

    name: str
    incarnation: str

    def __str__(self) -> str:
        return f"pod `{self.name}` is no longer incarnation {self.incarnation}"


@error
class AdoptionRefusedError(RegistryError):
    """This process may not be that pod: unknown reservation, wrong secret, or adopted before."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"cannot become pod `{shown(self.name)}`: {self.reason}"


@error
class CorruptRegistryError(RegistryError):
    """The registry's files are damaged. Nothing is granted and nothing is repaired; the evidence is kept."""

    file: str
    reason: str
    line: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        return where(self.file, self.line, self.offset) + self.reason


@error
class RegistryBusyError(RegistryError):
    """The registry's lock could not be had in time. `holder` is what the lock file says of who has it."""

    waited: float
    holder: str | None = None

    def __str__(self) -> str:
        return f"the registry was locked for {self.waited:.1f} s by {self.holder or 'somebody unknown'}"


def _low(permission: object) -> str:
    name = getattr(permission, "name", permission)
    return "no access" if name == "NONE" else str(name).lower()
