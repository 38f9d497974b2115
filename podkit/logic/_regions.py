"""Who writes near a path: an index of write targets, so that a birth asks its neighbours and not every pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import attrs

_NOBODY: frozenset[str] = frozenset()
_Change: TypeAlias = Callable[[frozenset[str]], frozenset[str]]


@attrs.frozen
class Regions:
    """Which incarnations have a write target at a path, and which have one somewhere below it. Changes answer a new index."""

    _at: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    _below: Mapping[str, frozenset[str]] = attrs.field(factory=dict)

    def with_targets(self, incarnation: str, targets: Iterable[str]) -> Regions:
        """The index and the targets of one more incarnation."""
        return self._changed(targets, lambda there: there | {incarnation})

    def without_targets(self, incarnation: str, targets: Iterable[str]) -> Regions:
        """The index less the targets of that incarnation, which are all it has."""
        return self._changed(targets, lambda there: there - {incarnation})

    def near(self, targets: Iterable[str]) -> set[str]:
        """The incarnations with a target on one line of directories with one of these: only there can two scopes meet."""
        found: set[str] = set()
        for target in targets:
            found |= self._at.get(target, _NOBODY)
            found |= self._below.get(target, _NOBODY)
            for above in _above(target):
                found |= self._at.get(above, _NOBODY)
        return found

    def _changed(self, targets: Iterable[str], change: _Change) -> Regions:
        at, below = dict(self._at), dict(self._below)
        seen: set[str] = set()
        for target in targets:
            _put(at, target, change)
            for above in _above(target):
                if above not in seen:
                    seen.add(above)
                    _put(below, above, change)
        return Regions(at, below)


def _put(index: dict[str, frozenset[str]], path: str, change: _Change) -> None:
    there = change(index.get(path, _NOBODY))
    if there:
        index[path] = there
    else:
        index.pop(path, None)


def _above(path: str) -> Iterator[str]:
    """The directories above a path, nearest first."""
    while path != "/":
        path = path[: path.rfind("/")] or "/"
        yield path
