"""Why something is allowed or not, as a value that reads well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from podkit.errors import InvalidRuleError, shown
from podkit.protocol import Permission, ScopeRule

from ._scope_forms import Join, Less, Loan, Meet, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._scope import Scope

_RULES_SHOWN = 3


@attrs.frozen
class Explanation:
    """The answer to "may I?".

    `rules` decide: those that grant what was asked; or the denies in the way; or those that grant less; or, where the path is
    lent, those of the loan. There are none when no rule speaks of the path. `holder` is the pod that has the path instead, when
    one is known. `remedy` says what would have to change, and is empty when nothing has to.
    """

    path: str
    asked: Permission
    granted: Permission
    rules: tuple[ScopeRule, ...] = attrs.field(default=(), kw_only=True)
    holder: str | None = attrs.field(default=None, kw_only=True)
    reason: str = attrs.field(default="", kw_only=True)
    remedy: str = attrs.field(default="", kw_only=True)

    @property
    def allowed(self) -> bool:
        """Whether `asked` is granted."""
        return self.granted >= self.asked

    @property
    def rule(self) -> ScopeRule | None:
        """The first of the deciding rules, if any."""
        return self.rules[0] if self.rules else None

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason


@attrs.frozen
class _Cause:
    """What decides in one declared part of a scope, and in which way."""

    kind: str  # "allow": granted · "deny": in the way · "less": granted, but not enough · "none": nothing said · "lent"
    rules: tuple[ScopeRule, ...]
    holder: str | None = None
    short: bool = False  # besides what is in the way, no rule allows what was asked
    besides: tuple[ScopeRule, ...] = ()  # denies that would be in the way of a rule that allows it


def explain(scope: Scope, path: str, asked: Permission) -> Explanation:
    """See `Scope.explain`."""
    if not isinstance(asked, Permission) or asked is Permission.NONE:
        raise InvalidRuleError(path, "what is asked for is Permission.READ or Permission.WRITE")
    granted = scope.at(path)
    causes = list(_causes(scope, path, asked))
    # Where two parts refuse for different reasons, the one that can be named comes first.
    first = next((cause for cause in causes if cause.rules), causes[0])
    rules = tuple(dict.fromkeys([*first.rules, *(rule for cause in causes for rule in cause.rules)]))
    holder = next((cause.holder for cause in causes if cause.holder is not None), None)
    if holder is not None:
        first = next(cause for cause in causes if cause.holder == holder)
    reason, remedy = _said(first, shown(path, 200), asked, granted)
    return Explanation(path, asked, granted, rules=rules, holder=holder, reason=reason, remedy=remedy)


def _causes(scope: Scope, path: str, asked: Permission) -> Iterator[_Cause]:
    """Down to the declared parts that decide, without recursion: derived scopes may be stacked as deep as a program runs."""
    left: list[tuple[Scope, Loan | None]] = [(scope, None)]
    seen: set[tuple[int, int]] = set()
    while left:
        part, loan = left.pop()
        form = part._form
        if (id(form), id(loan)) in seen:
            continue
        seen.add((id(form), id(loan)))
        match form:
            case Rules():
                cause = _cause(form, path, asked)
                yield cause if loan is None else _Cause("lent", cause.rules, loan.to)
            case Less() if part.at(path) < asked <= form.base.at(path):
                holding = [one for one in form.loans if one.scope.at(path) is Permission.WRITE]
                left.extend((one.scope, one) for one in reversed(holding))
            case Less():
                left.append((form.base, loan))
            case _:
                left.extend((one, loan) for one in reversed(_deciding(form, path, asked)))


def _deciding(form: Meet | Join, path: str, asked: Permission) -> list[Scope]:
    """Of two parts, those without which the answer would be another."""
    said = [(one.at(path), one) for one in form.parts]
    if isinstance(form, Meet):
        least = min(permission for permission, _ in said)
        return [one for permission, one in said if permission == least or least >= asked]
    most = max(permission for permission, _ in said)
    return [one for permission, one in said if permission == most or permission >= asked]


def _cause(form: Rules, path: str, asked: Permission) -> _Cause:
    allow = _matching(form.allow, path)
    highest = max((rule.permission for rule in allow), default=Permission.NONE)
    # A deny leaves one less than it names. It is in the way when that is less than what was asked for and would be granted.
    wanted = min(asked, highest)
    deny = sorted(_matching(form.deny, path), key=lambda rule: rule.permission)
    taking = tuple(rule for rule in deny if rule.permission <= wanted)
    besides = tuple(rule for rule in deny if wanted < rule.permission <= asked)
    if taking:
        return _Cause("deny", taking, short=highest < asked, besides=besides)
    if highest >= asked:
        return _Cause("allow", tuple(rule for rule in allow if rule.permission >= asked))
    most = tuple(rule for rule in allow if rule.permission is highest)
    return _Cause("less" if allow else "none", most, besides=besides)


def _matching(rules: Iterable[ScopeRule], path: str) -> list[ScopeRule]:
    """The rules that speak of a path, the nearest first."""
    found = [rule for rule in rules if _speaks(rule, path)]
    return sorted(found, key=lambda rule: -len(rule.target))


def _speaks(rule: ScopeRule, path: str) -> bool:
    if path == rule.target:
        return True
    prefix = rule.target.rstrip("/") + "/"
    return path.startswith(prefix) and (rule.recursive or "/" not in path[len(prefix) :])


def _said(cause: _Cause, path: str, asked: Permission, granted: Permission) -> tuple[str, str]:
    """The reason, and what would have to change."""
    left = "nothing" if granted is Permission.NONE else f"only {granted}"
    match cause.kind:
        case "allow":
            return f"{asked} at {path} is allowed by {_named('allow ', cause.rules)}", ""
        case "deny":
            remedy = f"a deny always wins: {asked} there needs a scope without it"
            more = f", and a rule that allows {asked} there" if cause.short else ""
            return f"{_named('deny ', cause.rules)} leaves {left} at {path}", remedy + _and_without(cause) + more
        case "lent" if cause.holder is not None:
            holder = f"pod `{shown(cause.holder)}`"
            return f"{holder} holds {_named('', cause.rules)}, which leaves {left} at {path}", f"it comes back when {holder} ends"
        case "lent":
            return f"{_named('', cause.rules)} is lent, which leaves {left} at {path}", "it has to be given back first"
        case "less":
            reason = f"{_named('allow ', cause.rules)} allows {left} at {path}"
        case _:
            reason = f"no rule allows anything at {path}"
    return reason, f"it takes a rule that allows {asked} there{_and_without(cause)}"


def _and_without(cause: _Cause) -> str:
    return f" and a scope without {_named('deny ', cause.besides)}" if cause.besides else ""


def _named(kind: str, rules: tuple[ScopeRule, ...]) -> str:
    texts = [f"`{kind}{shown(str(rule), 200)}`" for rule in rules[:_RULES_SHOWN]]
    more = f" and {len(rules) - _RULES_SHOWN} more" if len(rules) > _RULES_SHOWN else ""
    return ", ".join(texts) + more
