"""A subscription over restores of the pod: the same session, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from podkit.errors import PodUnreachableError
from podkit.protocol import Snapshot

from ._plan_snapshot import session_of

if TYPE_CHECKING:
    from podkit.protocol import Event

    from ._client import Client


class Continued(trio.abc.ReceiveChannel["Event"]):
    """What `client` receives, as long as it is of one session: in that, a number means the same run before and after a restore.

    `incarnation` is the one that is meant and `session` what its log is known to belong to, if anything is known. Another
    incarnation that was not restored from that session is a `PodUnreachableError`: nobody can tell any more what became of a run.
    """

    def __init__(self, client: Client, incarnation: str, session: str | None) -> None:
        self._client, self._incarnation, self._session = client, incarnation, session

    async def receive(self) -> Event:
        event = await self._client.receive()
        if isinstance(event, Snapshot):
            incarnation, session = self._client.incarnation, session_of(event)
            if incarnation != self._incarnation and (session is None or session != self._session):
                reason = f"another incarnation answers there, {incarnation}, and its log is not known to go on from this one's"
                raise PodUnreachableError(self._client.address, reason)
            self._incarnation, self._session = incarnation, session
        return event

    async def aclose(self) -> None:
        await self._client.aclose()
