"""The life that a restored pod starts with."""

from __future__ import annotations

import attrs

from podkit.logic._lifecycle_values import Hold, Life, Phase
from podkit.logic._replay import SessionState

WAKE_TIMER = 1
"""The timer that starts the run which waiting notices ask for: a restored pod feeds `BackoffOver(WAKE_TIMER)` once it is open."""


def restored_life(fresh: Life, state: SessionState) -> Life:
    """Where a pod is after the log that came to `state`, once what was interrupted in it is closed. `fresh` has its queue.

    Paused stays paused. What a cancelled run or an abandoned pause held back stays held; other waking notices wait for
    `WAKE_TIMER`, so that no run starts before the pod can be reached.
    """
    phase, hold, timer = Phase.IDLE if state.paused is None else Phase.PAUSED, Hold.NONE, None
    if state.held:
        hold = Hold.ASKED
    elif phase is Phase.IDLE and fresh.waking:
        hold, timer = Hold.BACKOFF, WAKE_TIMER
    return attrs.evolve(
        fresh,
        phase=phase,
        shown=phase.status,
        run=state.run,
        numbers=state.run,
        cause=state.cause,
        hold=hold,
        timer=timer,
        timers=fresh.timers if timer is None else timer,
    )
