"""The kernel form of a scope on this machine's disk, with what every program needs besides: the read set and its scratch."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import attrs

from podkit._os import Root
from podkit.confinement._form import KernelMount, KernelRule
from podkit.confinement._look import DiskLook
from podkit.confinement._plan_kernel_form import plan_kernel_form
from podkit.logic import Scope
from podkit.protocol import Permission, ScopeRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from podkit.confinement._form import KernelForm

_NO_PINS: Mapping[str, tuple[int, int]] = {}


def kernel_form(
    scope: Scope,
    *,
    namespaces: bool,
    control: Sequence[str] = (),
    pins: Mapping[str, tuple[int, int]] = _NO_PINS,
    read: Sequence[str] = (),
    write: Sequence[str] = (),
    private_root: bool = False,
    sensitive: Sequence[str] = (),
    hide: Sequence[str] = (),
    empty: Sequence[str] = (),
    cover: bool = True,
) -> KernelForm:
    """What a tool process under `scope` is confined to now, as the disk is now.

    `read` is readable and `write` writable besides what the scope allows: system directories, devices, scratch, which may lie in
    `control`. Both are reached without links (`read_set`, `device_set`). What the scope's own rules deny to read is not readable
    through them either, nor is `hide`, unless the scope itself allows it (with `namespaces` only). `pins` are the (device, inode)
    of targets; `control`, `sensitive` and the shortfalls are as in `plan_kernel_form`, and shortfalls are told of the scope alone.
    With `private_root` the form has `binds`; what the kernel makes itself (/proc, /dev) is not among them. `empty` are directories
    of which the process tree gets new ones of its own, gone with it (with `namespaces` only; elsewhere it gets none). `cover` is
    for a process that may make Unix sockets: no rule keeps it from connecting to one in `control`, but a cover does.

    Raises `InvalidRuleError` for a path that is not absolute and normal.
    """
    whole = _with(scope, _extra(tuple(read), tuple(hide) if namespaces else (), _denied(scope))) if read else scope
    with Root() as root:
        look = DiskLook(root, settled=frozenset((*read, *write)))
        new = tuple(path for path in empty if namespaces and look.kind(path) == "dir")
        own = _own((*write, *new)) if write or new else None
        form = plan_kernel_form(whole, look, namespaces=namespaces, control=control, sensitive=sensitive, own=own, cover=cover)
    if private_root:  # what is not granted is not there to be covered
        form = attrs.evolve(form, mounts=tuple(mount for mount in form.mounts if _is_in_any(mount.path, form.rules)))
    mounts = tuple(mount for mount in form.mounts if mount.path not in new) + tuple(KernelMount(path, "empty") for path in new)
    return attrs.evolve(
        form,
        mounts=mounts,
        rules=tuple(KernelRule(rule.path, rule.access, pins.get(rule.path)) for rule in form.rules),
        shortfalls=tuple(lost for lost in form.shortfalls if _of_scope(scope, lost.path, whole=lost.whole)),
        binds=tuple(_binds(form.rules)) if private_root else (),
    )


@lru_cache(maxsize=16)
def _extra(read: tuple[str, ...], hide: tuple[str, ...], denied: tuple[ScopeRule, ...]) -> Scope:
    """What is readable besides the scope. Kept, because it is the same at every call and takes long to fold."""
    allow = [ScopeRule(path, Permission.READ) for path in read]
    return Scope(allow=allow, deny=[*(ScopeRule(path, Permission.READ) for path in hide), *denied])


@lru_cache(maxsize=16)
def _own(write: tuple[str, ...]) -> Scope:
    return Scope.write(*write)


@lru_cache(maxsize=16)
def _with(scope: Scope, more: Scope) -> Scope:
    return scope | more


def _denied(scope: Scope) -> tuple[ScopeRule, ...]:
    base = scope.base
    return tuple(rule for rule in base.deny if rule.permission is Permission.READ) if base.declared else ()


def _of_scope(scope: Scope, path: str, *, whole: bool) -> bool:
    """Whether something that the form leaves out at a path is the scope's, and not only of the read set."""
    most = scope._table.span(path.rstrip("/"))[1] if whole else max(scope._table.row(path.rstrip("/")))
    return most > Permission.NONE


def _binds(rules: Iterable[KernelRule]) -> Iterator[tuple[str, bool]]:
    """What a private root holds: the paths of the rules. One inside another always grants more than that."""
    for rule in sorted(rules, key=_path):
        if not (_is_in(rule.path, "/proc") or _is_in(rule.path, "/dev")):
            yield rule.path, rule.access != "read"


def _is_in(path: str, directory: str) -> bool:
    return path == directory or directory == "/" or path.startswith(directory + "/")


def _is_in_any(path: str, rules: Iterable[KernelRule]) -> bool:
    return any(_is_in(path, rule.path) for rule in rules)


def _path(rule: KernelRule) -> str:
    return rule.path
