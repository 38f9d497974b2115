"""Who is let in, and who may say what. Pure."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, TypeAlias

import attrs

from podkit.protocol import ErrorCode, Notify, PodEventMethod, PodScopeSubDelegated, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from podkit.protocol import BirthCredential, Hello, Method, PodEvent

    from ._desk import Origin

PROTOCOL = 1
"""The one version spoken here."""

_MAX_INSTANCE = 256


@attrs.frozen
class Admitted:
    """Come in. `role` decides what may be said; `child` is the name and the incarnation of the child that speaks."""

    role: Role
    child: tuple[str, str] | None = None


@attrs.frozen
class Refused:
    """Stay out, for this reason; the connection is closed after it is told."""

    code: ErrorCode
    message: str


Verdict: TypeAlias = Admitted | Refused


class Doorstep:
    """Counts what a peer says before it is let in: `most` bytes in all, line feeds included, however many lines they make."""

    def __init__(self, most: int) -> None:
        self._left = most

    def passes(self, frame: bytes) -> bool:
        """Whether this line may still be looked at. After the first that may not, none may."""
        self._left -= len(frame) + 1
        return self._left >= 0


def judge_hello(
    hello: Hello, *, key: str | None, admits_birth: Callable[[BirthCredential], bool], now: Origin | None = None
) -> Verdict:
    """Whether `hello` opens the door.

    `key` is the pod's (None where none is needed). A birth secret stands in for the key and makes the speaker that child and
    nothing more. `now` is what the connection is already, if anything: a later hello may change what is listened to, never who
    speaks.
    """
    if PROTOCOL not in hello.protocol:
        return Refused(ErrorCode.UNSUPPORTED_PROTOCOL, f"this pod speaks protocol {PROTOCOL}")
    if len(hello.instance) > _MAX_INSTANCE or len(hello.client) > _MAX_INSTANCE:
        return Refused(ErrorCode.INVALID_REQUEST, f"client and instance have at most {_MAX_INSTANCE} characters")
    if hello.birth is not None:
        if not admits_birth(hello.birth):
            return Refused(ErrorCode.FORBIDDEN, "not a living child of this pod, or not its secret")
        verdict = Admitted(Role.CHILD, (hello.birth.pod_name, hello.birth.incarnation))
    elif key is not None and not _same(key, hello.key):
        return Refused(ErrorCode.FORBIDDEN, "the key is not this pod's")
    else:
        verdict = Admitted(Role.CLIENT)
    if now is not None and not now.plain and (now.role, now.child) != (verdict.role, verdict.child):
        return Refused(ErrorCode.FORBIDDEN, "a connection stays with who opened it")
    return verdict


def _same(key: str, shown: str | None) -> bool:
    return shown is not None and hmac.compare_digest(key.encode(), shown.encode("utf-8", "surrogatepass"))


def forbids(origin: Origin, method: Method) -> str | None:
    """Why `origin` may not say `method`; None when it may."""
    if origin.role is Role.WATCHER:
        return "this connection may only watch"
    if origin.child is not None:
        if isinstance(method, PodEventMethod):
            return None if _about(method.event, origin.child) else "a child reports about itself only"
        return None if isinstance(method, Notify) else "a child may report and notify, nothing else"
    if isinstance(method, PodEventMethod):
        return "only a child reports, on a connection opened with its birth"
    return None if origin.role is Role.CLIENT else "not with this role"


def _about(event: PodEvent, child: tuple[str, str]) -> bool:
    name = event.parent_pod if isinstance(event, PodScopeSubDelegated) else event.pod_name
    return name == child[0] and event.incarnation in (None, child[1])
