"""What may be said besides when a pod of a world is opened or connected to: the keywords of podkit's own, for type checkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from podkit._net import Reconnect
from podkit.abc import Registry, SessionStore, Tool, Transport
from podkit.logic import Limits, Scope
from podkit.protocol import BirthCredential, Subscribe


class OpenOptions(TypedDict, total=False):
    """Those of `podkit.open_pod`; what a world has is there already."""

    transport: Transport
    registry: Registry
    grant: Scope | None
    sessions: SessionStore | None
    tools: Sequence[Tool]
    run_dir: str | None
    cwd: str | None
    address: str | None
    plain: str | None
    generation: str
    confinement: str | None
    require: str | None
    limits: Limits | None


class ConnectOptions(TypedDict, total=False):
    """Those of `podkit.connect`."""

    subscribe: Subscribe | str
    buffer: int
    instance: str | None
    birth: BirthCredential | None
    expect: tuple[str, str] | None
    reconnect: Reconnect | None
