"""What a target is, whatever it is called: scopes in the coordinates of file systems, so that mounts cannot make two of one.

A path is shown by some mount, and is in truth a path inside that mount's file system. Said so, as `/8:1/srv/app` for what device
8:1 has at /srv/app, a directory and its bind mount elsewhere are the same, and two directories never are.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

import attrs

from podkit.protocol import Permission, ScopeRule

from ._scope import Scope
from ._scope_text import MAX_RULES, too_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_MOUNTS = 100_000  # what Linux allows in one namespace unless told otherwise
_ESCAPE = re.compile(r"\\([0-7]{3})")
_NUMBER = re.compile(r"[0-9]{1,10}")
_DEVICE = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_GONE = "//deleted"


@attrs.frozen
class Mount:
    """One mount: `root` is the path inside the file system of `device` ("8:1") that is shown at `point`. Both are normal paths."""

    device: str
    root: str
    point: str


# Reading the kernel's table.


@attrs.frozen
class _Line:
    number: str
    parent: str
    mount: Mount


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Read the text of `/proc/self/mountinfo`: the mounts in an order in which a later one covers an earlier one.

    The kernel's own order does not say that, because mounts can be moved; what is mounted on what does. Lines of mounts that no
    absolute path leads to are left out. Raises `ValueError` for a line that cannot be understood, for numbers that contradict each
    other, and for more than 100,000 mounts.
    """
    lines: dict[str, _Line] = {}
    for row, line in enumerate(text.split("\n"), start=1):
        found = _read_line(line, row) if line else None
        if found is None:
            continue
        if found.number in lines:
            raise ValueError(f"line {row}: mount {found.number} is there twice")
        if len(lines) == MAX_MOUNTS:
            raise ValueError(f"more than {MAX_MOUNTS} mounts")
        lines[found.number] = found
    return _in_order(lines)


def _read_line(line: str, row: int) -> _Line | None:
    fields = line.split(" ", 5)
    if len(fields) != 6 or not (_NUMBER.fullmatch(fields[0]) and _NUMBER.fullmatch(fields[1]) and _DEVICE.fullmatch(fields[2])):
        raise ValueError(f"line {row}: not a line about a mount")
    if not fields[4].startswith("/"):
        return None  # outside our root directory: no absolute path leads there
    return _Line(fields[0], fields[1], Mount(fields[2], _normal_root(_unescaped(fields[3])), _normal(_unescaped(fields[4]))))


def _unescaped(field: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part)


def _normal_root(root: str) -> str:
    """A root as a normal path. What is not one in the kernel's words stays apart from everything that is: a directory that was
    removed while it is mounted, one above the root of its kind (`/..`), and what has no path at all (`net:[4026531840]`)."""
    if root.endswith(_GONE):
        root = root.removesuffix(_GONE) + " (deleted)"
    return "/" + "/".join("(above)" if part == ".." else part for part in root.split("/") if part)


def _in_order(lines: dict[str, _Line]) -> tuple[Mount, ...]:
    children: dict[str, list[_Line]] = {}
    tops: list[_Line] = []
    for line in lines.values():
        top = line.parent == line.number or line.parent not in lines
        (tops if top else children.setdefault(line.parent, [])).append(line)
    found: list[Mount] = []
    left = sorted(tops, key=_depth)  # of two mounts on one mount, the one nearer to the root covers the other: it comes later
    while left:
        line = left.pop()
        found.append(line.mount)
        left.extend(sorted(children.get(line.number, ()), key=_depth))
    if len(found) != len(lines):
        raise ValueError("mounts that are mounted on each other")
    return tuple(found)


def _depth(line: _Line) -> int:
    return len(_key(line.mount.point))


# Scopes in coordinates of file systems.


def where(scope: Scope, mounts: Iterable[Mount]) -> Scope:
    """The same authority as `scope`, a declared one, over paths `/<device>/<path in that file system>`.

    At every such path it has at least what `scope` has at any name of it, so that what two scopes have in common under different
    names they have in common here. What a mount covers below a target counts as being in the target: the mount may be taken away.
    A deny is left out where another name of the same place is still allowed more.

    Raises `ValueError` when no mount shows a target (a changed root directory), `InvalidRuleError` for more than 10,000 rules or
    a path of more than 4095 bytes, `ScopeError` for a derived scope.
    """
    view = _View(mounts)
    allow = _bounded(piece for rule in scope.allow for _, piece in view.pieces(rule, widen=True))
    deny = _bounded(
        piece for rule in scope.deny for mount, piece in view.pieces(rule, widen=False) if not view.more(scope, mount, piece)
    )
    return Scope(allow=allow, deny=deny) if allow or deny else Scope.none()


def second_name(scope: Scope, kept: Scope, mounts: Iterable[Mount]) -> tuple[str, str] | None:
    """A target that may be written in `scope`, a declared one, and another name by which `kept` may still write there or below.

    Lending takes away what is named; this finds what mounts keep within reach by a name of its own. None when there is nothing.
    Raises `ValueError` when no mount shows a target.
    """
    view = _View(mounts)
    for rule in scope.allow:
        if rule.permission is Permission.WRITE:
            for mount, piece in view.pieces(rule, widen=True):
                for name in view.names(mount, piece.target):
                    if kept._table.span(_key(name))[1] is Permission.WRITE:
                        return rule.target, name
    return None


def shown(path: str, mounts: Iterable[Mount]) -> str:
    """A name for a path of `where`, to show to somebody; the path itself when no mount shows it."""
    _, device, *parts = path.split("/")
    inside = "/" + "/".join(parts)
    view = _View(mounts)
    names = (_moved(inside, mount.root, mount.point) for mount in view.of(device) if _is_in(inside, mount.root))
    return min((name for name in names if view.place(name) == path), key=len, default=path)


class _View:
    """The mounts that can be seen: at most one at each point, and none below a later one."""

    def __init__(self, mounts: Iterable[Mount]) -> None:
        last = {_key(mount.point): (order, mount) for order, mount in enumerate(mounts)}
        self._seen = {key: mount for key, (order, mount) in last.items() if not _covered(key, order, last)}
        self._order = sorted(key + "/" for key in self._seen)
        self._devices: dict[str, list[Mount]] = {}
        for mount in self._seen.values():
            self._devices.setdefault(mount.device, []).append(mount)

    def of(self, device: str) -> Sequence[Mount]:
        """Those that show something of a file system."""
        return self._devices.get(device, ())

    def at(self, path: str) -> Mount:
        """The one that shows `path`. Raises `ValueError`."""
        for key in _upwards(_key(path)):
            if key in self._seen:
                return self._seen[key]
        raise ValueError(f"no mount shows {path}")

    def below(self, path: str) -> Iterator[Mount]:
        """Those at points below `path`."""
        key = _key(path)
        first = bisect_left(self._order, key + "/")
        for point in self._order[first : bisect_left(self._order, key + "0", first)]:  # "0" is the character after the slash
            if point != key + "/":
                yield self._seen[point[:-1]]

    def place(self, path: str) -> str:
        """`path` in the coordinates of its file system."""
        mount = self.at(path)
        return _inside(mount.device, _moved(path, mount.point, mount.root))

    def pieces(self, rule: ScopeRule, *, widen: bool) -> Iterator[tuple[Mount, ScopeRule]]:
        """What a rule speaks of, mount by mount. With `widen` also what can only be said together with a little more: of a mount
        right below the target of a non-recursive rule its top is meant, and its top with what is in it is said."""
        yield self.at(rule.target), attrs.evolve(rule, target=self.place(rule.target))
        for mount in self.below(rule.target):
            direct = mount.point.rpartition("/")[0] == _key(rule.target)
            if rule.recursive or (widen and direct):
                yield mount, attrs.evolve(rule, target=_inside(mount.device, mount.root))

    def more(self, scope: Scope, mount: Mount, deny: ScopeRule) -> bool:
        """Whether some of what `deny` says of what `mount` shows has a name through another mount by which more is allowed."""
        left = Permission.READ if deny.permission is Permission.WRITE else Permission.NONE
        return any(scope._table.span(_key(name))[1] > left for name in self.names(mount, deny.target))

    def names(self, mount: Mount, spot: str) -> Iterator[str]:
        """Names, through other mounts than `mount`, of a place in its file system, or else of parts of it."""
        inside = spot.removeprefix(f"/{mount.device}") or "/"
        for other in self.of(mount.device):
            if other is not mount:
                if _is_in(inside, other.root):
                    yield _moved(inside, other.root, other.point)
                elif _is_in(other.root, inside):
                    yield other.point


def _bounded(pieces: Iterable[ScopeRule]) -> dict[ScopeRule, None]:
    found: dict[ScopeRule, None] = {}
    for piece in pieces:
        found[piece] = None
        if len(found) > MAX_RULES:
            raise too_many()
    return found


def _covered(key: str, order: int, last: dict[str, tuple[int, Mount]]) -> bool:
    return any(last[above][0] > order for above in _upwards(key) if above in last)


def _upwards(key: str) -> Iterator[str]:
    yield key
    while key:
        key = key.rpartition("/")[0]
        yield key


def _key(path: str) -> str:
    """A path without its trailing slash: the root is the empty string."""
    return "" if path == "/" else path


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(_key(directory) + "/")


def _moved(path: str, start: str, end: str) -> str:
    """`path`, which is in `start`, as the same path in `end`."""
    return (_key(end) + _key(path)[len(_key(start)) :]) or "/"


def _inside(device: str, path: str) -> str:
    return f"/{device}{_key(path)}"
