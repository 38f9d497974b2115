"""What the connections of one server share: the pod, who may come in, and who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from podkit.protocol import Event

    from ._desk import Desk, Origin
    from ._receipts import Receipts
    from ._record import Lens


class Listening(Protocol):
    """A peer that can be told something."""

    def say(self, event: Event) -> None:
        """Queue something that answers no method."""
        ...


@attrs.frozen(eq=False)
class House:
    """What all connections of a server share."""

    desk: Desk
    key: str | None = attrs.field(repr=False)
    plain: str | None
    lens: Lens
    receipts: Receipts
    peers: dict[object, Listening] = attrs.field(factory=dict, repr=False)
    """Who is there, by what it calls itself: of several connections the one that was opened last."""

    def tell(self, peer: object, event: Event) -> None:
        """Say something to a peer, on whatever connection it has now; nothing happens when it has none."""
        connection = self.peers.get(peer)
        if connection is not None:
            connection.say(event)


def peer_of(origin: Origin | None) -> object:
    """Who that is: more than the peer chose itself, so that nobody hears what is meant for another."""
    return None if origin is None else (origin.role, origin.child, origin.instance)
