"""The way in: a client that is connected for as long as a block."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from podkit._os import new_incarnation
from podkit.errors import LocalProtocolError
from podkit.protocol import Hello, Subscribe

from ._client import Client, opened
from ._plan_admission import PROTOCOL
from ._plan_welcome import CLIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from podkit.abc import Transport
    from podkit.protocol import BirthCredential

    from ._plan_reconnect import Reconnect


@asynccontextmanager
async def connect(
    address: str,
    *,
    transport: Transport,
    subscribe: Subscribe | str = Subscribe.SNAPSHOT,
    buffer: int = 4096,
    instance: str | None = None,
    birth: BirthCredential | None = None,
    expect: tuple[str, str] | None = None,
    reconnect: Reconnect | None = None,
) -> AsyncIterator[Client]:
    """Connect to the pod at `address` and say hello; the block gets a `Client`.

    `subscribe` is what iterating yields: "snapshot" (a snapshot, then everything), "live" (everything from now on) or "none". Up to
    `buffer` events wait for whoever iterates. `instance` is what we call ourselves (None: something random), `birth` makes us
    that child and nothing more, `expect` is the name and the incarnation of the pod we mean. With `reconnect` a lost connection
    is replaced by another one, and what waits for the end of a run goes on over a restore of the pod. To another incarnation
    methods are sent only once its `Snapshot` was received: so whoever reconnects has to iterate.

    Raises `PodUnreachableError` when nobody answers, `AuthenticationError` when the pod does not let us in or is not the one
    we mean, `MethodRejectedError` when it refuses for another reason. What the block raises comes out as it is.
    """
    wanted = Subscribe(subscribe)
    if not wanted.known:
        raise LocalProtocolError(f"subscribe is 'snapshot', 'live' or 'none', not {subscribe!r}")
    if buffer < 1:
        raise ValueError("buffer is at least 1")
    hello = Hello(
        (PROTOCOL,),
        CLIENT,
        instance if instance is not None else new_incarnation(),
        birth=birth,
        subscribe=wanted if birth is None else Subscribe.NONE,
    )
    # Under a chosen name we may have been here before: none of those ids may be used again.
    prefix = "" if instance is None else f"{new_incarnation()}."
    client = Client(address, transport, hello, buffer=buffer, prefix=prefix, policy=reconnect, expect=expect)
    async with opened(client, patient=False):
        yield client
