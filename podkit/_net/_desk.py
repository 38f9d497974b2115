"""What a server needs of the pod it serves: who asks, what is asked, and the desk where it is handed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from podkit.protocol import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.logic import Limits
    from podkit.protocol import BirthCredential, Event, Method, Snapshot, Status

    from ._hub import Hub


@attrs.frozen
class Origin:
    """Who speaks on a connection.

    `role` is what it was admitted as and `instance` what it calls itself (None when it never said). `child` is the name and the
    incarnation of the child that speaks, None for everybody else. `plain`: it came without a hello. `local`: it is this very
    program, and there is no connection.
    """

    role: Role = attrs.field(converter=Role)
    instance: str | None = None
    child: tuple[str, str] | None = None
    plain: bool = attrs.field(default=False, kw_only=True)
    local: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen(eq=False)
class Ask:
    """One method on its way to the pod.

    `run` is the run it is meant for (cancel and pause only; None: the current one). `answer` is to be called exactly once, now
    or later, with the terminal reply; it is synchronous, never waits and never raises. `tell` says something to whoever asked at
    any later time, if that peer is connected then; it is None where nobody can be told.
    """

    method: Method
    run: int | None
    origin: Origin
    answer: Callable[[Event], None] = attrs.field(repr=False)
    tell: Callable[[Event], None] | None = attrs.field(default=None, repr=False)


class Desk(Protocol):
    """A pod as its server sees it. Everything here is synchronous, so that what is seen together happened together."""

    name: str
    incarnation: str
    confinement: str
    hub: Hub
    limits: Limits

    def submit(self, ask: Ask) -> None:
        """Take in a method or a question. Every ask is answered exactly once, also while the pod stops."""
        ...

    def snapshot(self) -> Snapshot:
        """Everything up to and including the event `hub.seq`."""
        ...

    def status(self) -> Status:
        """What clients see of the pod right now."""
        ...

    def admits_birth(self, birth: BirthCredential) -> bool:
        """Whether this is the secret of the living child of that name and incarnation."""
        ...
