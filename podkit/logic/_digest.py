"""News of children put together by child, for a queue that is full: how many of what, and who is gone, always by name."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from podkit.protocol import PodErrored, PodEvent, PodShutDown, PodTurnEnded

from ._notices import bounded, one_line

MOST_CHILDREN = 128
"""Children that are counted one by one. Of more it is said how many reports there were, and how many of them are gone."""
_MESSAGE = 200  # bytes kept of the last failure of each child


@attrs.frozen
class Tally:
    """What happened to one child."""

    finished: int = 0
    failed: int = 0
    message: str = ""
    """The last failure, on one line."""
    gone: bool = False

    def __str__(self) -> str:
        parts = ["is gone"] if self.gone else []
        if self.finished:
            parts.append(f"finished {_count(self.finished, 'turn')}")
        if self.failed:
            parts.append(f"{_count(self.failed, 'failure')}, the last: {self.message}")
        return "; ".join(parts)


@attrs.frozen
class Digest:
    """News by child, in the order in which each was first heard of."""

    children: Mapping[str, Tally] = attrs.field(factory=dict)
    others: int = 0
    """Reports of children beyond the bound."""
    others_gone: int = 0

    def add(self, child: str, event: PodEvent, *, gone: bool = False) -> Digest:
        """With one more report of the pod `child`. `gone`: it is about its end, of whatever kind it is."""
        gone = gone or isinstance(event, PodShutDown)
        before = self.children.get(child)
        if before is None and len(self.children) >= MOST_CHILDREN:
            return attrs.evolve(self, others=self.others + 1, others_gone=self.others_gone + gone)
        before = before or Tally()
        tally = attrs.evolve(
            before,
            finished=before.finished + isinstance(event, PodTurnEnded),
            failed=before.failed + isinstance(event, PodErrored),
            message=one_line(event.message, _MESSAGE) if isinstance(event, PodErrored) else before.message,
            gone=before.gone or gone,
        )
        return attrs.evolve(self, children={**self.children, child: tally})

    def text(self, *, limit: int = 16 * 1024) -> str:
        """For a model or a person, at most `limit` bytes and a mark where it is cut. Who is gone is named before anything else."""
        lines = ["There was no room for all news of your pods; this happened beside what you read of each:"]
        gone = [name for name, tally in self.children.items() if tally.gone]
        if gone:
            lines.append("gone: " + ", ".join(f"`{name}`" for name in gone))
        if self.others:
            lines.append(f"{_count(self.others, 'report')} of further pods, {self.others_gone} of them that a pod is gone")
        lines += [f"- pod `{name}` {tally}" for name, tally in self.children.items()]
        return bounded("\n".join(lines), limit)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
