"""Errors of births, deaths, sessions, confinement, models and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._root import PodkitError, error, shown, where

if TYPE_CHECKING:
    from collections.abc import Sequence


@error
class SpawnError(PodkitError):
    """A child could not be born. Nothing is left of the attempt unless the class says otherwise."""

    name: str
    reason: str = "could not be started"

    def __str__(self) -> str:
        return f"pod `{shown(self.name)}`: {self.reason}"


@error
class LaunchFailedError(SpawnError):
    """The child ended before it was ready. `stderr_tail` holds the last of what it said, `status` its exit status."""

    stderr_tail: str = ""
    status: int | None = None

    def __str__(self) -> str:
        text = f"pod `{shown(self.name)}`: {self.reason}"
        if self.status is not None:
            text += f" (exit status {self.status})"
        return text + _quoted(self.stderr_tail)


@error
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
        return text + _quoted(self.stderr_tail)


@error
class LimitExceededError(SpawnError):
    """One more would exceed a limit: `limit` says which, `allowed` how many."""

    limit: str = ""
    allowed: int = 0

    def __str__(self) -> str:
        return f"pod `{shown(self.name)}`: over the limit of {self.allowed} {self.limit}"


@error
class NotBornError(SpawnError):
    """`adopt_pod` was called in a program that no launcher started."""

    name: str = "?"
    reason: str = "this program was not started by a podkit launcher (PODKIT_BIRTH is not set)"

    def __str__(self) -> str:
        return self.reason


@error
class DeliveryError(SpawnError):
    """The child lives and is among the children, but its task could not be delivered."""

    reason: str = "lives, but did not accept its task"


@error
class StopFailedError(PodkitError):
    """A pod, or a program of one, could not be ended in time. What it holds stays held, and stopping can be tried again.

    `name` is the pod or the program, `holding` says what is left.
    """

    name: str
    holding: Sequence[str] = ()

    def __str__(self) -> str:
        return f"`{shown(self.name)}` could not be stopped; still there: {', '.join(map(shown, self.holding)) or 'unknown'}"


class SessionError(PodkitError):
    """Something about a session log. `errno` is what the system said when it refused (`errno.ENOSPC`: a full disk), else None."""

    errno: int | None = None


@error
class CorruptLogError(SessionError):
    """A session log is damaged inside. Nothing is skipped or dropped."""

    file: str
    reason: str
    line: int | None = None
    offset: int | None = None

    def __str__(self) -> str:
        return where(self.file, self.line, self.offset) + self.reason


@error
class SessionBusyError(SessionError):
    """Somebody else writes the session of this name. `holder` is what they left about themselves."""

    session: str
    holder: str | None = None

    def __str__(self) -> str:
        return f"session {self.session} is being written by {self.holder or 'another pod'}"


@error
class UnknownSessionError(SessionError):
    """No session is kept under this name."""

    name: str

    def __str__(self) -> str:
        return f"no session of a pod {shown(self.name)} is kept here"


@error
class UnknownTurnError(SessionError):
    """The session has no such turn; it has the turns 1 to `turns`. 0 is before the first."""

    session: str
    turn: int
    turns: int

    def __str__(self) -> str:
        return f"session {self.session} has no turn {self.turn}: {self.turns} of its turns have ended"


@error
class ConfinementError(PodkitError):
    """The level of confinement asked for is not to be had here. `step` names the step that failed, when it was one."""

    level: str
    reason: str
    step: str = ""

    def __str__(self) -> str:
        return f"confinement {shown(self.level)!r} is not available: {self.reason}"


@error
class ModelError(PodkitError):
    """The model failed. `retry_after` is in seconds."""

    message: str
    status: int | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.message} (status {self.status})"


@error
class ToolError(PodkitError):
    """What a model reads when its tool call fails."""

    message: str

    def __str__(self) -> str:
        return self.message


@error
class InvalidArgumentError(ToolError):
    """The call itself was wrong; with other arguments it may work."""


@error
class ExecutionFailedError(ToolError):
    """The call was fine and the work failed."""


def _quoted(stderr: str) -> str:
    """What a child said, under a heading, without anything that would act on a terminal."""
    if not stderr:
        return ""
    text = "".join(sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}" for sign in stderr.rstrip())
    return f"\n--- child stderr ---\n{text}"
