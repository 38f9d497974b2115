"""What a pod keeps beside its log so that it can be opened again as it was: who it is and what it was given. Pure.

Authority is in here and never in the log, which forks and rewinds would replay. Nothing else is asked when a pod is restored: no
configuration, no environment, no current directory. There are no secrets in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from podkit.errors import PodkitError, SessionError
from podkit.logic import Limits, Scope, lease_key
from podkit.protocol import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
_DEATHS = ("stop", "keep")


@attrs.frozen(kw_only=True)
class ChildRecord:
    """A child as its parent remembers it, alive or not, until it is stopped. `cwd` None: where its parent is."""

    name: str
    incarnation: str
    scope: Scope
    grant: Scope
    cwd: str | None
    on_parent_death: str


@attrs.frozen(kw_only=True)
class Manifest:
    """What a pod is made from. `parent` None: a root. `address` None: what the transport says. `grant` None: the scope."""

    name: str
    session: str
    tree: str
    incarnation: str
    scope: Scope
    grant: Scope | None
    cwd: str
    address: str | None
    run_dir: str | None
    plain: str | None
    generation: str
    level: str
    limits: Limits
    parent: str | None = None
    children: tuple[ChildRecord, ...] = ()


_TEXTS = ("name", "session", "tree", "incarnation", "cwd", "generation", "level")
_MAYBE = ("address", "run_dir", "plain", "parent")
_CHILD_TEXTS = ("name", "incarnation", "on_parent_death")


def encode_manifest(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON values."""
    data = {key: getattr(manifest, key) for key in (*_TEXTS, *_MAYBE)}
    data["scope"] = manifest.scope.to_data()
    data["grant"] = None if manifest.grant is None else manifest.grant.to_data()
    data["limits"] = attrs.asdict(manifest.limits)
    data["children"] = [
        {key: getattr(child, key) for key in (*_CHILD_TEXTS, "cwd")}
        | {"scope": child.scope.to_data(), "grant": child.grant.to_data()}
        for child in manifest.children
    ]
    return {"format": FORMAT} | data


def decode_manifest(data: Mapping[str, Any] | None, session: str) -> Manifest:
    """Read what was kept, strictly. Raises `SessionError` for anything missing, unknown or of another type: nothing is guessed, and
    what is there stays as it is."""
    if data is None:
        raise SessionError(f"session {session} has no manifest: the opening of its pod was never finished")
    try:
        if type(data.get("format")) is not int or data["format"] != FORMAT:
            raise ValueError("it is of another format")
        _only(data, {"format", *_TEXTS, *_MAYBE, "scope", "grant", "limits", "children"})
        kept: dict[str, Any] = {key: _text(data, key) for key in _TEXTS}
        kept |= {key: None if data[key] is None else _text(data, key) for key in _MAYBE}
        lease_key(kept["name"], kept["incarnation"])
        limits, children = data["limits"], data["children"]
        if not isinstance(limits, dict) or not isinstance(children, list):
            raise TypeError("limits or children are not what they should be")
        _only(limits, {field.name for field in attrs.fields(Limits)})
        return Manifest(
            **kept,
            scope=Scope.from_data(data["scope"]),
            grant=None if data["grant"] is None else Scope.from_data(data["grant"]),
            limits=Limits(**limits),
            children=tuple(_child(child) for child in children),
        )
    except (ValueError, TypeError, LookupError, RecursionError, PodkitError) as error:
        raise SessionError(f"the manifest of session {session} cannot be read: {error}") from None


def _child(data: object) -> ChildRecord:
    if not isinstance(data, dict):
        raise TypeError("a child is not an object")
    _only(data, {*_CHILD_TEXTS, "cwd", "scope", "grant"})
    texts = {key: _text(data, key) for key in _CHILD_TEXTS}
    check_name(texts["name"])
    lease_key(texts["name"], texts["incarnation"])
    if texts["on_parent_death"] not in _DEATHS:
        raise ValueError("on_parent_death is 'stop' or 'keep'")
    cwd = None if data["cwd"] is None else _text(data, "cwd")
    return ChildRecord(**texts, cwd=cwd, scope=Scope.from_data(data["scope"]), grant=Scope.from_data(data["grant"]))


def _only(data: Mapping[str, Any], keys: set[str]) -> None:
    if data.keys() != keys:
        raise ValueError(f"its members are not the expected ones: {', '.join(sorted(data.keys() ^ keys))[:200]}")


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data[key]
    if not isinstance(value, str) or not value:
        raise TypeError(f"{key} is no text")
    return value
