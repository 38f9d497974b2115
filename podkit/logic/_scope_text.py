"""Scopes as plain data, strictly read, and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from podkit.errors import InvalidRuleError, shown
from podkit.protocol import Permission, ScopeRule

from ._scope_forms import Less, Rules, all_loans, listed_rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._scope import Scope

MAX_RULES = 10_000
_PERMISSIONS = {"read": Permission.READ, "write": Permission.WRITE}
_RULES_SHOWN = 4


def too_many() -> InvalidRuleError:
    """What a scope with too many rules is refused with."""
    return InvalidRuleError("", f"a scope has at most {MAX_RULES} rules")


def rules_to_data(rules: Iterable[ScopeRule]) -> list[dict[str, Any]]:
    """Rules as plain JSON values."""
    return [{"target": rule.target, "permission": str(rule.permission), "recursive": rule.recursive} for rule in rules]


def lists_from_data(data: object) -> tuple[list[ScopeRule], list[ScopeRule]]:
    """The allow and deny rules of what `Scope.to_data` made. A member nobody knows is refused: a typo must not widen a scope."""
    if not isinstance(data, dict):
        raise InvalidRuleError("", "a scope is an object with the lists allow and deny")
    _check_members(data, "", "a scope", {"allow", "deny"})
    allow, deny = data.get("allow"), data.get("deny", [])
    if not isinstance(allow, list) or not isinstance(deny, list):
        raise InvalidRuleError("", "allow and deny are lists of rules")
    if len(allow) + len(deny) > MAX_RULES:
        raise too_many()
    return [_rule_from_data(rule) for rule in allow], [_rule_from_data(rule) for rule in deny]


def _rule_from_data(data: object) -> ScopeRule:
    if not isinstance(data, dict):
        raise InvalidRuleError("", "a rule is an object with target and permission")
    target, permission = data.get("target"), data.get("permission")
    if not isinstance(target, str):
        raise InvalidRuleError("", "the target of a rule is text")
    _check_members(data, target, "a rule", {"target", "permission", "recursive"})
    if not isinstance(permission, str) or permission not in _PERMISSIONS:
        raise InvalidRuleError(target, 'the permission of a rule is "read" or "write"')
    return ScopeRule(target, _PERMISSIONS[permission], recursive=data.get("recursive", True))


def _check_members(data: dict[Any, Any], target: str, what: str, known: set[str]) -> None:
    for member in data:
        if member not in known:
            raise InvalidRuleError(target, f"{what} has no member {shown(member)!r}")


def summary(scope: Scope) -> str:
    """See `Scope.summary`."""
    rules = listed_rules(scope)
    lines = ["Readable:", *(f"  - {line}" for line in dict.fromkeys(map(_line, rules)))]
    writable = [f"  - {_line(rule)}" for rule in rules if rule.permission is Permission.WRITE]
    lines += ["Writable:", *writable] if writable else []
    lent = list(_lent(scope))
    lines += ["Lent:", *lent] if lent else []
    return "\n".join(lines)


def _lent(scope: Scope) -> Iterator[str]:
    for loan in all_loans(scope):
        holder = "" if loan.to is None else f" ({shown(loan.to)})"
        yield from (f"  - {_line(rule)}{holder}" for rule in listed_rules(loan.scope) if rule.permission is Permission.WRITE)


def _line(rule: ScopeRule) -> str:
    return shown(rule.target, 4096) + ("" if rule.recursive else " [non-recursive]")


def describe(scope: Scope) -> str:
    """What `repr` shows: the first few rules."""
    form = scope._form
    match form:
        case Rules(allow=(), deny=()):
            return "<Scope none>"
        case Rules():
            return f"<Scope {_some([f'allow {rule}' for rule in form.allow] + [f'deny {rule}' for rule in form.deny])}>"
        case Less():
            lent = _some([f"{_rules_of(loan.scope)}" + ("" if loan.to is None else f" to {loan.to}") for loan in form.loans])
            return f"<Scope {_rules_of(form.base)} less {lent}>"
        case _:
            return f"<Scope of {_rules_of(scope)}, derived>"


def _rules_of(scope: Scope) -> str:
    return _some([f"allow {rule}" for rule in listed_rules(scope)])


def _some(texts: list[str]) -> str:
    more = [f"{len(texts) - _RULES_SHOWN} more"] if len(texts) > _RULES_SHOWN else []
    return ", ".join([shown(text, 300) for text in texts[:_RULES_SHOWN]] + more)
