"""A scope folded into a finite table, on which every question about authority is answered exactly.

A row says what holds at one path (`self`), at those of its direct children without a row (`child`), and at everything deeper
that no other row speaks of (`deep`). What rules say at a path follows from the rules at it and above it alone, so one row for
each target is enough: the nearest row above a path decides for it. Tables are closed under every pointwise operation.

Keys are paths without their trailing slash, so the root is the empty string; `order` holds the keys with a trailing slash,
sorted, which keeps everything below a key in one run.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cache
from itertools import pairwise, product
from typing import TYPE_CHECKING, TypeAlias

from podkit.protocol import Permission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from podkit.protocol import ScopeRule

Triple: TypeAlias = tuple[Permission, Permission, Permission]
Span: TypeAlias = tuple[Permission, Permission]

_NONE, _READ, _WRITE = Permission.NONE, Permission.READ, Permission.WRITE
_OUTSIDE: Triple = (_NONE, _NONE, _NONE)
_TRIPLES: tuple[Triple, ...] = tuple((x, y, z) for x, y, z in product(Permission, repeat=3))
# What a path without a row has, when the nearest row is its parent's and when it is further up.
_UNDER: dict[Triple, Triple] = {t: (t[1], t[2], t[2]) for t in _TRIPLES}
_DEEPER: dict[Triple, Triple] = {t: (t[2], t[2], t[2]) for t in _TRIPLES}

MAX_PATH = 4095  # bytes, as in `check_path`
_LONG = 1000  # characters; shorter keys are far from that limit


class Folded:
    """The canonical folded form of a scope: equal tables mean the same permission at every path."""

    __slots__ = ("_longest", "_shortest", "_spans", "order", "rows")

    def __init__(self, sorted_rows: Iterable[tuple[str, Triple]]) -> None:
        self.rows: dict[str, Triple] = dict(_pruned(sorted_rows))
        self.order: list[str] = [key + "/" for key in self.rows]
        # No key is longer or shorter than these, so only that part of a path is looked up.
        self._longest = max(map(len, self.rows), default=0)
        self._shortest = min(map(len, self.rows), default=MAX_PATH)
        self._spans: dict[str, Span] | None = None

    def at(self, path: str) -> Permission:
        """The permission at a checked path."""
        get = self.rows.get
        row = get(path)
        if row is not None:
            return row[0]
        cut = path.rfind("/")
        row = get(path[:cut])
        if row is not None:
            return row[1]  # for the root too: no rule tells it from its children
        longest, shortest = self._longest, self._shortest
        while cut > shortest:
            cut = path.rfind("/", 0, cut if cut <= longest else longest + 1)
            row = get(path[:cut])
            if row is not None:
                return row[2]
        return _NONE

    def row(self, key: str) -> Triple:
        """The row of a key, its own or the one that follows from the nearest above."""
        return self.rows.get(key) or self.follows(key)

    def follows(self, key: str) -> Triple:
        """What the nearest row above a key says of it."""
        get = self.rows.get
        cut = key.rfind("/")
        if cut < 0:
            return _OUTSIDE
        row = get(key[:cut])
        if row is not None:
            return _UNDER[row]
        while cut > 0:
            cut = key.rfind("/", 0, min(cut, self._longest + 1))
            row = get(key[:cut])
            if row is not None:
                return _DEEPER[row]
        return _OUTSIDE

    def below(self, key: str) -> tuple[int, int]:
        """The run of `order` strictly below a key. "0" is the character after the slash."""
        first = bisect_right(self.order, key + "/")
        return first, bisect_left(self.order, key + "0", first)

    def tops(self) -> Iterator[str]:
        """The keys with no key above them. Everything outside them is without permission."""
        return self._tops(0, len(self.order))

    def span(self, key: str) -> Span:
        """The least and the greatest permission at a key and everything below it."""
        row = self.row(key)
        first, last = self.below(key)
        if first == last:
            return _row_span(key, row)
        if self._spans is None:
            self._spans = self._all_spans()
        span = self._spans.get(key)
        if span is None:
            span = _row_span(key, row)
            for top in self._tops(first, last):
                span = _wider(span, self._spans[top])
        return span

    def _tops(self, first: int, last: int) -> Iterator[str]:
        while first < last:
            key = self.order[first][:-1]
            yield key
            first = bisect_left(self.order, key + "0", first + 1, last)

    def _all_spans(self) -> dict[str, Span]:
        spans = {key: _row_span(key, row) for key, row in self.rows.items()}
        above: dict[str, str] = {}
        stack: list[str] = []
        for order in self.order:
            while stack and not order.startswith(stack[-1]):
                stack.pop()
            if stack:
                above[order[:-1]] = stack[-1][:-1]
            stack.append(order)
        for key in reversed(above):
            spans[above[key]] = _wider(spans[above[key]], spans[key])
        return spans


def fold(allow: Sequence[ScopeRule], deny: Sequence[ScopeRule]) -> Folded:
    """The table of allow and deny rules."""
    # Four numbers a target: what its recursive rules grant and leave, and what its non-recursive rules grant and leave.
    said: dict[str, list[Permission]] = {}
    for rule in allow:
        entry = said.setdefault(rule.target.rstrip("/"), [_NONE, _WRITE, _NONE, _WRITE])
        where = 0 if rule.recursive else 2
        entry[where] = max(entry[where], rule.permission)
    for rule in deny:
        entry = said.setdefault(rule.target.rstrip("/"), [_NONE, _WRITE, _NONE, _WRITE])
        where = 1 if rule.recursive else 3
        entry[where] = min(entry[where], _READ if rule.permission is _WRITE else _NONE)
    return Folded(_folded(said))


def _folded(said: dict[str, list[Permission]]) -> Iterator[tuple[str, Triple]]:
    stack: list[tuple[str, Permission, Permission, Permission, Permission]] = []
    for order in sorted([key + "/" for key in said]):
        key = order[:-1]
        grant, cap, near_grant, near_cap = said[key]
        while stack and not key.startswith(stack[-1][0]):
            stack.pop()
        above_grant, above_cap = _NONE, _WRITE
        if stack:
            prefix, deep_grant, deep_cap, child_grant, child_cap = stack[-1]
            grant, cap = max(grant, deep_grant), min(cap, deep_cap)
            if key.rfind("/") == len(prefix) - 1:
                above_grant, above_cap = child_grant, child_cap
        stack.append((order, grant, cap, near_grant, near_cap))
        child_grant, child_cap = max(grant, near_grant), min(cap, near_cap)
        yield (
            key,
            (
                min(max(child_grant, above_grant), child_cap, above_cap),
                min(child_grant, child_cap),
                min(grant, cap),
            ),
        )


def _pruned(sorted_rows: Iterable[tuple[str, Triple]]) -> Iterator[tuple[str, Triple]]:
    """Without the rows that follow from the nearest one above. What is left is determined by the permissions alone."""
    stack: list[tuple[str, Triple]] = []
    for key, row in sorted_rows:
        while stack and not key.startswith(stack[-1][0]):
            stack.pop()
        if not stack:
            follows = _OUTSIDE
        else:
            prefix, above = stack[-1]
            follows = _UNDER[above] if key.rfind("/") == len(prefix) - 1 else _DEEPER[above]
        said = row if len(key) < _LONG else _only_said(key, row, follows)
        if said != follows:
            stack.append((key + "/", said))
            yield key, said


def _said(key: str) -> int:
    """How much of a key's row is of paths that can be: a path has at most 4095 bytes, so below the longest keys nothing is."""
    room = MAX_PATH - len(key.encode())
    return 1 if room < 2 else 2 if room < 4 else 3


def _only_said(key: str, row: Triple, follows: Triple) -> Triple:
    said = _said(key)
    return row[0], (row if said > 1 else follows)[1], (row if said > 2 else follows)[2]


def _row_span(key: str, row: Triple) -> Span:
    said = row if len(key) < _LONG else row[: _said(key)]
    return min(said), max(said)


def side_by_side(
    a: Folded, b: Folded, keys: Iterable[str], start: tuple[str, Triple, Triple]
) -> Iterator[tuple[str, Triple, Triple]]:
    """For sorted keys (as in `order`, with every key of both tables among them), the row of each in both tables."""
    stack = [start]
    for order in keys:
        key = order[:-1]
        while not order.startswith(stack[-1][0]):
            stack.pop()
        prefix, above_a, above_b = stack[-1]
        follows = _UNDER if key.rfind("/") == len(prefix) - 1 else _DEEPER
        row_a = a.rows.get(key) or follows[above_a]
        row_b = b.rows.get(key) or follows[above_b]
        stack.append((order, row_a, row_b))
        yield key, row_a, row_b


def merge(a: Folded, b: Folded, combine: Callable[[Permission, Permission], Permission]) -> Folded:
    """The table with `combine(a.at(p), b.at(p))` at every path p. `combine(NONE, NONE)` is NONE."""

    @cache
    def combined(x: Triple, y: Triple) -> Triple:
        return combine(x[0], y[0]), combine(x[1], y[1]), combine(x[2], y[2])

    keys = merged(a.order, b.order)
    return Folded((key, combined(x, y)) for key, x, y in side_by_side(a, b, keys, ("", _OUTSIDE, _OUTSIDE)))


def join_all(tables: Sequence[Folded]) -> Folded:
    """The greatest permission of any of the tables, at every path."""
    left = list(tables)
    while len(left) > 1:  # in pairs, so that no table is merged more than log n times
        pairs = [merge(x, y, max) for x, y in zip(left[::2], left[1::2], strict=False)]
        left = [*pairs, *left[2 * len(pairs) :]]
    return left[0]


def merged(a: list[str], b: list[str]) -> list[str]:
    both = sorted(a + b)
    return both[:1] + [y for x, y in pairwise(both) if x != y]


def _wider(a: Span, b: Span) -> Span:
    return min(a[0], b[0]), max(a[1], b[1])
