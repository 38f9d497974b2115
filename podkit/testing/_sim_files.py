"""The files of a simulated machine: their names and content now, and what a loss of power would leave of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import random

    from ._sim_disk import Opened

_WRITTEN_OUT = 30.0
Change = Callable[["Picture"], None]


@attrs.define(eq=False)
class Node:
    """A file or a directory. `claims` and `locked_by` are by open descriptions, which end with the program."""

    number: int
    kind: int
    mode: int
    data: bytearray = attrs.field(factory=bytearray)
    locked_by: Opened | None = None
    claims: dict[int, Opened] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Picture:
    """What is on the disk for certain: names, and the content of what they name."""

    names: dict[str, Node] = attrs.field(factory=dict)
    content: dict[Node, bytes] = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Pending:
    """One change that was not synced. `part` of it, if it is a write, is what a loss of power in the middle leaves."""

    where: Node | str  # the file whose content, or the directory whose names
    change: Change
    part: Change | None = None
    since: float = 0.0


class SimFiles:
    """The files of one machine. All programs of it share them, each through a `SimDisk` of its own."""

    names: dict[str, Node]
    time: float

    def __init__(self) -> None:
        self.names = {"/": Node(1, stat.S_IFDIR, 0o755)}
        self.time = 0.0
        self.clock: Callable[[], float] | None = None  # in seconds; None: nothing is ever written out by itself
        self._numbers = 1
        self._certain = Picture(dict(self.names))
        self._pending: list[_Pending] = []

    def __repr__(self) -> str:
        return f"<SimFiles: {len(self.names)} names, {len(self._pending)} changes not synced>"

    def read(self, path: str) -> bytes:
        """The content of a file as it is now. `KeyError` when there is none."""
        return bytes(self.names[path].data)

    def new(self, path: str, kind: int, mode: int) -> Node:
        """Something new with that name."""
        self._numbers += 1
        node = Node(self._numbers, kind, mode)
        self.name(path, node)
        return node

    def name(self, path: str, node: Node) -> None:
        self.names[path] = node

        def change(picture: Picture) -> None:
            picture.names[path] = node

        self._named(path, change)

    def unname(self, path: str) -> None:
        del self.names[path]

        def change(picture: Picture) -> None:
            picture.names.pop(path, None)

        self._named(path, change)

    def rename(self, old: str, new: str) -> None:
        node = self.names.pop(old)
        self.names[new] = node

        def change(picture: Picture) -> None:
            picture.names.pop(old, None)
            picture.names[new] = node

        self._named(new, change)

    def write(self, node: Node, data: bytes, at: int) -> None:
        _put(node.data, data, at)
        self._pend(node, _writing(node, data, at), _writing(node, data[: len(data) // 2], at))

    def truncate(self, node: Node, size: int) -> None:
        _cut(node.data, size)

        def change(picture: Picture) -> None:
            content = bytearray(picture.content.get(node, b""))
            _cut(content, size)
            picture.content[node] = bytes(content)

        self._pend(node, change)

    def sync(self, where: Node | str) -> None:
        """From here on this content, or these names, survive."""
        left = []
        for pending in self._pending:
            if pending.where == where:
                pending.change(self._certain)
            else:
                left.append(pending)
        self._pending = left

    def lose_power(self, chance: random.Random) -> int:
        """What was not synced is there or not, as it comes, and of some writes the half. Answers how many are not all there.

        With a clock, what is older than half a minute was written out by the system meanwhile.
        """
        lost = 0
        for pending in self._pending:
            if self.clock is not None and self.clock() - pending.since > _WRITTEN_OUT:
                pending.change(self._certain)
                continue
            draw = chance.random()
            if draw < 0.5:
                pending.change(self._certain)
            elif draw < 0.7 and pending.part is not None:
                pending.part(self._certain)
                lost += 1
            else:
                lost += 1
        self._pending = []
        self.names = dict(self._certain.names)
        for node in self.names.values():
            node.data = bytearray(self._certain.content.get(node, b""))
            node.locked_by = None
            node.claims.clear()
        return lost

    def _named(self, path: str, change: Change) -> None:
        self._pend(os.path.dirname(path), change)

    def _pend(self, where: Node | str, change: Change, part: Change | None = None) -> None:
        self._pending.append(_Pending(where, change, part, 0.0 if self.clock is None else self.clock()))


def _put(content: bytearray, data: bytes, at: int) -> None:
    if at > len(content):
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _cut(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _writing(node: Node, data: bytes, at: int) -> Change:
    def change(picture: Picture) -> None:
        content = bytearray(picture.content.get(node, b""))
        _put(content, data, at)
        picture.content[node] = bytes(content)

    return change
