"""The children of a pod that are alive: handles by name, and the family that decides what their reports mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from podkit.logic import ChildState, Family, FamilyEffect, apply_pod_event
from podkit.protocol import PodErrored, PodScopeSubDelegated, PodShutDown, PodTurnEnded, Status

if TYPE_CHECKING:
    from podkit.protocol import PodEvent

    from ._child import Child

_MAX_GRANDCHILDREN = 512
_MAX_UNSEEN = 1024


class Children(Mapping[str, "Child"]):
    """A read-only mapping from name to handle. It holds one incarnation a name: names are unique in a tree."""

    family: Family

    def __init__(self) -> None:
        self.family = Family()
        self.grandchildren: dict[str, PodScopeSubDelegated] = {}
        self._handles: dict[str, Child] = {}

    def __getitem__(self, name: str) -> Child:
        return self._handles[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)

    def __repr__(self) -> str:
        return f"<Children {', '.join(self._handles) or 'none'}>"

    def handles(self) -> tuple[Child, ...]:
        """Those who are there right now."""
        return tuple(self._handles.values())

    def add(self, child: Child) -> None:
        self.family = self.family.add(child.name, child.incarnation, child.scope, child.address, state=ChildState.LIVE)
        self._handles[child.name] = child

    def remove(self, child: Child) -> None:
        """Forget this very child; a successor of the same name stays."""
        self.family = self.family.remove(child.name, child.incarnation)
        if self._handles.get(child.name) is child:
            del self._handles[child.name]

    def lose(self, child: Child) -> None:
        """It is gone and belongs to us still: its handle stays until it is stopped or restored. A successor of its name stays."""
        self.family = self.family.remove(child.name, child.incarnation)
        if self._handles.get(child.name, child).incarnation == child.incarnation:
            self._handles[child.name] = child

    def judge(self, event: PodEvent) -> tuple[Family, tuple[FamilyEffect, ...]]:
        """What a report would do: the family after it, for `heard`, and what follows, for the caller to do. Changes nothing."""
        return apply_pod_event(self.family, event)

    def heard(self, family: Family, event: PodEvent | None) -> None:
        """A report counts: what it says of a status is shown. `event` is None when it was heard before or is from nobody here."""
        self.family = family
        if isinstance(event, PodTurnEnded | PodErrored):
            child = self._handles.get(event.pod_name)
            if child is not None:
                child.hint(Status.IDLE)
        if isinstance(event, PodShutDown):
            child = self._handles.get(event.pod_name)
            if child is not None:
                child.unseen = event.unseen[:_MAX_UNSEEN]
        if isinstance(event, PodScopeSubDelegated):
            self.grandchildren[event.sub_pod] = event
            while len(self.grandchildren) > _MAX_GRANDCHILDREN:
                del self.grandchildren[next(iter(self.grandchildren))]

    def recall(self, reports: Iterable[tuple[str, str]]) -> None:
        """These reports (incarnation, id) counted in an earlier life of ours."""
        self.family = self.family.recall(reports)

    def state(self, child: Child) -> ChildState:
        """How far the life of this very child is, as far as we heard."""
        member = self.family.find(child.name, child.incarnation)
        return ChildState.GONE if member is None else member.state
