"""What becomes of a pod event in front of a model: whether it is shown, whether it wakes, and its one line of text."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Any

from podkit.protocol import PodErrored, PodEvent, PodScopeSubDelegated, PodShutDown, PodTurnEnded


class NoticeClass(enum.Enum):
    """What a pod event does to the model of the pod that receives it."""

    CONTROL = "control"
    """Never shown."""
    INFORM = "inform"
    """Shown with the next run."""
    WAKE = "wake"
    """Shown, and starts a run when the pod is idle."""


def notice_class(event: PodEvent) -> NoticeClass:
    """Whether `event` is shown and whether it wakes. What only moves authority is control: it would cost a run per grandchild."""
    return _CLASSES.get(type(event), NoticeClass.CONTROL)


def notice_text(event: PodEvent, *, limit: int = 16 * 1024) -> str:
    """One line about `event`, for a model or a person. What the other pod wrote in it is made safe and cut at `limit` bytes."""
    line = _TEXTS.get(type(event))
    return "something happened to a pod" if line is None else line(event, limit)


def from_other(text: str, origin: str, *, limit: int = 16 * 1024) -> str:
    """`text` as it came from the pod `origin`, safe to be read: marked with its origin, stripped, and at most `limit` bytes of it.

    Control and format characters go, except newline and tab (a CRLF becomes a newline). What is over the limit is cut between two
    characters, and a marker says how much is missing. Each line is quoted, so that no text can pass itself off as having ended.
    """
    quoted = "\n".join("> " + line for line in bounded(_clean(text), limit).split("\n"))
    return f"from pod `{_name(origin)}`:\n{quoted}"


def _name(text: str) -> str:
    """A name from a peer on one line, bounded; a real pod name comes out as it is."""
    return re.sub(r"[^a-z0-9_-]", "?", text[:63].lower()) or "?"


_CONTROLS = re.compile(
    # C0 and C1 controls, soft hyphen, zero-width and direction marks, separators, interlinear marks, tags, lone surrogates
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)


def _clean(text: str) -> str:
    return _CONTROLS.sub("", text.replace("\r\n", "\n"))


def bounded(text: str, limit: int) -> str:
    """`text`, or what of it fits into `limit` bytes and a mark that says how much is missing."""
    data = text.encode()
    if len(data) <= limit:
        return text
    kept = data[: max(0, limit)].decode(errors="ignore")
    return f"{kept}… [cut: {len(data) - len(kept.encode())} more bytes]"


def one_line(text: str, limit: int) -> str:
    """`text` without control characters, on one line, bounded."""
    return bounded(" ".join(_clean(text).split()), limit)


def _errored(event: PodErrored, limit: int) -> str:
    return f"a run of pod `{_name(event.pod_name)}` failed: {one_line(event.message, limit)}"


def _shut_down(event: PodShutDown, _limit: int) -> str:
    line = f"pod `{_name(event.pod_name)}` has shut down"
    return f"{line}; it did not see {len(event.unseen)} of the notices you sent it" if event.unseen else line


_CLASSES: dict[type, NoticeClass] = {
    PodTurnEnded: NoticeClass.WAKE,
    PodErrored: NoticeClass.WAKE,
    PodShutDown: NoticeClass.WAKE,
    PodScopeSubDelegated: NoticeClass.CONTROL,
}

_TEXTS: dict[type, Callable[[Any, int], str]] = {
    PodTurnEnded: lambda event, _limit: f"pod `{_name(event.pod_name)}` finished its turn",
    PodErrored: _errored,
    PodShutDown: _shut_down,
    PodScopeSubDelegated: lambda event, _limit: (
        f"pod `{_name(event.parent_pod)}` handed part of its scope to pod `{_name(event.sub_pod)}`"
    ),
}
