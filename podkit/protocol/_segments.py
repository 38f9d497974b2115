"""The pieces a user's input is made of."""

from collections.abc import Iterable
from typing import ClassVar, TypeAlias

import attrs

from ._marks import U32


@attrs.frozen
class Text:
    """Plain text."""

    kind: ClassVar[str] = "text"
    content: str


@attrs.frozen
class Paste:
    """Pasted text, which a front end may show folded. `id` tells pastes of one input apart; `chars` and `lines` are its size."""

    kind: ClassVar[str] = "paste"
    id: U32
    chars: U32
    lines: U32
    content: str


@attrs.frozen
class FileRef:
    """A file the user points at, as typed: relative paths are relative to the pod's working directory."""

    kind: ClassVar[str] = "file_ref"
    path: str


@attrs.frozen
class KnowledgeRef:
    """A piece of the pod's knowledge, by its slug."""

    kind: ClassVar[str] = "knowledge_ref"
    slug: str


@attrs.frozen
class WorkflowInvoke:
    """A workflow to follow, by its slug."""

    kind: ClassVar[str] = "workflow_invoke"
    slug: str


@attrs.frozen
class Unknown:
    """A segment of a kind this version does not know. Its content is not kept."""

    kind: ClassVar[str] = "unknown"
    fallback: ClassVar[bool] = True


Segment: TypeAlias = Text | Paste | FileRef | KnowledgeRef | WorkflowInvoke | Unknown
SEGMENTS: tuple[type[Segment], ...] = (Text, Paste, FileRef, KnowledgeRef, WorkflowInvoke, Unknown)


def segments(value: str | Iterable[Segment]) -> tuple[Segment, ...]:
    """An input as segments: text becomes one `Text`."""
    return (Text(value),) if isinstance(value, str) else tuple(value)


def flatten(value: str | Iterable[Segment]) -> str:
    """An input as the one text a model is given: contents as they are, references as `@path`, `#slug`, `/slug`; nothing between."""
    return value if isinstance(value, str) else "".join(map(_flat, value))


def _flat(segment: Segment) -> str:
    match segment:
        case Text() | Paste():
            return segment.content
        case FileRef():
            return f"@{segment.path}"
        case KnowledgeRef():
            return f"#{segment.slug}"
        case WorkflowInvoke():
            return f"/{segment.slug}"
    return "[unknown input segment]"


def as_input(value: str | Iterable[Segment]) -> str | tuple[Segment, ...]:
    """Text stays text; any other sequence of segments becomes a tuple."""
    return value if isinstance(value, str) else tuple(value)
