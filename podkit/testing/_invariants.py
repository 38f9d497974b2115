"""Who holds what, recomputed from the facts by the plainest means, and compared with what the pods believe (I1-I6)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from podkit.logic import Adopted, Freed, Reserved, Restart
from podkit.protocol import Permission

if TYPE_CHECKING:
    from podkit._life import Pod
    from podkit.logic import Fact, Scope
    from podkit.protocol import ScopeRule

    from ._sim_program import Program
    from ._sim_registry import SharedLog

Complain = Callable[[str, str], None]
Masks = tuple[int, int]
_WRITE = Permission.WRITE


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

    def declared(self, scope: Scope, known: Masks = (0, 0), after: int = 0) -> Masks:
        """What the rules of a declared scope say, rule by rule. `known` are the masks of the first `after` paths."""
        allow, deny = scope.allow, scope.deny
        return self._masks(lambda path: _permission(allow, deny, path), known, after)

    def effective(self, scope: Scope, known: Masks = (0, 0), after: int = 0) -> Masks:
        """What podkit makes of any scope."""
        return self._masks(scope._table.at, known, after)  # as `at`, less the look at paths that were targets already

    def _masks(self, at: Callable[[str], Permission], known: Masks, after: int) -> Masks:
        read, write = known
        bit = 1 << after
        for path in self.paths[after:] if after else self.paths:
            permission = at(path)
            if permission:
                read |= bit
                if permission is _WRITE:
                    write |= bit
            bit <<= 1
        return read, write

    def names(self, mask: int) -> str:
        """The paths of a mask, for people."""
        return ", ".join(path for number, path in enumerate(self.paths) if mask >> number & 1)


def _permission(allow: Sequence[ScopeRule], deny: Sequence[ScopeRule], path: str) -> Permission:
    allowed = Permission.NONE
    for rule in allow:
        if rule.permission > allowed and _covers(rule, path):
            allowed = rule.permission
    for rule in deny:
        if allowed is not Permission.NONE and _covers(rule, path):
            allowed = Permission.READ if rule.permission is Permission.WRITE else Permission.NONE
    return allowed


def _covers(rule: ScopeRule, path: str) -> bool:
    target = rule.target.rstrip("/")
    if not path.startswith(target):
        return False
    if path == (target or "/"):
        return True
    below = path[len(target) + 1 :] if path.startswith("/", len(target)) else ""
    return bool(below) and (rule.recursive or "/" not in below)


@attrs.frozen(eq=False)
class _Belief:
    """What a pod took to be allowed when it was looked at last."""

    scope: Scope
    moves: int
    paths: int
    masks: Masks


@attrs.define(eq=False)
class _Row:
    fact: Reserved
    by: Program | None  # who reserved it; None: the test itself
    parent: str | None
    apart: bool  # the grant is another scope than the use
    adopted: bool = False
    masks: Masks = (0, 0)
    granted: Masks = (0, 0)
    seen: int = 0  # how many paths the masks are about
    lent: int = 0


class RegistryWatch:
    """Sees every fact as it is kept. `complain(invariant, what)` is told what must never be."""

    universe: Universe
    changes: int

    def __init__(self, log: SharedLog, programs: Sequence[Program], complain: Complain, note: Callable[[str], None]) -> None:
        self._log, self._programs, self._complain, self._note = log, programs, complain, note
        self._rows: dict[str, _Row] = {}
        self._ever: set[str] = set()
        self._believed: dict[Pod, _Belief] = {}
        self._unsure: dict[Pod, object] = {}
        self.universe = Universe()
        self.changes = 0
        self._moves = self._settled = 0  # the changes after which somebody may do more or less than before

    def appended(self, by: Program | None, facts: Sequence[bytes]) -> None:
        """These facts were kept just now, by that program."""
        for line in facts:
            fact = self._log.fact(line)
            self.changes += 1
            self._moves += not isinstance(fact, Adopted)
            self._take(by, fact)
        if self._moves != self._settled:  # who is adopted held it all before
            self._settled = self._moves
            self._exclusive()

    def unsure(self, program: Program) -> None:
        """What this program appends now is kept, and it is told that it is not: until it looks again it cannot know better."""
        for pod in program.pods():
            self._unsure[pod] = pod.authority.scope

    def reboot(self) -> None:
        """A new log."""
        self._moves += 1
        self._rows.clear()

    def _take(self, by: Program | None, fact: Fact) -> None:
        who = "the test" if by is None else by.name
        match fact:
            case Reserved():
                self._note(f"{who} reserves {fact.name} {fact.incarnation}: {fact.scope}")
                self._reserved(by, fact)
            case Adopted():
                self._note(f"{who} adopts {fact.incarnation}")
                self._adopted(by, fact)
            case Freed():
                self._note(f"{who} frees {fact.incarnation}")
                self._freed(by, fact)
            case Restart():
                self._rows.clear()

    def _reserved(self, by: Program | None, fact: Reserved) -> None:
        self.universe.learn(fact.scope)
        if fact.grant is not fact.scope:
            self.universe.learn(fact.grant)
        if fact.incarnation in self._ever:
            self._complain("I5", f"the incarnation {fact.incarnation} was there before")
        self._ever.add(fact.incarnation)
        for row in self._rows.values():
            if (row.fact.tree, row.fact.name) == (fact.tree, fact.name):
                self._complain("I5", f"two pods of one tree are called {fact.name}")
        apart = fact.grant is not fact.scope and fact.grant != fact.scope
        row = self._rows[fact.incarnation] = _Row(fact, by, fact.parent, apart)
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
        # A root, and a child that is a task, lives where its place was reserved; any other child has a program of its own.
        its_own = next((program for program in self._programs if program.incarnation == fact.incarnation), row.by)
        if by is not its_own:
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
        for pod in () if by is None else by.pods():
            if fact.author == fact.incarnation == pod.incarnation and pod.authority.gate.busy:
                self._complain("I4", f"{row.fact.name} frees itself while {', '.join(pod.authority.gate.busy)} goes on")

    def _measure(self) -> None:
        universe, paths = self.universe, len(self.universe.paths)
        for row in self._rows.values():
            if row.seen == paths:
                continue
            row.masks = universe.declared(row.fact.scope, row.masks, row.seen)
            row.granted = universe.declared(row.fact.grant, row.granted, row.seen) if row.apart else row.masks
            row.seen = paths

    def _exclusive(self) -> None:
        """At most one writer for every path (I1)."""
        for row in self._rows.values():
            row.lent = 0
        for row in self._rows.values():
            above = self._above(row)
            while above is not None:
                above.lent |= row.masks[1]
                above = self._above(above)
        taken = 0
        for row in self._rows.values():
            mine = row.masks[1] & ~row.lent
            if mine & taken:
                self._complain("I1", f"{self.universe.names(mine & taken)} has two writers, one is {row.fact.name}")
            taken |= mine

    def _above(self, row: _Row) -> _Row | None:
        return None if row.parent is None else self._rows.get(row.parent)

    def believes(self, program: Program) -> None:
        """What the pods of this program believe to be allowed is not more than the facts say (I1, I3)."""
        pod = program.pod
        if pod is not None:
            known = self._believed.get(pod)
            if known is None or known.moves != self._moves or known.scope is not pod.authority.scope:
                self._look(program, pod, known)
        for pod in program.lodgers:
            self._look(program, pod, self._believed.get(pod))

    def _look(self, program: Program, pod: Pod, known: _Belief | None) -> None:
        scope = pod.authority.scope
        if known is not None and known.moves == self._moves and known.scope is scope:
            return
        if not program.alive or self._unsure.get(pod) is scope:
            return
        paths = len(self.universe.paths)
        if known is None or known.scope is not scope:
            masks = self.universe.effective(scope)
        else:
            masks = self.universe.effective(scope, known.masks, known.paths)
        self._believed[pod] = _Belief(scope, self._moves, paths, masks)
        row = self._rows.get(pod.incarnation)
        if row is None:
            return
        read, write = masks
        allowed = row.masks[1] & ~row.lent
        if write & ~allowed:
            self._complain("I3", f"{pod.name} believes that it may write {self.universe.names(write & ~allowed)}")
        if read & ~row.masks[0]:
            self._complain("I3", f"{pod.name} believes that it may read {self.universe.names(read & ~row.masks[0])}")
        if row.lent and read and row.masks[0] & ~read:
            self._complain("I3", f"{pod.name} may no longer read what it lent: {self.universe.names(row.masks[0] & ~read)}")

    @property
    def rows(self) -> list[str]:
        """Who is there, for people."""
        return [row.fact.name for row in self._rows.values()]
