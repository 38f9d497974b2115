"""Who holds what, recomputed from the facts by the plainest means, and compared with what the pods believe (I1-I6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from podkit.logic import Adopted, Freed, Reserved, Restart, decode_fact
from podkit.protocol import Permission

if TYPE_CHECKING:
    from podkit.logic import Fact, Scope
    from podkit.protocol import ScopeRule

    from ._sim_program import Program
    from ._sim_registry import SharedLog

Complain = Callable[[str, str], None]


class Universe:
    """Some paths, and which of them a scope allows: as two bit masks (read, write)."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self._known: set[str] = set()

    def learn(self, scope: Scope) -> None:
        """Look at the targets of this scope too, at what is in them and at what is beside them."""
        for rule in (*scope.allow, *scope.deny):
            for path in (rule.target, f"{rule.target.rstrip('/')}/-", f"{rule.target.rstrip('/')}/-/-"):
                if path not in self._known:
                    self._known.add(path)
                    self.paths.append(path)

    def declared(self, scope: Scope) -> tuple[int, int]:
        """What the rules of a declared scope say, rule by rule."""
        return self._masks(lambda path: _permission(scope, path))

    def effective(self, scope: Scope) -> tuple[int, int]:
        """What podkit makes of any scope."""
        return self._masks(scope.at)

    def _masks(self, at: Callable[[str], Permission]) -> tuple[int, int]:
        read = write = 0
        for number, path in enumerate(self.paths):
            permission = at(path)
            if permission is not Permission.NONE:
                read |= 1 << number
                write |= (permission is Permission.WRITE) << number
        return read, write

    def names(self, mask: int) -> str:
        """The paths of a mask, for people."""
        return ", ".join(path for number, path in enumerate(self.paths) if mask >> number & 1)


def _permission(scope: Scope, path: str) -> Permission:
    allowed = max((rule.permission for rule in scope.allow if _covers(rule, path)), default=Permission.NONE)
    for rule in scope.deny:
        if _covers(rule, path):
            allowed = min(allowed, Permission.READ if rule.permission is Permission.WRITE else Permission.NONE)
    return allowed


def _covers(rule: ScopeRule, path: str) -> bool:
    target = rule.target.rstrip("/")
    if path == (target or "/"):
        return True
    below = path[len(target) + 1 :] if path.startswith(target + "/") else ""
    return bool(below) and (rule.recursive or "/" not in below)


@attrs.define(eq=False)
class _Row:
    fact: Reserved
    parent: str | None
    adopted: bool = False
    masks: tuple[int, int] = (0, 0)
    granted: tuple[int, int] = (0, 0)
    seen: int = -1  # how many paths the masks are about
    lent: int = 0


class RegistryWatch:
    """Sees every fact as it is kept. `complain(invariant, what)` is told what must never be."""

    universe: Universe
    changes: int

    def __init__(self, log: SharedLog, programs: Sequence[Program], complain: Complain, note: Callable[[str], None]) -> None:
        self._log, self._programs, self._complain, self._note = log, programs, complain, note
        self._rows: dict[str, _Row] = {}
        self._ever: set[str] = set()
        self._believed: dict[Program, tuple[object, int]] = {}
        self._unsure: dict[Program, object] = {}
        self.universe = Universe()
        self.changes = 0

    def appended(self, by: Program | None, facts: Sequence[bytes]) -> None:
        """These facts were kept just now, by that program."""
        for line in facts:
            self.changes += 1
            fact = decode_fact(line)
            self._take(by, fact)
        self._exclusive()

    def unsure(self, program: Program) -> None:
        """What this program appends now is kept, and it is told that it is not: until it looks again it cannot know better."""
        if program.pod is not None:
            self._unsure[program] = program.pod.authority.scope

    def reboot(self) -> None:
        """A new log."""
        self._rows.clear()

    def _take(self, by: Program | None, fact: Fact) -> None:
        who = "the test" if by is None else by.name
        match fact:
            case Reserved():
                self._note(f"{who} reserves {fact.name} {fact.incarnation}: {fact.scope}")
                self._reserved(fact)
            case Adopted():
                self._note(f"{who} adopts {fact.incarnation}")
                self._adopted(by, fact)
            case Freed():
                self._note(f"{who} frees {fact.incarnation}")
                self._freed(by, fact)
            case Restart():
                self._rows.clear()

    def _reserved(self, fact: Reserved) -> None:
        before = len(self.universe.paths)
        self.universe.learn(fact.scope)
        if fact.grant is not fact.scope:
            self.universe.learn(fact.grant)
        if before != len(self.universe.paths):
            self._believed.clear()
        if fact.incarnation in self._ever:
            self._complain("I5", f"the incarnation {fact.incarnation} was there before")
        self._ever.add(fact.incarnation)
        for row in self._rows.values():
            if (row.fact.tree, row.fact.name) == (fact.tree, fact.name):
                self._complain("I5", f"two pods of one tree are called {fact.name}")
        row = self._rows[fact.incarnation] = _Row(fact, fact.parent)
        for heir in fact.inherits:
            self._rows[heir].parent = fact.incarnation
        above = self._rows.get(fact.parent) if fact.parent is not None else None
        self._measure()
        if above is None:
            if fact.parent is not None:
                self._complain("I2", f"{fact.name} has a parent that is not there")
            return
        read, write = (row.masks[0] | row.granted[0], row.masks[1] | row.granted[1])
        for said, mine, theirs in (("read", read, above.granted[0]), ("write", write, above.granted[1])):
            if mine & ~theirs:
                self._complain(
                    "I2", f"{fact.name} may {said} {self.universe.names(mine & ~theirs)}, which its parent may not grant"
                )

    def _adopted(self, by: Program | None, fact: Adopted) -> None:
        row = self._rows.get(fact.incarnation)
        if row is None:
            self._complain("I6", f"{fact.incarnation} was adopted and is not there")
            return
        if row.adopted:
            self._complain("I6", f"{row.fact.name} was adopted twice")
        row.adopted = True
        mine = by is not None and by.name == row.fact.name and by.incarnation in (None, fact.incarnation)
        if not mine:
            self._complain("I6", f"{row.fact.name} was adopted by {by!r}")

    def _freed(self, by: Program | None, fact: Freed) -> None:
        row = self._rows.pop(fact.incarnation, None)
        if row is None:
            return
        for other in self._rows.values():
            if other.parent == fact.incarnation:
                other.parent = row.parent
        key = f"{row.fact.name}.{fact.incarnation}"
        if fact.author != fact.incarnation and self._log.is_held(key):
            self._complain("I4", f"{row.fact.name} was freed by {fact.author} while it lives")
        pod = None if by is None else by.pod
        if fact.author == fact.incarnation and pod is not None and pod.authority.gate.busy:
            self._complain("I4", f"{row.fact.name} frees itself while {', '.join(pod.authority.gate.busy)} goes on")

    def _measure(self) -> None:
        paths = len(self.universe.paths)
        for row in self._rows.values():
            if row.seen != paths:
                row.masks = row.granted = self.universe.declared(row.fact.scope)
                if row.fact.grant is not row.fact.scope and row.fact.grant != row.fact.scope:
                    row.granted = self.universe.declared(row.fact.grant)
                row.seen = paths
        for row in self._rows.values():
            row.lent = 0

    def _exclusive(self) -> None:
        """At most one writer for every path (I1)."""
        for row in self._rows.values():
            row.lent = 0
        for row in self._rows.values():
            above = self._rows.get(row.parent) if row.parent is not None else None
            if above is not None:
                above.lent |= row.masks[1]
        taken = 0
        for row in self._rows.values():
            mine = row.masks[1] & ~row.lent
            if mine & taken:
                self._complain("I1", f"{self.universe.names(mine & taken)} has two writers, one is {row.fact.name}")
            taken |= mine

    def believes(self, program: Program) -> None:
        """What the pod of this program believes to be allowed is not more than the facts say (I1, I3)."""
        pod = program.pod
        if pod is None or not program.alive:
            return
        scope = pod.authority.scope
        if self._unsure.get(program) is scope:
            return
        known = self._believed.get(program)
        if known is not None and known[0] is scope and known[1] == self.changes:
            return
        self._believed[program] = (scope, self.changes)
        row = self._rows.get(pod.incarnation)
        if row is None:
            return
        read, write = self.universe.effective(scope)
        allowed = row.masks[1] & ~row.lent
        if write & ~allowed:
            self._complain("I3", f"{program.name} believes that it may write {self.universe.names(write & ~allowed)}")
        if read & ~row.masks[0]:
            self._complain("I3", f"{program.name} believes that it may read {self.universe.names(read & ~row.masks[0])}")
        if row.lent and read and row.masks[0] & ~read:
            self._complain("I3", f"{program.name} may no longer read what it lent: {self.universe.names(row.masks[0] & ~read)}")

    @property
    def rows(self) -> list[str]:
        """Who is there, for people."""
        return [row.fact.name for row in self._rows.values()]
