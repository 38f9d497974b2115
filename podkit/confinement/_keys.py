"""Paths as keys in order: without a trailing slash, so that the root is empty, and what is below a key is one slice of them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_PATH: Final = 4095


@attrs.frozen
class Keys:
    """Keys in order, each written with a slash behind it."""

    order: list[str]

    def below(self, key: str) -> tuple[int, int]:
        """Where the keys below a key begin and end."""
        first = bisect_right(self.order, key + "/")
        return first, bisect_left(self.order, key + "0", first)

    def tops(self, key: str) -> Iterator[str]:
        """The keys below a key that have no key between."""
        first, last = self.below(key)
        while first < last:
            top = self.order[first][:-1]
            yield top
            first = bisect_left(self.order, top + "0", first + 1, last)

    def children(self, key: str) -> Iterator[str]:
        """The entries of a directory that are keys, or have keys below them."""
        first, last = self.below(key)
        while first < last:
            node = self.order[first]
            child = node[: node.index("/", len(key) + 1)]
            yield child
            first = bisect_left(self.order, child + "0", first + 1, last)


def parent(key: str) -> str:
    """The key of the directory that a key is in."""
    return key[: key.rindex("/")]


def above(key: str) -> Iterator[str]:
    """A key and those of the directories above it, nearest first."""
    while key:
        yield key
        key = parent(key)
    yield ""


def can_be_said(path: str) -> bool:
    """Whether the kernel can be told this path: text, and not too long."""
    try:
        return len(path.encode()) <= _MAX_PATH
    except UnicodeEncodeError:
        return False


def readable(path: str) -> str:
    """A path as people are shown it, whatever bytes its name is made of."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
