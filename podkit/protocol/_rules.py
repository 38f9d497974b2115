"""Permissions and scope rules: the part of authority that is said on the wire. What follows from rules is decided in `logic`."""

from enum import IntEnum

import attrs

from podkit.errors import InvalidRuleError

_MAX_PATH = 4095  # PATH_MAX without the terminating NUL, in bytes


class Permission(IntEnum):
    """What may be done with a path. Ordered: NONE < READ < WRITE, and write implies read."""

    NONE = 0
    READ = 1
    WRITE = 2

    __hash__ = int.__hash__  # that of an enum is written in Python, and tables of permissions are keyed by them

    def __str__(self) -> str:
        return "no access" if self is Permission.NONE else self.name.lower()


def check_path(path: object) -> str:
    """Return `path` when it is an absolute normal path, else raise `InvalidRuleError`.

    Normal means: starts with one slash, no empty, `.` or `..` parts, no trailing slash but in `/` itself, no NUL, no lone
    surrogate, at most 4095 bytes. Nothing is expanded or decoded, and no disk is looked at.
    """
    if not isinstance(path, str):
        raise InvalidRuleError(path)
    # A file operation asks this of every path, so what nearly every path passes is a few looks by the string itself.
    if path[:1] != "/" or "//" in path or "\0" in path or (path[-1] == "/" and path != "/"):
        raise InvalidRuleError(path)
    if "/." in path and ("/./" in path or "/../" in path or path.endswith(("/.", "/.."))):
        raise InvalidRuleError(path)
    if len(path) > _MAX_PATH or not path.isascii():
        _check_size(path)
    return path


def _check_size(path: str) -> None:
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise InvalidRuleError(path, "a path is text without lone surrogates") from None
    if size > _MAX_PATH:
        raise InvalidRuleError(path, f"a path has at most {_MAX_PATH} bytes")


def _target(_rule: "ScopeRule", _field: "attrs.Attribute[str]", value: str) -> None:
    check_path(value)


def _permission(rule: "ScopeRule", _field: "attrs.Attribute[Permission]", value: object) -> None:
    if not isinstance(value, Permission) or value is Permission.NONE:
        raise InvalidRuleError(rule.target, "the permission of a rule is Permission.READ or Permission.WRITE")


def _recursive(rule: "ScopeRule", _field: "attrs.Attribute[bool]", value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidRuleError(rule.target, "recursive is True or False")


@attrs.frozen(order=False)
class ScopeRule:
    """One rule of a scope: `permission` at `target` and everything below it.

    `target` is an absolute normal path. With `recursive=False` the rule speaks of the target and its direct children only.
    Among the `allow` rules a rule grants its permission; among the `deny` rules it caps what is granted below its permission.
    Raises `InvalidRuleError`.
    """

    target: str = attrs.field(validator=_target)
    permission: Permission = attrs.field(validator=_permission)
    recursive: bool = attrs.field(default=True, kw_only=True, validator=_recursive)

    def __str__(self) -> str:
        return f"{self.permission} {self.target}" + ("" if self.recursive else " [non-recursive]")
