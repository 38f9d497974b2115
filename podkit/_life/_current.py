"""The run that is committed, running or paused: what is known of it while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from podkit._net import Origin
    from podkit.abc import Notice
    from podkit.errors import SessionError
    from podkit.logic import Commit
    from podkit.protocol import ErrorCode, Segment


@attrs.define(eq=False)
class Current:
    """One run. Whoever performs a part of it writes down here how far it came."""

    number: int
    input: str | tuple[Segment, ...]
    commit: Commit
    notices: tuple[Notice, ...]
    origin: Origin | None = None
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: bool = False
    turn: int | None = None
    calls: list[str] = attrs.field(factory=list)  # calls of tools that have no result yet
    announced: bool = False  # whether it was shown that it began
    lost: SessionError | None = None  # why something of this run could not be kept; nothing of it counts from then on
    failure: tuple[ErrorCode, str] | None = None
