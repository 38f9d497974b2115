"""Authority over files as a value: what may be done at every path, compared, combined, lent and given back, exactly."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, final

from podkit.errors import InvalidRuleError, NotSubsetError, ScopeError
from podkit.protocol import Permission, ScopeRule, check_path

from ._explain import Explanation, explain
from ._scope_forms import Join, Less, Loan, Meet, Rules, listed_rules
from ._scope_search import both_write, exceeds, find
from ._scope_text import MAX_RULES, describe, lists_from_data, rules_to_data, summary, too_many

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._scope_fold import Folded
    from ._scope_forms import Form


@final
class Scope:
    """What may be done at which paths. Immutable, and nothing in it looks at a disk.

    Declared, `allow` rules grant and `deny` rules take: a path has the greatest permission that a matching allow rule grants, a
    matching `deny write` leaves READ of it and a matching `deny read` leaves nothing. Deny always wins; the order of rules and how
    near they are never matter. A recursive rule matches its target and everything below, another one its target and the direct
    children. There are 1 to 10,000 rules; `Scope.none()` has none.

    Derived, `a & b` is the lesser of both at every path, `a | b` the greater, and `a - b` READ at most wherever `b` may write. A
    derived scope answers every question a declared one does, but has no rules of its own, so it is neither stored nor sent.

    `a <= b` holds exactly when `a.at(p) <= b.at(p)` at every path p, and `a == b` when both have the same permission at every path,
    however it is spelled; the hash agrees with that.

    Targets and paths are absolute normal strings; everything else is an `InvalidRuleError`.
    """

    __slots__ = ("__weakref__", "_folded", "_form", "_hash")

    _form: Form
    _folded: Folded | None
    _hash: int | None

    def __new__(cls, *, allow: Iterable[ScopeRule], deny: Iterable[ScopeRule] = ()) -> Scope:
        form = Rules(_checked(allow), _checked(deny))
        if not form.allow:
            raise InvalidRuleError("", "a scope allows at least one target")
        if len(form.allow) + len(form.deny) > MAX_RULES:
            raise too_many()
        return _make(form)

    @staticmethod
    def write(*targets: str) -> Scope:
        """Write, and so read, at the targets and everything below them."""
        return Scope(allow=[ScopeRule(target, Permission.WRITE) for target in targets])

    @staticmethod
    def read(*targets: str) -> Scope:
        """Read at the targets and everything below them."""
        return Scope(allow=[ScopeRule(target, Permission.READ) for target in targets])

    @staticmethod
    def none() -> Scope:
        """No authority anywhere."""
        return _make(Rules((), ()))

    # What it is made of.

    @property
    def declared(self) -> bool:
        """Whether it is made of rules, and not of other scopes."""
        return isinstance(self._form, Rules)

    @property
    def allow(self) -> tuple[ScopeRule, ...]:
        """The declared allow rules, in order. `ScopeError` for a derived scope."""
        return self._rules().allow

    @property
    def deny(self) -> tuple[ScopeRule, ...]:
        """The declared deny rules, in order. `ScopeError` for a derived scope."""
        return self._rules().deny

    @property
    def base(self) -> Scope:
        """The scope before anything was taken from it: itself when nothing was."""
        return self._form.base if isinstance(self._form, Less) else self

    @property
    def layers(self) -> tuple[Scope, ...]:
        """What was taken with `-` and `lend` and not given back, in order, each as often as it was taken."""
        return tuple(loan.scope for loan in self._loans())

    @property
    def _table(self) -> Folded:
        """The finite table that answers for it, made when it is first needed."""
        return self._folded if self._folded is not None else _fold(self)

    # Questions.

    def at(self, path: str) -> Permission:
        """The permission at `path`."""
        return (self._folded or self._table).at(check_path(path))

    def whole(self, path: str) -> Permission:
        """The least permission at `path` and everything below it: what renaming or removing all of it takes."""
        return self._table.span(check_path(path).rstrip("/"))[0]

    def overlaps(self, other: Scope) -> bool:
        """Whether some path is WRITE in both."""
        return self.common_write(other) is not None

    def common_write(self, other: Scope) -> str | None:
        """Some path that is WRITE in both, or None when there is none."""
        return find(self._table, other._table, both_write)

    def explain(self, path: str, *, asked: Permission = Permission.WRITE) -> Explanation:
        """Why `asked` (READ or WRITE) is granted at `path` or not: the rules that decide, who holds it, the remedy."""
        return explain(self, path, asked)

    def write_targets(self) -> tuple[str, ...]:
        """Where write begins: the targets of its write rules, or of its base's, each once, in order. Nothing outside them is
        writable; what is denied or lent inside them is not left out."""
        rules = listed_rules(self)
        return tuple(dict.fromkeys(rule.target for rule in rules if rule.permission is Permission.WRITE))

    def summary(self) -> str:
        """The targets that may be read and written, and those that are lent, as text, a line each. Denies are not shown."""
        return summary(self)

    # The order, and what is derived.

    def __le__(self, other: Scope) -> bool:
        return witness(self, other) is None if isinstance(other, Scope) else NotImplemented

    def __lt__(self, other: Scope) -> bool:
        return self <= other and not other <= self if isinstance(other, Scope) else NotImplemented

    def __ge__(self, other: Scope) -> bool:
        return witness(other, self) is None if isinstance(other, Scope) else NotImplemented

    def __gt__(self, other: Scope) -> bool:
        return other < self if isinstance(other, Scope) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scope):
            return NotImplemented
        return self is other or self._table.rows == other._table.rows

    def __hash__(self) -> int:
        if self._hash is None:
            object.__setattr__(self, "_hash", hash(frozenset(self._table.rows.items())))
        return self._hash or 0

    def __and__(self, other: Scope) -> Scope:
        return _make(Meet((self, other))) if isinstance(other, Scope) else NotImplemented

    def __or__(self, other: Scope) -> Scope:
        return _make(Join((self, other))) if isinstance(other, Scope) else NotImplemented

    def __sub__(self, other: Scope) -> Scope:
        return _make(Less(self.base, (*self._loans(), Loan(other)))) if isinstance(other, Scope) else NotImplemented

    def lend(self, other: Scope, *, to: str | None = None) -> Scope:
        """`self - other`, and who has it: `to` is the holder that explanations name. Nothing is checked; a loan of what is not held
        changes nothing."""
        if not (to is None or (isinstance(to, str) and to)):
            raise InvalidRuleError(to, "a holder is called by its name")
        return _make(Less(self.base, (*self._loans(), Loan(other, to))))

    def given_back(self, other: Scope, *, to: str | None = None) -> Scope:
        """The scope without one layer equal to `other`, so that taking and giving back is the identity, in whatever order.

        With `to` only a layer lent to that holder counts. Without, one that has no holder goes first.
        Raises `InvalidRuleError` when there is no such layer.
        """
        loans = self._loans()
        fits = [i for i, loan in enumerate(loans) if loan.scope == other and to in (None, loan.to)]
        if not fits:
            raise InvalidRuleError("", "no such layer was taken" if to is None else f"no such layer was lent to {to}")
        back = min(fits, key=lambda i: loans[i].to is not None)
        rest = loans[:back] + loans[back + 1 :]
        return _make(Less(self.base, rest)) if rest else self.base

    # Data.

    def to_data(self) -> dict[str, Any]:
        """The declared rules as JSON values: `{"allow": [rule, ...], "deny": [...]}`. `ScopeError` for a derived scope."""
        return {"allow": rules_to_data(self.allow), "deny": rules_to_data(self.deny)}

    @staticmethod
    def from_data(data: object) -> Scope:
        """Read what `to_data` made. Strict: anything unknown, missing or of another type is an `InvalidRuleError`. Two empty
        lists are `Scope.none()`."""
        allow, deny = lists_from_data(data)
        return Scope(allow=allow, deny=deny) if allow or deny else Scope.none()

    def __repr__(self) -> str:
        return describe(self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a scope never changes: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a scope never changes: {name} cannot be deleted")

    def __reduce__(self) -> tuple[Any, ...]:
        return _make, (self._form,)

    def _rules(self) -> Rules:
        if not isinstance(self._form, Rules):
            raise ScopeError("a derived scope has no rules of its own")
        return self._form

    def _loans(self) -> tuple[Loan, ...]:
        return self._form.loans if isinstance(self._form, Less) else ()


def witness(a: Scope, b: Scope) -> str | None:
    """A path at which `a` has more than `b`, or None when `a <= b`."""
    return find(a._table, b._table, exceeds)


def lend_all(scope: Scope, loans: Iterable[tuple[Scope, str]]) -> Scope:
    """The same as `lend` for one scope and its holder after another, in one step however many there are."""
    new = tuple(Loan(lent, to) for lent, to in loans)
    return _make(Less(scope.base, (*scope._loans(), *new))) if new else scope


def check_subset(a: Scope, b: Scope) -> None:
    """Raise `NotSubsetError`, with a witness and why `b` falls short there, unless `a <= b`."""
    path = witness(a, b)
    if path is not None:
        asked = a.at(path)
        raise NotSubsetError(path, asked, b.at(path), b.explain(path, asked=asked))


def _make(form: Form) -> Scope:
    scope = object.__new__(Scope)
    object.__setattr__(scope, "_form", form)
    object.__setattr__(scope, "_folded", None)
    object.__setattr__(scope, "_hash", None)
    return scope


def _fold(scope: Scope) -> Folded:
    """Fold what it is made of first, without recursion: derived scopes may be stacked as deep as a program runs."""
    left = [scope]
    while left:
        waiting = [part for part in left[-1]._form.operands() if part._folded is None]
        if waiting:
            left.extend(waiting)
            continue
        done = left.pop()
        if done._folded is None:
            object.__setattr__(done, "_folded", done._form.fold())
    return scope._table


def _checked(rules: Iterable[ScopeRule]) -> tuple[ScopeRule, ...]:
    try:
        each = iter(rules)
    except TypeError:
        raise InvalidRuleError("", f"allow and deny are lists of ScopeRule, not {type(rules).__name__}") from None
    found = tuple(islice(each, MAX_RULES + 1))
    for rule in found:
        if not isinstance(rule, ScopeRule):
            raise InvalidRuleError("", f"allow and deny are lists of ScopeRule, not of {type(rule).__name__}")
    return found
