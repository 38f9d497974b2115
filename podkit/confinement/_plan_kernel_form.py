"""What the kernel is told of a scope: rules and mounts that together never grant more than the scope, and what they leave out.

A Landlock rule speaks of a directory and everything below it, and cannot be taken back further down. Where a process has a mount
namespace of its own, what is less than its surroundings (a hole) is mounted read-only or covered, and each directory above a hole
is bound onto itself, so that none of them can be moved away from under it; renaming and hard links between such directories then
answer EXDEV, as between two disks. Without mounts, a directory with a hole somewhere below it gets no more than the hole has, and
what is in it now is granted one by one.

Two things stay as they are: a hard link made beforehand is judged where it is opened, and a pipe, a socket or a device inside a
read-only mount may still be written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import attrs

from podkit.confinement._form import MAX_ENTRIES, KernelForm, KernelMount, KernelRule, Look, Shortfall
from podkit.confinement._keys import Keys, above, can_be_said, parent, readable
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_RULES: Final = 20_000
MAX_MOUNTS: Final = 20_000

_NONE, _READ, _WRITE = Permission.NONE, Permission.READ, Permission.WRITE
_ACCESS = {_READ: "read", _WRITE: "write"}
_HOW = {_NONE: "hidden", _READ: "ro", _WRITE: "rw"}
_THERE = ("dir", "file", "other")
_Triple: TypeAlias = tuple[Permission, Permission, Permission]


def plan_kernel_form(
    scope: Scope,
    look: Look,
    *,
    namespaces: bool,
    control: Sequence[str] = (),
    sensitive: Sequence[str] = (),
    own: Scope | None = None,
    cover: bool = True,
) -> KernelForm:
    """The form of `scope` for one process, on the disk that `look` sees.

    At every path, there or not, the form grants at most what `scope.at` says; with `namespaces` (a mount namespace for the process)
    exactly that, but for the shortfalls. `control` are absolute normal paths with no access for anybody; with `cover` they are
    covered where they are there, also where nothing is granted around them. `sensitive` are paths that stay as they are, with
    `namespaces` only. `own` is granted besides, also where `control` is: the process's own places. Raises `InvalidRuleError` for
    other paths.

    Bounded: beyond `MAX_ENTRIES` and `MAX_RULES` there is a shortfall, beyond `MAX_MOUNTS` the form is that without `namespaces`.
    """
    kept = sensitive if namespaces else ()
    asked = scope
    if control or kept or own is not None:
        scope = _without(scope, tuple(control), tuple(kept), own)
    plan = _Plan(scope._table, look, namespaces)
    plan.run()
    if namespaces:
        plan.cover(control if cover else ())
        if len(plan.mounts) > MAX_MOUNTS:
            return plan_kernel_form(asked, look, namespaces=False, control=control, own=own)
    for path in kept:
        if asked.at(path) is _WRITE and scope.at(path) is _READ:
            plan.lose(path.rstrip("/"), _WRITE, "podkit keeps it as it is, because programs of others obey it", whole=True)
    return KernelForm(
        tuple(KernelRule(key or "/", access) for key, access in plan.rules.items()),
        tuple(KernelMount(key or "/", how) for key, how in sorted(plan.mounts.items())),
        tuple(dict.fromkeys(plan.lost)),
    )


@lru_cache(maxsize=16)
def _without(scope: Scope, control: tuple[str, ...], kept: tuple[str, ...], own: Scope | None) -> Scope:
    """The scope without `control`, READ at most in `kept`, and `own`. Remembered: calls under one scope follow each other."""
    denied = [ScopeRule(path, _READ) for path in control] + [ScopeRule(path, _WRITE) for path in kept]
    if denied:
        scope = scope & Scope(allow=[ScopeRule("/", _WRITE)], deny=denied)
    return scope if own is None else scope | own


class _Table(Protocol):
    """A folded scope: see `podkit.logic`. Keys are paths without a trailing slash."""

    rows: dict[str, _Triple]
    order: list[str]

    def row(self, key: str) -> _Triple: ...
    def span(self, key: str) -> tuple[Permission, Permission]: ...


@attrs.frozen
class _Visit:
    """A path to be settled: `land` is what rules above it grant, `cap` what the mount above it leaves, `since` the place of the
    nearest of these: what lies between could be moved."""

    key: str
    land: Permission = _NONE
    cap: Permission = _WRITE
    since: str = ""

    @property
    def have(self) -> Permission:
        return min(self.land, self.cap)

    def at(self, key: str) -> _Visit:
        """The same for a path below it."""
        return _Visit(key, self.land, self.cap, self.since)


class _Plan:
    """One planning, from the top down. `tight` are directories in which nothing new may appear, each with the most that may be
    granted there as a whole, and why."""

    def __init__(self, table: _Table, look: Look, namespaces: bool) -> None:
        self.rules: dict[str, str] = {}
        self.mounts: dict[str, str] = {}
        self.lost: list[Shortfall] = []
        self._table, self._look, self._namespaces = table, look, namespaces
        self._kinds: dict[str, str | None] = {"": "dir"}
        self._tight: dict[str, tuple[Permission, str]] = {}
        self._nodes = Keys(table.order)
        self._left: list[_Visit] = []
        self._full = False

    def run(self) -> None:
        """Settle every path."""
        if self._namespaces:
            self._tighten()
        self._left = [_Visit("")] if "" in self._table.rows else [_Visit(key) for key in self._nodes.tops("")]
        while self._left:
            visit = self._left.pop()
            kind = self._kind(visit.key)
            if kind == "dir":
                self._settle_directory(visit)
            elif kind in ("file", "other"):
                self._settle_file(visit, kind)
            elif (most := self._table.span(visit.key)[1]) > visit.have and not self._is_said(visit.key, most):
                why = "it is a link, or reached through one" if kind else "it does not exist: make it, and this is lifted"
                self.lose(visit.key, most, why, whole=True)

    def _is_said(self, key: str, most: Permission) -> bool:
        """Whether a path where nothing is was meant already when nothing new was allowed in its directory."""
        directory = parent(key)
        return directory in self._tight and most <= max(self._table.row(directory))

    def cover(self, paths: Iterable[str]) -> None:
        """Cover these where they are there, also where nothing is granted: a socket can be connected to without any rule. What is
        granted inside one stays."""
        for path in sorted(paths):
            key = path.rstrip("/")
            if key and self._kind(key) in _THERE and not any(self.mounts.get(up) == "hidden" for up in above(key)):
                self.mounts[key] = "hidden"
                for inside, access in self.rules.items():
                    if inside.startswith(key + "/"):
                        self.mounts.setdefault(inside, "ro" if access == "read" else "rw")

    def lose(self, key: str, permission: Permission, why: str, *, whole: bool = False) -> None:
        """Put down what the form does not grant."""
        self.lost.append(Shortfall(key or "/", permission, why, whole=whole))

    def _kind(self, key: str) -> str | None:
        if key not in self._kinds:
            self._kinds[key] = self._look.kind(key)
        return self._kinds[key]

    def _tighten(self) -> None:
        """Find the holes that cannot be mounted, because nothing is there or a link is: where the first missing part of their path
        would appear, nothing new may. When the hole is to have no access, that directory has none either, since somebody else could
        make the hole meanwhile: it is covered, and what is in it now put back. A file that is in the way only has to stay there.
        """
        more: set[str] = set()
        for key in self._table.rows:
            if self._kind(key) in _THERE:
                continue
            gap, at = key, parent(key)
            while self._kind(at) not in _THERE:
                gap, at = at, parent(at)
            least = self._table.span(gap)[0]
            if self._kind(at) != "dir":
                more.add(at + "/")
            elif least < min(self._table.row(at)):
                what = "is a link" if self._kind(gap) else "does not exist: make it, and this is lifted"
                self._tight[at] = min(self._tight.get(at, (_WRITE, "")), (least, f"{gap} has less and {what}"))
                more.add(at + "/")
        if more:
            self._nodes = Keys(sorted(more.union(self._nodes.order)))

    def _settle_directory(self, visit: _Visit) -> None:
        key = visit.key
        row, floor, plain = self._floor(key)
        if floor > visit.land:
            visit = self._grant(visit, _ACCESS[floor], floor)
        if floor > visit.cap or floor < visit.have:
            visit = self._mount(visit, floor)
        if plain:
            self._left += [visit.at(below) for below in self._nodes.tops(key)]
        else:
            self._settle_entries(visit, row)

    def _floor(self, key: str) -> tuple[_Triple, Permission, bool]:
        """What is said at a directory, the most that may be granted there as a whole, and whether that is all there is to it."""
        row = self._table.row(key)
        if not self._namespaces:
            least, most = self._table.span(key)
            return row, least, least is most
        floor = min(row)
        if key in self._tight:
            return row, min(floor, self._tight[key][0]), False
        return row, floor, floor is max(row)

    def _settle_entries(self, visit: _Visit, row: _Triple) -> None:
        key = visit.key
        most = max(row)
        named = set(self._nodes.children(key))
        self._left += [visit.at(child) for child in sorted(named)]
        if most <= visit.have:
            return
        self.lose(key, most, self._why(key, row))
        ordinary = (row[1], row[2], row[2])
        if max(ordinary) <= visit.have:
            return
        entries = self._look.entries(key or "/")
        if len(entries) > MAX_ENTRIES:
            self.lose(key, most, f"more than {MAX_ENTRIES} entries, which would have to be granted one by one", whole=True)
            return
        for entry in entries:
            child = f"{key}/{entry.name}"
            if child in named or entry.kind == "link":
                continue
            if not can_be_said(child):
                self.lose(readable(child), most, "its name is too long or is not text", whole=True)
                continue
            self._kinds[child] = entry.kind
            if entry.kind != "dir":
                self._settle_file(visit.at(child), entry.kind)
            elif ordinary[2] > visit.have:
                self._settle_directory(visit.at(child))

    def _settle_file(self, visit: _Visit, kind: str) -> None:
        key, around = visit.key, visit.have
        level = self._table.row(key)[0]
        least, most = self._table.span(key)  # also if it became a directory: then it has to stay what it is
        if most > max(level, around):
            self.lose(key, most, "it is no directory, so nothing can be below it", whole=True)
        if level > visit.land:
            visit = self._grant(visit, "edit" if level is _WRITE else "read", level)
        if kind == "other" and level is _READ and visit.land is _WRITE:
            self.lose(key, level, "a pipe or device is written to through a read-only mount, so it can only be covered", whole=True)
            level = least = _NONE
        if level > visit.cap or least < around:
            self._mount(visit, level)

    def _grant(self, visit: _Visit, access: str, level: Permission) -> _Visit:
        if len(self.rules) >= MAX_RULES:
            if not self._full:
                self.lose("", _WRITE, f"more than {MAX_RULES} rules would be needed, and the rest is not granted", whole=True)
            self._full = True
            return visit
        self.rules[visit.key] = access
        return _Visit(visit.key, level, visit.cap, visit.key if level is _WRITE else visit.since)

    def _mount(self, visit: _Visit, level: Permission) -> _Visit:
        level = min(level, visit.land)
        if visit.have is _WRITE and visit.since != visit.key:
            up = parent(visit.key)
            while up not in (visit.since, ""):
                self.mounts.setdefault(up, "rw")
                up = parent(up)
        self.mounts[visit.key] = _HOW[level]
        return _Visit(visit.key, visit.land, level, visit.key)

    def _why(self, key: str, row: _Triple) -> str:
        if key in self._tight:
            return self._tight[key][1]
        if min(row) < max(row):
            return "a rule that is not recursive covers it, so only its files are granted, in place"
        for below in self._nodes.order[slice(*self._nodes.below(key))]:
            if min(self._table.row(below[:-1])) < min(row):
                return f"{below[:-1]} has less, so what is there now is granted one by one"
        return "there are too many rules"
