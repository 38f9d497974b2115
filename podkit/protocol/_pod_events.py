"""What a child tells its parent. A hint only: the truth about a pod is in the registry and in its lease."""

from collections.abc import Iterable
from typing import ClassVar, TypeAlias

import attrs

from ._marks import OMIT, as_tuple
from ._rules import ScopeRule


def _rules(value: Iterable[ScopeRule]) -> tuple[ScopeRule, ...]:
    return tuple(value)


@attrs.frozen
class PodTurnEnded:
    """The pod finished a run and is idle.

    `id` lets a receiver apply an event once; `incarnation` says which life of the pod spoke.
    """

    kind: ClassVar[str] = "turn_ended"
    pod_name: str
    id: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    incarnation: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class PodErrored:
    """A run of the pod failed: its worker, a provider or a tool, never a refused method.

    `id`, `incarnation`: see `PodTurnEnded`.
    """

    kind: ClassVar[str] = "errored"
    pod_name: str
    message: str
    id: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    incarnation: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class PodShutDown:
    """The pod is leaving. It frees nothing by itself. `id`, `incarnation`: see `PodTurnEnded`.

    `unseen` are the ids of the notices its parent sent that no run of it saw.
    """

    kind: ClassVar[str] = "shut_down"
    pod_name: str
    unseen: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=as_tuple, metadata=OMIT)
    id: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    incarnation: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


@attrs.frozen
class PodScopeSubDelegated:
    """The pod `parent_pod` handed `scope` on to its own child `sub_pod`, said to be at `sub_socket`.

    `grant` is what the child may hand out itself, when that is not the same. `id`, `incarnation`: see `PodTurnEnded`.
    """

    kind: ClassVar[str] = "scope_sub_delegated"
    parent_pod: str
    sub_pod: str
    sub_socket: str
    scope: tuple[ScopeRule, ...] = attrs.field(converter=_rules)
    grant: tuple[ScopeRule, ...] | None = attrs.field(
        default=None, kw_only=True, converter=attrs.converters.optional(_rules), metadata=OMIT
    )
    id: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)
    incarnation: str | None = attrs.field(default=None, kw_only=True, metadata=OMIT)


PodEvent: TypeAlias = PodTurnEnded | PodErrored | PodShutDown | PodScopeSubDelegated
POD_EVENTS: tuple[type[PodEvent], ...] = (PodTurnEnded, PodErrored, PodShutDown, PodScopeSubDelegated)
