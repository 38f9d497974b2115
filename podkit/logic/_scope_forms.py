"""What a scope is made of: declared rules, or other scopes. A form says how it folds, and holds what explanations need."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import attrs

from podkit.protocol import Permission, ScopeRule

from ._scope_fold import Folded, fold, join_all, merge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._scope import Scope
    from ._scope_fold import Triple


@attrs.frozen(eq=False)
class Rules:
    """Declared."""

    allow: tuple[ScopeRule, ...]
    deny: tuple[ScopeRule, ...]

    def operands(self) -> tuple[Scope, ...]:
        return ()

    def fold(self) -> Folded:
        return fold(self.allow, self.deny)


@attrs.frozen(eq=False)
class Loan:
    """One layer: the write of `scope` is away, with the pod called `to` when somebody has it."""

    scope: Scope
    to: str | None = None


@attrs.frozen(eq=False)
class Less:
    """A base, READ at most wherever a loan may write. The base is never of this form itself."""

    base: Scope
    loans: tuple[Loan, ...]

    def operands(self) -> tuple[Scope, ...]:
        return (self.base, *(loan.scope for loan in self.loans))

    def fold(self) -> Folded:
        # Rules without denies only add up, so most loans are folded in one go, however many there are.
        plain: list[ScopeRule] = []
        others: list[Folded] = []
        for loan in self.loans:
            form = loan.scope._form
            if isinstance(form, Rules) and not form.deny:
                plain.extend(rule for rule in form.allow if rule.permission is Permission.WRITE)
            else:
                others.append(loan.scope._table)
        return merge(self.base._table, join_all([fold(plain, ()), *others]), _without)


@attrs.frozen(eq=False)
class Meet:
    """The lesser of both."""

    parts: tuple[Scope, Scope]

    def operands(self) -> tuple[Scope, ...]:
        return self.parts

    def fold(self) -> Folded:
        return merge(self.parts[0]._table, self.parts[1]._table, min)


@attrs.frozen(eq=False)
class Join:
    """The greater of both."""

    parts: tuple[Scope, Scope]

    def operands(self) -> tuple[Scope, ...]:
        return self.parts

    def fold(self) -> Folded:
        return merge(self.parts[0]._table, self.parts[1]._table, max)


Form: TypeAlias = Rules | Less | Meet | Join


def _without(held: Permission, taken: Permission) -> Permission:
    return Permission.READ if held is Permission.WRITE and taken is Permission.WRITE else held


def listed_rules(scope: Scope) -> tuple[ScopeRule, ...]:
    """Rules to show: those declared, of a scope or of what something was taken from. For two scopes together, where a permission
    begins; such rules cover everything that is allowed, but holes in it are not among them."""
    form = scope._form
    if isinstance(form, Less):
        return listed_rules(form.base)
    return form.allow if isinstance(form, Rules) else tuple(_beginnings(scope._table))


def _beginnings(table: Folded) -> Iterator[ScopeRule]:
    for key, row in table.rows.items():
        follows = table.follows(key)
        write = _begins(Permission.WRITE, row, follows)
        if write:
            yield ScopeRule(key or "/", Permission.WRITE, recursive=row[2] is Permission.WRITE)
        # A write rule for the same paths says read as well.
        if _begins(Permission.READ, row, follows) and not (write and row[2] is not Permission.READ):
            yield ScopeRule(key or "/", Permission.READ, recursive=row[2] is not Permission.NONE)


def _begins(level: Permission, row: Triple, follows: Triple) -> bool:
    """Whether some path of a row has `level` without having it from above. Each part of the row counts: a rule for a directory and
    its direct children says nothing of what is deeper."""
    return any(here >= level > above for here, above in zip(row, follows, strict=True))


def all_loans(scope: Scope) -> tuple[Loan, ...]:
    """The loans in a scope and in the scopes it is made of, in order."""
    found: dict[int, Loan] = {}
    seen: set[int] = set()
    left = [scope]
    while left:
        form = left.pop()._form
        if id(form) in seen or isinstance(form, Rules):
            continue
        seen.add(id(form))
        if isinstance(form, Less):
            found.update((id(loan), loan) for loan in form.loans)
            left.append(form.base)
        else:
            left.extend(reversed(form.parts))
    return tuple(found.values())
