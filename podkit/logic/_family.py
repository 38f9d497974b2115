"""One pod's children as it sees them: a frozen mapping by name, and what a report from a child does to it.

A report is a hint. It may change what is shown of a child and ask for a look at the truth; it never removes a child, frees its
scope or says where to connect. Whatever acts on a child names its incarnation, so nothing can hit a successor of the same name.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping

import attrs

from podkit.errors import DuplicatePodError
from podkit.protocol import PodErrored, PodEvent, PodScopeSubDelegated, PodShutDown, PodTurnEnded, check_name

from ._notices import NoticeClass, notice_class, notice_text
from ._scope import Scope

REMEMBERED_REPORTS = 1024
"""How many reports are remembered so that each is applied once; the oldest are forgotten."""


class ChildState(enum.Enum):
    """How far a child's life is. It only goes forward."""

    BORN = "born"
    """Recorded, not yet heard of."""
    LIVE = "live"
    STOPPING = "stopping"
    """We asked it to stop, or it said that it leaves."""
    GONE = "gone"
    """Its lease is free; its record is kept until it is removed."""


_ORDER = tuple(ChildState)


@attrs.frozen
class Member:
    """One child."""

    name: str
    incarnation: str
    scope: Scope
    address: str
    state: ChildState = attrs.field(default=ChildState.BORN, kw_only=True)


@attrs.frozen
class Inform:
    """Put `text` into the notice queue; `wake`: it may start a run."""

    text: str
    wake: bool


@attrs.frozen
class Probe:
    """Look at the child's lease and row: it says that it leaves. Only what is found there counts."""

    name: str
    incarnation: str


@attrs.frozen
class PassUp:
    """Tell our own parent, in our own name, what a child of ours handed on."""

    event: PodScopeSubDelegated


FamilyEffect = Inform | Probe | PassUp


def _copied(members: Mapping[str, Member]) -> dict[str, Member]:
    return dict(members)


@attrs.frozen
class Family(Mapping[str, Member]):
    """The children by name. Every change answers a new family."""

    _members: dict[str, Member] = attrs.field(factory=dict, alias="members", converter=_copied)
    _reports: tuple[tuple[str, str], ...] = attrs.field(default=(), alias="reports", repr=False)

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def living(self) -> tuple[str, ...]:
        """The names of the children that are not gone."""
        return tuple(member.name for member in self._members.values() if member.state is not ChildState.GONE)

    def add(self, name: str, incarnation: str, scope: Scope, address: str, *, state: ChildState = ChildState.BORN) -> Family:
        """With one more child. A record of that name that is gone is replaced. Raises `InvalidNameError`, `DuplicatePodError`."""
        check_name(name)
        before = self._members.get(name)
        if before is not None and before.state is not ChildState.GONE:
            raise DuplicatePodError(name, incarnation=before.incarnation)
        rest = {other: member for other, member in self._members.items() if other != name}
        return attrs.evolve(self, members={**rest, name: Member(name, incarnation, scope, address, state=state)})

    def remove(self, name: str, incarnation: str) -> Family:
        """Without that incarnation. Unknown, or another one has the name: unchanged."""
        if self.find(name, incarnation) is None:
            return self
        return attrs.evolve(self, members={other: member for other, member in self._members.items() if other != name})

    def mark(self, name: str, incarnation: str, state: ChildState) -> Family:
        """With that incarnation in `state`. Never backwards; unknown, or another one has the name: unchanged."""
        member = self.find(name, incarnation)
        if member is None or _ORDER.index(state) <= _ORDER.index(member.state):
            return self
        return attrs.evolve(self, members={**self._members, name: attrs.evolve(member, state=state)})

    def find(self, name: str, incarnation: str | None) -> Member | None:
        """The child of that name, if it is that incarnation (None: whichever has the name)."""
        member = self._members.get(name)
        return member if member is not None and incarnation in (None, member.incarnation) else None

    def heard(self, incarnation: str, report: str) -> Family:
        """With that report remembered."""
        return self.recall(((incarnation, report),))

    def recall(self, reports: Iterable[tuple[str, str]]) -> Family:
        """With all of these remembered (incarnation, id), oldest first."""
        return attrs.evolve(self, reports=(*self._reports, *reports)[-REMEMBERED_REPORTS:])

    def knows(self, incarnation: str, report: str) -> bool:
        """Whether that report was applied before."""
        return (incarnation, report) in self._reports


def apply_pod_event(family: Family, event: PodEvent) -> tuple[Family, tuple[FamilyEffect, ...]]:
    """What a report does. One from an unknown pod, another incarnation or a child that is gone, or heard before, does nothing.

    A report without an `id` cannot be told from its repetition and is applied each time; what follows from it is harmless twice.
    """
    name = event.parent_pod if isinstance(event, PodScopeSubDelegated) else event.pod_name
    member = family.find(name, event.incarnation)
    if member is None or member.state is ChildState.GONE:
        return family, ()
    if event.id is not None:
        if family.knows(member.incarnation, event.id):
            return family, ()
        family = family.heard(member.incarnation, event.id)
    return _apply(family, member, event)


def _apply(family: Family, member: Member, event: PodEvent) -> tuple[Family, tuple[FamilyEffect, ...]]:
    effects: list[FamilyEffect] = []
    match event:
        case PodTurnEnded() | PodErrored():
            family = family.mark(member.name, member.incarnation, ChildState.LIVE)
        case PodShutDown():
            family = family.mark(member.name, member.incarnation, ChildState.STOPPING)
            effects.append(Probe(member.name, member.incarnation))
        case _:
            family = family.mark(member.name, member.incarnation, ChildState.LIVE)
            effects.append(PassUp(event))
    shown = notice_class(event)
    if shown is not NoticeClass.CONTROL:
        effects.append(Inform(notice_text(event), shown is NoticeClass.WAKE))
    return family, tuple(effects)
