"""Errors of what is said: the protocol, the way to a pod, and a pod's refusal."""

from __future__ import annotations

from typing import Any

from ._root import PodkitError, error, shown


class ProtocolError(PodkitError):
    """A message broke the rules of the wire."""


@error
class LocalProtocolError(ProtocolError):
    """We tried to say something the wire does not allow; nothing was sent. `reason` says what."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@error
class RemoteProtocolError(ProtocolError):
    """The peer said something that is not the protocol. `frame` holds the first bytes of it, `reason` says what is wrong.

    `fatal`: what follows cannot be trusted either (an overlong line, bytes that are not UTF-8), so the connection is to be closed.
    """

    reason: str
    frame: bytes = b""
    fatal: bool = False

    def __str__(self) -> str:
        if not self.frame:
            return self.reason
        head = self.frame[:60].decode("utf-8", "backslashreplace")
        return f"{self.reason} in {shown(head)!r}"


@error
class TransportError(PodkitError):
    """Something about reaching a pod."""

    address: str
    reason: str

    def __str__(self) -> str:
        return f"{shown(self.address, 200)}: {self.reason}" if self.address else self.reason


@error
class UnknownSchemeError(TransportError):
    """No transport for this scheme."""

    reason: str = "no transport for this scheme"


@error
class PodUnreachableError(TransportError):
    """Nobody answers at the address. That says nothing about whether the pod lives.

    `may_have_run`: a method was on its way when the connection was lost, and may have been carried out.
    """

    reason: str = "nobody answers there"
    may_have_run: bool = False

    def __str__(self) -> str:
        said = super().__str__()
        return f"{said}; the method that was under way may have run" if self.may_have_run else said


@error
class AuthenticationError(TransportError):
    """The pod did not accept our credentials, or it is not the pod we were to meet."""

    reason: str = "the pod did not accept our key"


@error
class MethodRejectedError(PodkitError):
    """The pod answered with an error. `code` is an `ErrorCode`."""

    code: Any
    message: str

    def __str__(self) -> str:
        return f"{getattr(self.code, 'value', self.code)}: {shown(self.message, 500)}"
