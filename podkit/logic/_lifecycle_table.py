"""The table of a pod's life: what every input does in every phase. Data only; `_lifecycle` reads it, `_lifecycle_actions` does it.

A row says the next phase and the actions in order. It is total: a refusal is a row, and so is "nothing", so no peer can make a pod
raise. Conditions are decided before the table is asked: an input is classified into one `InputKind` by looking at the state
(`_lifecycle.classify`), so a row has none. docs/reference/state-machine.md is written from this file.
"""

from __future__ import annotations

import enum

import attrs

from ._lifecycle_values import Phase


class InputKind(enum.Enum):
    """What an input comes to in the state it meets. The value is how the reference page names it."""

    RUN = "run"
    NOTIFY = "notify, quiet or held"
    WAKE = "notify, waking"
    OVERFLOW = "notify, the queue is full"
    RESUME = "resume"
    CANCEL = "cancel"
    PAUSE = "pause"
    OTHER_RUN = "cancel or pause of another run"
    SHUTDOWN = "shutdown"
    JOB = "compact, rewind"
    COMMITTED = "committed"
    COMMITTED_WITH_PAUSER = "committed, a pauser waits"
    COMMIT_FAILED = "commit failed, the pod was idle"
    COMMIT_FAILED_PAUSED = "commit failed, the pod was paused"
    FINISHED = "run finished, limit reached"
    FAILED = "run failed"
    ROLLED_BACK = "run rolled back"
    SELF_PAUSED = "worker paused itself"
    CANCELLED = "run cancelled"
    DEADLINE = "deadline of a cancel or stop"
    COMMIT_DEADLINE = "deadline of a stop, still committing"
    JOB_DONE = "job done, job failed"
    JOB_DEADLINE = "deadline of a stop, for a job"
    BACKOFF_OVER = "back-off over"
    REFILLED = "a child may wake once more"
    NOTICES_SEEN = "notices seen"
    STALE = "late or repeated completion"


class Action(enum.Enum):
    """One named step of a row. The value is how the reference page says it."""

    ACCEPT = "accepted"
    REFUSE_ALREADY_RUNNING = "error already_running"
    REFUSE_NOT_RUNNING = "error not_running"
    REFUSE_NOT_PAUSED = "error not_paused"
    REFUSE_INVALID = "error invalid_request"
    REFUSE_STOPPING = "error stopping"
    REFUSE_FULL = "error limit_exceeded"
    COMMIT_INPUT = "commit"
    COMMIT_RESUME = "commit again"
    COMMIT_NOTICES = "commit the notices"
    CONFIRM = "accepted{run}"
    REFUSE_STORAGE = "error storage_full to who asked for the run"
    START = "start"
    INTERRUPT = "interrupt with a deadline"
    INTERRUPT_GENTLY = "interrupt"
    CUT = "cut the run"
    END_AS_IT_WAS = "run_end as it was"
    END_CANCELLED = "run_end cancelled"
    END_PAUSED = "run_end paused"
    ABANDON = "abandon"
    SHOW_RUNNING = "status running"
    SHOW_IDLE = "status idle"
    SHOW_PAUSED = "status paused"
    JOIN = "wait for the pause"
    PAUSERS_PAUSED = "accepted to the pausers"
    PAUSERS_NOT_RUNNING = "not_running to the pausers"
    PAUSERS_STOPPING = "stopping to the pausers"
    START_JOB = "start the job"
    CANCEL_JOB = "cancel the job"
    CANCEL_JOB_SOON = "cancel the job with a deadline"
    JOB_OVER = "the job is over"
    QUEUE = "queue"
    SEEN = "out of the queue"
    HOLD = "hold"
    BACK_OFF = "back off"
    LIFT = "lift the hold"
    EARN = "one wake more for each child"
    RESET = "forget failures"
    LEFT_OVERS = "left-overs start a run"
    LEAVE = "leave"


@attrs.frozen
class Row:
    """One cell: the next phase (None: it stays) and the actions, in order."""

    next: Phase | None = None
    actions: tuple[Action, ...] = ()


Table = dict[tuple[InputKind, Phase], Row]

NOTHING = Row()

_I, _P, _A = InputKind, Phase, Action

ACTIVE = (Phase.STARTING, Phase.RUNNING, Phase.PAUSING, Phase.CANCELLING, Phase.BUSY)
OPEN = (Phase.IDLE, *ACTIVE, Phase.PAUSED)


def _row(next_phase: Phase | None, *actions: Action) -> Row:
    return Row(next_phase, actions)


def _methods() -> Table:
    running, stopping = _row(None, _A.REFUSE_ALREADY_RUNNING), _row(None, _A.REFUSE_STOPPING)
    not_running = _row(None, _A.REFUSE_NOT_RUNNING)
    table: Table = {}
    for kind in (_I.RUN, _I.NOTIFY, _I.WAKE, _I.OVERFLOW, _I.RESUME, _I.CANCEL, _I.PAUSE, _I.SHUTDOWN, _I.JOB):
        table[kind, _P.STOPPING] = table[kind, _P.STOPPED] = stopping
    for kind in (_I.RUN, _I.RESUME, _I.JOB):
        table |= {(kind, phase): running for phase in ACTIVE}
    for phase in OPEN:
        table[_I.NOTIFY, phase] = table[_I.WAKE, phase] = _row(None, _A.QUEUE, _A.ACCEPT)
        table[_I.OVERFLOW, phase] = _row(None, _A.REFUSE_FULL)
    table |= {(_I.OTHER_RUN, phase): not_running for phase in Phase}
    return table | {
        (_I.RUN, _P.IDLE): _row(_P.STARTING, _A.COMMIT_INPUT),
        (_I.RUN, _P.PAUSED): _row(_P.STARTING, _A.COMMIT_INPUT),
        (_I.WAKE, _P.IDLE): _row(_P.STARTING, _A.QUEUE, _A.ACCEPT, _A.COMMIT_NOTICES),
        (_I.WAKE, _P.BUSY): _row(None, _A.QUEUE, _A.ACCEPT, _A.LIFT),
        (_I.RESUME, _P.IDLE): _row(None, _A.REFUSE_NOT_PAUSED),
        (_I.RESUME, _P.PAUSED): _row(_P.STARTING, _A.COMMIT_RESUME),
        (_I.CANCEL, _P.IDLE): not_running,
        (_I.CANCEL, _P.STARTING): _row(_P.CANCELLING, _A.PAUSERS_NOT_RUNNING, _A.ACCEPT),
        (_I.CANCEL, _P.RUNNING): _row(_P.CANCELLING, _A.INTERRUPT, _A.ACCEPT),
        (_I.CANCEL, _P.PAUSING): _row(_P.CANCELLING, _A.PAUSERS_NOT_RUNNING, _A.INTERRUPT, _A.ACCEPT),
        (_I.CANCEL, _P.CANCELLING): _row(None, _A.ACCEPT),
        (_I.CANCEL, _P.BUSY): _row(None, _A.CANCEL_JOB, _A.ACCEPT),
        (_I.CANCEL, _P.PAUSED): _row(_P.IDLE, _A.ACCEPT, _A.ABANDON, _A.SHOW_IDLE, _A.HOLD),
        (_I.CANCEL, _P.STOPPING): _row(None, _A.ACCEPT),
        (_I.PAUSE, _P.IDLE): not_running,
        (_I.PAUSE, _P.STARTING): _row(None, _A.JOIN),
        (_I.PAUSE, _P.RUNNING): _row(_P.PAUSING, _A.JOIN, _A.INTERRUPT_GENTLY),
        (_I.PAUSE, _P.PAUSING): _row(None, _A.JOIN),
        (_I.PAUSE, _P.CANCELLING): not_running,
        (_I.PAUSE, _P.BUSY): not_running,
        (_I.PAUSE, _P.PAUSED): _row(None, _A.ACCEPT),
        (_I.SHUTDOWN, _P.IDLE): _row(_P.STOPPED, _A.ACCEPT, _A.LEAVE),
        (_I.SHUTDOWN, _P.STARTING): _row(_P.STOPPING, _A.ACCEPT, _A.PAUSERS_STOPPING, _A.INTERRUPT),
        (_I.SHUTDOWN, _P.RUNNING): _row(_P.STOPPING, _A.ACCEPT, _A.INTERRUPT),
        (_I.SHUTDOWN, _P.PAUSING): _row(_P.STOPPING, _A.ACCEPT, _A.PAUSERS_STOPPING, _A.INTERRUPT),
        (_I.SHUTDOWN, _P.CANCELLING): _row(_P.STOPPING, _A.ACCEPT, _A.INTERRUPT),
        (_I.SHUTDOWN, _P.BUSY): _row(_P.STOPPING, _A.ACCEPT, _A.CANCEL_JOB_SOON),
        (_I.SHUTDOWN, _P.PAUSED): _row(_P.STOPPED, _A.ACCEPT, _A.LEAVE),
        (_I.SHUTDOWN, _P.STOPPING): _row(None, _A.ACCEPT),
        (_I.JOB, _P.IDLE): _row(_P.BUSY, _A.ACCEPT, _A.SHOW_RUNNING, _A.START_JOB),
        (_I.JOB, _P.PAUSED): _row(None, _A.REFUSE_INVALID),
    }


def _commits() -> Table:
    table: Table = {
        (_I.COMMITTED, _P.STARTING): _row(_P.RUNNING, _A.CONFIRM, _A.SHOW_RUNNING, _A.START),
        (_I.COMMITTED_WITH_PAUSER, _P.STARTING): _row(
            _P.PAUSED, _A.CONFIRM, _A.SHOW_RUNNING, _A.END_PAUSED, _A.SHOW_PAUSED, _A.PAUSERS_PAUSED
        ),
        (_I.COMMIT_FAILED, _P.STARTING): _row(_P.IDLE, _A.REFUSE_STORAGE, _A.PAUSERS_NOT_RUNNING, _A.BACK_OFF),
        (_I.COMMIT_FAILED_PAUSED, _P.STARTING): _row(_P.PAUSED, _A.REFUSE_STORAGE, _A.PAUSERS_NOT_RUNNING),
        (_I.COMMITTED, _P.CANCELLING): _row(_P.IDLE, _A.CONFIRM, _A.SHOW_RUNNING, _A.END_CANCELLED, _A.SHOW_IDLE, _A.HOLD),
        (_I.COMMIT_FAILED, _P.CANCELLING): _row(_P.IDLE, _A.REFUSE_STORAGE, _A.HOLD),
        (_I.COMMIT_FAILED_PAUSED, _P.CANCELLING): _row(_P.IDLE, _A.REFUSE_STORAGE, _A.ABANDON, _A.SHOW_IDLE, _A.HOLD),
        (_I.COMMITTED, _P.STOPPING): _row(_P.STOPPED, _A.CONFIRM, _A.SHOW_RUNNING, _A.END_CANCELLED, _A.LEAVE),
    }
    for kind in (_I.COMMIT_FAILED, _I.COMMIT_FAILED_PAUSED):
        table[kind, _P.STOPPING] = _row(_P.STOPPED, _A.REFUSE_STORAGE, _A.LEAVE)
    return table


def _ends() -> Table:
    as_it_was, cancelled, paused = _A.END_AS_IT_WAS, _A.END_CANCELLED, _A.END_PAUSED
    idle, told = _A.SHOW_IDLE, _A.PAUSERS_NOT_RUNNING
    table: Table = {
        (_I.FINISHED, _P.RUNNING): _row(_P.IDLE, as_it_was, idle, _A.RESET, _A.LEFT_OVERS),
        (_I.FINISHED, _P.PAUSING): _row(_P.IDLE, as_it_was, idle, told, _A.RESET, _A.LEFT_OVERS),
        (_I.FINISHED, _P.CANCELLING): _row(_P.IDLE, as_it_was, idle, _A.RESET, _A.HOLD),
        (_I.FAILED, _P.RUNNING): _row(_P.IDLE, as_it_was, idle, _A.BACK_OFF),
        (_I.FAILED, _P.PAUSING): _row(_P.IDLE, as_it_was, idle, told, _A.BACK_OFF),
        (_I.FAILED, _P.CANCELLING): _row(_P.IDLE, as_it_was, idle, _A.HOLD),
        (_I.ROLLED_BACK, _P.RUNNING): _row(_P.IDLE, as_it_was, idle, _A.LEFT_OVERS),
        (_I.ROLLED_BACK, _P.PAUSING): _row(_P.IDLE, as_it_was, idle, told, _A.LEFT_OVERS),
        (_I.ROLLED_BACK, _P.CANCELLING): _row(_P.IDLE, as_it_was, idle, _A.HOLD),
        (_I.SELF_PAUSED, _P.RUNNING): _row(_P.PAUSED, paused, _A.SHOW_PAUSED),
        (_I.SELF_PAUSED, _P.PAUSING): _row(_P.PAUSED, paused, _A.SHOW_PAUSED, _A.PAUSERS_PAUSED),
        (_I.SELF_PAUSED, _P.CANCELLING): _row(_P.IDLE, cancelled, idle, _A.HOLD),
        (_I.CANCELLED, _P.RUNNING): _row(_P.IDLE, cancelled, idle, _A.LEFT_OVERS),
        (_I.CANCELLED, _P.PAUSING): _row(_P.PAUSED, paused, _A.SHOW_PAUSED, _A.PAUSERS_PAUSED),
        (_I.CANCELLED, _P.CANCELLING): _row(_P.IDLE, cancelled, idle, _A.HOLD),
        (_I.DEADLINE, _P.CANCELLING): _row(_P.IDLE, _A.CUT, cancelled, idle, _A.HOLD),
        (_I.DEADLINE, _P.STOPPING): _row(_P.STOPPED, _A.CUT, cancelled, _A.LEAVE),
        (_I.COMMIT_DEADLINE, _P.STOPPING): _row(_P.STOPPED, _A.CUT, _A.LEAVE),
    }
    for kind in (_I.FINISHED, _I.FAILED, _I.ROLLED_BACK):
        table[kind, _P.STOPPING] = _row(_P.STOPPED, as_it_was, _A.LEAVE)
    for kind in (_I.SELF_PAUSED, _I.CANCELLED):
        table[kind, _P.STOPPING] = _row(_P.STOPPED, cancelled, _A.LEAVE)
    return table


def _others() -> Table:
    table: Table = {
        (_I.JOB_DONE, _P.BUSY): _row(_P.IDLE, _A.JOB_OVER, _A.SHOW_IDLE, _A.LEFT_OVERS),
        (_I.JOB_DONE, _P.STOPPING): _row(_P.STOPPED, _A.JOB_OVER, _A.LEAVE),
        (_I.JOB_DEADLINE, _P.STOPPING): _row(_P.STOPPED, _A.JOB_OVER, _A.LEAVE),
        (_I.BACKOFF_OVER, _P.IDLE): _row(None, _A.LIFT, _A.LEFT_OVERS),
        (_I.BACKOFF_OVER, _P.BUSY): _row(None, _A.LIFT),
    }
    for phase in OPEN:
        table[_I.REFILLED, phase] = _row(None, _A.EARN)
    table[_I.REFILLED, _P.IDLE] = _row(None, _A.EARN, _A.LEFT_OVERS)
    for phase in (*OPEN, _P.STOPPING):
        table[_I.NOTICES_SEEN, phase] = _row(None, _A.SEEN)
    return table


TABLE: Table = {(kind, phase): NOTHING for kind in InputKind for phase in Phase} | _methods() | _commits() | _ends() | _others()
