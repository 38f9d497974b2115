"""What can happen to a pod: methods, and the ends of what was begun."""

from __future__ import annotations

import attrs

from podkit.protocol import RunResult

from ._lifecycle_values import Ask

# Methods.


@attrs.frozen
class AskRun:
    """A client wants a run. Its payload stays with the caller, under `ask`."""

    ask: Ask


@attrs.frozen
class AskNotify:
    """A notice arrives. `notice` is its id, unique for the life of the session. Once it is accepted it is in the log.

    `wake`: it may start a run. `client`: it comes from a client, so it also ends a hold; a pod event's notice does not. `child`:
    the child whose words or news it is; how often those start a run is bounded. `news`: it says what happened to a child, and
    nobody could send it again, so it has a place in a full queue too: `replaces` is then the notice that it was put together
    with (one that is just being committed as seen stays).
    Without an `ask`, a notice that is refused is given back with `Return` instead of being answered.
    """

    ask: Ask | None
    notice: str
    wake: bool
    client: bool
    child: str | None = attrs.field(default=None, kw_only=True)
    news: bool = attrs.field(default=False, kw_only=True)
    replaces: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class AskResume:
    """A client wants the paused run to go on, under a new number."""

    ask: Ask


@attrs.frozen
class AskCancel:
    """A client wants the run to end, or the paused run to be given up. `run`: only that one."""

    ask: Ask
    run: int | None = None


@attrs.frozen
class AskPause:
    """A client wants the run to pause. `run`: only that one. Answered when the pod is paused or the run ended first."""

    ask: Ask
    run: int | None = None


@attrs.frozen
class AskShutdown:
    """The pod is to end. `ask` is None when its own program wants that."""

    ask: Ask | None = None


@attrs.frozen
class AskJob:
    """A client wants the log rewritten: `job` is "compact" or "rewind"."""

    ask: Ask
    job: str


# What was begun is over. Each carries the number it is about; one that is late or repeated changes nothing.


@attrs.frozen
class Committed:
    """The input of that run is in the log."""

    run: int


@attrs.frozen
class CommitFailed:
    """The input of that run could not be kept; the log is as it was."""

    run: int


@attrs.frozen
class RunDone:
    """That run's worker ended, with this result. PAUSED: it paused itself. CANCELLED: it let a cancel or a pause through."""

    run: int
    result: RunResult


@attrs.frozen
class JobDone:
    """That job ended; `ok` is False when it failed or was cancelled. Its own event is published before this is fed."""

    number: int
    ok: bool = True


@attrs.frozen
class Deadline:
    """The time given with `Interrupt(run, deadline=True)` is over."""

    run: int


@attrs.frozen
class JobDeadline:
    """The time given with `CancelJob(number, deadline=True)` is over."""

    number: int


@attrs.frozen
class BackoffOver:
    """The timer armed with `BackOff(token, …)` ran out."""

    token: int


@attrs.frozen
class Refilled:
    """The timer armed with `Refill(token)` ran out: each child may start one run more."""

    token: int


@attrs.frozen
class NoticesSeen:
    """These notices are in the log as seen by the model. When a commit itself wrote them, this comes before its `Committed`."""

    ids: tuple[str, ...]


Input = (
    AskRun
    | AskNotify
    | AskResume
    | AskCancel
    | AskPause
    | AskShutdown
    | AskJob
    | Committed
    | CommitFailed
    | RunDone
    | JobDone
    | Deadline
    | JobDeadline
    | BackoffOver
    | Refilled
    | NoticesSeen
)
