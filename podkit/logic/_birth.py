"""The plan of a birth: what is checked before anything is done, the steps in their order, and how each is undone."""

from __future__ import annotations

import enum
from collections.abc import Collection

import attrs

from podkit.errors import AccessDeniedError, DuplicatePodError, InvalidNameError, InvalidRuleError, LimitExceededError
from podkit.protocol import Permission, check_name, check_path

from ._limits import Limits
from ._scope import Scope, check_subset


class BirthUndo(enum.Enum):
    """How a step is taken back, in the order in which that is done.

    The child's process ends first. The row is freed only by somebody who saw the lease free, so the lease goes before the row, and
    the parent's write comes back last: at no moment may two pods write.
    """

    END = "end the child and wait until it is gone"
    CLOSE = "close the listener and remove its files"
    RELEASE = "release the lease"
    UNMAKE = "remove directories that were made for it, if they are empty"
    FREE = "free the row"
    RESTORE = "let the parent write again"


class BirthStep(enum.Enum):
    """One step of a birth. `undo` says how it is taken back; None: it leaves nothing behind."""

    LEASE = "lease", BirthUndo.RELEASE
    """Take the child's lease."""
    SETTLE = "settle", BirthUndo.UNMAKE
    """Walk to each target once, refuse links, make what is missing, and remember what was there."""
    RESERVE = "reserve", BirthUndo.FREE
    """Enter the child's row, as reserved."""
    REVOKE = "revoke", BirthUndo.RESTORE
    """From here the parent's new tools and file writes see less."""
    DRAIN = "drain", None
    """Wait until everything that began under the old scope is over."""
    LISTEN = "listen", BirthUndo.CLOSE
    """Bind the child's address."""
    LAUNCH = "launch", BirthUndo.END
    """Start the child."""
    READY = "ready", None
    """Wait until it is ready, ends, or time is up."""
    VERIFY = "verify", None
    """Meet it, and see that it is the pod that was born."""
    RECORD = "record", None
    """Enter it among the children. From here on it lives, and no failure ends it."""
    DELIVER = "deliver", None
    """Give it its task."""

    def __init__(self, text: str, undo: BirthUndo | None) -> None:
        self.text = text
        self.undo = undo


@attrs.frozen
class BirthRequest:
    """What is asked for. `grant` None: the same as `scope`. `task` None: the child waits. `cwd` None: where the parent is."""

    name: str
    scope: Scope
    grant: Scope | None = attrs.field(default=None, kw_only=True)
    task: str | None = attrs.field(default=None, kw_only=True)
    cwd: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class BirthPlan:
    """The steps of one birth, in order."""

    steps: tuple[BirthStep, ...]

    def undo(self, done: Collection[BirthStep]) -> tuple[BirthUndo, ...]:
        """How to take back the steps in `done`, in order. Nothing once the child is recorded: then it lives."""
        if BirthStep.RECORD in done:
            return ()
        undos = {step.undo for step in self.steps if step in done}
        return tuple(undo for undo in BirthUndo if undo in undos)


def plan_birth(
    request: BirthRequest,
    *,
    own_name: str,
    ancestors: Collection[str],
    family: Collection[str],
    grant: Scope,
    depth: int,
    limits: Limits,
) -> BirthPlan:
    """Check `request` before anything is done, and answer the steps.

    `ancestors` are the names above the parent, `family` those of its living children, `grant` what the parent may hand out, and
    `depth` its generation; a root is at 1. Whether somebody else has the name or may write there is the registry's to say.

    Raises `InvalidNameError`, `InvalidRuleError` (an empty or derived scope, a working directory that is not an absolute normal
    path), `AccessDeniedError` (a working directory that the child may not read), `DuplicatePodError`, `LimitExceededError`,
    `NotSubsetError`.
    """
    _check_new_name(request.name, own_name, ancestors)
    handed = request.scope if request.grant is None else request.grant
    _check_declared(request.scope)
    if not request.scope.allow:
        raise InvalidRuleError("", "a child's scope allows at least one target")
    _check_declared(handed)
    if request.cwd is not None and request.scope.at(check_path(request.cwd)) < Permission.READ:
        why = request.scope.explain(request.cwd, asked=Permission.READ)
        raise AccessDeniedError(request.cwd, Permission.READ, f"the child would start in a directory it may not read; {why}")
    if request.name in family:
        raise DuplicatePodError(request.name)
    _check_limits(request, len(family), depth, limits)
    check_subset(request.scope, grant)
    check_subset(handed, grant)
    return BirthPlan(_steps(request))


def _check_new_name(name: str, own_name: str, ancestors: Collection[str]) -> None:
    check_name(name)
    if name == own_name:
        raise InvalidNameError(name, "a child cannot have the name of its parent")
    if name in ancestors:
        raise InvalidNameError(name, "a pod above its parent has that name")


def _check_declared(scope: Scope) -> None:
    if not scope.declared:
        raise InvalidRuleError("", "only a scope that is declared with rules can be handed to a child")


def _check_limits(request: BirthRequest, children: int, depth: int, limits: Limits) -> None:
    if depth >= limits.depth:
        raise LimitExceededError(request.name, limit="generations of pods", allowed=limits.depth)
    if children >= limits.children:
        raise LimitExceededError(request.name, limit="living children", allowed=limits.children)
    if request.task is not None and len(request.task.encode(errors="surrogatepass")) > limits.method_bytes:
        raise LimitExceededError(request.name, limit="bytes of a task", allowed=limits.method_bytes)


def _steps(request: BirthRequest) -> tuple[BirthStep, ...]:
    """Reads are shared, so without a write nothing is revoked; without a task nothing is delivered."""
    skipped: set[BirthStep] = set()
    if not any(rule.permission is Permission.WRITE for rule in request.scope.allow):
        skipped |= {BirthStep.REVOKE, BirthStep.DRAIN}
    if request.task is None:
        skipped.add(BirthStep.DELIVER)
    return tuple(step for step in BirthStep if step not in skipped)
