"""What a pod is made from, beside its authority."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podkit._os import Wards
    from podkit.abc import Tool, Transport, Worker
    from podkit.logic import Limits

    from ._kept import Kept
    from ._place import Place
    from ._upward import Upward


@attrs.frozen(kw_only=True)
class Setting:
    """The parts that whoever opens a pod, or the birth of a child, gives it."""

    worker: Worker
    tools: Sequence[Tool]
    transport: Transport
    place: Place
    cwd: str
    limits: Limits
    level: str
    address: str
    wards: Wards
    kept: Kept
    upward: Upward | None = None
    parent_instance: str | None = attrs.field(default=None, repr=False)
