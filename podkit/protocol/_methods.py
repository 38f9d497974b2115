"""What a client says to a pod."""

from collections.abc import Iterable
from typing import ClassVar, TypeAlias

import attrs

from ._enums import CompletionKind, Subscribe
from ._marks import OMIT, U32, U64, Count, UuidText
from ._pod_events import PodEvent
from ._segments import Segment, as_input


def _ints(value: Iterable[int]) -> tuple[int, ...]:
    return tuple(value)


@attrs.frozen
class Run:
    """Start a run with `input`: text, or a sequence of segments (kept as a tuple)."""

    method: ClassVar[str] = "run"
    input: str | tuple[Segment, ...] = attrs.field(converter=as_input)


@attrs.frozen
class Notify:
    """Queue `message` for the pod, to be seen once. With `auto_run` it may wake an idle pod."""

    method: ClassVar[str] = "notify"
    message: str
    auto_run: bool = attrs.field(default=True, kw_only=True, metadata=OMIT)


@attrs.frozen
class PodEventMethod:
    """What a child tells its parent; only accepted on the child's own connection."""

    method: ClassVar[str] = "pod_event"
    transparent: ClassVar[str] = "event"
    event: PodEvent


@attrs.frozen
class Resume:
    """Go on with the paused run, under a new number."""

    method: ClassVar[str] = "resume"


@attrs.frozen
class Cancel:
    """End the current run, or abandon the paused one."""

    method: ClassVar[str] = "cancel"


@attrs.frozen
class Pause:
    """Stop the current run so that it can be resumed."""

    method: ClassVar[str] = "pause"


@attrs.frozen
class ShutdownMethod:
    """Ask the pod to stop."""

    method: ClassVar[str] = "shutdown"


@attrs.frozen
class GetHistory:
    """Ask for what was said so far; answered by `History`."""

    method: ClassVar[str] = "get_history"


@attrs.frozen
class Compact:
    """Ask for the log to be compacted into a new segment."""

    method: ClassVar[str] = "compact"


@attrs.frozen
class ListCompletions:
    """Ask what `prefix` may become; answered by `CompletionsEvent`."""

    method: ClassVar[str] = "list_completions"
    kind: CompletionKind
    prefix: str


@attrs.frozen
class ListRewindTargets:
    """Ask which user inputs the pod can go back to; answered by `RewindTargets`."""

    method: ClassVar[str] = "list_rewind_targets"


@attrs.frozen
class RewindTarget:
    """A user input in the log: the segment (a UUID) and the index of its entry."""

    segment_id: UuidText
    user_input_entry_index: U64


@attrs.frozen
class RewindTo:
    """Go back to before `target`, if the log still has `expected_head_entries` entries."""

    method: ClassVar[str] = "rewind_to"
    target: RewindTarget
    expected_head_entries: U64


@attrs.frozen
class ListVisiblePods:
    """Ask which pods this pod can see; answered by `VisiblePods`."""

    method: ClassVar[str] = "list_visible_pods"


@attrs.frozen
class InspectPod:
    """Ask about one pod; answered by `PodInspection`."""

    method: ClassVar[str] = "inspect_pod"
    name: str


@attrs.frozen
class AttachOrRestorePod:
    """Ask for a pod to be there; answered by `PodAttachRestore`."""

    method: ClassVar[str] = "attach_or_restore_pod"
    name: str


@attrs.frozen
class BirthCredential:
    """Which child speaks: its name, its incarnation and the secret of its birth (never shown)."""

    pod_name: str
    incarnation: str
    secret: str = attrs.field(repr=False)


@attrs.frozen
class ResumePoint:
    """Where a subscriber was: the pod's incarnation and the last `seq` it received."""

    incarnation: str
    seq: Count


@attrs.frozen
class Hello:
    """Opens a connection: the protocol versions spoken, who speaks (`client` is `name/version`, `instance` random), with what
    right (`key`, `birth`), and which events are wanted, perhaps from where on (`resume`)."""

    method: ClassVar[str] = "hello"
    protocol: tuple[U32, ...] = attrs.field(converter=_ints)
    client: str
    instance: str
    key: str | None = attrs.field(default=None, kw_only=True, repr=False, metadata=OMIT)
    birth: BirthCredential | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    subscribe: Subscribe = attrs.field(default=Subscribe.NONE, kw_only=True)
    resume: ResumePoint | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


Method: TypeAlias = (
    Run
    | Notify
    | PodEventMethod
    | Resume
    | Cancel
    | Pause
    | ShutdownMethod
    | GetHistory
    | Compact
    | ListCompletions
    | ListRewindTargets
    | RewindTo
    | ListVisiblePods
    | InspectPod
    | AttachOrRestorePod
    | Hello
)
