"""Who writes near a path: an index of write targets, so that a birth asks its neighbours and not every pod."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import attrs
from rpds import HashTrieMap

_Change: TypeAlias = "Callable[[frozenset[str]], frozenset[str]]"


@attrs.frozen
class Regions:
    """The incarnations with a write target at one directory, `/` to begin with, and the same for every name below it.

    A change answers a new index, which shares with the old one what is equal: it costs as much as the path is deep, however many
    targets there are.
    """

    _here: frozenset[str] = frozenset()
    _below: HashTrieMap[str, Regions] = attrs.field(factory=HashTrieMap)

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
            waiting = [self]
            for name in _names(target):
                node = waiting.pop()
                found |= node._here
                below = node._below.get(name)
                if below is None:
                    break
                waiting.append(below)
            while waiting:
                node = waiting.pop()
                found |= node._here
                waiting.extend(node._below.values())
        return found

    def _changed(self, targets: Iterable[str], change: _Change) -> Regions:
        root = self
        for target in targets:
            names, node, trail = _names(target), root, []
            for name in names:
                trail.append(node)
                node = node._below.get(name) or _NOBODY
            node = Regions(change(node._here), node._below)
            for name, above in zip(reversed(names), reversed(trail), strict=True):
                left = above._below.insert(name, node) if node._here or node._below else above._below.remove(name)
                node = Regions(above._here, left)
            root = node
        return root


_NOBODY = Regions()


def _names(path: str) -> list[str]:
    return path.split("/")[1:] if path != "/" else []
