"""What is to be done about it. The effects of a step are done in their order."""

from __future__ import annotations

import attrs

from podkit.protocol import ErrorCode, InvokeKind, RunResult, Status

from ._lifecycle_values import Ask


@attrs.frozen
class Answer:
    """Answer `ask`: accepted (with `run`, where one is meant), or refused with `code` and `message`."""

    ask: Ask
    accepted: bool
    code: ErrorCode | None = None
    message: str = ""
    run: int | None = None


@attrs.frozen
class Commit:
    """Commit the input of `run` to the log, then feed `Committed(run)` or `CommitFailed(run)`.

    The input is the payload of `ask`, or, without one, `notices` alone: those then count as seen once this is committed. For the
    run of an `ask`, `notices` are its first ones, and stay in the queue until `NoticesSeen` names them.
    `resumed`: the input of the paused run once more; `cause` is then the paused run's.
    """

    run: int
    ask: Ask | None
    cause: InvokeKind
    resumed: bool
    notices: tuple[str, ...]


@attrs.frozen
class Show:
    """Publish the status. Comes only when it differs from the one last shown."""

    status: Status


@attrs.frozen
class Start:
    """Start the worker on `run`; feed `RunDone` when it ended."""

    run: int


@attrs.frozen
class Interrupt:
    """Cancel the scope of `run`, when it has one: its input may still be being committed.

    `deadline`: arm the one that feeds `Deadline(run)`.
    """

    run: int
    deadline: bool


@attrs.frozen
class Cut:
    """End everything of `run` by force, its commit included when that is still under way. Nothing it says counts any more."""

    run: int


@attrs.frozen
class EndRun:
    """Publish the one `run_end` of `run`."""

    run: int
    result: RunResult


@attrs.frozen
class Abandon:
    """Put on record that the paused `run` is given up."""

    run: int


@attrs.frozen
class StartJob:
    """Start the job; feed `JobDone` when it ended, however it ended."""

    number: int
    job: str


@attrs.frozen
class CancelJob:
    """Cancel the job. `deadline`: arm the one that feeds `JobDeadline(number)`."""

    number: int
    deadline: bool = False


@attrs.frozen
class BackOff:
    """Arm a timer that feeds `BackoffOver(token)`. It replaces the one before."""

    token: int
    seconds: float


@attrs.frozen
class Refill:
    """Arm a timer that feeds `Refilled(token)` after the time in which a child earns one run. There is one such timer at most."""

    token: int


@attrs.frozen
class Return:
    """Give back notices that nobody saw. `reason` is an error code's text."""

    notices: tuple[str, ...]
    reason: str


@attrs.frozen
class Leave:
    """The pod is stopped: take everything down."""


Effect = (
    Answer | Commit | Show | Start | Interrupt | Cut | EndRun | Abandon | StartJob | CancelJob | BackOff | Refill | Return | Leave
)
